//! RFC 5424: `<PRI>VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG]`.
//!
//! Exactly, it is the RFC's grammar with two allowances: fractions up to nanoseconds, and a blank
//! before a value's opening quote. Loosely, also what senders really send: no PRI, no offset, a
//! blank for the `T`, fields longer than the RFC's bounds or not ASCII, values without quotes,
//! no structured data at all (when the time is there), Check Point's own.

use super::data::Data;
use super::time::{FRACTION_DIGITS_MAX, Rigour, Time, iso};
use super::{BOM, Fields, Message, Reason, scan};

/// HOSTNAME's bound holds loosely too: nothing longer is a name.
const HOSTNAME_BYTES_MAX: usize = 255;
const APP_NAME_BYTES_MAX: usize = 48;
const PROC_ID_BYTES_MAX: usize = 128;
const MSG_ID_BYTES_MAX: usize = 32;

/// Whether what follows a PRI is meant to be RFC 5424: a version, then `-` or a date.
#[inline(always)]
pub(super) fn is_meant(bytes: &[u8], at: usize) -> bool {
    if let Some([b'1', b' ', b'1' | b'2', _, _, _, b'-', ..]) = bytes.get(at..) {
        return true;
    }
    let Some((_, end)) = scan::number(bytes, at, 3) else { return false };
    match bytes.get(end..) {
        Some([b' ', b'-', b' ', ..]) => true,
        Some([b' ', a, b, c, d, b'-', ..]) => [a, b, c, d].iter().all(|b| b.is_ascii_digit()),
        _ => false,
    }
}

/// Parses what follows the PRI, as far as `wanted` goes.
#[inline(always)]
pub(super) fn parse<'a>(
    bytes: &'a [u8],
    from: usize,
    rigour: Rigour,
    wanted: Fields,
    message: &mut Message<'a>,
) -> Result<(), Reason> {
    let (version, at) = version(bytes, from)?;
    message.version = Some(version);
    if !wanted.beyond(Fields::PRI) {
        return Ok(());
    }
    let (time, at) = time(bytes, at, rigour)?;
    message.time = time;
    if !wanted.beyond(Fields::TIME) {
        return Ok(());
    }
    let field = Field { rigour, bytes_max: HOSTNAME_BYTES_MAX, reason: Reason::Hostname };
    let (hostname, at) = field.read(bytes, at)?;
    if hostname.is_some_and(|name| name.len() > HOSTNAME_BYTES_MAX) {
        return Err(Reason::Hostname);
    }
    message.hostname = hostname;
    if !wanted.beyond(Fields::HOSTNAME) {
        return Ok(());
    }
    let field = Field { rigour, bytes_max: APP_NAME_BYTES_MAX, reason: Reason::AppName };
    let (app_name, at) = field.read(bytes, at)?;
    message.app_name = app_name;
    if !wanted.beyond(Fields::APP_NAME) {
        return Ok(());
    }
    let field = Field { rigour, bytes_max: PROC_ID_BYTES_MAX, reason: Reason::ProcId };
    let (proc_id, at) = field.read(bytes, at)?;
    message.proc_id = proc_id;
    if !wanted.beyond(Fields::PROC_ID) {
        return Ok(());
    }
    let field = Field { rigour, bytes_max: MSG_ID_BYTES_MAX, reason: Reason::MsgId };
    let (msg_id, at) = field.read(bytes, at)?;
    message.msg_id = msg_id;
    if !wanted.beyond(Fields::MSG_ID) {
        return Ok(());
    }
    let at = data(bytes, at, rigour, message)?;
    if at <= bytes.len() {
        let text = &bytes[at..];
        message.message = Some(text.strip_prefix(BOM).unwrap_or(text));
    }
    Ok(())
}

/// 1 to 999, and the place behind its blank.
#[inline(always)]
fn version(bytes: &[u8], from: usize) -> Result<(u16, usize), Reason> {
    if let Some([b'1', b' ', ..]) = bytes.get(from..) {
        return Ok((1, from + 2));
    }
    match scan::number(bytes, from, 3) {
        Some((version, end)) if bytes[from] != b'0' => match bytes.get(end) {
            Some(b' ') => Ok((version as u16, end + 1)),
            None => Err(Reason::CutShort),
            Some(_) => Err(Reason::Version),
        },
        _ => Err(Reason::Version),
    }
}

#[inline(always)]
fn time(bytes: &[u8], from: usize, rigour: Rigour) -> Result<(Option<Time<'_>>, usize), Reason> {
    if let Some([b'-', b' ', ..]) = bytes.get(from..) {
        return Ok((None, from + 2));
    }
    let Some((time, end)) = iso(bytes, from, rigour) else {
        let end = scan::word_end(bytes, from);
        return Err(if end == bytes.len() { Reason::CutShort } else { Reason::Timestamp });
    };
    match bytes.get(end) {
        Some(b' ') if time.fraction.len() <= FRACTION_DIGITS_MAX => Ok((Some(time), end + 1)),
        None => Err(Reason::CutShort),
        Some(_) => Err(Reason::Timestamp),
    }
}

struct Field {
    rigour: Rigour,
    bytes_max: usize,
    reason: Reason,
}

impl Field {
    /// A word, `None` for `-`, and the place behind its blank.
    #[inline(always)]
    fn read<'a>(&self, bytes: &'a [u8], from: usize) -> Result<(Option<&'a [u8]>, usize), Reason> {
        let end = scan::word_end(bytes, from);
        let word = &bytes[from..end];
        match bytes.get(end) {
            Some(b' ') if !word.is_empty() => {}
            None => return Err(Reason::CutShort),
            Some(_) => return Err(self.reason),
        }
        if self.rigour == Rigour::Exact
            && (word.len() > self.bytes_max || !word.iter().all(u8::is_ascii_graphic))
        {
            return Err(self.reason);
        }
        Ok((if word == b"-" { None } else { Some(word) }, end + 1))
    }
}

/// Takes the structured data; where MSG begins, or one more than the length when there is none.
#[inline(always)]
fn data<'a>(
    bytes: &'a [u8],
    from: usize,
    rigour: Rigour,
    message: &mut Message<'a>,
) -> Result<usize, Reason> {
    match bytes.get(from..) {
        Some([b'-']) => return Ok(bytes.len() + 1),
        Some([b'-', b' ', ..]) => return Ok(from + 2),
        Some([b'[', ..]) => {}
        Some([]) | None => return Err(Reason::CutShort),
        // Heroku and others leave the field out; with neither time nor data it is something else.
        Some(_) if rigour == Rigour::Loose && message.time.is_some() => return Ok(from),
        Some(_) => return Err(Reason::StructuredData),
    }
    let read = Data::read(bytes, from, rigour);
    let nameless = || {
        let name = message.app_name.filter(|_| rigour == Rigour::Loose)?;
        Data::read_nameless(bytes, from, name)
    };
    let (data, end) = read.or_else(nameless).ok_or(Reason::StructuredData)?;
    message.data = data;
    match bytes.get(end) {
        None => Ok(bytes.len() + 1),
        Some(b' ') => Ok(end + 1),
        Some(_) if rigour == Rigour::Loose => Ok(end),
        Some(_) => Err(Reason::StructuredData),
    }
}
