//! RELP's frame: `TXNR SP COMMAND SP DATALEN [SP DATA] LF`.
//!
//! A reader is given the bytes that have come and not been consumed, always from the same place on,
//! and says what stands in front. Data longer than it may keep comes in pieces, so that it need
//! never hold more than a header and `data_max` bytes.

use super::RelpError;

/// A transaction number: 1 to 999,999,999 and then 1 again; 0 is for hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Txnr(pub u32);

pub const TXNR_MAX: u32 = 999_999_999;
/// Nine digits.
pub const DATA_BYTES_MAX: usize = 999_999_999;
const DIGITS_MAX: usize = 9;
const COMMAND_BYTES_MAX: usize = 32;
/// Digits, command, digits, and a space behind each.
pub const HEADER_BYTES_MAX: usize = DIGITS_MAX + 1 + COMMAND_BYTES_MAX + 1 + DIGITS_MAX + 1;
/// Commands other than `syslog` carry offers or a status.
pub const CONTROL_BYTES_MAX: usize = 8 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub txnr: Txnr,
    pub command: &'a [u8],
    pub data: &'a [u8],
}

/// What stands in front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Nothing whole.
    More,
    Whole(Frame<'a>),
    /// A part of a `syslog` frame that is longer than `data_max`; all but the last are that long.
    Piece {
        txnr: Txnr,
        data: &'a [u8],
        first: bool,
        last: bool,
    },
}

#[derive(Debug)]
pub struct Reader {
    data_max: usize,
    /// The frame that comes in pieces: its number and the bytes of its data to come.
    rest: Option<(Txnr, usize)>,
}

struct Header<'a> {
    txnr: Txnr,
    command: &'a [u8],
    data_bytes: usize,
    /// Of the header, with the space in front of the data.
    bytes: usize,
}

impl Txnr {
    pub const FIRST: Self = Self(1);
    pub const HINT: Self = Self(0);

    pub fn next(self) -> Self {
        if self.0 == TXNR_MAX { Self::FIRST } else { Self(self.0 + 1) }
    }

    /// The number `count` behind this one.
    pub fn plus(self, count: u32) -> Self {
        let sum = u64::from(self.0) + u64::from(count);
        Self(((sum - 1) % u64::from(TXNR_MAX) + 1) as u32)
    }

    /// How many numbers lie between `earlier` and this one.
    pub fn since(self, earlier: Self) -> u32 {
        if self >= earlier { self.0 - earlier.0 } else { TXNR_MAX - earlier.0 + self.0 }
    }
}

impl std::fmt::Display for Txnr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Reader {
    pub fn new(data_max: usize) -> Self {
        Self { data_max: data_max.clamp(1, DATA_BYTES_MAX), rest: None }
    }

    /// The most bytes that can stand in front without being something whole.
    pub fn held_max(&self) -> usize {
        HEADER_BYTES_MAX + self.data_max.max(CONTROL_BYTES_MAX) + 1
    }

    /// What stands in front, and how many bytes it takes; nothing whole takes none.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, Item<'a>), RelpError> {
        if let Some((txnr, left)) = self.rest {
            return self.piece(txnr, left, 0, bytes);
        }
        let Some(header) = header(bytes)? else { return Ok((0, Item::More)) };
        let Header { txnr, command, data_bytes, bytes: start } = header;
        let syslog = command == b"syslog";
        let max = if syslog { self.data_max } else { CONTROL_BYTES_MAX };
        if data_bytes > max {
            if syslog {
                return self.piece(txnr, data_bytes, start, bytes);
            }
            let command = String::from_utf8_lossy(command).into_owned();
            return Err(RelpError::TooLong { command, bytes: data_bytes, max });
        }
        let end = start + data_bytes;
        match bytes.get(end) {
            None => Ok((0, Item::More)),
            Some(b'\n') => {
                let data = &bytes[start..end];
                Ok((end + 1, Item::Whole(Frame { txnr, command, data })))
            }
            Some(_) => Err(RelpError::Trailer { txnr }),
        }
    }

    /// The next piece of a long frame, whose data goes on at `start`.
    fn piece<'a>(
        &mut self,
        txnr: Txnr,
        left: usize,
        start: usize,
        bytes: &'a [u8],
    ) -> Result<(usize, Item<'a>), RelpError> {
        let end = start + left.min(self.data_max);
        let last = left <= self.data_max;
        let whole = end + usize::from(last);
        if bytes.len() < whole {
            return Ok((0, Item::More));
        }
        if last && bytes[end] != b'\n' {
            return Err(RelpError::Trailer { txnr });
        }
        let first = self.rest.is_none();
        self.rest = (!last).then(|| (txnr, left - self.data_max));
        Ok((whole, Item::Piece { txnr, data: &bytes[start..end], first, last }))
    }
}

