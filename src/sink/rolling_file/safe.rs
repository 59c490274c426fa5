//! Text that somebody sent, made fit for a file's name.
//!
//! Promises, whatever comes: within one directory (no `/`), not hidden and never `.` or `..`, no
//! option to a command (`-rf`), no control characters or blanks, valid UTF-8, not empty, no longer
//! than asked, and not mistaken for a file in progress or set aside. What is plain stays as it is,
//! and different long names stay different. Done twice it is the same as done once.

/// In a name of its own: any other sender's text that is absent is called so, too.
const UNKNOWN: &[u8] = b"unknown";

/// `~` and a hash of 16 digits stand for what was cut off.
const CUT_BYTES: usize = 17;
/// Room for what stands in front of it.
pub(super) const NAME_BYTES_MIN: usize = CUT_BYTES + 15;

/// Replaces `out[from..]`, which was sent by somebody. Allocates nothing once `out` is large.
#[inline]
pub(super) fn make_safe(out: &mut Vec<u8>, from: usize, bytes_max: usize) {
    let text = &out[from..];
    let plain = text.iter().fold(true, |plain, byte| plain & PLAIN[usize::from(*byte)]);
    let fits = (1..=bytes_max).contains(&text.len());
    if !plain || !fits || matches!(text[0], b'.' | b'-') || has_state(text) {
        mend(out, from, bytes_max);
    }
}

/// Bytes that need no look: graphic ASCII but what paths and shells split at.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        plain[byte] = byte != b'/' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};

/// Suffixes by which recovery knows files that are not finished.
fn has_state(text: &[u8]) -> bool {
    text.ends_with(b".open") || text.ends_with(b".bad")
}

#[cold]
fn mend(out: &mut Vec<u8>, from: usize, bytes_max: usize) {
    let end = out.len();
    let mut at = from;
    while at < end {
        // As much as is UTF-8, then one byte that is not.
        let valid = match std::str::from_utf8(&out[at..end]) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        push_mended(out, at, at + valid);
        at += valid;
        if at < end {
            out.push(b'_');
            at += 1;
        }
    }
    if out.len() == end {
        out.extend_from_slice(UNKNOWN);
    }
    if matches!(out[end], b'.' | b'-') {
        out[end] = b'_';
    }
    if has_state(&out[end..]) {
        let dot = out.iter().rposition(|byte| *byte == b'.').expect("a state begins with one");
        out[dot] = b'_';
    }
    cut(out, end, bytes_max);
    out.copy_within(end.., from);
    out.truncate(out.len() - (end - from));
}

/// Pushes the characters of `out[at..end]`, which is UTF-8.
fn push_mended(out: &mut Vec<u8>, mut at: usize, end: usize) {
    while at < end {
        let length = match out[at] {
            0..0x80 => 1,
            0x80..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
        };
        let mut utf8 = [0; 4];
        utf8[..length].copy_from_slice(&out[at..at + length]);
        let character = std::str::from_utf8(&utf8[..length]).ok().and_then(|it| it.chars().next());
        let character = character.expect("the caller looked");
        let splits = matches!(character, '/' | '\\') || character.is_whitespace();
        if splits || character.is_control() {
            out.push(b'_');
        } else {
            out.extend_from_slice(&utf8[..length]);
        }
        at += length;
    }
}

/// Cuts the text that begins at `from`; a hash of the whole keeps it apart from others.
fn cut(out: &mut Vec<u8>, from: usize, bytes_max: usize) {
    if out.len() - from <= bytes_max {
        return;
    }
    debug_assert!(bytes_max >= NAME_BYTES_MIN);
    let hash = fnv1a(&out[from..]);
    let mut end = from + bytes_max - CUT_BYTES;
    // Not in the middle of a character.
    while out[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    out.truncate(end);
    out.push(b'~');
    let digit = |shift: u32| b"0123456789abcdef"[(hash >> shift) as usize & 15];
    out.extend((0..16).rev().map(|place| digit(4 * place)));
}

/// The same in every version of this program: it stands in names of files.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn safe(text: &[u8], bytes_max: usize) -> Vec<u8> {
        let mut out = b"before/".to_vec();
        out.extend_from_slice(text);
        make_safe(&mut out, 7, bytes_max);
        assert_eq!(&out[..7], b"before/");
        out.split_off(7)
    }

    #[test]
    fn what_hostile_senders_try() {
        for (sent, name) in [
            ("web-01.example.org", "web-01.example.org"),
            ("2001:db8::1", "2001:db8::1"),
            ("grün", "grün"),
            ("", "unknown"),
            (".", "_"),
            ("..", "_."),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("/etc/passwd", "_etc_passwd"),
            ("..\\..\\x", "_._.._x"),
            (".hidden", "_hidden"),
            ("-rf", "_rf"),
            ("a\0b\nc\x7fd", "a_b_c_d"),
            ("a b\tc\u{a0}d", "a_b_c_d"),
            ("a\u{85}b\u{2028}c", "a_b_c"),
            ("x.open", "x_open"),
            ("x.log.bad", "x.log_bad"),
            ("open", "open"),
        ] {
            let made = String::from_utf8(safe(sent.as_bytes(), 100)).unwrap();
            assert_eq!(made, name, "{sent:?}");
        }
        assert_eq!(safe(b"a\xffb\xc3", 100), b"a_b_");
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let (a, b) = ("ü".repeat(60) + "a", "ü".repeat(60) + "b");
        let [a, b] = [&a, &b].map(|text| safe(text.as_bytes(), 64));
        assert!(a.len() <= 64 && a != b && a[..46] == b[..46]);
        // It stands in names of files: the same for ever.
        let hash = fnv1a(("ü".repeat(60) + "a").as_bytes());
        assert_eq!(String::from_utf8(a).unwrap(), format!("{}~{hash:016x}", "ü".repeat(23)));
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8, "as its authors publish it");
    }

    proptest! {
        #[test]
        fn whatever_comes_the_promises_hold(
            text in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                prop::collection::vec(prop::sample::select(&b"./-\\\0 a\xc3\xbc.open"[..]), 0..40),
            ],
            bytes_max in NAME_BYTES_MIN..120,
        ) {
            let made = safe(&text, bytes_max);
            let name = std::str::from_utf8(&made).expect("UTF-8");
            prop_assert!(!name.is_empty() && name.len() <= bytes_max);
            prop_assert!(!name.starts_with(['.', '-']) && !name.contains(['/', '\\', '\0']));
            prop_assert!(!name.chars().any(|it| it.is_control() || it.is_whitespace()));
            prop_assert!(!has_state(&made));
            prop_assert_eq!(safe(&made, bytes_max), made);
        }
    }
}
