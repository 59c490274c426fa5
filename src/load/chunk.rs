//! Composed events, framed one after the other, that the kernel has not taken yet.
//!
//! A chunk knows where each event ends and when it was due, so that whatever part of it a write
//! took, the number of whole events in it is exact.

use crate::syslog::compose::Composer;
use crate::syslog::stamp::Stamp;
use crate::time::Mono;

/// How messages follow each other on a stream (RFC 6587).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each message ends in LF.
    Newline,
    /// Each message begins with its length in digits and a blank.
    Octet,
}

impl Framing {
    pub const ALL: [(&'static str, Self); 2] = [("newline", Self::Newline), ("octet", Self::Octet)];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, one)| *one == self).expect("every framing has a name").0
    }
}

#[derive(Debug, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    /// What was taken, and what was composed.
    taken: usize,
    used: usize,
    marks: Vec<Mark>,
    /// The first event that is not wholly taken.
    first: usize,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    end: usize,
    due: Mono,
}

/// What a write finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) events: u64,
    /// When the first and the last of them were due.
    pub(super) first_due: Mono,
    pub(super) last_due: Mono,
}

/// `65507 `
const PREFIX_BYTES_MAX: usize = 6;

impl Chunk {
    pub(super) fn clear(&mut self) {
        (self.taken, self.used, self.first) = (0, 0, 0);
        self.marks.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first == self.marks.len()
    }

    pub(super) fn used_bytes(&self) -> usize {
        self.used
    }

    pub(super) fn events(&self) -> usize {
        self.marks.len()
    }

    /// Events that are not wholly taken.
    pub(super) fn left(&self) -> usize {
        self.marks.len() - self.first
    }

    /// Composes one more event; datagrams have no framing.
    pub(super) fn push(
        &mut self,
        composer: &mut Composer,
        framing: Option<Framing>,
        stamp: Stamp,
        due: Mono,
    ) {
        let room = self.used + PREFIX_BYTES_MAX + composer.room_bytes() + 1;
        if self.bytes.len() < room {
            self.bytes.resize(room.next_power_of_two(), 0);
        }
        let start = self.used;
        self.used += match framing {
            None => composer.compose(stamp, &mut self.bytes[start..]),
            Some(Framing::Newline) => {
                let length = composer.compose(stamp, &mut self.bytes[start..]);
                self.bytes[start + length] = b'\n';
                length + 1
            }
            Some(Framing::Octet) => {
                let body = start + PREFIX_BYTES_MAX;
                let length = composer.compose(stamp, &mut self.bytes[body..]);
                let prefix = write_count(length, &mut self.bytes[start..body]);
                self.bytes.copy_within(body..body + length, start + prefix);
                prefix + length
            }
        };
        self.marks.push(Mark { end: self.used, due });
    }

    /// What is still to be sent.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..self.used]
    }

    /// Where the events end in [`Chunk::rest`], `group` of them at a time.
    pub(super) fn ends(&self, group: usize) -> impl Iterator<Item = usize> {
        let taken = self.taken;
        let groups = self.marks[self.first..].chunks(group);
        groups.map(move |group| group[group.len() - 1].end - taken)
    }

    /// The kernel took so many bytes of the rest.
    pub(super) fn take_bytes(&mut self, bytes: usize) -> Taken {
        self.taken += bytes;
        let whole = self.marks[self.first..].partition_point(|mark| mark.end <= self.taken);
        self.finish(whole)
    }

    /// The kernel took so many whole events.
    pub(super) fn take_events(&mut self, events: usize) -> Taken {
        if events > 0 {
            self.taken = self.marks[self.first + events - 1].end;
        }
        self.finish(events)
    }

    fn finish(&mut self, events: usize) -> Taken {
        let done = &self.marks[self.first..self.first + events];
        self.first += events;
        let (Some(first), Some(last)) = (done.first(), done.last()) else {
            return Taken::default();
        };
        Taken { events: events as u64, first_due: first.due, last_due: last.due }
    }

    /// Whether a part of an event was taken.
    pub(super) fn is_cut(&self) -> bool {
        let start = self.first.checked_sub(1).map_or(0, |before| self.marks[before].end);
        self.taken > start
    }

    /// Moves what is not yet taken into a chunk of its own size.
    pub(super) fn split_rest(&self) -> Self {
        let begin = self.first.checked_sub(1).map_or(0, |before| self.marks[before].end);
        let moved = |mark: &Mark| Mark { end: mark.end - begin, ..*mark };
        Self {
            bytes: self.bytes[begin..self.used].to_vec(),
            taken: self.taken - begin,
            used: self.used - begin,
            marks: self.marks[self.first..].iter().map(moved).collect(),
            first: 0,
        }
    }
}

