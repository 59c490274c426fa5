//! PROXY protocol: what a proxy says, before anything else, about whom it speaks for. Versions 1
//! and 2, <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>.
//!
//! ```text
//!   1: PROXY TCP4 192.0.2.7 198.51.100.1 51234 6514\r\n        at most 107 bytes
//!   2: \r\n\r\n\0\r\nQUIT\n │ 2·command │ family·protocol │ length (2) │ addresses │ TLVs
//! ```
//! It may come in any pieces; nothing behind it is taken. Whatever its sender does, no more than
//! `HELD_BYTES` are held: what follows the addresses is counted, and not looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1 (2.1), which is longer than what is held of version 2.
const HELD_BYTES: usize = 107;

/// Behind the first 16 bytes of version 2. The longest addresses have 216; TLVs with the names of a
/// TLS session some hundred; 4 KiB leave room for whatever a proxy adds, and are no stream of text.
const BLOCK_BYTES_MAX: usize = 4 << 10;

const SIGNATURE_1: &[u8] = b"PROXY ";
const SIGNATURE_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
const INTERNET_4_BYTES: usize = 4 + 4 + 2 + 2;
const INTERNET_6_BYTES: usize = 16 + 16 + 2 + 2;
const UNIX_BYTES: usize = 108 + 108;
const _: () = assert!(FIXED_BYTES + INTERNET_6_BYTES <= HELD_BYTES);

/// Whom a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// Somebody else, who is there.
    For(SocketAddr),
    /// Its own peer, as at a proxy's test of the connection, or somebody without an address.
    Itself,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("it sends no PROXY header")]
    Missing,
    #[error("its PROXY header is longer than {HELD_BYTES} bytes")]
    LineTooLong,
    #[error("its PROXY header is no line of version 1")]
    Line,
    #[error("its PROXY header has version {0}, not 1 or 2")]
    Version(u8),
    #[error("its PROXY header has the unknown command {0}")]
    Command(u8),
    #[error("its PROXY header has the unknown family and protocol {0:#04x}")]
    Family(u8),
    #[error("its PROXY header has {0} bytes, which its addresses do not fit into")]
    Short(usize),
    #[error("its PROXY header has {0} bytes, of {BLOCK_BYTES_MAX} at most")]
    Long(usize),
}

/// A header that is being read.
#[derive(Debug)]
pub struct Header {
    held: [u8; HELD_BYTES],
    length: usize,
    /// What it says, as soon as that is known.
    spoken: Option<Spoken>,
    /// Bytes of it that are still to come then.
    rest: usize,
}

impl Default for Header {
    fn default() -> Self {
        Self { held: [0; HELD_BYTES], length: 0, spoken: None, rest: 0 }
    }
}

impl Header {
    /// Takes what is the header's: how many bytes, and once it is whole what it says. After that,
    /// and after an error, it is of no more use.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<(usize, Option<Spoken>), ProxyError> {
        for (index, byte) in bytes.iter().enumerate() {
            if self.spoken.is_some() {
                self.rest -= 1;
            } else {
                self.held[self.length] = *byte;
                self.length += 1;
                self.look()?;
            }
            if self.spoken.is_some() && self.rest == 0 {
                return Ok((index + 1, self.spoken));
            }
        }
        Ok((bytes.len(), None))
    }

    /// The same of a header whose parts are all at hand: bytes taken of them together.
    pub fn hear_parts<'a>(
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(usize, Option<Spoken>), ProxyError> {
        let (mut header, mut all) = (Self::default(), 0);
        for part in parts {
            let (taken, spoken) = header.hear(part)?;
            all += taken;
            if spoken.is_some() {
                return Ok((all, spoken));
            }
            assert_eq!(taken, part.len(), "what is not whole takes all");
        }
        Ok((all, None))
    }

    /// Some of it has come.
    pub fn has_begun(&self) -> bool {
        self.length > 0
    }

    /// What is held, now that it has one more byte.
    fn look(&mut self) -> Result<(), ProxyError> {
        let held = &self.held[..self.length];
        if held[0] == SIGNATURE_1[0] {
            begins(held, SIGNATURE_1)?;
            return self.look_at_line();
        }
        begins(held, SIGNATURE_2)?;
        if held.len() < FIXED_BYTES {
            return Ok(());
        }
        let length = usize::from(u16::from_be_bytes([held[14], held[15]]));
        let addresses = addresses_bytes(held[12], held[13], length)?;
        if held.len() == FIXED_BYTES + addresses {
            self.spoken = Some(source(&held[FIXED_BYTES..]));
            self.rest = length - addresses;
        }
        Ok(())
    }

    fn look_at_line(&mut self) -> Result<(), ProxyError> {
        match &self.held[..self.length] {
            [line @ .., b'\r', b'\n'] => self.spoken = Some(read_line(line)?),
            [.., b'\n'] | [.., b'\r', _] => return Err(ProxyError::Line),
            held if held.len() == HELD_BYTES => return Err(ProxyError::LineTooLong),
            _ => {}
        }
        Ok(())
    }
}

