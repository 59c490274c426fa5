//! RFC 3164 as the world writes it: `<PRI>TIME HOSTNAME TAG[PID]: text`, any part of it missing.
//!
//! Behind the time, the first word is the host and the second the tag, unless the first one is
//! plainly a tag (`su:`, `su[42]`, `%SYS-5-CONFIG_I:`) or plainly text. A tag ends at `:`, at its
//! pid, or at a blank. One blank behind the tag is no part of the message, more are. What is well
//! formed as structured data right behind the tag is structured data, as rsyslog sends it.
//! Messages that do not begin with a time are left to `vendors`.

use super::data::Data;
use super::time::{self, Rigour};
use super::{BOM, Fields, Message, Reason, dates, scan, vendors};

/// Parses what follows the PRI, as far as `wanted` goes. Without a PRI the time must tell.
#[inline(always)]
pub(super) fn parse<'a>(
    bytes: &'a [u8],
    from: usize,
    has_pri: bool,
    wanted: Fields,
    message: &mut Message<'a>,
) -> Result<(), Reason> {
    if has_pri && !wanted.beyond(Fields::PRI) {
        return Ok(());
    }
    let at = if bytes.get(from) == Some(&b' ') { scan::skip_blanks(bytes, from) } else { from };
    if bytes.get(at + 15) == Some(&b' ') {
        message.time = time::bsd(bytes, at);
    }
    let at = match &mut message.time {
        Some(time) => dates::after(bytes, at + 15, time),
        None => match dates::any(bytes, at) {
            Some((time, end)) => {
                message.time = Some(time);
                end
            }
            None => return vendors::parse(bytes, at, has_pri, wanted, message),
        },
    };
    if wanted.beyond(Fields::TIME) {
        header(bytes, at, wanted, message);
    }
    Ok(())
}

/// Host, tag and text behind a time that ends at `from`.
#[inline(always)]
pub(super) fn header<'a>(bytes: &'a [u8], from: usize, wanted: Fields, message: &mut Message<'a>) {
    let start = match bytes.get(from..) {
        Some([b' ', next, ..]) if *next > b' ' => from + 1,
        Some([]) | None => return,
        Some([first, ..]) => scan::skip_blanks(bytes, from + usize::from(*first == b':')),
    };
    let end = scan::tag_end(bytes, start);
    match bytes.get(end) {
        Some(b' ') if bytes[start].is_ascii_alphanumeric() && !is_phrase(bytes, start, end) => {
            host(bytes, start, end, wanted, message);
        }
        _ => odd_host(bytes, start, end, wanted, message),
    }
}

/// A word that is the host, then the tag.
#[inline(always)]
fn host<'a>(bytes: &'a [u8], start: usize, end: usize, wanted: Fields, message: &mut Message<'a>) {
    let word = &bytes[start..end];
    message.hostname = (word != b"-").then_some(word);
    if !wanted.beyond(Fields::HOSTNAME) {
        return;
    }
    match bytes.get(end..) {
        Some([b' ', next, ..]) if *next > b' ' => tag(bytes, end + 1, true, message),
        // More blanks: only what is plainly a tag is one.
        Some([b' ' | b'\t', ..]) => {
            let start = scan::skip_blanks(bytes, end);
            if start < bytes.len() {
                tag(bytes, start, false, message);
            }
        }
        _ => {}
    }
}

/// `last message repeated`, `Message forwarded from`.
#[inline(always)]
fn is_phrase(bytes: &[u8], start: usize, end: usize) -> bool {
    match &bytes[start..end] {
        b"last" => bytes[end..].starts_with(b" message repeated "),
        b"Message" | b"message" => {
            bytes[end..].starts_with(FORWARDED) || bytes[end..].starts_with(b" repeated ")
        }
        _ => false,
    }
}

const FORWARDED: &[u8] = b" forwarded from ";

