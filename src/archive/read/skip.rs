//! Passing over what a file holds now, to read what comes behind it.

use super::{ArchiveError, Reader, Source};

impl Reader {
    /// Passes over all that is there, blocks undecoded. Says where that ends: its offset in a file
    /// with block headers, the decoded bytes of any other.
    pub fn skip(&mut self) -> Result<u64, ArchiveError> {
        let path = self.summary.path.clone();
        if let Source::Blocks { scanner, .. } = &mut self.source {
            loop {
                match scanner.step() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(source) => return Err(ArchiveError { path, source }),
                }
            }
            if scanner.scan().whole_bytes > 0 {
                return Ok(scanner.scan().whole_bytes);
            }
        }
        while self.next_block()?.is_some() {}
        Ok(match &self.source {
            Source::Blocks { scanner, .. } => scanner.scan().whole_bytes,
            Source::Stream { .. } => self.summary.raw_bytes,
        })
    }
}
