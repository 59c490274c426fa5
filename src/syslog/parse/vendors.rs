//! Messages that do not begin with a time: routers that count and mark their clocks, appliances
//! that send pairs, bodies without a header, and tags alone.
//!
//! | sender | what follows the PRI |
//! |---|---|
//! | Cisco IOS | `29: *Apr 29 13:58:40.411: %SYS-5-CONFIG_I: …`, `46: 1d02h: %LINK-3-UPDOWN: …` |
//! | with origin-id | `30: router1: *Apr 29 …`, `31: router1: %SYS-5-…` |
//! | Cisco IOS XR | `138: RP/0/RP0/CPU0:Dec 11 12:43:29.227 EST: snmpd[1002]: %SNMP-…` |
//! | Cisco NX-OS | `: 2025 Jun 25 11:27:28 GMT: %AUTHPRIV-3-SYSTEM_MSG: …` |
//! | Cisco Meraki | `1 1563249630.774247467 gateway flows src=…` |
//! | Fortinet | `date=2023-10-11 time=22:14:15 devname="FG" … tz="+0200" …` |
//! | RouterOS | `system,info,account user admin logged in` |
//! | any | `su[42]: text`, `{json}`, `@cee: {json}`, `CEF:0\|…`, `last message repeated 3 times` |

use super::rfc3164::{header, is_text, tag, tagged, text};
use super::time::{Offset, Rigour, Time, iso, offset};
use super::{Fields, Message, Reason, dates, scan};

/// Parses what follows the PRI. Without a PRI only what cannot be mistaken is taken.
#[inline(never)]
pub(super) fn parse<'a>(
    bytes: &'a [u8],
    from: usize,
    has_pri: bool,
    wanted: Fields,
    message: &mut Message<'a>,
) -> Result<(), Reason> {
    if cisco(bytes, from, wanted, message) {
        return Ok(());
    }
    if !has_pri {
        return snare(bytes, from, message).ok_or(Reason::NoHeader);
    }
    let Some(_) = bytes.get(from) else { return Err(Reason::NoHeader) };
    if meraki(bytes, from, message) || fortinet(bytes, from, message) {
        return Ok(());
    }
    let rest = &bytes[from..];
    if is_body(bytes, from) || rest.starts_with(b"last message repeated ") {
        message.message = Some(rest);
        return Ok(());
    }
    if is_telling_tag(bytes, from) && tagged(bytes, from, message) {
        return Ok(());
    }
    if snare(bytes, from, message).is_some() {
        return Ok(());
    }
    host_and_pid(bytes, from, message)
        .or_else(|| topics(bytes, from, message))
        .ok_or(Reason::NoHeader)
}

/// A body that names itself.
fn is_body(bytes: &[u8], from: usize) -> bool {
    let rest = &bytes[from..];
    is_text(bytes, from)
        && !rest.starts_with(b"<")
        && !rest.starts_with(b"\"")
        && !rest.starts_with(b"(")
}

/// A number and a colon are no tag where nothing else tells a header: a count, a broken time.
fn is_telling_tag(bytes: &[u8], from: usize) -> bool {
    let word = &bytes[from..scan::word_end(bytes, from)];
    !word.first().is_some_and(u8::is_ascii_digit) || word.contains(&b'[')
}

