//! The stamp: the last 52 bytes of every composed message, by which an archive is audited.
//!
//! ```text
//!  [fl rrrrrrr.ssss.qqqqqqqq.ttttttttttttt.pp.ccccccc]
//!      run     │    │        │             │  └ CRC32C from after the PRI up to here
//!              │    │        │             └ the PRI that was sent, `vv` for none
//!              │    │        └ scheduled send time, ns since 1970
//!              │    └ sequence number in its stream, from 0
//!              └ stream
//! ```
//!
//! Fields are big-endian base32 of fixed width (RFC 4648's base32hex, lower case), so a stamp costs
//! the same whatever it says and lies still for a compressor. The checksum starts after the PRI
//! because the encoder `line` drops it; that the PRI itself came through is seen by comparing it
//! with its copy in the stamp. So a change of any byte of a message is noticed.

use crate::time::Wall;

/// The length of a stamp, with the blank in front.
pub const STAMP_BYTES: usize = 52;

/// Streams of one run: four base32 digits.
pub const STREAMS_MAX: u32 = 1 << 20;

/// Sequence numbers of one stream: eight base32 digits.
pub const SEQUENCE_MAX: u64 = (1 << 40) - 1;

/// Which event a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub run: u32,
    pub stream: u32,
    pub sequence: u64,
    /// When the message was due to be sent, which may be earlier than when it was.
    pub at: Wall,
}

/// What the end of a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Whole: every byte is as it was composed.
    Whole(Stamp),
    /// It bears a stamp, or most of one, and something in the message was changed.
    Corrupted,
    /// Nobody stamped this.
    Foreign,
}

/// Appends the stamp at `end` of a message that begins at 0 with a PRI of `pri_bytes` bytes.
/// Returns the new end. `message` needs room for it.
#[inline]
pub fn write(
    stamp: Stamp,
    pri: Option<u8>,
    pri_bytes: usize,
    message: &mut [u8],
    end: usize,
) -> usize {
    debug_assert!(stamp.stream < STREAMS_MAX && stamp.sequence <= SEQUENCE_MAX);
    let room = message[end..].first_chunk_mut::<STAMP_BYTES>().expect("room for the stamp");
    *room = *FRAME;
    let time = stamp.at.0.cast_unsigned();
    room[RUN..RUN + 7].copy_from_slice(&digits(u64::from(stamp.run))[1..]);
    room[STREAM..STREAM + 4].copy_from_slice(&digits(u64::from(stamp.stream))[4..]);
    room[SEQUENCE..SEQUENCE + 8].copy_from_slice(&digits(stamp.sequence));
    room[TIME..TIME + 5].copy_from_slice(&digits(time >> 40)[3..]);
    room[TIME + 5..TIME + 13].copy_from_slice(&digits(time));
    room[PRI..PRI + 2].copy_from_slice(&digits(pri.map_or(PRI_NONE, u64::from))[6..]);
    let sum = checksum(&message[pri_bytes..end + SUM]);
    message[end + SUM..end + SUM + 7].copy_from_slice(&digits(u64::from(sum))[1..]);
    end + STAMP_BYTES
}

/// Reads the stamp of an event and checks the whole event against it.
pub fn read(message: &[u8]) -> Reading {
    match message.last_chunk::<STAMP_BYTES>() {
        Some(tail) => whole(message, tail).map_or_else(|| damage(message, tail), Reading::Whole),
        None if carries_mark(message) => Reading::Corrupted,
        None => Reading::Foreign,
    }
}

fn whole(message: &[u8], tail: &[u8; STAMP_BYTES]) -> Option<Stamp> {
    if FIXED.iter().any(|&place| tail[place] != FRAME[place]) {
        return None;
    }
    let (sent, pri_bytes) = leading_pri(message);
    let sum_at = message.len() - STAMP_BYTES + SUM;
    let covered = message.get(pri_bytes..sum_at)?;
    if get(&tail[SUM..SUM + 7])? != u64::from(checksum(covered)) {
        return None;
    }
    let pri = get(&tail[PRI..PRI + 2])?;
    if sent.is_some_and(|sent| u64::from(sent) != pri) {
        return None;
    }
    Some(Stamp {
        run: u32::try_from(get(&tail[RUN..RUN + 7])?).ok()?,
        stream: u32::try_from(get(&tail[STREAM..STREAM + 4])?).ok()?,
        sequence: get(&tail[SEQUENCE..SEQUENCE + 8])?,
        at: Wall(get(&tail[TIME..TIME + 13])?.cast_signed()),
    })
}

/// The run as messages show it, so that it can be searched for.
pub fn run_text(run: u32) -> String {
    let digits = digits(u64::from(run));
    digits[1..].iter().map(|&digit| char::from(digit)).collect()
}

pub fn run_from_text(text: &str) -> Option<u32> {
    let number = (text.len() == 7).then(|| get(text.as_bytes()))??;
    u32::try_from(number).ok()
}

/// A message that is not whole: was it once one of ours?
#[cold]
fn damage(message: &[u8], tail: &[u8; STAMP_BYTES]) -> Reading {
    let kept = FIXED.iter().filter(|&&place| tail[place] == FRAME[place]).count();
    if kept * 2 > FIXED.len() || carries_mark(message) {
        Reading::Corrupted
    } else {
        Reading::Foreign
    }
}

