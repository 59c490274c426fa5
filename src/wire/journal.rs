//! The journal export format (systemd, `journalctl -o export`), entry by entry.
//!
//! ```text
//!   NAME=text LF                          a field that is text
//!   NAME LF <length, u64 LE> bytes LF     a field that is any bytes
//!   LF                                    the end of an entry
//! ```
//! Bytes come as they come; a field is kept when somebody wants it, as far as its limit goes, and
//! passed over otherwise: a core dump of a gigabyte costs no memory. What is no field makes the
//! entry `broken`: what was read of it is kept, and reading goes on at the next empty line.

use std::ops::Range;

use memchr::memchr;

/// A journal's longest field name.
const NAME_BYTES_MAX: usize = 64;

/// A field larger than any journal takes (DATA_SIZE_MAX): what was read as its length is none.
const FIELD_BYTES_MAX: u64 = 768 << 20;

/// Values of one name in an entry, and of all names.
const VALUES_MAX: usize = 256;

/// A wanted field: its name, and how many bytes of a value are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: Box<[u8]>,
    pub bytes_max: usize,
}

/// Reads entries.
#[derive(Debug)]
pub struct Reader {
    wanted: Vec<Wanted>,
    bytes_max: usize,
    state: State,
    name: Vec<u8>,
    bytes: Vec<u8>,
    /// Which of the wanted, and where in `bytes`.
    values: Vec<(usize, Range<usize>)>,
    /// Some field has begun in this entry.
    begun: bool,
    cut: bool,
    broken: bool,
    complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Name,
    /// A text value of a wanted field, or of one that is passed over.
    Text(Option<usize>),
    /// So many bytes of the length have come.
    Length(Option<usize>, usize, u64),
    Bytes(Option<usize>, u64),
    /// The newline behind them.
    Close,
    /// Not a field: on to the next empty line. True: a line has just ended.
    Lost(bool),
}

impl Reader {
    /// All values of an entry together keep at most `bytes_max`.
    pub fn new(wanted: Vec<Wanted>, bytes_max: usize) -> Self {
        Self {
            wanted,
            bytes_max,
            state: State::Name,
            name: Vec::with_capacity(NAME_BYTES_MAX),
            bytes: Vec::new(),
            values: Vec::with_capacity(VALUES_MAX),
            begun: false,
            cut: false,
            broken: false,
            complete: false,
        }
    }