/// Writes `length` and a blank; returns how many bytes that was.
fn write_count(length: usize, out: &mut [u8]) -> usize {
    let (mut digits, mut rest) = (1, length / 10);
    while rest > 0 {
        (digits, rest) = (digits + 1, rest / 10);
    }
    rest = length;
    for place in out[..digits].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out[digits] = b' ';
    digits + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syslog::compose::Shape;
    use crate::syslog::stamp::{self, Reading};
    use crate::time::Wall;

    fn chunk(framing: Option<Framing>, events: u64) -> Chunk {
        let mut composer = Composer::new(Shape::default());
        let mut chunk = Chunk::default();
        for sequence in 0..events {
            let stamp = Stamp { run: 1, stream: 2, sequence, at: Wall(0) };
            chunk.push(&mut composer, framing, stamp, Mono(sequence * 10));
        }
        chunk
    }

    fn sequence(message: &[u8]) -> u64 {
        match stamp::read(message) {
            Reading::Whole(stamp) => stamp.sequence,
            other => panic!("{other:?}: {}", String::from_utf8_lossy(message)),
        }
    }

    #[test]
    fn newline_and_octet_frames_hold_the_same_messages() {
        let lines = chunk(Some(Framing::Newline), 100);
        let counted = chunk(Some(Framing::Octet), 100);
        let mut rest = counted.rest();
        for (number, line) in lines.rest().split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\n").unwrap();
            assert_eq!(sequence(line), number as u64);
            let blank = rest.iter().position(|byte| *byte == b' ').unwrap();
            let count = std::str::from_utf8(&rest[..blank]).unwrap();
            assert_eq!(count, line.len().to_string());
            assert_eq!(&rest[blank + 1..blank + 1 + line.len()], line);
            rest = &rest[blank + 1 + line.len()..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn counts_are_plain_digits() {
        for length in [0, 9, 10, 99, 100, 65_507] {
            let mut out = [b'#'; PREFIX_BYTES_MAX];
            let end = write_count(length, &mut out);
            assert_eq!(std::str::from_utf8(&out[..end]).unwrap(), format!("{length} "));
        }
    }

    #[test]
    fn whatever_part_is_taken_events_are_counted_exactly() {
        let whole = chunk(Some(Framing::Newline), 20);
        let total = whole.rest().len();
        for step in [1, 7, 190, 191, 500, total] {
            let mut chunk = chunk(Some(Framing::Newline), 20);
            let (mut events, mut sent) = (0, Vec::new());
            while !chunk.is_empty() {
                let piece = step.min(chunk.rest().len());
                sent.extend_from_slice(&chunk.rest()[..piece]);
                let taken = chunk.take_bytes(piece);
                events += taken.events;
                if taken.events > 0 {
                    assert_eq!(taken.last_due, Mono((events - 1) * 10));
                }
                let ends = whole.rest()[..sent.len()].iter().filter(|byte| **byte == b'\n');
                assert_eq!(events, ends.count() as u64);
                assert_eq!(chunk.is_cut(), sent.last() != Some(&b'\n'));
                chunk = chunk.split_rest();
            }
            assert_eq!((events, sent.as_slice()), (20, whole.rest()));
        }
    }

    #[test]
    fn datagrams_are_taken_whole_and_in_groups() {
        let mut chunk = chunk(None, 10);
        let ends: Vec<usize> = chunk.ends(4).collect();
        assert_eq!((ends.len(), ends[2]), (3, chunk.rest().len()));
        let taken = chunk.take_events(4);
        assert_eq!(taken, Taken { events: 4, first_due: Mono(0), last_due: Mono(30) });
        assert_eq!(chunk.ends(1).count(), 6);
        let first = chunk.ends(1).next().unwrap();
        assert_eq!(sequence(&chunk.rest()[..first]), 4);
        assert_eq!(chunk.take_events(0), Taken::default());
    }
}