/// The header in front, if all of it is there.
#[inline]
fn header(bytes: &[u8]) -> Result<Option<Header<'_>>, RelpError> {
    let Some((txnr, at)) = number(bytes, 0, RelpError::Txnr)? else { return Ok(None) };
    if bytes[at] != b' ' {
        return Err(RelpError::Txnr);
    }
    let from = at + 1;
    let mut at = from;
    while bytes.get(at).is_some_and(u8::is_ascii_alphabetic) {
        at += 1;
    }
    let length = at - from;
    match bytes.get(at) {
        _ if length > COMMAND_BYTES_MAX => return Err(RelpError::Command),
        None => return Ok(None),
        Some(b' ') if length > 0 => {}
        Some(_) => return Err(RelpError::Command),
    }
    let command = &bytes[from..at];
    let Some((data_bytes, at)) = number(bytes, at + 1, RelpError::Length)? else {
        return Ok(None);
    };
    // Without data there is no space either: the newline follows.
    let bytes = match bytes[at] {
        b' ' if data_bytes > 0 => at + 1,
        b'\n' if data_bytes == 0 => at,
        _ => return Err(RelpError::Length),
    };
    Ok(Some(Header { txnr: Txnr(txnr), command, data_bytes: data_bytes as usize, bytes }))
}

/// Digits at `from` and where they end, once something stands behind them.
#[inline]
fn number(bytes: &[u8], from: usize, wrong: RelpError) -> Result<Option<(u32, usize)>, RelpError> {
    let mut value = 0_u32;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'0'..=b'9' if at - from < DIGITS_MAX => {
                value = value * 10 + u32::from(byte - b'0');
            }
            b'0'..=b'9' => return Err(wrong),
            _ if at == from => return Err(wrong),
            _ => return Ok(Some((value, at))),
        }
    }
    Ok(None)
}

/// Writes a frame.
pub(super) fn write(txnr: Txnr, command: &[u8], data: &[u8], out: &mut Vec<u8>) {
    debug_assert!(data.len() <= DATA_BYTES_MAX);
    write_number(txnr.0, out);
    out.push(b' ');
    out.extend_from_slice(command);
    out.push(b' ');
    write_number(data.len() as u32, out);
    if !data.is_empty() {
        out.push(b' ');
        out.extend_from_slice(data);
    }
    out.push(b'\n');
}