/// A first word that is not plainly a host.
#[inline(never)]
fn odd_host<'a>(
    bytes: &'a [u8],
    start: usize,
    end: usize,
    wanted: Fields,
    message: &mut Message<'a>,
) {
    let Some(&first) = bytes.get(start) else { return };
    let word_end = scan::word_end(bytes, start);
    let word = &bytes[start..word_end];
    if bytes[start..].starts_with(b"Message") && bytes[start + 7..].starts_with(FORWARDED) {
        let host_start = start + 7 + FORWARDED.len();
        let host_end = scan::tag_end(bytes, host_start);
        let colon = usize::from(bytes.get(host_end) == Some(&b':'));
        message.hostname = (host_end > host_start).then(|| &bytes[host_start..host_end]);
        return tag(bytes, scan::skip_blanks(bytes, host_end + colon), true, message);
    }
    if word == b":" {
        return text(bytes, word_end, message);
    }
    if word.is_empty() || is_text(bytes, start) || is_phrase(bytes, start, word_end) {
        message.message = Some(&bytes[start..]);
        return;
    }
    if first == b'(' && word.starts_with(b"(\"") && word.ends_with(b"\")") && word.len() > 4 {
        // Unifi's `("model,mac,version")`.
        message.hostname = Some(&word[2..word.len() - 2]);
        return tag(bytes, scan::skip_blanks(bytes, word_end), true, message);
    }
    if is_ipv6(word) {
        return host(bytes, start, word_end, wanted, message);
    }
    if word.ends_with(b":") && names_a_device(bytes, word, word_end) {
        message.hostname = Some(&bytes[start..word_end - 1]);
        return tag(bytes, scan::skip_blanks(bytes, word_end), true, message);
    }
    if matches!(bytes.get(end), Some(b':' | b'[')) && tagged(bytes, start, message) {
        return;
    }
    if first == b'%' {
        return tag(bytes, start, true, message);
    }
    host(bytes, start, word_end, wanted, message);
}

/// `switch1: %SYS-5-…` and Unifi's `U7LT,f09fc2aabbcc,v4.3: hostapd: …`: a host with a colon.
fn names_a_device(bytes: &[u8], word: &[u8], end: usize) -> bool {
    let next = scan::skip_blanks(bytes, end);
    let is_mnemonic = matches!(bytes.get(next..), Some([b'%', a, ..]) if a.is_ascii_uppercase());
    (is_mnemonic && word[0] != b'%') || word.contains(&b',')
}

fn is_ipv6(word: &[u8]) -> bool {
    let colons = word.iter().filter(|byte| **byte == b':').count();
    colons >= 2 && word.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte))
}

/// What begins so is a message's text and no name.
#[inline(always)]
pub(super) fn is_text(bytes: &[u8], start: usize) -> bool {
    let rest = &bytes[start..];
    match rest.first() {
        Some(b'{' | b'[' | b'"' | b'<' | b'@') => true,
        Some(b'(') => !rest.starts_with(b"(\""),
        Some(b'C') => rest.starts_with(b"CEF:"),
        Some(b'L') => rest.starts_with(b"LEEF:"),
        _ => false,
    }
}

/// The tag at `start`, then the text. `plain`: a word without colon or pid is a tag, too.
#[inline(always)]
pub(super) fn tag<'a>(bytes: &'a [u8], start: usize, plain: bool, message: &mut Message<'a>) {
    if is_text(bytes, start) {
        return text_at(bytes, start, message);
    }
    if !tagged(bytes, start, message) {
        plain_tag(bytes, start, plain, message);
    }
}

/// A tag that ends with a colon or a pid, and the text behind it.
#[inline(always)]
pub(super) fn tagged<'a>(bytes: &'a [u8], start: usize, message: &mut Message<'a>) -> bool {
    let mut end = scan::tag_end(bytes, start);
    loop {
        match bytes.get(end..) {
            Some([b'[', ..]) if end > start => {
                if let Some((pid_end, rest)) = pid(bytes, end + 1) {
                    message.app_name = Some(&bytes[start..end]);
                    let pid = &bytes[end + 1..pid_end];
                    message.proc_id = (!pid.is_empty()).then_some(pid);
                    text(bytes, rest, message);
                    return true;
                }
                end = scan::tag_end(bytes, end + 1);
            }
            // `Foo::Bar` is one name.
            Some([b':', b':', next, ..]) if next.is_ascii_alphanumeric() && end > start => {
                end = scan::tag_end(bytes, end + 2);
            }
            Some([b':', ..]) if end > start => {
                message.app_name = Some(&bytes[start..end]);
                text(bytes, end + 1, message);
                return true;
            }
            _ => return false,
        }
    }
}

const PID_BYTES_MAX: usize = 128;

/// The end of a pid that begins at `from`, and the place behind `]`, `]:` or `] :`.
#[inline(always)]
fn pid(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut end = from;
    while matches!(bytes.get(end), Some(byte) if byte.is_ascii_digit()) {
        end += 1;
    }
    if bytes.get(end) != Some(&b']') {
        let rest = &bytes[from..bytes.len().min(from + PID_BYTES_MAX + 1)];
        let length = rest.iter().position(|byte| *byte <= b' ' || *byte == b']')?;
        end = from + length;
        if bytes[end] != b']' {
            return None;
        }
    }
    match bytes.get(end + 1..) {
        Some([b':', ..]) => Some((end, end + 2)),
        Some([b' ', b':', b' ', ..]) => Some((end, end + 3)),
        Some([b' ' | b'\t', ..] | []) => Some((end, end + 1)),
        _ => None,
    }
}

