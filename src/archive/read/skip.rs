//! Passing over what a file holds now, to read what comes behind it.

use crate::storage::segment::End;

use super::{ArchiveError, Reader, Source};

impl Reader {
    /// Passes over all that is there, blocks undecoded. Says where that ends: its offset in a file
    /// with block headers, the decoded bytes of any other.
    pub fn skip(&mut self) -> Result<u64, ArchiveError> {
        let path = self.summary.path.clone();
        let error = |source| ArchiveError { path: path.clone(), source };
        if let Source::Blocks { scanner, .. } = &mut self.source {
            while scanner.step().map_err(error)?.is_some() {}
            let (whole_bytes, end) = (scanner.scan().whole_bytes, scanner.scan().end);
            if let End::Torn { at, why, .. } = end
                && self.look_beyond(at, u64::MAX, &why.to_string()).map_err(error)?
            {
                return self.skip_beyond().map_err(error);
            }
            if whole_bytes > 0 {
                return Ok(whole_bytes);
            }
        }
        while self.next_block()?.is_some() {}
        Ok(match &self.source {
            Source::Blocks { scanner, .. } => scanner.scan().whole_bytes,
            Source::Container(container) => container.at,
            Source::Beyond(_) => self.skip_beyond().map_err(error)?,
            Source::Stream { .. } | Source::Gone => self.summary.raw_bytes,
        })
    }
}
