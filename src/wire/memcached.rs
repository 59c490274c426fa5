//! The receiving side of memcached's text protocol, for a server that keeps nothing: what is stored
//! is an event, and a question for it is always a miss.
//!
//! ```text
//!   set KEY FLAGS EXPTIME BYTES [noreply] CR LF     one line, at most LINE_BYTES_MAX
//!   VALUE CR LF                                     BYTES bytes
//! ```
//! `add` is the same. Each command has one answer, in order, and after a wrong one the session goes
//! on in step: the value of a store that is refused is passed over, and a line that is too long up
//! to its end. What must be held is a line and the longest value.

use memchr::memchr;

/// A command line, its end among it; questions for many keys may be longer.
pub const LINE_BYTES_MAX: usize = 2048;
/// As memcached has it.
pub const KEY_BYTES_MAX: usize = 250;
/// The longest value that can be announced, as memcached's: longer ones are no numbers.
const ANNOUNCED_BYTES_MAX: u64 = (1 << 31) - 3;
/// The first byte of a request in the binary protocol.
const BINARY: u8 = 0x80;
/// Words of a line that are looked at.
const WORDS_MAX: usize = 8;

/// What the peer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Nothing whole: more bytes are needed.
    More,
    Store(Store<'a>),
    /// It has this answer.
    Said(Reply),
    /// It is done, or passed over, and has no answer.
    Silent,
    /// It was refused and wants no answer.
    Refused(Reply),
    /// No more comes.
    Quit,
    /// It speaks the binary protocol: nothing can be made of what comes.
    Binary,
}

/// A value to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    pub key: &'a [u8],
    /// As they were written: an unsigned number, and a number.
    pub flags: &'a [u8],
    pub exptime: &'a [u8],
    pub value: &'a [u8],
    /// It is not to be answered.
    pub quiet: bool,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Stored,
    NotStored,
    NotFound,
    End,
    Fine,
    Version,
    Unknown,
    BadLine,
    LineTooLong,
    BadChunk,
    Meta,
    TooLarge,
    NoMemory,
    Lost,
}

impl Reply {
    pub fn text(self) -> &'static str {
        match self {
            Self::Stored => "STORED\r\n",
            Self::NotStored => "NOT_STORED\r\n",
            Self::NotFound => "NOT_FOUND\r\n",
            Self::End => "END\r\n",
            Self::Fine => "OK\r\n",
            // Clients read three numbers and think of a memcached, libmemcached none of a first 0.
            Self::Version => concat!("VERSION 1.4.0-flumen-", env!("CARGO_PKG_VERSION"), "\r\n"),
            Self::Unknown => "ERROR\r\n",
            Self::BadLine => "CLIENT_ERROR bad command line format\r\n",
            Self::LineTooLong => "CLIENT_ERROR line too long\r\n",
            Self::BadChunk => "CLIENT_ERROR bad data chunk\r\n",
            Self::Meta => "CLIENT_ERROR no meta commands here: send set or add\r\n",
            Self::TooLarge => "SERVER_ERROR object too large for cache\r\n",
            Self::NoMemory => "SERVER_ERROR out of memory storing object\r\n",
            Self::Lost => "SERVER_ERROR the event was lost behind this source\r\n",
        }
    }

    /// A command that was wrong, or a value that was not taken.
    pub fn is_fault(self) -> bool {
        !matches!(
            self,
            Self::Stored
                | Self::NotStored
                | Self::NotFound
                | Self::End
                | Self::Fine
                | Self::Version
        )
    }
}

#[derive(Debug)]
pub struct Session {
    value_bytes_max: usize,
    /// What is passed over, and what is said behind it.
    skip: Option<Skip>,
    begun: bool,
}

/// So many bytes, and then up to the end of a line.
#[derive(Clone, Copy, Debug)]
struct Skip {
    bytes: usize,
    then: Reply,
    quiet: bool,
}

/// What a line asks for.
enum Line<'a> {
    Store(Store<'a>, usize),
    /// A value of so many bytes follows it, and is not taken.
    Refused(Reply, usize, bool),
    Said(Reply),
    Silent,
    Quit,
}

impl Session {
    /// Values longer than `value_bytes_max` are refused.
    pub fn new(value_bytes_max: usize) -> Self {
        Self { value_bytes_max, skip: None, begun: false }
    }

