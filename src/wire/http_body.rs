//! The body of an HTTP request, sans-I/O: framed by a length or in chunks, perhaps compressed.
//!
//! Promises: never more than `bytes_max`, whatever the sender says or what gzip makes of it.

use std::io::Read;

use super::http::{Body, Refusal};

/// Of a chunk's first line, extensions among it, and of all trailers.
const LINE_BYTES_MAX: usize = 4096;

/// A body on its way.
#[derive(Debug)]
pub struct Incoming {
    framing: Framing,
    bytes_max: usize,
    bytes: Vec<u8>,
    /// Of chunked framing, what has been passed over since the last byte of content.
    overhead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// At the begin of a chunk's line.
    Size,
    Chunk(u64),
    /// At the line end behind a chunk.
    Gap,
    Trailer,
    Over,
}

const TOO_LARGE: Refusal = Refusal { status: 413, reason: "the body is longer than `body_max`" };
const BROKEN: Refusal = Refusal { status: 400, reason: "the body is not well chunked" };
const NO_GZIP: Refusal = Refusal { status: 400, reason: "the body is no gzip, or not whole" };

impl Incoming {
    /// Refuses at once what says that it will be too long.
    pub fn new(body: Body, bytes_max: usize) -> Result<Self, Refusal> {
        let framing = match body {
            Body::None | Body::Length(0) => Framing::Over,
            Body::Length(bytes) if bytes > bytes_max as u64 => return Err(TOO_LARGE),
            Body::Length(bytes) => Framing::Length(bytes),
            Body::Chunked => Framing::Size,
        };
        Ok(Self { framing, bytes_max, bytes: Vec::new(), overhead: 0 })
    }

    pub fn is_whole(&self) -> bool {
        self.framing == Framing::Over
    }

    /// How much room the body needs when `more` bytes come: it grows by doubling, and what was
    /// announced and never comes takes none.
    pub fn room_for(&self, more: usize) -> usize {
        let (length, room) = (self.bytes.len() + more, self.bytes.capacity());
        if length <= room {
            return room;
        }
        let most = match self.framing {
            Framing::Length(left) => self.bytes.len() + usize::try_from(left).unwrap_or(0),
            _ => self.bytes_max,
        };
        length.max(2 * room).min(most.max(room))
    }

    /// Makes that much room.
    pub fn make_room(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes.saturating_sub(self.bytes.len()));
    }

    /// Bytes that are still to come, when that was said; else none.
    pub fn announced(&self) -> Option<usize> {
        match self.framing {
            Framing::Length(left) => usize::try_from(left).ok(),
            _ => None,
        }
    }

    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes what belongs to the body from the front of `input`; says how much. What is not whole
    /// of a chunk's line is left there, for the next time.
    pub fn hear(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.framing {
                Framing::Over => return Ok(at),
                Framing::Length(left) | Framing::Chunk(left) if left > 0 => {
                    if rest.is_empty() {
                        return Ok(at);
                    }
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    if self.bytes.len() + count > self.bytes_max {
                        return Err(TOO_LARGE);
                    }
                    self.bytes.extend_from_slice(&rest[..count]);
                    self.overhead = 0;
                    at += count;
                    let left = left - count as u64;
                    self.framing = match self.framing {
                        Framing::Length(_) if left == 0 => Framing::Over,
                        Framing::Length(_) => Framing::Length(left),
                        _ if left == 0 => Framing::Gap,
                        _ => Framing::Chunk(left),
                    };
                }
                Framing::Length(_) => self.framing = Framing::Over,
                Framing::Size | Framing::Gap | Framing::Chunk(_) | Framing::Trailer => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        if rest.len() > LINE_BYTES_MAX {
                            return Err(BROKEN);
                        }
                        return Ok(at);
                    };
                    let line = rest[..end].strip_suffix(b"\r").ok_or(BROKEN)?;
                    self.overhead += end + 1;
                    if self.overhead > LINE_BYTES_MAX {
                        return Err(BROKEN);
                    }
                    at += end + 1;
                    self.framing = self.line(line)?;
                }
            }
        }
    }

    fn line(&self, line: &[u8]) -> Result<Framing, Refusal> {
        match self.framing {
            Framing::Size => {
                let digits = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
                let digits = line[..digits].trim_ascii();
                let good =
                    (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
                let text = std::str::from_utf8(digits).ok().filter(|_| good).ok_or(BROKEN)?;
                let bytes = u64::from_str_radix(text, 16).map_err(|_| BROKEN)?;
                if bytes.saturating_add(self.bytes.len() as u64) > self.bytes_max as u64 {
                    return Err(TOO_LARGE);
                }
                Ok(if bytes == 0 { Framing::Trailer } else { Framing::Chunk(bytes) })
            }
            Framing::Trailer if line.is_empty() => Ok(Framing::Over),
            // Fields behind the body are nobody's.
            Framing::Trailer => Ok(Framing::Trailer),
            _ if line.is_empty() => Ok(Framing::Size),
            _ => Err(BROKEN),
        }
    }
}

/// Read out of gzip at once, and asked for at once.
const EXPANDED_BYTES: usize = 64 << 10;