/// One is the beginning of the other.
fn begins(held: &[u8], signature: &[u8]) -> Result<(), ProxyError> {
    let both = held.len().min(signature.len());
    if held[..both] == signature[..both] { Ok(()) } else { Err(ProxyError::Missing) }
}

/// Version 1 without its end: `PROXY TCP4 source target port port`.
fn read_line(line: &[u8]) -> Result<Spoken, ProxyError> {
    let text = std::str::from_utf8(line).map_err(|_| ProxyError::Line)?;
    let mut words = text.split(' ').skip(1);
    let mut next = || words.next().unwrap_or("");
    let family = next();
    if family == "UNKNOWN" {
        // Whatever follows has no meaning (2.1).
        return Ok(Spoken::Itself);
    }
    let addresses = (address(family, next()), address(family, next()));
    let ports = (port(next()), port(next()));
    match (addresses, ports, words.next()) {
        ((Some(source), Some(_)), (Some(port), Some(_)), None) => Ok(of(source, port)),
        _ => Err(ProxyError::Line),
    }
}

fn address(family: &str, text: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => text.parse().ok().map(IpAddr::V4),
        "TCP6" => text.parse().ok().map(IpAddr::V6),
        _ => None,
    }
}

/// Digits alone, and no zero in front (2.1).
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| plain)
}

/// Bytes of the addresses that are to be read of the `length` behind the fixed ones.
fn addresses_bytes(command: u8, family: u8, length: usize) -> Result<usize, ProxyError> {
    if length > BLOCK_BYTES_MAX {
        return Err(ProxyError::Long(length));
    }
    let (read, whole) = match (command, family >> 4, family & 15) {
        // LOCAL: whatever follows has no meaning (2.2).
        (0x20, _, _) => (0, 0),
        (0x21, 0, 0..=2) | (0x21, 1..=3, 0) => (0, 0),
        (0x21, 1, 1 | 2) => (INTERNET_4_BYTES, INTERNET_4_BYTES),
        (0x21, 2, 1 | 2) => (INTERNET_6_BYTES, INTERNET_6_BYTES),
        (0x21, 3, 1 | 2) => (0, UNIX_BYTES),
        (0x21, _, _) => return Err(ProxyError::Family(family)),
        (0x20..=0x2f, _, _) => return Err(ProxyError::Command(command & 15)),
        _ => return Err(ProxyError::Version(command >> 4)),
    };
    if length < whole { Err(ProxyError::Short(length)) } else { Ok(read) }
}

/// Version 2: both addresses, then both ports.
fn source(addresses: &[u8]) -> Spoken {
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    match addresses.len() {
        INTERNET_4_BYTES => match addresses.first_chunk::<4>() {
            Some(source) => of(Ipv4Addr::from(*source).into(), port(8)),
            None => Spoken::Itself,
        },
        INTERNET_6_BYTES => match addresses.first_chunk::<16>() {
            Some(source) => of(Ipv6Addr::from(*source).into(), port(32)),
            None => Spoken::Itself,
        },
        _ => Spoken::Itself,
    }
}