    /// The most bytes that can stand in front without being something whole.
    pub const fn held_max(value_bytes_max: usize) -> usize {
        LINE_BYTES_MAX + value_bytes_max + 2
    }

    /// What stands in front of `bytes`, and how many of them it takes. Something that is passed
    /// over takes bytes and is `More`. After `Quit` and `Binary` nothing more is heard.
    #[inline]
    pub fn hear<'a>(&mut self, bytes: &'a [u8]) -> (usize, Heard<'a>) {
        if self.skip.is_some() {
            return self.pass_over(bytes);
        }
        if !self.begun && bytes.first() == Some(&BINARY) {
            return (0, Heard::Binary);
        }
        self.begun |= !bytes.is_empty();
        let front = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
        let Some(end) = memchr(b'\n', front) else {
            if front.len() < LINE_BYTES_MAX {
                return (0, Heard::More);
            }
            let then = if is_question(front) { Reply::End } else { Reply::LineTooLong };
            return self.skip(front.len(), Skip { bytes: 0, then, quiet: false }, bytes);
        };
        let (line, start) = (&bytes[..end], end + 1);
        match read(line.strip_suffix(b"\r").unwrap_or(line), self.value_bytes_max) {
            Line::Store(store, length) => self.value(store, start, length, bytes),
            Line::Refused(then, length, quiet) => {
                self.skip(start, Skip { bytes: length, then, quiet }, bytes)
            }
            Line::Said(reply) => (start, Heard::Said(reply)),
            Line::Silent => (start, Heard::Silent),
            Line::Quit => (start, Heard::Quit),
        }
    }

    /// The value of a store, which begins at `start`. LF alone ends it, too.
    #[inline]
    fn value<'a>(
        &mut self,
        store: Store<'a>,
        start: usize,
        length: usize,
        bytes: &'a [u8],
    ) -> (usize, Heard<'a>) {
        let end = start + length;
        let taken = match bytes.get(end..) {
            Some([b'\r', b'\n', ..]) => end + 2,
            Some([b'\n', ..]) => end + 1,
            None | Some([] | [b'\r']) => return (0, Heard::More),
            Some(_) => {
                let skip = Skip { bytes: 0, then: Reply::BadChunk, quiet: store.quiet };
                return self.skip(end, skip, bytes);
            }
        };
        (taken, Heard::Store(Store { value: &bytes[start..end], ..store }))
    }

    /// The value that is held can be held no longer: it is passed over as it comes. False: what is
    /// held is no value, and nobody knows where it ends.
    pub fn give_up(&mut self, held: &[u8]) -> bool {
        let Some(end) = memchr(b'\n', held) else { return false };
        let line = &held[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Line::Store(store, length) = read(line, self.value_bytes_max) else { return false };
        let skip = Skip { bytes: length, then: Reply::NoMemory, quiet: store.quiet };
        let (taken, heard) = self.skip(end + 1, skip, held);
        debug_assert!(taken == held.len() && heard == Heard::More, "it was not whole");
        true
    }

    /// Begins to pass over, `at` bytes from the front on.
    fn skip<'a>(&mut self, at: usize, skip: Skip, bytes: &'a [u8]) -> (usize, Heard<'a>) {
        self.skip = Some(skip);
        let (count, heard) = self.pass_over(&bytes[at..]);
        (at + count, heard)
    }

    fn pass_over<'a>(&mut self, bytes: &'a [u8]) -> (usize, Heard<'a>) {
        let Some(skip) = &mut self.skip else { return (0, Heard::More) };
        let over = skip.bytes.min(bytes.len());
        skip.bytes -= over;
        let Skip { then, quiet, .. } = *skip;
        match memchr(b'\n', &bytes[over..]) {
            None => (bytes.len(), Heard::More),
            Some(end) => {
                self.skip = None;
                let heard = if quiet { Heard::Refused(then) } else { Heard::Said(then) };
                (over + end + 1, heard)
            }
        }
    }
}

/// A question for keys, however many.
fn is_question(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b' ').next();
    matches!(name, Some(b"get" | b"gets" | b"gat" | b"gats"))
}