/// The mark may stand anywhere: the tail of the message may have been cut off.
fn carries_mark(message: &[u8]) -> bool {
    memchr::memmem::find(message, b" [fl ").is_some()
}

/// The PRI in front, and its length with the angle brackets.
fn leading_pri(message: &[u8]) -> (Option<u8>, usize) {
    let Some(b'<') = message.first() else { return (None, 0) };
    let Some(end) = message.iter().take(5).position(|&byte| byte == b'>') else { return (None, 0) };
    let digits = &message[1..end];
    let pri = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    if pri.is_some() { (pri, end + 1) } else { (None, 0) }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

const FRAME: &[u8; STAMP_BYTES] = b" [fl 0000000.0000.00000000.0000000000000.00.0000000]";
const RUN: usize = 5;
const STREAM: usize = 13;
const SEQUENCE: usize = 18;
const TIME: usize = 27;
const PRI: usize = 41;
const SUM: usize = 44;
/// The bytes that are the same in every stamp.
const FIXED: [usize; 11] = [0, 1, 2, 3, 4, 12, 17, 26, 40, 43, 51];
/// `vv`.
const PRI_NONE: u64 = 1023;

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

const INVALID: u8 = 255;
static VALUE: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut index = 0;
    while index < 32 {
        values[DIGITS[index] as usize] = index as u8;
        index += 1;
    }
    values
};

/// The low 40 bits as eight digits, all at once: halved three times until each byte holds five
/// bits, then moved to where the digits and letters stand in ASCII.
#[inline(always)]
fn digits(number: u64) -> [u8; 8] {
    let mut x = (number & 0xF_FFFF) | (number >> 20 & 0xF_FFFF) << 32;
    x = (x & 0x0000_03FF_0000_03FF) | (x & 0x000F_FC00_000F_FC00) << 6;
    x = (x & 0x001F_001F_001F_001F) | (x & 0x03E0_03E0_03E0_03E0) << 3;
    let letters = (x + 0x7676_7676_7676_7676) >> 7 & 0x0101_0101_0101_0101;
    let gap = u64::from(b'a' - b'9' - 1);
    (x + 0x3030_3030_3030_3030 + letters * gap).to_be_bytes()
}

/// Thirteen digits hold 65 bits: what would not fit 64 is refused.
fn get(field: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for &digit in field {
        let value = VALUE[usize::from(digit)];
        if value == INVALID || number >> 59 != 0 {
            return None;
        }
        number = number << 5 | u64::from(value);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        run: u32::MAX,
        stream: 77,
        sequence: SEQUENCE_MAX,
        at: Wall(1_795_000_000_123_456),
    };

    fn stamped(text: &str, pri: Option<u8>, pri_bytes: usize) -> Vec<u8> {
        let mut message = text.as_bytes().to_vec();
        message.resize(text.len() + STAMP_BYTES, 0);
        assert_eq!(write(STAMP, pri, pri_bytes, &mut message, text.len()), message.len());
        message
    }

    #[test]
    fn a_stamp_reads_back_with_and_without_its_pri() {
        let message = stamped("<34>Oct 11 22:14:15 mymachine su: failed", Some(34), 4);
        assert_eq!(read(&message), Reading::Whole(STAMP));
        assert_eq!(read(&message[4..]), Reading::Whole(STAMP), "the encoder `line` drops the PRI");
        assert_eq!(read(&stamped("", None, 0)), Reading::Whole(STAMP));
        let early = Stamp { at: Wall::MIN, run: 0, ..STAMP };
        let mut bare = [0; STAMP_BYTES];
        write(early, None, 0, &mut bare, 0);
        assert_eq!(read(&bare), Reading::Whole(early));
    }

    #[test]
    fn any_other_byte_anywhere_is_noticed() {
        let message = stamped("<34>Oct 11 22:14:15 mymachine su: failed", Some(34), 4);
        for place in 0..message.len() {
            for other in (0..=255).filter(|&other| other != message[place]) {
                let mut changed = message.clone();
                changed[place] = other;
                assert_eq!(read(&changed), Reading::Corrupted, "byte {place} to {other}");
            }
        }
    }

    #[test]
    fn cut_messages_are_never_whole() {
        let text = "<34>Oct 11 22:14:15 mymachine su: failed";
        let message = stamped(text, Some(34), 4);
        for length in 0..message.len() {
            let marked = length >= text.len() + 5;
            let expected = if marked { Reading::Corrupted } else { Reading::Foreign };
            assert_eq!(read(&message[..length]), expected, "cut to {length}");
            let tail = read(&message[message.len() - length..]);
            assert!(length == text.len() + STAMP_BYTES - 4 || tail.stamp().is_none(), "{length}");
        }
    }

    #[test]
    fn what_nobody_stamped_is_foreign() {
        assert_eq!(read(b""), Reading::Foreign);
        assert_eq!(read(&[b'x'; 400]), Reading::Foreign);
        assert_eq!(read(b"<13>Oct 11 22:14:15 host app[7]: hello [a.b.c.d.e]"), Reading::Foreign);
    }

    impl Reading {
        fn stamp(self) -> Option<Stamp> {
            if let Self::Whole(stamp) = self { Some(stamp) } else { None }
        }
    }
}