    /// Takes bytes until an entry is complete: then it takes no more until `clear`. Returns how
    /// many were taken.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && !self.complete {
            at += self.step(&bytes[at..]);
        }
        at
    }

    /// An entry stands here whole.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Nothing more will come: what was begun is an entry, and broken unless it ends with a field.
    pub fn finish(&mut self) {
        if self.begun && !self.complete {
            self.broken |= self.state != State::Name || !self.name.is_empty();
            self.complete = true;
        }
    }

    /// Forgets the entry; the next one may come.
    pub fn clear(&mut self) {
        self.state = State::Name;
        self.name.clear();
        self.bytes.clear();
        self.values.clear();
        (self.begun, self.cut, self.broken, self.complete) = (false, false, false, false);
    }

    // ── the entry ──

    /// The first value of a field, by its place among the wanted.
    pub fn value(&self, index: usize) -> Option<&[u8]> {
        self.values(index).next()
    }

    /// All values of a field, in order.
    pub fn values(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        let of = self.values.iter().filter(move |(which, _)| *which == index);
        of.map(|(_, range)| &self.bytes[range.clone()])
    }

    /// A wanted value was longer than its limit, or there were too many.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The entry held something that is no field.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    // ── bytes ──

    /// Takes at least one byte.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match self.state {
            State::Name => self.name(bytes),
            State::Text(field) => {
                let end = memchr(b'\n', bytes);
                self.keep(field, &bytes[..end.unwrap_or(bytes.len())]);
                let Some(end) = end else { return bytes.len() };
                self.state = State::Name;
                end + 1
            }
            State::Length(field, have, length) => {
                let length = length | u64::from(bytes[0]) << (8 * have);
                self.state = match have + 1 {
                    8 if length > FIELD_BYTES_MAX => self.lost(false),
                    8 if length == 0 => State::Close,
                    8 => State::Bytes(field, length),
                    have => State::Length(field, have, length),
                };
                1
            }
            State::Bytes(field, left) => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.keep(field, &bytes[..here]);
                let left = left - here as u64;
                self.state = if left == 0 { State::Close } else { State::Bytes(field, left) };
                here
            }
            State::Close => {
                self.state = State::Name;
                if bytes[0] == b'\n' {
                    return 1;
                }
                self.state = self.lost(false);
                1
            }
            State::Lost(ended) => {
                let Some(end) = memchr(b'\n', bytes) else {
                    self.state = State::Lost(false);
                    return bytes.len();
                };
                self.state = State::Lost(true);
                self.complete = ended && end == 0;
                end + 1
            }
        }
    }

    fn name(&mut self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| !is_name(*byte));
        let part = &bytes[..end.unwrap_or(bytes.len())];
        if self.name.len() + part.len() > NAME_BYTES_MAX {
            self.state = self.lost(false);
            return part.len().max(1);
        }
        self.name.extend_from_slice(part);
        let Some(end) = end else { return bytes.len() };
        match bytes[end] {
            b'\n' if self.name.is_empty() => self.complete = self.begun,
            ending @ (b'=' | b'\n') if !self.name.is_empty() => {
                let field = self.wanted.iter().position(|wanted| *wanted.name == self.name[..]);
                let field = field.filter(|field| self.open(*field));
                self.begun = true;
                self.name.clear();
                self.state =
                    if ending == b'=' { State::Text(field) } else { State::Length(field, 0, 0) };
            }
            other => self.state = self.lost(other == b'\n'),
        }
        end + 1
    }

    /// A value begins. False: there are too many.
    fn open(&mut self, field: usize) -> bool {
        if self.values.len() == VALUES_MAX {
            self.cut = true;
            return false;
        }
        self.values.push((field, self.bytes.len()..self.bytes.len()));
        true
    }

    fn keep(&mut self, field: Option<usize>, part: &[u8]) {
        let Some(field) = field else { return };
        let (_, range) = self.values.last_mut().expect("a value is open");
        let own = self.wanted[field].bytes_max - range.len();
        let room = own.min(self.bytes_max - self.bytes.len());
        self.cut |= part.len() > room;
        self.bytes.extend_from_slice(&part[..part.len().min(room)]);
        range.end = self.bytes.len();
    }

    fn lost(&mut self, ended: bool) -> State {
        (self.begun, self.broken) = (true, true);
        State::Lost(ended)
    }
}

