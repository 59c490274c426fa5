//! What is known of a file that is not followed any more, or not yet: enough to know it again.

use std::io;
use std::path::{Path, PathBuf};

use super::file_lines::{FRONT_BYTES, Mark, Text, crc, fill};
use crate::limits::{u32_of, usize_of};
use crate::storage::FileId;

/// A checksum of a file's front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub bytes: u32,
    pub crc: u32,
}

pub struct Former {
    /// Batches under way know it by this.
    pub key: u64,
    /// The device is 0 where it is not known.
    pub id: FileId,
    pub path: PathBuf,
    pub head: Head,
    pub read: Mark,
    pub confirmed: Mark,
}

impl Head {
    pub fn of(front: &[u8]) -> Self {
        Self { bytes: u32_of(front.len()), crc: crc(front) }
    }

    fn is_of(self, front: &[u8]) -> bool {
        front.get(..usize_of(self.bytes)).is_some_and(|front| crc(front) == self.crc)
    }
}

impl Former {
    /// Whether this text is that file's, or a copy of it: both its front and what was read last
    /// stand there.
    pub fn is_in(&self, front: &[u8], text: &mut dyn Text) -> io::Result<bool> {
        let known = self.head.bytes > 0 && self.read.offset > 0 && self.read.last_bytes > 0;
        Ok(known && self.head.is_of(front) && self.read.is_in(text)?)
    }

    /// Whether it is the same file by its inode. Without checksums, as Flume writes it, the name
    /// must be the same too, and it must reach so far.
    pub fn is(
        &self,
        id: FileId,
        path: &Path,
        front: &[u8],
        text: &mut dyn Text,
    ) -> io::Result<bool> {
        if self.id.inode != id.inode {
            return Ok(false);
        }
        if self.id.device == 0 {
            return Ok(self.path == path && self.read.is_in(text)?);
        }
        // A device may have another number after a restart: then what stands in it decides.
        let same = self.id.device == id.device || self.read.last_bytes > 0;
        Ok(same && self.head.is_of(front) && self.read.is_in(text)?)
    }
}

/// The front of a text.
pub fn front(text: &mut dyn Text) -> io::Result<Vec<u8>> {
    let mut front = vec![0; FRONT_BYTES];
    let count = fill(text, 0, &mut front)?;
    front.truncate(count);
    Ok(front)
}
