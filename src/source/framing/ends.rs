//! Where lines may end: the places of LF and NUL, in order, and of two control bytes that hardly
//! ever come.
//!
//! ```text
//!   64 bytes   …sshd[1]: refused LF <38>Nov 22…     compared 16 at a time
//!   64 bits    …0000000000000000  1 00000000000…    the lowest that is set: the next end
//! ```
//! A search that begins anew behind each line (memchr) sets up and winds down for each; over lines
//! of 190 bytes this takes half of its time, over longer ones about as much.
//!
//! LF is 0000 1010 and NUL is nothing: without the bits of LF both are nothing, and one comparison
//! finds them; STX (2) and BS (8), too, which the byte itself tells whoever asks.

use wide::u8x16;

const WORD: usize = u64::BITS as usize;
const LANES: usize = 16;

pub(super) struct Ends<'bytes> {
    /// What was not looked at yet.
    rest: &'bytes [u8],
    /// Where the bytes of `bits` begin.
    base: usize,
    /// Those that were not told yet.
    bits: u64,
}

impl<'bytes> Ends<'bytes> {
    pub(super) fn of(bytes: &'bytes [u8]) -> Self {
        Self { rest: bytes, base: 0_usize.wrapping_sub(WORD), bits: 0 }
    }
}

impl Iterator for Ends<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            self.bits = match self.rest.split_first_chunk() {
                Some((word, rest)) => {
                    self.rest = rest;
                    ends_in(word)
                }
                None if self.rest.is_empty() => return None,
                None => last(std::mem::take(&mut self.rest)),
            };
            self.base = self.base.wrapping_add(WORD);
        }
        let at = self.base + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(at)
    }
}

/// One bit for each byte, the first byte's the lowest.
#[inline]
fn ends_in(word: &[u8; WORD]) -> u64 {
    let (others, none) = (u8x16::splat(!b'\n'), u8x16::splat(0));
    let (parts, _) = word.as_chunks::<LANES>();
    parts.iter().rev().fold(0, |bits, part| {
        let found = (u8x16::new(*part) & others).simd_eq(none);
        bits << LANES | u64::from(found.to_bitmask())
    })
}

/// Fewer bytes than a word has bits.
#[inline(never)]
fn last(bytes: &[u8]) -> u64 {
    let mut word = [b' '; WORD];
    word[..bytes.len()].copy_from_slice(bytes);
    ends_in(&word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(bytes: &[u8]) -> Vec<usize> {
        Ends::of(bytes).collect()
    }

    fn expected(bytes: &[u8]) -> Vec<usize> {
        (0..bytes.len()).filter(|at| matches!(bytes[*at], 0 | 2 | 8 | b'\n')).collect()
    }

    #[test]
    fn an_end_is_found_at_every_place_of_every_length() {
        for length in 0..3 * WORD {
            assert!(told(&vec![b'x'; length]).is_empty());
            assert_eq!(told(&vec![b'\n'; length]), (0..length).collect::<Vec<_>>());
            for at in 0..length {
                let mut bytes = vec![b'x'; length];
                bytes[at] = if at % 2 == 0 { b'\n' } else { 0 };
                assert_eq!(told(&bytes), [at], "of {length}");
            }
        }
    }

    #[test]
    fn no_other_byte_is_an_end() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(told(&all), [0, 2, 8, 10]);
    }

    proptest! {
        #[test]
        fn ends_are_told_as_byte_by_byte(bytes in prop::collection::vec(prop_oneof![
            3 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(0)
        ], 0..500)) {
            prop_assert_eq!(told(&bytes), expected(&bytes));
        }
    }
}