fn write_number(value: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    let mut left = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Told = Vec<(u32, Vec<u8>, Vec<u8>, bool)>;

    /// Everything in a stream that arrives in `parts`; then the error, if there was one.
    fn read(parts: &[&[u8]], data_max: usize) -> (Told, Option<RelpError>) {
        let mut reader = Reader::new(data_max);
        let (mut held, mut told) = (Vec::new(), Vec::new());
        for part in parts {
            held.extend_from_slice(part);
            loop {
                let (count, item) = match reader.next(&held) {
                    Ok(next) => next,
                    Err(error) => return (told, Some(error)),
                };
                match item {
                    Item::More => {
                        assert_eq!(count, 0);
                        assert!(held.len() <= reader.held_max(), "{} held", held.len());
                        break;
                    }
                    Item::Whole(Frame { txnr, command, data }) => {
                        told.push((txnr.0, command.to_vec(), data.to_vec(), true));
                    }
                    Item::Piece { txnr, data, last, .. } => {
                        assert!(data.len() <= data_max && (last || data.len() == data_max));
                        told.push((txnr.0, b"syslog".to_vec(), data.to_vec(), last));
                    }
                }
                held.drain(..count);
            }
        }
        (told, None)
    }

    fn frame(txnr: u32, command: &str, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(Txnr(txnr), command.as_bytes(), data, &mut out);
        out
    }

    #[test]
    fn frames_look_as_the_specification_has_them() {
        assert_eq!(frame(2, "syslog", b"<13>hi"), b"2 syslog 6 <13>hi\n");
        assert_eq!(frame(4, "close", b""), b"4 close 0\n");
        assert_eq!(frame(TXNR_MAX, "rsp", b"200 OK"), b"999999999 rsp 6 200 OK\n");
    }

    #[test]
    fn numbers_go_round() {
        assert_eq!(Txnr(TXNR_MAX).next(), Txnr::FIRST);
        assert_eq!(Txnr(7).plus(3), Txnr(10));
        assert_eq!(Txnr(TXNR_MAX - 1).plus(3), Txnr(2));
        assert_eq!(Txnr(2).since(Txnr(TXNR_MAX - 1)), 3);
        assert_eq!(Txnr(5).since(Txnr(5)), 0);
    }

    #[test]
    fn what_is_malformed_is_named() {
        let (txnr, command, length) = (RelpError::Txnr, RelpError::Command, RelpError::Length);
        for (text, error) in [
            ("x 1 2\n", txnr.clone()),
            (" syslog 1 a\n", txnr.clone()),
            ("-1 syslog 1 a\n", txnr.clone()),
            ("1234567890 syslog 1 a\n", txnr.clone()),
            ("12\tsyslog 1 a\n", txnr.clone()),
            ("\x16\x03\x01\x02", txnr.clone()),
            ("<13>a line of plain syslog\n", txnr),
            ("1  1 a\n", command.clone()),
            ("1 sys-log 1 a\n", command.clone()),
            ("1 abcdefghijabcdefghijabcdefghijabc 1 a\n", command.clone()),
            ("1 abcdefghijabcdefghijabcdefghijabcd", command),
            ("1 syslog 1234567890 a\n", length.clone()),
            ("1 syslog x\n", length.clone()),
            ("1 syslog 0 \n", length.clone()),
            ("1 syslog 1\na\n", length),
            ("7 syslog 3 abcd\n", RelpError::Trailer { txnr: Txnr(7) }),
        ] {
            let (told, got) = read(&[text.as_bytes()], 64);
            assert_eq!(told, [], "{text}");
            assert_eq!(got, Some(error), "{text}");
        }
        let long = [&b"1 open 8193 "[..], &[b'x'; 100]].concat();
        let error = RelpError::TooLong { command: "open".into(), bytes: 8193, max: 8192 };
        assert_eq!(read(&[&long], 1 << 20).1, Some(error));
    }

    #[test]
    fn a_long_message_comes_in_pieces() {
        let data: Vec<u8> = (0..200).collect();
        let stream = [frame(9, "syslog", &data), frame(10, "syslog", b"x")].concat();
        for size in [1, 7, 64, 1000] {
            let parts: Vec<&[u8]> = stream.chunks(size).collect();
            let (told, error) = read(&parts, 64);
            assert_eq!(error, None);
            let lengths: Vec<_> = told.iter().map(|it| (it.0, it.2.len(), it.3)).collect();
            let expected =
                [(9, 64, false), (9, 64, false), (9, 64, false), (9, 8, true), (10, 1, true)];
            assert_eq!(lengths, expected);
            let whole: Vec<u8> = told[..4].iter().flat_map(|it| it.2.clone()).collect();
            assert_eq!(whole, data);
        }
        let torn = [&b"9 syslog 65 "[..], &[b'x'; 66]].concat();
        let (told, error) = read(&[&torn], 64);
        assert_eq!((told.len(), error), (1, Some(RelpError::Trailer { txnr: Txnr(9) })));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_arrives(
            frames in prop::collection::vec(
                (1_u32..=TXNR_MAX, "[a-zA-Z]{1,32}", prop::collection::vec(any::<u8>(), 0..99)),
                0..12),
            size in 1_usize..64,
        ) {
            let mut stream = Vec::new();
            for (txnr, command, data) in &frames {
                write(Txnr(*txnr), command.as_bytes(), data, &mut stream);
            }
            let parts: Vec<&[u8]> = stream.chunks(size).collect();
            let expected: Told = frames
                .into_iter()
                .map(|(txnr, command, data)| (txnr, command.into_bytes(), data, true))
                .collect();
            prop_assert_eq!(read(&parts, 100), (expected, None));
        }

        #[test]
        fn any_bytes_split_anywhere_tell_the_same(
            bytes in prop::collection::vec(
                prop::sample::select(&b"0123 9\nsyslog rsp 1 2 3\n"[..]), 0..60),
            at in 0_usize..60,
        ) {
            let (front, back) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(read(&[front, back], 4), read(&[&bytes], 4));
        }
    }
}
