//! What is sent: the messages of `flumen blast`, composed once, sent round and round, so that the
//! sender costs next to nothing and everybody gets the same bytes.
//!
//! 32,768 different messages are some six megabytes: far beyond what a compressor at level 1
//! remembers, so a repetition helps none of them.

use flumen::syslog::compose::{Composer, Shape};
use flumen::syslog::stamp::Stamp;
use flumen::time::Wall;

const MESSAGES: usize = 32_768;
/// Any moment does; the same at every run.
const START_NS: i64 = 1_795_231_188_000_000_000;

pub(crate) struct Text {
    bytes: Vec<u8>,
    /// Where each message ends, its newline included.
    ends: Vec<usize>,
}

impl Text {
    /// Messages around 190 bytes, each with its newline: what goes through a connection.
    pub(crate) fn lines() -> Self {
        Self::compose(Shape::default(), true)
    }

    /// The same from so many hosts.
    pub(crate) fn of_hosts(hosts: u32) -> Self {
        Self::compose(Shape { hosts, ..Shape::default() }, true)
    }

    /// The same without newlines: each is a datagram.
    pub(crate) fn datagrams() -> Self {
        Self::compose(Shape::default(), false)
    }

    /// All of exactly 190 bytes, as segmentation wants them.
    pub(crate) fn equal_datagrams() -> Self {
        Self::compose(Shape { equal: true, ..Shape::default() }, false)
    }

    fn compose(shape: Shape, newline: bool) -> Self {
        let mut composer = Composer::new(shape);
        let mut message = vec![0; composer.room_bytes()];
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(MESSAGES));
        for sequence in 0..MESSAGES as u64 {
            let at = Wall(START_NS + sequence as i64 * 1000);
            let stamp = Stamp { run: 1, stream: 1, sequence, at };
            let length = composer.compose(stamp, &mut message);
            bytes.extend_from_slice(&message[..length]);
            if newline {
                bytes.push(b'\n');
            }
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn messages(&self) -> u64 {
        MESSAGES as u64
    }

    /// The bytes of `events` messages, round and round from the first.
    pub(crate) fn bytes_of(&self, events: u64) -> u64 {
        let (rounds, rest) = (events / self.messages(), (events % self.messages()) as usize);
        rounds * self.bytes.len() as u64 + self.start(rest) as u64
    }

    /// Where message `index` begins; `index` may be the number of messages.
    pub(crate) fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    pub(crate) fn ends(&self) -> &[usize] {
        &self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_they_are_called() {
        let lines = Text::lines();
        let newlines = memchr::memchr_iter(b'\n', lines.bytes()).map(|at| at + 1);
        assert!(newlines.eq(lines.ends().iter().copied()));
        let twice_and_one = lines.bytes_of(2 * lines.messages() + 1);
        assert_eq!(twice_and_one, 2 * lines.bytes().len() as u64 + lines.ends()[0] as u64);

        let equal = Text::equal_datagrams();
        assert!(
            equal.bytes().chunks(190).zip(1..).all(|(it, n)| equal.ends()[n - 1] == n * it.len())
        );
    }
}
