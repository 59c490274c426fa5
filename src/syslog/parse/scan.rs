//! Finding where words end, eight bytes at a time. Words in headers are short: a call into a
//! vector routine would cost more than the search.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

#[inline(always)]
fn chunk(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

/// High bits where a byte is below `limit` (at most 128); the lowest one is exact, which is the
/// only one that is asked for.
#[inline(always)]
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(LOW * u64::from(limit)) & !word & HIGH
}

#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (LOW * u64::from(byte)), 1)
}

/// Where the first blank or control byte stands at or behind `from`; the length if none does.
#[inline(always)]
pub(super) fn word_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = chunk(bytes, at) {
        let hit = below(word, b' ' + 1);
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    tail(bytes, at, |byte| byte <= b' ')
}

/// Where a tag may end: a blank or control byte, `:` or `[`.
#[inline(always)]
pub(super) fn tag_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = chunk(bytes, at) {
        let hit = below(word, b' ' + 1) | equal(word, b':') | equal(word, b'[');
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    tail(bytes, at, |byte| byte <= b' ' || byte == b':' || byte == b'[')
}

/// Where a quoted value may end: `"`, `\` or `]`.
#[inline(always)]
pub(super) fn value_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = chunk(bytes, at) {
        // `\` and `]` differ in their lowest bit alone.
        let hit = equal(word, b'"') | equal(word | LOW, b']');
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    tail(bytes, at, |byte| matches!(byte, b'"' | b'\\' | b']'))
}

/// Where a name in structured data ends: a blank or control byte, `=`, `]` or `"`.
#[inline(always)]
pub(super) fn name_end(bytes: &[u8], from: usize) -> usize {
    let ends = |byte: u8| byte <= b' ' || matches!(byte, b'=' | b']' | b'"');
    let mut at = from;
    while let Some(word) = chunk(bytes, at) {
        // `!` and `}` are caught too, which names have seldom: looked at and passed over.
        let hit = below(word, b'"' + 1) | equal(word & (LOW * 0x1F), 0x1D);
        if hit == 0 {
            at += 8;
            continue;
        }
        let found = at + (hit.trailing_zeros() / 8) as usize;
        if ends(bytes[found]) {
            return found;
        }
        at = found + 1;
    }
    tail(bytes, at, ends)
}

#[inline(always)]
fn tail(bytes: &[u8], from: usize, ends: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| ends(byte)).unwrap_or(rest.len())
}

/// `from` moved over blanks; tabs too.
#[inline(always)]
pub(super) fn skip_blanks(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// The number in decimal digits at `from`, at most `digits_max` of them, and where they end.
#[inline(always)]
pub(super) fn number(bytes: &[u8], from: usize, digits_max: usize) -> Option<(u32, usize)> {
    debug_assert!(digits_max <= 9);
    let (mut value, mut at) = (0u32, from);
    while at - from < digits_max {
        let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')) else { break };
        if digit > 9 {
            break;
        }
        value = value * 10 + u32::from(digit);
        at += 1;
    }
    (at > from).then_some((value, at))
}

/// Where the digits at `from` end.
pub(super) fn digits_end(bytes: &[u8], from: usize) -> usize {
    tail(bytes, from, |byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Eight at a time finds what one at a time finds.
        #[test]
        fn ends_are_where_a_plain_loop_finds_them(
            bytes in proptest::collection::vec(any::<u8>(), 0..40), from in 0usize..40,
        ) {
            let from = from.min(bytes.len());
            type Case = (fn(&[u8], usize) -> usize, fn(u8) -> bool);
            let cases: [Case; 4] = [
                (word_end, |byte| byte <= b' '),
                (tag_end, |byte| byte <= b' ' || b":[".contains(&byte)),
                (value_end, |byte| b"\"\\]".contains(&byte)),
                (name_end, |byte| byte <= b' ' || b"=]\"".contains(&byte)),
            ];
            for (fast, ends) in cases {
                prop_assert_eq!(fast(&bytes, from), tail(&bytes, from, ends));
            }
        }
    }

    #[test]
    fn numbers_stop_at_the_bound() {
        assert_eq!(number(b"x123456", 1, 3), Some((123, 4)));
        assert_eq!(number(b"x1", 1, 3), Some((1, 2)));
        assert_eq!(number(b"x", 0, 3), None);
        assert_eq!(number(b"", 0, 3), None);
        assert_eq!(digits_end(b"a12b", 1), 3);
        assert_eq!(skip_blanks(b" \t x", 0), 3);
    }
}