/// A word without colon or pid: a tag, unless it reads like text.
#[inline(never)]
fn plain_tag<'a>(bytes: &'a [u8], start: usize, plain: bool, message: &mut Message<'a>) {
    // Cisco's firewalls put ` : ` between host and mnemonic; others leave the tag out before it.
    if bytes.get(start) == Some(&b':') {
        let start = scan::skip_blanks(bytes, start + 1);
        let mnemonic = bytes.get(start) == Some(&b'%') && tagged(bytes, start, message);
        if !mnemonic && start < bytes.len() {
            text_at(bytes, start, message);
        }
        return;
    }
    let end = scan::word_end(bytes, start);
    let word = &bytes[start..end];
    if !plain || word.is_empty() || reads_like_data(word) || is_phrase(bytes, start, end) {
        return text_at(bytes, start, message);
    }
    // F5 names the level first: `notice mcpd[7111]: …`.
    if is_level(word) && tagged(bytes, scan::skip_blanks(bytes, end), message) {
        return;
    }
    if let Some(open) = spaced_tag(bytes, start, end)
        && let Some((pid_end, rest)) = pid(bytes, open + 1)
    {
        message.app_name = Some(&bytes[start..open]);
        message.proc_id = Some(&bytes[open + 1..pid_end]);
        return text(bytes, rest, message);
    }
    message.app_name = Some(word);
    // `tag : text`: the colon has lost its place.
    let apart = matches!(bytes.get(end..), Some([b' ', b':'] | [b' ', b':', b' ', ..]));
    text(bytes, if apart { end + 2 } else { end }, message);
}

/// `key=value`, or a record that begins with a number and a comma.
fn reads_like_data(word: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    let name = word.iter().take_while(|byte| is_part(byte)).count();
    match word.get(name) {
        Some(b'=') => name > 0,
        Some(b',') => name > 0 && word[..name].iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn is_level(word: &[u8]) -> bool {
    const LEVELS: [&[u8]; 11] = [
        b"emerg", b"alert", b"crit", b"err", b"error", b"warning", b"warn", b"notice", b"info",
        b"debug", b"panic",
    ];
    LEVELS.contains(&word)
}

/// How far a tag with blanks in it may reach.
const SPACED_TAG_BYTES_MAX: usize = 48;

/// `Service Control Manager[42]: …`: where the bracket opens, if nothing but names and blanks
/// stand before it and a number with `]:` behind it.
fn spaced_tag(bytes: &[u8], start: usize, word_end: usize) -> Option<usize> {
    let window = bytes.get(word_end..bytes.len().min(start + SPACED_TAG_BYTES_MAX))?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b" -_.".contains(byte);
    let open = word_end + window.iter().position(|byte| !is_name(byte))?;
    let digits = scan::digits_end(bytes, open + 1);
    let is_pid = bytes[open] == b'[' && digits > open + 1 && !bytes[start].is_ascii_digit();
    (is_pid && bytes[digits..].starts_with(b"]:") && bytes[open - 1] != b' ').then_some(open)
}

/// The text that begins behind a tag's end: one blank is no part of it.
#[inline(always)]
pub(super) fn text<'a>(bytes: &'a [u8], from: usize, message: &mut Message<'a>) {
    match bytes.get(from) {
        Some(b' ' | b'\t') => text_at(bytes, from + 1, message),
        Some(_) => text_at(bytes, from, message),
        None => {}
    }
}

#[inline(always)]
fn text_at<'a>(bytes: &'a [u8], from: usize, message: &mut Message<'a>) {
    let rest = &bytes[from..];
    match rest.first() {
        Some(b'[' | b' ') => bracketed(bytes, from, message),
        _ => message.message = Some(rest.strip_prefix(BOM).unwrap_or(rest)),
    }
}

/// Text that may begin with structured data: whole elements, each with parameters, then a blank.
#[inline(never)]
fn bracketed<'a>(bytes: &'a [u8], from: usize, message: &mut Message<'a>) {
    message.message = Some(&bytes[from..]);
    let start = scan::skip_blanks(bytes, from);
    let Some((data, end)) = Data::read(bytes, start, Rigour::Exact) else { return };
    let full = data.elements().all(|element| element.params().next().is_some());
    if full && matches!(bytes.get(end), None | Some(b' ')) {
        message.data = data;
        message.message = bytes.get(end + 1..);
    }
}
