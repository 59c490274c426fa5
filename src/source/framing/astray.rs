//! Behind a counted frame: what is no header and no empty line has lost its count.
//!
//! ```text
//!   7 <1>abcdef12 <34>message     the count is too small: `ef` is astray
//!   9 <1>abcd12 <34>message       too large: the frame took `12`, and ` <34>message` is astray
//! ```
//! RFC 6587 has no mark by which a receiver could find its place again. Such a text ends at LF, at
//! NUL, or where the next plausible header begins: digits, space and a PRI of one to three digits.
//! Digits in front of the space belong to the count as far as they make one. The body of a frame
//! is never searched. Some senders do mix lines and counted frames, so a line that begins with a
//! PRI is no error, and after a few lines without a header it is a stream of lines.

use super::{Records, Rules, Stage, is_count, push_line, push_pieces};
use crate::source::text::parse_pri;

/// `262144 <191>`, and room for counts to come.
pub(super) const HEADER_BYTES_MAX: usize = 16;

/// Lines without a header that make it a stream of lines.
const LINES_MAX: u8 = 8;

/// Where a text astray ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At the delimiter that stands there.
    Delimiter(usize),
    /// Where the next header begins.
    Header(usize),
}

/// The end of the text at `at`; nothing before `seen` ends it.
pub(super) fn end(bytes: &[u8], at: usize, seen: usize, rules: &Rules) -> Option<End> {
    memchr::memchr3_iter(b'\n', 0, b'>', &bytes[seen..]).find_map(|found| {
        let found = seen + found;
        if bytes[found] != b'>' {
            return Some(End::Delimiter(found));
        }
        header(&bytes[at..found], rules).map(|header| End::Header(at + header))
    })
}

/// Whether the text that begins with `carry`, in which it does not end, ends in `fresh`. Of the
/// carry only so much is looked at as may be the front of a header.
pub(super) fn ends(carry: &[u8], fresh: &[u8], rules: &Rules) -> bool {
    memchr::memchr3_iter(b'\n', 0, b'>', fresh).any(|found| {
        let near = &fresh[found.saturating_sub(HEADER_BYTES_MAX)..found];
        if fresh[found] != b'>' || header(near, rules).is_some() {
            return true;
        }
        let missing = (HEADER_BYTES_MAX - near.len()).min(carry.len());
        let mut front = [0; HEADER_BYTES_MAX];
        front[..missing].copy_from_slice(&carry[carry.len() - missing..]);
        front[missing..missing + near.len()].copy_from_slice(near);
        missing > 0 && header(&front[..missing + near.len()], rules).is_some()
    })
}

/// Where in `front`, behind which a `>` stands, the header begins whose PRI that ends.
fn header(front: &[u8], rules: &Rules) -> Option<usize> {
    let digits = |bytes: &[u8]| bytes.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let value = digits(front);
    let front = front[..front.len() - value].strip_suffix(b" <")?;
    if !(1..=3).contains(&value) {
        return None;
    }
    let (mut begin, mut count, mut weight) = (None, 0, 1);
    for (index, &byte) in front.iter().enumerate().rev() {
        // As many digits as still make a count.
        if !byte.is_ascii_digit() || weight > rules.event_bytes_max {
            break;
        }
        count += usize::from(byte - b'0') * weight;
        weight *= 10;
        if count > rules.event_bytes_max {
            break;
        }
        if is_count(byte) {
            begin = Some(index);
        }
    }
    begin
}

/// Whether this front of a text is the sender's error, and none that was counted before.
pub(super) fn is_lost(text: &[u8], stage: Stage) -> bool {
    matches!(stage, Stage::After(_)) && parse_pri(text).is_none()
}

/// Makes an event of the text at `at`; returns where the next frame begins, and its stage.
pub(super) fn push(
    bytes: &[u8],
    at: usize,
    end: End,
    stage: Stage,
    astray: &mut u32,
    rules: &Rules,
    records: &mut Records<'_>,
) -> (usize, Stage) {
    let (lines, continued, told) = match stage {
        Stage::After(lines) => (lines, false, false),
        Stage::Astray(lines, told) => (lines, true, told),
        Stage::Start | Stage::Middle | Stage::Counted(_) => unreachable!("the caller's"),
    };
    // A line that a header ends has lost its own end, however many pieces of it have gone.
    let torn = matches!(end, End::Header(_)) && !told;
    let text = match end {
        End::Header(header) => at..header,
        End::Delimiter(end) if bytes[end] == b'\n' && bytes[at..end].ends_with(b"\r") => {
            at..end - 1
        }
        End::Delimiter(end) => at..end,
    };
    if text.is_empty() {
        *astray += u32::from(torn && continued);
    } else {
        let lost = is_lost(&bytes[text.clone()], stage);
        *astray += u32::from(lost || torn);
        if lost || continued {
            push_pieces(bytes, text.clone(), continued, rules, records);
        } else {
            push_line(bytes, text.clone(), false, rules, records);
        }
    }
    // Where a delimiter is missing, or is no LF, the bytes are not events and newlines.
    records.set_scattered();
    match end {
        End::Header(header) => (header, Stage::After(0)),
        End::Delimiter(end) if text.is_empty() && !continued => (end + 1, stage),
        End::Delimiter(end) if lines + 1 < LINES_MAX => (end + 1, Stage::After(lines + 1)),
        End::Delimiter(end) => (end + 1, Stage::Start),
    }
}
