//! What the sources look at in an event's text: its end, its control bytes, its PRI.

/// Without one trailing LF, CR LF or NUL: a datagram's or counted frame's text.
pub fn trim(text: &[u8]) -> &[u8] {
    match text {
        [text @ .., b'\r', b'\n'] | [text @ .., b'\n' | 0] => text,
        text => text,
    }
}

/// Whether a byte stands in it that `raw` must write as `#ooo`: 0x00-0x1F but TAB, or 0x7F.
pub fn holds_control(text: &[u8]) -> bool {
    // No early way out: the compiler makes vectors of it, and nearly always there is none.
    text.iter().fold(false, |any, &byte| any | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f))
}

/// `<n>` at the front, n from 0 to 191 without leading zeros (RFC 5424 6.2.1).
pub fn parse_pri(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let value = match *text {
        [b'<', a, b'>', ..] => digit(a)?,
        [b'<', a @ b'1'..=b'9', b, b'>', ..] => digit(a)? * 10 + digit(b)?,
        [b'<', b'1', b, c, b'>', ..] => 100 + digit(b)? * 10 + digit(c)?,
        _ => return None,
    };
    u8::try_from(value).ok().filter(|value| *value <= 191)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_delimiter_goes() {
        for (text, trimmed) in [
            ("", ""),
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\0", "a"),
            ("\n", ""),
            ("\r\n", ""),
            ("a\n\n", "a\n"),
            ("a\0\n", "a\0"),
            ("a\r", "a\r"),
            ("a\r\0", "a\r"),
            ("\na", "\na"),
        ] {
            assert_eq!(trim(text.as_bytes()), trimmed.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn control_bytes_are_found_wherever_they_stand() {
        assert!(!holds_control(b"") && !holds_control("tab\there, \u{e9}\u{80}".as_bytes()));
        for byte in 0..=255_u8 {
            let expected = byte.is_ascii_control() && byte != b'\t';
            for at in 0..70 {
                let mut text = [b' '; 70];
                text[at] = byte;
                assert_eq!(holds_control(&text), expected, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn pri_is_0_to_191_without_leading_zeros() {
        for (text, pri) in [
            ("<0>a", Some(0)),
            ("<9>", Some(9)),
            ("<13>a", Some(13)),
            ("<191>", Some(191)),
            ("<192>", None),
            ("<00>", None),
            ("<013>", None),
            ("<>", None),
            ("<1", None),
            ("13>", None),
            ("<1a>", None),
            ("<200>", None),
            ("", None),
            ("<-1>", None),
        ] {
            assert_eq!(parse_pri(text.as_bytes()), pri, "{text}");
        }
    }
}