/// IPv4 within IPv6 is IPv4.
fn of(source: IpAddr, port: u16) -> Spoken {
    Spoken::For(SocketAddr::new(source.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header of version 2: command, family, addresses and what follows.
    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE_2, &[command, family], &length, block].concat()
    }

    fn internet_4() -> Vec<u8> {
        [&[192, 0, 2, 7, 198, 51, 100, 1][..], &[0x30, 0x39, 0x19, 0x72]].concat()
    }

    fn internet_6(source: &str) -> Vec<u8> {
        let source: Ipv6Addr = source.parse().unwrap();
        [&source.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0x30, 0x39, 0x19, 0x72]].concat()
    }

    fn someone(address: &str) -> Spoken {
        Spoken::For(address.parse().unwrap())
    }

    fn good() -> Vec<(Vec<u8>, Spoken)> {
        let line = |text: &str| format!("PROXY {text}\r\n").into_bytes();
        let (four, six) = (someone("192.0.2.7:12345"), someone("[2001:db8::7]:12345"));
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let (addresses_4, addresses_6) = (internet_4(), internet_6("2001:db8::7"));
        vec![
            (line("TCP4 192.0.2.7 198.51.100.1 12345 6514"), four),
            (line("TCP6 2001:db8::7 ::1 12345 6514"), six),
            (line("TCP6 ::ffff:192.0.2.7 ::1 12345 6514"), four),
            (line("TCP4 0.0.0.0 255.255.255.255 0 65535"), someone("0.0.0.0:0")),
            (line("UNKNOWN"), Spoken::Itself),
            (line("UNKNOWN \t whatever  else \u{e4}"), Spoken::Itself),
            (line(&format!("UNKNOWN {all} {all} 65535 65535")), Spoken::Itself),
            (line(&format!("TCP6 {all} {all} 65535 65535")), someone(&format!("[{all}]:65535"))),
            (binary(0x21, 0x11, &addresses_4), four),
            (binary(0x21, 0x12, &addresses_4), four),
            (binary(0x21, 0x21, &addresses_6), six),
            (binary(0x21, 0x22, &internet_6("::ffff:192.0.2.7")), four),
            (binary(0x21, 0x11, &[&addresses_4[..], &[4, 0, 3, 1, 2, 3]].concat()), four),
            (binary(0x21, 0x21, &[&addresses_6[..], &[b'x'; 4060]].concat()), six),
            (binary(0x21, 0x31, &[b'/'; 216]), Spoken::Itself),
            (binary(0x21, 0x32, &[b'/'; 300]), Spoken::Itself),
            (binary(0x21, 0x00, &[]), Spoken::Itself),
            (binary(0x21, 0x00, b"\r\n\r\n"), Spoken::Itself),
            (binary(0x21, 0x10, &[]), Spoken::Itself),
            (binary(0x21, 0x01, &[]), Spoken::Itself),
            (binary(0x20, 0x00, &[]), Spoken::Itself),
            (binary(0x20, 0x11, &addresses_4), Spoken::Itself),
            (binary(0x20, 0xff, &[7; 9]), Spoken::Itself),
        ]
    }

    fn bad() -> Vec<(Vec<u8>, ProxyError)> {
        let line = |text: &str| (format!("PROXY {text}\r\n").into_bytes(), ProxyError::Line);
        let text = |text: &str, error| (text.as_bytes().to_vec(), error);
        let x = "x".repeat(200);
        let mut long = binary(0x21, 0x11, &internet_4());
        long[14..16].copy_from_slice(&4097_u16.to_be_bytes());
        vec![
            text("<13>message\n", ProxyError::Missing),
            text("\r\n\r\n<13>", ProxyError::Missing),
            text("\x16\x03\x01", ProxyError::Missing),
            text("PROXY\tTCP4", ProxyError::Missing),
            text("Proxy TCP4", ProxyError::Missing),
            text("\n", ProxyError::Missing),
            text("PROXY UNKNOWN\n", ProxyError::Line),
            text("PROXY UNKNOWN\rx", ProxyError::Line),
            text(&format!("PROXY UNKNOWN {x}"), ProxyError::LineTooLong),
            text(&format!("PROXY UNKNOWN {}\r\n", &x[..92]), ProxyError::LineTooLong),
            line(""),
            line("UNKNOWNS"),
            line("UDP4 192.0.2.7 198.51.100.1 12345 6514"),
            line("TCP4"),
            line("TCP4 192.0.2.7 198.51.100.1 12345"),
            line("TCP4 192.0.2.7 198.51.100.1 12345 6514 "),
            line("TCP4  192.0.2.7 198.51.100.1 12345 6514"),
            line("TCP4 192.0.2.7 ::1 12345 6514"),
            line("TCP6 192.0.2.7 ::1 12345 6514"),
            line("TCP4 192.0.2.007 198.51.100.1 12345 6514"),
            line("TCP4 192.0.2.7 198.51.100.1 012345 6514"),
            line("TCP4 192.0.2.7 198.51.100.1 12345 00"),
            line("TCP4 192.0.2.7 198.51.100.1 +1 6514"),
            line("TCP4 192.0.2.7 198.51.100.1 65536 6514"),
            line("TCP4 192.0.2.7 198.51.100.1 -1 6514"),
            (b"PROXY TCP4 \xff\xff\r\n".to_vec(), ProxyError::Line),
            (binary(0x11, 0x11, &internet_4()), ProxyError::Version(1)),
            (binary(0x31, 0x11, &internet_4()), ProxyError::Version(3)),
            (binary(0x22, 0x11, &internet_4()), ProxyError::Command(2)),
            (binary(0x21, 0x13, &internet_4()), ProxyError::Family(0x13)),
            (binary(0x21, 0x41, &internet_4()), ProxyError::Family(0x41)),
            (binary(0x21, 0x11, &internet_4()[..11]), ProxyError::Short(11)),
            (binary(0x21, 0x21, &internet_4()), ProxyError::Short(12)),
            (binary(0x21, 0x31, &[0; 215]), ProxyError::Short(215)),
            (long, ProxyError::Long(4097)),
        ]
    }

    #[test]
    fn good_headers_are_taken_and_nothing_behind_them() {
        for (bytes, spoken) in good() {
            let shown = bytes.escape_ascii().to_string();
            let all = Ok((bytes.len(), Some(spoken)));
            assert_eq!(Header::hear_parts([&bytes[..]]), all, "{shown}");
            let more = [&bytes[..], b"\r\nPROXY <13>text\n"].concat();
            assert_eq!(Header::hear_parts([&more[..]]), all, "{shown}");
            assert_eq!(Header::hear_parts(more.chunks(1)), all, "{shown}");
        }
    }

    #[test]
    fn a_header_that_is_cut_anywhere_is_not_whole() {
        for (bytes, _) in good() {
            for length in 0..bytes.len() {
                let shown = bytes[..length].escape_ascii();
                assert_eq!(Header::hear_parts([&bytes[..length]]), Ok((length, None)), "{shown}");
            }
        }
    }

    #[test]
    fn bad_headers_are_refused_for_their_reason() {
        for (bytes, error) in bad() {
            let shown = bytes.escape_ascii().to_string();
            assert_eq!(Header::hear_parts([&bytes[..]]), Err(error), "{shown}");
            assert_eq!(Header::hear_parts(bytes.chunks(1)), Err(error), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_mean_the_same(
            which in 0_usize..100,
            cut in 0_usize..120,
            changes in prop::collection::vec((0_usize..60, any::<u8>()), 0..3),
            pieces in prop::collection::vec(1_usize..40, 1..40),
        ) {
            let mut cases: Vec<Vec<u8>> = good().into_iter().map(|(bytes, _)| bytes).collect();
            cases.extend(bad().into_iter().map(|(bytes, _)| bytes));
            let mut bytes = cases.swap_remove(which % cases.len());
            bytes.extend_from_slice(b"<13>behind it\n");
            bytes.truncate(bytes.len().saturating_sub(cut).max(1));
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            let mut parts = Vec::new();
            let mut rest = &bytes[..];
            for piece in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, behind) = rest.split_at(rest.len().min(*piece));
                parts.push(part);
                rest = behind;
            }
            prop_assert_eq!(Header::hear_parts(parts), Header::hear_parts([&bytes[..]]));
        }
    }
}
