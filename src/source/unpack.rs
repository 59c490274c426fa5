//! Files that are compressed whole, gzip or Zstandard, read as the text they stand for.
//!
//! Decoding goes forward only: a window keeps what may be asked for again, going back further
//! begins anew. One call decodes a bounded amount and says `WouldBlock` when that was not enough,
//! so that nobody waits for a long way to a far place. A file that ends too early may still be
//! written: it has no more for now, and is decoded anew when it has grown.

use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::file_lines::Text;
use crate::storage::{DiskFile, ReadAt};

/// Decoded bytes of one call at most.
const CALL_BYTES: usize = 8 << 20;
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// By its name: `app.log.2.gz`.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// A file, or what a packed one stands for.
pub enum Content {
    Plain(Arc<dyn DiskFile>),
    Packed(Box<Packed>),
}

impl Content {
    pub fn new(file: Arc<dyn DiskFile>, packing: Option<Packing>) -> Self {
        match packing {
            None => Self::Plain(file),
            Some(packing) => Self::Packed(Box::new(Packed::new(file, packing))),
        }
    }

    pub fn file(&self) -> &Arc<dyn DiskFile> {
        match self {
            Self::Plain(file) => file,
            Self::Packed(packed) => &packed.file,
        }
    }

    pub fn is_packed(&self) -> bool {
        matches!(self, Self::Packed(_))
    }

    /// It is packed, and everything has been read.
    pub fn is_finished(&self) -> bool {
        matches!(self, Self::Packed(packed) if packed.finished)
    }
}

impl Text for Content {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read_at(offset, into),
            Self::Packed(packed) => packed.read_at(offset, into),
        }
    }
}

pub struct Packed {
    file: Arc<dyn DiskFile>,
    packing: Packing,
    decoder: Option<Decoder>,
    /// Decoded bytes from `start` on.
    window: Vec<u8>,
    start: u64,
    /// The decoder has come to a clean end.
    finished: bool,
    /// It ended too early when it had so many bytes.
    torn_at: Option<u64>,
}

enum Decoder {
    Gzip(Box<flate2::read::MultiGzDecoder<Bytes>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Bytes>>>),
}

impl Read for Decoder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd(decoder) => decoder.read(into),
        }
    }
}

/// The packed bytes, one behind the other.
struct Bytes {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Read for Bytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(self.offset, into)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl Packed {
    fn new(file: Arc<dyn DiskFile>, packing: Packing) -> Self {
        let (window, start) = (Vec::new(), 0);
        Self { file, packing, decoder: None, window, start, finished: false, torn_at: None }
    }

    fn begin(&mut self) -> io::Result<Decoder> {
        (self.window, self.start, self.finished) = (Vec::new(), 0, false);
        let bytes = Bytes { file: Arc::clone(&self.file), offset: 0 };
        Ok(match self.packing {
            Packing::Gzip => Decoder::Gzip(Box::new(flate2::read::MultiGzDecoder::new(bytes))),
            Packing::Zstd => Decoder::Zstd(Box::new(zstd::stream::read::Decoder::new(bytes)?)),
        })
    }

    /// Decodes on. False: there is no more for now.
    fn decode(&mut self) -> io::Result<bool> {
        if self.finished {
            return Ok(false);
        }
        let bytes = self.file.bytes()?;
        if self.torn_at == Some(bytes) {
            return Ok(false);
        }
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.begin()?,
        };
        let held = self.window.len();
        self.window.resize(held + CHUNK_BYTES, 0);
        let outcome = decoder.read(&mut self.window[held..]);
        self.window.truncate(held + outcome.as_ref().copied().unwrap_or(0));
        match outcome {
            // Without any packed byte nothing has come to an end.
            Ok(0) if bytes > 0 => self.finished = true,
            Ok(0) => self.torn_at = Some(bytes),
            Ok(_) => {
                self.decoder = Some(decoder);
                return Ok(true);
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.torn_at = Some(bytes);
            }
            Err(error) => return Err(error),
        }
        Ok(false)
    }

    /// Forgets what stands far before `offset`; goes back further by beginning anew.
    fn turn_to(&mut self, offset: u64) {
        if offset < self.start {
            (self.window, self.start, self.finished) = (Vec::new(), 0, false);
            (self.decoder, self.torn_at) = (None, None);
        }
        let before = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let before = before.min(self.window.len());
        if let Some(far) = before.checked_sub(CHUNK_BYTES).filter(|far| *far >= CHUNK_BYTES) {
            self.window.drain(..far);
            self.start += far as u64;
        }
    }
}

impl Text for Packed {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut decoded = 0;
        loop {
            self.turn_to(offset);
            let end = self.start + self.window.len() as u64;
            if offset < end {
                let from = usize::try_from(offset - self.start).expect("it is in the window");
                let count = into.len().min(self.window.len() - from);
                into[..count].copy_from_slice(&self.window[from..from + count]);
                return Ok(count);
            }
            if decoded >= CALL_BYTES {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if !self.decode()? {
                return Ok(0);
            }
            decoded += CHUNK_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::file_lines::fill;
    use crate::storage::{Disk, OsDisk};
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn text() -> Vec<u8> {
        (0..300_000).flat_map(|n: u32| format!("line {n}\n").into_bytes()).collect()
    }

    fn open(path: &Path) -> Content {
        Content::new(OsDisk.open_read(path).unwrap(), Packing::of(path))
    }

    /// As far as it goes, however often it has to be asked.
    fn read(content: &mut Content, offset: u64, into: &mut [u8]) -> usize {
        loop {
            match fill(content, offset, into) {
                Ok(count) => return count,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    #[test]
    fn any_place_can_be_read_forward_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let text = text();
        let packed = [
            ("a.gz", gzip(&text)),
            ("b.gz", [gzip(&text[..1000]), gzip(&text[1000..])].concat()),
            ("c.zst", zstd::stream::encode_all(&text[..], 1).unwrap()),
            ("d.log", text.clone()),
        ];
        for (name, bytes) in packed {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let mut content = open(&path);
            let mut part = vec![0; 100_000];
            for offset in [0, 5, 100_000, 3_000_000, 2_999_900, 7, 3_100_000] {
                let count = read(&mut content, offset as u64, &mut part);
                assert!(part[..count] == text[offset..offset + part.len()], "{name} {offset}");
            }
            assert_eq!(read(&mut content, text.len() as u64, &mut part), 0);
            assert_eq!(content.is_finished(), content.is_packed());
        }
    }

    #[test]
    fn one_that_is_still_written_goes_on_when_it_has_grown() {
        let dir = tempfile::tempdir().unwrap();
        let (path, text) = (dir.path().join("a.gz"), text());
        let whole = gzip(&text);
        let mut content_bytes = Vec::new();
        std::fs::write(&path, b"").unwrap();
        let mut content = open(&path);
        for part in [0, 10, whole.len() / 2, whole.len() - 3, whole.len()] {
            std::fs::write(&path, &whole[..part]).unwrap();
            let mut more = vec![0; text.len()];
            let count = read(&mut content, content_bytes.len() as u64, &mut more);
            content_bytes.extend_from_slice(&more[..count]);
            assert_eq!(content.is_finished(), part == whole.len(), "{part}");
        }
        assert!(content_bytes == text);
    }

    #[test]
    fn what_is_no_such_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gz");
        std::fs::write(&path, b"this is plain text, and long enough").unwrap();
        assert!(open(&path).read_at(0, &mut [0; 10]).is_err());
    }
}