#[inline]
fn read(line: &[u8], value_bytes_max: usize) -> Line<'_> {
    let mut words = [&line[..0]; WORDS_MAX];
    let mut count = 0;
    for word in line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).take(WORDS_MAX) {
        words[count] = word;
        count += 1;
    }
    let words = &words[..count];
    let Some((&name, rest)) = words.split_first() else { return Line::Said(Reply::Unknown) };
    match name {
        b"set" | b"add" => store(rest, None, value_bytes_max),
        // There is nothing to be replaced or added to.
        b"replace" | b"append" | b"prepend" => store(rest, Some(Reply::NotStored), value_bytes_max),
        b"cas" => store(rest, Some(Reply::NotFound), value_bytes_max),
        b"ms" => match rest.get(1).and_then(|word| announced(word)) {
            Some(length) => Line::Refused(Reply::Meta, length, false),
            None => Line::Said(Reply::BadLine),
        },
        _ => plain(name, rest),
    }
}

/// A command without a value.
fn plain<'a>(name: &[u8], rest: &[&[u8]]) -> Line<'a> {
    let said = |least: usize, most: usize, reply: Reply| {
        let quiet = rest.last() == Some(&&b"noreply"[..]);
        match rest.len() - usize::from(quiet) {
            count if count < least => Line::Said(Reply::Unknown),
            count if count > most => Line::Said(Reply::BadLine),
            _ if quiet => Line::Silent,
            _ => Line::Said(reply),
        }
    };
    match name {
        b"get" | b"gets" if !rest.is_empty() => Line::Said(Reply::End),
        b"gat" | b"gats" if rest.len() > 1 => Line::Said(Reply::End),
        b"delete" => said(1, 2, Reply::NotFound),
        b"incr" | b"decr" | b"touch" => said(2, 2, Reply::NotFound),
        b"flush_all" => said(0, 1, Reply::Fine),
        b"verbosity" => said(1, 1, Reply::Fine),
        b"version" if rest.is_empty() => Line::Said(Reply::Version),
        b"stats" => Line::Said(Reply::End),
        b"quit" if rest.is_empty() => Line::Quit,
        _ => Line::Said(Reply::Unknown),
    }
}

/// `KEY FLAGS EXPTIME BYTES [UNIQUE] [noreply]`; with `instead` it is answered so.
#[inline]
fn store<'a>(words: &[&'a [u8]], instead: Option<Reply>, value_bytes_max: usize) -> Line<'a> {
    let [key, flags, exptime, bytes, rest @ ..] = words else {
        return Line::Said(Reply::Unknown);
    };
    // memcached answers so, too; and where the value ends nobody knows.
    let Some(length) = announced(bytes) else { return Line::Said(Reply::BadChunk) };
    let (rest, quiet) = match rest {
        [rest @ .., b"noreply"] => (rest, true),
        rest => (rest, false),
    };
    let unique = match (rest, instead) {
        ([], None | Some(Reply::NotStored)) => true,
        ([unique], Some(Reply::NotFound)) => number(unique, u64::MAX).is_some(),
        _ => false,
    };
    let exact = number(flags, u64::from(u32::MAX)).is_some()
        && number(exptime.strip_prefix(b"-").unwrap_or(exptime), i64::MAX as u64).is_some();
    if key.len() > KEY_BYTES_MAX || !unique || !exact {
        return Line::Refused(Reply::BadLine, length, quiet);
    }
    if length > value_bytes_max {
        return Line::Refused(Reply::TooLarge, length, quiet);
    }
    match instead {
        Some(reply) => Line::Refused(reply, length, quiet),
        None => Line::Store(Store { key, flags, exptime, value: &[], quiet }, length),
    }
}

fn announced(word: &[u8]) -> Option<usize> {
    usize::try_from(number(word, ANNOUNCED_BYTES_MAX)?).ok()
}

/// Digits, of a number up to `most`.
#[inline]
fn number(word: &[u8], most: u64) -> Option<u64> {
    let digit = |sum: u64, byte: &u8| {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        sum.checked_mul(10)?.checked_add(digit).filter(|_| digit < 10)
    };
    let sum = word.iter().try_fold(0, digit).filter(|_| !word.is_empty());
    sum.filter(|sum| *sum <= most)
}

#[cfg(test)]
mod tests;