/// What a gzip body stands for. `grow` is asked before the result takes so many bytes, and may
/// refuse.
pub fn gunzip(
    body: &[u8],
    bytes_max: usize,
    mut grow: impl FnMut(usize) -> Result<(), Refusal>,
) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(body);
    loop {
        let length = out.len();
        if length == bytes_max {
            let more = reader.read(&mut [0]).map_err(|_| NO_GZIP)?;
            return if more > 0 { Err(TOO_LARGE) } else { Ok(out) };
        }
        if out.capacity() == length {
            let room = (2 * length).max(EXPANDED_BYTES).min(bytes_max);
            grow(room)?;
            out.reserve_exact(room - length);
        }
        out.resize(out.capacity().min(length + EXPANDED_BYTES).min(bytes_max), 0);
        let read = reader.read(&mut out[length..]).map_err(|_| NO_GZIP);
        out.truncate(length + *read.as_ref().unwrap_or(&0));
        if read? == 0 {
            return Ok(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Byte by byte, and whole: the same.
    fn read(body: Body, input: &[u8]) -> Result<(Vec<u8>, usize), u16> {
        let whole = {
            let mut incoming = Incoming::new(body, 100).map_err(|it| it.status)?;
            let used = incoming.hear(input).map_err(|it| it.status);
            used.map(|used| (incoming.bytes().to_vec(), used, incoming.is_whole()))
        };
        let mut incoming = Incoming::new(body, 100).map_err(|it| it.status)?;
        let (mut held, mut used) = (Vec::new(), 0);
        for byte in input {
            held.push(*byte);
            match incoming.hear(&held) {
                Ok(count) => {
                    used += count;
                    held.drain(..count);
                }
                Err(refusal) => {
                    assert_eq!(whole, Err(refusal.status));
                    return Err(refusal.status);
                }
            }
        }
        let parts = Ok((incoming.bytes().to_vec(), used, incoming.is_whole()));
        assert_eq!(whole, parts);
        whole.map(|(bytes, used, _)| (bytes, used))
    }

    #[test]
    fn a_body_ends_where_it_says() {
        assert_eq!(read(Body::Length(3), b"abcGET"), Ok((b"abc".to_vec(), 3)));
        assert_eq!(read(Body::None, b"GET"), Ok((Vec::new(), 0)));
        let chunks = b"3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nA: b\r\n\r\nGET";
        assert_eq!(read(Body::Chunked, chunks), Ok((b"abc0123456789".to_vec(), chunks.len() - 3)));
    }

    #[test]
    fn what_is_too_long_or_wrong_is_refused() {
        assert_eq!(Incoming::new(Body::Length(101), 100).err().map(|it| it.status), Some(413));
        for (input, status) in [
            (&b"65\r\n"[..], 413),
            (b"ffffffffffffffff\r\n", 413),
            (b"10000000000000000\r\n", 400),
            (b"\r\n", 400),
            (b"-1\r\n", 400),
            (b"3\nabc\r\n", 400),
            (b"3\r\nabcd\r\n", 400),
        ] {
            assert_eq!(read(Body::Chunked, input), Err(status), "{input:?}");
        }
        let endless = [&b"1;"[..], &[b'x'; 5000]].concat();
        assert_eq!(read(Body::Chunked, &endless), Err(400));
        let trailers = [&b"0\r\n"[..], &b"A: b\r\n".repeat(1000)].concat();
        assert_eq!(read(Body::Chunked, &trailers), Err(400));
    }

    #[test]
    fn gzip_is_bounded() {
        let gzip = |text: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let expand = |body: &[u8], bytes_max| {
            gunzip(body, bytes_max, |_| Ok(())).map_err(|refusal| refusal.status)
        };
        assert_eq!(expand(&gzip(b"text"), 4), Ok(b"text".to_vec()));
        let long: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(expand(&gzip(&long), long.len()), Ok(long.clone()));
        assert_eq!(expand(&gzip(&long), long.len() - 1), Err(413));
        assert_eq!(expand(&gzip(&[0; 1 << 20]), 1000), Err(413));
        assert_eq!(expand(b"text", 100), Err(400));
        let whole = gzip(b"text");
        assert_eq!(expand(&whole[..whole.len() - 4], 100), Err(400));
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(expand(&two, 100), Ok(b"one two".to_vec()));
    }

    #[test]
    fn a_bomb_is_refused_before_it_takes_more_than_there_is() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 20 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        let mut most = 0;
        let refused = gunzip(&bomb, 8 << 20, |room| {
            most = room;
            if room > 1 << 20 { Err(Refusal { status: 503, reason: "no room" }) } else { Ok(()) }
        });
        assert_eq!(refused.map_err(|it| it.status), Err(503));
        assert!(most <= 2 << 20, "{most}");
        let mut most = 0;
        let refused = gunzip(&bomb, 8 << 20, |room| {
            most = room;
            Ok(())
        });
        assert_eq!(refused.map_err(|it| it.status), Err(413));
        assert!(most <= 8 << 20, "{most}");
    }

    #[test]
    fn room_grows_with_what_comes_and_not_with_what_is_announced() {
        let mut incoming = Incoming::new(Body::Length(1 << 20), 8 << 20).unwrap();
        assert_eq!(incoming.room_for(1000), 1000);
        let mut steps = 0;
        while !incoming.is_whole() {
            let room = incoming.room_for(1000);
            steps += usize::from(room > incoming.bytes.capacity());
            incoming.make_room(room);
            let part = vec![b'x'; 1000.min(incoming.announced().unwrap())];
            incoming.hear(&part).unwrap();
            assert!(incoming.bytes.capacity() <= room, "it takes what it said");
        }
        assert!(steps < 15, "{steps}");
        assert_eq!((incoming.take().len(), incoming.announced()), (1 << 20, None));
    }
}
