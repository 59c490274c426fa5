//! Room for many small open blocks at once: chunks out of one piece of memory.
//!
//! Ten thousand keys have ten thousand open blocks, most of them small, any of them large at times.
//! A buffer each would be as large as the largest it ever held; chunks go to whoever needs them and
//! come back, the one freed last first, so that memory no peak has touched stays untouched.
//!
//! ```text
//!   chain:  first ──▶ chunk ──▶ chunk ──▶ last (partly filled)         free ──▶ chunk ──▶ …
//! ```

use crate::sys::mapping::Mapping;

/// Small: each open block wastes half of one. Large enough that copying pays for the link.
pub(super) const CHUNK_BYTES: usize = 1 << 10;

const NONE: u32 = u32::MAX;

/// Of a cache, and how many of them an event takes.
const LINE_BYTES: usize = 64;
const LINES: usize = 4;

pub(super) struct Arena {
    bytes: Mapping,
    /// Of each chunk, the one behind it in its chain or in the free list.
    next: Vec<u32>,
    free: u32,
    free_chunks: usize,
}

/// The bytes of one open block.
pub(super) struct Chain {
    first: u32,
    last: u32,
    pub(super) chunks: usize,
    pub(super) bytes: usize,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE, chunks: 0, bytes: 0 };

    pub(super) fn is_empty(&self) -> bool {
        self.chunks == 0
    }
}

impl Arena {
    pub(super) fn new(bytes: usize) -> Self {
        let chunks = bytes / CHUNK_BYTES;
        let count = u32::try_from(chunks).expect("an arena is smaller than 4 TiB");
        Self {
            bytes: Mapping::in_large_pages((chunks * CHUNK_BYTES).max(1))
                .unwrap_or_else(|error| panic!("no memory for {bytes} bytes of blocks: {error}")),
            next: (1..count).chain([NONE]).collect(),
            free: if count == 0 { NONE } else { 0 },
            free_chunks: chunks,
        }
    }

    /// Whether so many bytes more fit behind the chain.
    pub(super) fn fits(&self, chain: &Chain, bytes: usize) -> bool {
        let room = chain.chunks * CHUNK_BYTES - chain.bytes;
        // An open block has a chunk, whatever is in it.
        let needed = bytes.saturating_sub(room).div_ceil(CHUNK_BYTES);
        needed.max(usize::from(chain.is_empty())) <= self.free_chunks
    }

    /// Copies `bytes` behind the chain. The caller saw that they fit.
    pub(super) fn append(&mut self, chain: &mut Chain, mut bytes: &[u8]) {
        if chain.is_empty() {
            self.grow(chain);
        }
        loop {
            let room = chain.chunks * CHUNK_BYTES - chain.bytes;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            let end = (chain.last as usize + 1) * CHUNK_BYTES - room;
            self.bytes[end..end + now.len()].copy_from_slice(now);
            chain.bytes += now.len();
            if later.is_empty() {
                return;
            }
            bytes = later;
            self.grow(chain);
        }
    }

    /// Fetches what the next event is copied to: as much of it as most have. Says what it found,
    /// so that nobody can say it was not looked at.
    #[inline]
    pub(super) fn touch(&self, chain: &Chain) -> u64 {
        if chain.is_empty() {
            return 0;
        }
        let room = chain.chunks * CHUNK_BYTES - chain.bytes;
        let end = (chain.last as usize + 1) * CHUNK_BYTES;
        let lines = self.bytes[end - room..end].iter().step_by(LINE_BYTES).take(LINES);
        lines.fold(0, |sum, byte| sum ^ u64::from(*byte))
    }

    /// Moves what the chain holds behind `out`; its chunks are free again.
    pub(super) fn take(&mut self, chain: &mut Chain, out: &mut Vec<u8>) {
        let mut left = chain.bytes;
        let mut at = chain.first;
        while at != NONE {
            let start = at as usize * CHUNK_BYTES;
            let length = left.min(CHUNK_BYTES);
            out.extend_from_slice(&self.bytes[start..start + length]);
            left -= length;
            let next = self.next[at as usize];
            self.next[at as usize] = self.free;
            self.free = at;
            at = next;
        }
        self.free_chunks += chain.chunks;
        *chain = Chain::EMPTY;
    }

    fn grow(&mut self, chain: &mut Chain) {
        let chunk = self.free;
        assert!(chunk != NONE, "the caller saw that it fits");
        self.free = self.next[chunk as usize];
        self.free_chunks -= 1;
        self.next[chunk as usize] = NONE;
        match chain.last {
            NONE => chain.first = chunk,
            last => self.next[last as usize] = chunk,
        }
        chain.last = chunk;
        chain.chunks += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chains grow in turns, so that each one's chunks lie scattered.
    #[test]
    fn what_was_appended_is_taken_and_every_chunk_comes_back() {
        let mut arena = Arena::new(64 * CHUNK_BYTES);
        for round in 0..50_usize {
            let mut chains: Vec<(Chain, Vec<u8>)> =
                (0..5).map(|_| (Chain::EMPTY, Vec::new())).collect();
            for step in 0..40_usize {
                let (chain, expected) = &mut chains[step % 5];
                let text = vec![step as u8; (round * 97 + step * 31) % 1600];
                arena.append(chain, &text);
                expected.extend_from_slice(&text);
                assert_eq!(chain.bytes, expected.len());
            }
            for (mut chain, expected) in chains {
                let mut out = Vec::new();
                arena.take(&mut chain, &mut out);
                assert_eq!(out, expected);
                assert!(chain.is_empty());
            }
            assert_eq!(arena.free_chunks, 64);
        }
    }

    #[test]
    fn it_says_what_fits_to_the_byte() {
        let mut arena = Arena::new(3 * CHUNK_BYTES);
        let mut chain = Chain::EMPTY;
        assert!(arena.fits(&chain, 3 * CHUNK_BYTES) && !arena.fits(&chain, 3 * CHUNK_BYTES + 1));
        arena.append(&mut chain, &[1; CHUNK_BYTES + 24]);
        let rest = 2 * CHUNK_BYTES - 24;
        assert!(arena.fits(&chain, rest) && !arena.fits(&chain, rest + 1));
        assert!(arena.fits(&Chain::EMPTY, CHUNK_BYTES) && !arena.fits(&Chain::EMPTY, 1025));
        arena.append(&mut chain, &vec![2; rest]);
        assert!(arena.fits(&chain, 0) && !arena.fits(&chain, 1));
        assert!(!arena.fits(&Chain::EMPTY, 0), "an open block has a chunk");
    }
}