/// `_`, A to Z, 0 to 9; a little more is let pass, as journalctl does.
fn is_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reader(names: &[&str]) -> Reader {
        let wanted = |name: &&str| Wanted { name: name.as_bytes().into(), bytes_max: 100 };
        Reader::new(names.iter().map(wanted).collect(), 20_000)
    }

    /// Values, cut, broken.
    type Entry = (Vec<Vec<Vec<u8>>>, bool, bool);

    fn read(reader: &mut Reader, parts: &[&[u8]]) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut take = |reader: &mut Reader| {
            let of = |index| reader.values(index).map(<[u8]>::to_vec).collect();
            let values = (0..reader.wanted.len()).map(of).collect();
            entries.push((values, reader.is_cut(), reader.is_broken()));
            reader.clear();
        };
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                rest = &rest[reader.feed(rest)..];
                if reader.is_complete() {
                    take(reader);
                }
            }
        }
        reader.finish();
        if reader.is_complete() {
            take(reader);
        }
        entries
    }

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        let length = (value.len() as u64).to_le_bytes();
        [name.as_bytes(), b"\n", &length, value, b"\n"].concat()
    }

    fn one(values: &[&[&[u8]]], cut: bool, broken: bool) -> Entry {
        let values = values.iter().map(|all| all.iter().map(|value| value.to_vec()).collect());
        (values.collect(), cut, broken)
    }

    #[test]
    fn entries_of_text_and_bytes_are_read() {
        let stream = [
            &b"__CURSOR=s=1;i=2\nMESSAGE=a=b\nOTHER=\nMESSAGE=second\n\n\n"[..],
            &binary("MESSAGE", b"two\nlines\n\n"),
            &binary("COREDUMP", &[10; 5000]),
            &binary("__CURSOR", b""),
            b"\n",
        ]
        .concat();
        let mut reader = reader(&["MESSAGE", "__CURSOR"]);
        let expected = [
            one(&[&[b"a=b", b"second"], &[b"s=1;i=2"]], false, false),
            one(&[&[b"two\nlines\n\n"], &[b""]], false, false),
        ];
        assert_eq!(read(&mut reader, &[&stream]), expected);
        assert!(reader.bytes.capacity() < 1000, "what nobody wants costs no memory");
    }

    #[test]
    fn what_is_no_field_breaks_its_entry_and_no_other() {
        let long = format!("{}=1\nM=lost\n\nM=2\n\n", "N".repeat(65));
        let huge = [&b"M\n"[..], &u64::MAX.to_le_bytes(), b"whatever\n\nM=2\n\n"].concat();
        for stream in [
            &b"M=1\nno field\nM=lost\n\nM=2\n\n"[..],
            b"M=1\n=value\n\nM=2\n\n",
            b"M=1\nX\n\x01\0\0\0\0\0\0\0ab\nY=1\n\nM=2\n\n",
            &[b"M=1\n", long.as_bytes()].concat(),
        ] {
            let expected = [one(&[&[b"1"]], false, true), one(&[&[b"2"]], false, false)];
            assert_eq!(read(&mut reader(&["M"]), &[stream]), expected, "{}", stream.escape_ascii());
        }
        let expected = [one(&[&[b""]], false, true), one(&[&[b"2"]], false, false)];
        assert_eq!(read(&mut reader(&["M"]), &[&huge]), expected);
    }

    #[test]
    fn an_end_in_the_middle_is_told() {
        for (stream, broken) in
            [(&b"M=1\n"[..], false), (b"M=1", true), (b"M=1\nN", true), (b"M=1\nN\n\x05", true)]
        {
            let expected = [one(&[&[b"1"]], false, broken)];
            assert_eq!(read(&mut reader(&["M"]), &[stream]), expected, "{}", stream.escape_ascii());
        }
        assert_eq!(read(&mut reader(&["M"]), &[b"\n\n"]), []);
    }

    #[test]
    fn values_are_bounded() {
        let long = [b"M=".as_slice(), &[b'x'; 101], b"\nN=1\n\n"].concat();
        let expected = [one(&[&[&[b'x'; 100]], &[b"1"]], true, false)];
        assert_eq!(read(&mut reader(&["M", "N"]), &[&long]), expected);
        let long = [b"M=1234567890\n".repeat(3), b"\n".to_vec()].concat();
        let mut little = reader(&["M"]);
        little.bytes_max = 25;
        let expected = [one(&[&[b"1234567890", b"1234567890", b"12345"]], true, false)];
        assert_eq!(read(&mut little, &[&long]), expected);
        let many = [b"M=1\n".repeat(VALUES_MAX + 1), b"\n".to_vec()].concat();
        let entries = read(&mut reader(&["M"]), &[&many]);
        assert_eq!((entries[0].0[0].len(), entries[0].1), (VALUES_MAX, true));
    }

    proptest! {
        #[test]
        fn what_is_exported_is_read_however_it_comes(
            entries in prop::collection::vec(prop::collection::vec((
                0_usize..3, prop::collection::vec(any::<u8>(), 0..60), any::<bool>(),
            ), 1..6), 0..6),
            size in 1_usize..50,
        ) {
            let names = ["A", "B_2", "_PASSED"];
            let mut stream = Vec::new();
            let mut expected: Vec<Entry> = Vec::new();
            for fields in &entries {
                let mut values = vec![Vec::new(), Vec::new()];
                for (which, value, text) in fields {
                    let name = names[*which];
                    if *text && !value.contains(&b'\n') {
                        stream.extend([name.as_bytes(), b"=", value, b"\n"].concat());
                    } else {
                        stream.extend(binary(name, value));
                    }
                    if *which < 2 {
                        values[*which].push(value.clone());
                    }
                }
                stream.push(b'\n');
                expected.push((values, false, false));
            }
            let parts: Vec<&[u8]> = stream.chunks(size).collect();
            prop_assert_eq!(read(&mut reader(&names[..2]), &parts), expected);
        }

        #[test]
        fn any_bytes_are_survived(
            stream in prop::collection::vec(prop::sample::select(&b"M=\n\0\x01aZ"[..]), 0..200),
            size in 1_usize..50,
        ) {
            let parts: Vec<&[u8]> = stream.chunks(size).collect();
            let whole = read(&mut reader(&["M"]), &[&stream]);
            prop_assert_eq!(read(&mut reader(&["M"]), &parts), whole);
        }
    }
}
