//! The output of every limit program: whole lines gathered to a mebibyte, compressed in one shot,
//! appended.

use flumen::codec::{Codec, Compressor};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// As many bytes as the agent's default batch and block.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

pub(crate) struct Block {
    bytes: Vec<u8>,
    used: usize,
    /// Behind the last newline.
    whole: usize,
    events: u64,
    output: Option<Output>,
}

struct Output {
    /// `None`: the bytes go to the file as they are.
    compressor: Option<Box<dyn Compressor>>,
    packed: Vec<u8>,
    file: File,
}

impl Block {
    /// Without a codec lines are only counted.
    pub(crate) fn new(codec: Option<Codec>, file: Option<&Path>) -> io::Result<Self> {
        let output = match (codec, file) {
            (None, _) => None,
            (Some(codec), Some(path)) => {
                let compressor = (codec != Codec::None).then(|| codec.compressor(1));
                Some(Output { compressor, packed: Vec::new(), file: File::create(path)? })
            }
            (Some(_), None) => return Err(io::Error::other("where to? --file PATH")),
        };
        Ok(Self { bytes: vec![0; BLOCK_BYTES], used: 0, whole: 0, events: 0, output })
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Where the next bytes are to be read to. Never empty between two calls of `filled`.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used..]
    }

    /// So many bytes were read into the spare part: their newlines are found, and a full block
    /// is put out up to the last of them.
    pub(crate) fn filled(&mut self, count: usize) -> io::Result<()> {
        let fresh = &self.bytes[self.used..self.used + count];
        for at in memchr::memchr_iter(b'\n', fresh) {
            self.events += 1;
            self.whole = self.used + at + 1;
        }
        self.used += count;
        if self.used == self.bytes.len() { self.put_out() } else { Ok(()) }
    }

    /// One event with its newline.
    pub(crate) fn push(&mut self, event: &[u8]) -> io::Result<()> {
        if self.used + event.len() + 1 > self.bytes.len() {
            self.put_out()?;
        }
        self.bytes[self.used..self.used + event.len()].copy_from_slice(event);
        self.used += event.len() + 1;
        self.bytes[self.used - 1] = b'\n';
        self.whole = self.used;
        self.events += 1;
        Ok(())
    }

    /// An event that is only counted.
    pub(crate) fn count(&mut self, events: u64) {
        self.events += events;
    }

    pub(crate) fn writes(&self) -> bool {
        self.output.is_some()
    }

    /// What was put out is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.output.as_ref().map_or(Ok(()), |output| output.file.sync_data())
    }

    /// Puts out what is whole and moves the rest to the front.
    pub(crate) fn put_out(&mut self) -> io::Result<()> {
        // A line longer than a block is no line of ours: then the block goes out as it is.
        let end = if self.whole == 0 { self.used } else { self.whole };
        if let Some(output) = &mut self.output {
            output.write(&self.bytes[..end])?;
        }
        self.bytes.copy_within(end..self.used, 0);
        (self.used, self.whole) = (self.used - end, 0);
        Ok(())
    }
}

impl Output {
    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        let Some(compressor) = &mut self.compressor else { return self.file.write_all(block) };
        self.packed.clear();
        compressor.compress(block, &mut self.packed).map_err(io::Error::other)?;
        self.file.write_all(&self.packed)
    }
}