/// Cisco's lead: a sequence number, an origin, a time with its mark or an uptime, a mnemonic.
fn cisco<'a>(bytes: &'a [u8], from: usize, wanted: Fields, message: &mut Message<'a>) -> bool {
    let counted = sequence(bytes, from);
    let at = counted.unwrap_or(from);
    if let Some((time, end)) = marked_time(bytes, at) {
        message.time = Some(time);
        header(bytes, end, wanted, message);
        return true;
    }
    let at = uptime(bytes, at).unwrap_or(at);
    if is_mnemonic(bytes, at) {
        tag(bytes, at, true, message);
        return true;
    }
    let Some((origin, end)) = origin(bytes, at) else { return false };
    let next = scan::skip_blanks(bytes, end);
    let next = task(bytes, next).unwrap_or(next);
    if let Some((time, end)) = marked_time(bytes, next) {
        message.hostname = origin;
        message.time = Some(time);
        let rest = scan::skip_blanks(bytes, end + usize::from(bytes.get(end) == Some(&b':')));
        if rest < bytes.len() {
            tag(bytes, rest, true, message);
        }
        return true;
    }
    let next = uptime(bytes, next).unwrap_or(next);
    if is_mnemonic(bytes, next) {
        message.hostname = origin;
        tag(bytes, next, true, message);
        return true;
    }
    false
}

/// `29: ` or NX-OS's lone `: `.
fn sequence(bytes: &[u8], from: usize) -> Option<usize> {
    let digits = scan::digits_end(bytes, from);
    let colon = bytes.get(digits) == Some(&b':') && bytes.get(digits + 1) == Some(&b' ');
    (colon && digits - from <= 12).then(|| scan::skip_blanks(bytes, digits + 1))
}

/// A time, with `*` (the clock was never set), `.` (it has lost its source) or `:` before it.
fn marked_time(bytes: &[u8], from: usize) -> Option<(Time<'_>, usize)> {
    let mark = usize::from(matches!(bytes.get(from), Some(b'*' | b'.' | b':')));
    dates::any(bytes, from + mark)
}

/// `1d02h: `, `3w4d: `, `00:00:46: `: time since the start, which is no time of day.
fn uptime(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let length =
        rest.iter().position(|byte| !byte.is_ascii_digit() && !b"ywdhms:".contains(byte))?;
    let is_one =
        length >= 5 && rest[length - 1] == b':' && rest[length] == b' ' && rest[0].is_ascii_digit();
    is_one.then_some(from + length + 1)
}

/// `%FACILITY-SEVERITY-MNEMONIC`.
fn is_mnemonic(bytes: &[u8], from: usize) -> bool {
    let Some([b'%', rest @ ..]) = bytes.get(from..) else { return false };
    let end = rest.iter().position(|byte| *byte == b':' || *byte <= b' ').unwrap_or(rest.len());
    let word = &rest[..end];
    word.first().is_some_and(u8::is_ascii_uppercase)
        && word.windows(3).any(|w| w[0] == b'-' && w[1].is_ascii_digit() && w[2] == b'-')
}

/// A host with a colon behind it, or a line card, which is part of a host and none of its own.
fn origin(bytes: &[u8], from: usize) -> Option<(Option<&[u8]>, usize)> {
    let rest = &bytes[from..];
    if [&b"RP/"[..], b"LC/", b"CLC "].iter().any(|card| rest.starts_with(card)) {
        let colon = rest.iter().take(32).position(|byte| *byte == b':')?;
        return Some((None, from + colon + 1));
    }
    let end = scan::word_end(bytes, from);
    if let Some([b' ', b':', b' ', b'%', ..]) = bytes.get(end..) {
        return (end > from).then(|| (Some(&bytes[from..end]), end + 2));
    }
    let word = bytes[from..end].strip_suffix(b":")?;
    (!word.is_empty()).then_some((Some(word), end))
}

/// Wireless controllers name the task before the time: `*spamApTask2: `.
fn task(bytes: &[u8], from: usize) -> Option<usize> {
    let end = scan::word_end(bytes, from);
    let word = &bytes[from..end];
    let is_one = word.starts_with(b"*") && word.ends_with(b":") && bytes.get(end) == Some(&b' ');
    is_one.then_some(end + 1)
}

