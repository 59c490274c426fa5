//! Reads any standard lz4 file: many frames, skippable frames, linked or independent blocks.
//!
//! Own code and not `lz4_flex::frame::FrameDecoder`, because that one stops at the end of the first
//! frame and takes a file cut at a block boundary for a whole one. Here every cut is an error.
//! Checksums of frames others wrote are read and not verified. The legacy format is refused.

use std::io::{self, Read};

use super::lz4::{BLOCK_BYTES_MAX, MAGIC, STORED, header_check};

/// How far a linked block may reach back.
const WINDOW_BYTES: usize = 64 << 10;

pub(super) struct Lz4Stream<R> {
    file: R,
    frame: Option<Frame>,
    stored: Vec<u8>,
    /// The window (for linked blocks) and behind it the block that is being handed out.
    raw: Vec<u8>,
    handed: usize,
}

struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    block_bytes_max: usize,
}

impl<R: Read> Lz4Stream<R> {
    pub(super) const fn new(file: R) -> Self {
        Self { file, frame: None, stored: Vec::new(), raw: Vec::new(), handed: 0 }
    }

    /// Makes `raw[handed..]` non-empty; false at a clean end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            match self.frame.take() {
                None => match self.next_frame()? {
                    Some(frame) => self.frame = Some(frame),
                    None => return Ok(false),
                },
                Some(frame) => {
                    let size = self.word()?;
                    if size == 0 {
                        if frame.content_checksum {
                            self.word()?;
                        }
                        continue;
                    }
                    self.block(&frame, size)?;
                    self.frame = Some(frame);
                    if self.handed < self.raw.len() {
                        return Ok(true);
                    }
                }
            }
        }
    }

    fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let mut magic = [0; 4];
            if read_full(&mut self.file, &mut magic)? == 0 {
                return Ok(None);
            }
            let magic = u32::from_le_bytes(magic);
            if magic & 0xFFFF_FFF0 == 0x184D_2A50 {
                let bytes = u64::from(self.word()?);
                let skipped = io::copy(&mut (&mut self.file).take(bytes), &mut io::sink())?;
                if skipped != bytes {
                    return Err(cut("a skippable frame"));
                }
                continue;
            }
            if magic != MAGIC {
                return Err(bad("not an lz4 frame"));
            }
            return self.descriptor().map(Some);
        }
    }

    fn descriptor(&mut self) -> io::Result<Frame> {
        let mut bytes = [0; 14];
        self.exact(&mut bytes[..2])?;
        let flags = bytes[0];
        if flags >> 6 != 1 || flags & 1 != 0 {
            return Err(bad("an lz4 frame of another version, or with a dictionary"));
        }
        let length = if flags & 8 != 0 { 10 } else { 2 };
        self.exact(&mut bytes[2..length])?;
        let mut check = [0];
        self.exact(&mut check)?;
        if check[0] != header_check(&bytes[..length]) {
            return Err(bad("the lz4 frame header is damaged"));
        }
        let class = (bytes[1] >> 4) & 7;
        if class < 4 {
            return Err(bad("an lz4 block size that does not exist"));
        }
        self.raw.clear();
        self.handed = 0;
        Ok(Frame {
            linked: flags & 0x20 == 0,
            block_checksums: flags & 0x10 != 0,
            content_checksum: flags & 4 != 0,
            block_bytes_max: 1 << (8 + 2 * class),
        })
    }

    fn block(&mut self, frame: &Frame, size: u32) -> io::Result<()> {
        let bytes = (size & !STORED) as usize;
        if bytes > frame.block_bytes_max.min(BLOCK_BYTES_MAX) {
            return Err(bad("an lz4 block larger than its frame allows"));
        }
        let mut stored = std::mem::take(&mut self.stored);
        stored.resize(bytes, 0);
        self.exact(&mut stored)?;
        if frame.block_checksums {
            self.word()?;
        }
        let window = if frame.linked { self.raw.len().min(WINDOW_BYTES) } else { 0 };
        self.raw.drain(..self.raw.len() - window);
        self.handed = window;
        if size & STORED != 0 {
            self.raw.extend_from_slice(&stored);
        } else {
            self.raw.resize(window + frame.block_bytes_max, 0);
            let (dictionary, room) = self.raw.split_at_mut(window);
            let bytes = lz4_flex::block::decompress_into_with_dict(&stored, room, dictionary)
                .map_err(|error| bad(&error.to_string()))?;
            self.raw.truncate(window + bytes);
        }
        self.stored = stored;
        Ok(())
    }

    fn word(&mut self) -> io::Result<u32> {
        let mut word = [0; 4];
        self.exact(&mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    fn exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        match read_full(&mut self.file, bytes)? {
            read if read == bytes.len() => Ok(()),
            _ => Err(cut("an lz4 frame")),
        }
    }
}

impl<R: Read> Read for Lz4Stream<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.handed == self.raw.len() && !self.fill()? {
            return Ok(0);
        }
        let ready = &self.raw[self.handed..];
        let bytes = ready.len().min(out.len());
        out[..bytes].copy_from_slice(&ready[..bytes]);
        self.handed += bytes;
        Ok(bytes)
    }
}

/// Reads until `bytes` is full or the file ends; an end in the middle of it is an error.
fn read_full(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read(&mut bytes[read..]) {
            Ok(0) if read == 0 => return Ok(0),
            Ok(0) => return Err(cut("an lz4 frame")),
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn cut(where_: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file ends inside {where_}"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write;

    #[test]
    fn reads_what_the_library_writes_linked_and_with_checksums() {
        let text = b"a line that comes again and again, with a number\n".repeat(9000);
        let mut file = Vec::new();
        for mode in [BlockMode::Linked, BlockMode::Independent] {
            let info = FrameInfo::new()
                .block_mode(mode)
                .block_size(BlockSize::Max64KB)
                .block_checksums(true)
                .content_checksum(true);
            let mut encoder = FrameEncoder::with_frame_info(info, &mut file);
            encoder.write_all(&text).unwrap();
            encoder.finish().unwrap();
            file.extend_from_slice(&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        }
        let mut whole = Vec::new();
        Lz4Stream::new(&file[..]).read_to_end(&mut whole).unwrap();
        assert_eq!(whole, text.repeat(2));
        for cut in 1..file.len() {
            let clean = Lz4Stream::new(&file[..cut]).read_to_end(&mut Vec::new()).is_ok();
            let boundaries = [file.len() / 2, file.len() / 2 - 11, file.len() - 11];
            assert!(!clean || boundaries.iter().any(|b| b.abs_diff(cut) < 400), "cut at {cut}");
        }
    }
}