/// Meraki: version, seconds since 1970, device, kind of event.
fn meraki<'a>(bytes: &'a [u8], from: usize, message: &mut Message<'a>) -> bool {
    if !bytes[from..].starts_with(b"1 ") {
        return false;
    }
    let Some((time, end)) = dates::epoch(bytes, from + 2) else { return false };
    let host = scan::skip_blanks(bytes, end);
    let host_end = scan::word_end(bytes, host);
    if host == end || host == host_end {
        return false;
    }
    message.time = Some(time);
    message.hostname = Some(&bytes[host..host_end]);
    tag(bytes, scan::skip_blanks(bytes, host_end), true, message);
    true
}

/// Fortinet: pairs, with date, time, zone and device among them.
fn fortinet<'a>(bytes: &'a [u8], from: usize, message: &mut Message<'a>) -> bool {
    let rest = &bytes[from..];
    let Some(date) = pair(rest, b"date=").filter(|_| rest.starts_with(b"date=")) else {
        return false;
    };
    message.message = Some(rest);
    message.hostname = pair(rest, b"devname=");
    let date_end = from + 5 + date.len();
    let time = bytes.get(date_end..).is_some_and(|rest| rest.starts_with(b" time="));
    let clock = super::time::clock(bytes, date_end + 6).filter(|_| time && date.len() == 10);
    let Some(([hour, minute, second], fraction, _)) = clock else { return true };
    let mut midnight = *b"0000-00-00T00:00:00";
    midnight[..10].copy_from_slice(date);
    let Some((day, _)) = iso(&midnight, 0, Rigour::Loose) else { return true };
    let (year, month, day) = (day.year, day.month, day.day);
    let zone = pair(rest, b"tz=").and_then(|zone| offset(zone, 0, Rigour::Loose));
    let offset = zone.map_or(Offset::Unsent, |(offset, _)| offset);
    message.time = Some(Time { year, month, day, hour, minute, second, fraction, offset });
    true
}

/// The value of a pair, quotes off. Pairs are told by the blank before them.
fn pair<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let at = text
        .windows(key.len())
        .enumerate()
        .find(|(at, window)| *window == key && (*at == 0 || text[at - 1] == b' '))?
        .0
        + key.len();
    let rest = &text[at..];
    let (rest, end) = match rest {
        [b'"', quoted @ ..] => (quoted, b'"'),
        _ => (rest, b' '),
    };
    let length = rest.iter().position(|byte| *byte == end).unwrap_or(rest.len());
    (length > 0).then_some(&rest[..length])
}

/// Snare's `host TAB MSWinEventLog TAB …`.
fn snare<'a>(bytes: &'a [u8], from: usize, message: &mut Message<'a>) -> Option<()> {
    let end = scan::word_end(bytes, from);
    let rest = bytes.get(end..)?.strip_prefix(b"\tMSWinEventLog")?;
    if end == from || !matches!(rest.first(), Some(b'\t' | b' ')) {
        return None;
    }
    message.hostname = Some(&bytes[from..end]);
    message.app_name = Some(&bytes[end + 1..bytes.len() - rest.len()]);
    text(bytes, bytes.len() - rest.len(), message);
    Some(())
}

/// `host su[42]: text`: with a pid, the second word is a tag beyond doubt.
fn host_and_pid<'a>(bytes: &'a [u8], from: usize, message: &mut Message<'a>) -> Option<()> {
    let end = scan::word_end(bytes, from);
    let next = scan::skip_blanks(bytes, end);
    let second = &bytes[next..scan::word_end(bytes, next)];
    if end == from || !second.ends_with(b"]:") || !tagged(bytes, next, message) {
        return None;
    }
    message.hostname = Some(&bytes[from..end]);
    Some(())
}

/// RouterOS's list of topics.
fn topics<'a>(bytes: &'a [u8], from: usize, message: &mut Message<'a>) -> Option<()> {
    let end = scan::word_end(bytes, from);
    let word = &bytes[from..end];
    let is_topic = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_lowercase);
    let are = word.contains(&b',') && word.split(|byte| *byte == b',').all(is_topic);
    are.then(|| {
        message.app_name = Some(word);
        text(bytes, end, message);
    })
}
