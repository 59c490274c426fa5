//! Reading back: files to blocks to events, whatever codec and encoder wrote them.
//!
//! [`segments`] finds files, a [`Reader`] hands out one block at a time, [`visit`] calls back for
//! each event. Who reads many files on many threads takes them in the order of time ([`order`]),
//! each with its blocks ([`survey`]), and works on those as a crew ([`crew`]); what is looked for
//! in them is a [`query`] with a [`pattern`]. A [`tape`] gives all events in the order of time, to
//! be played again.
//!
//! Finished, open and torn segments are read up to the last whole block; a block whose
//! bytes are damaged is left out and counted, those behind it are read. Files without our headers
//! (plain text, or what a stock tool wrote) are read as streams of lines.
//!
//! Memory: one block, stored and decoded; of a stream, one piece of a mebibyte or one line.

mod base64;
pub mod chain;
pub mod crew;
mod event;
mod kind;
pub mod order;
pub mod pattern;
pub mod query;
mod read;
mod records;
pub mod survey;
pub mod tape;
mod words;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::storage::catalog::{SegmentName, State, walk};
use crate::storage::{Disk, OsDisk};

pub use base64::encode as base64_encode;
pub use event::{EventView, Fields, Own};
pub use read::{BlockView, Ending, Reader, Summary};

#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct ArchiveError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Calls `visitor` for every event of a file, in order, until it breaks.
pub fn visit(
    path: &Path,
    visitor: &mut dyn FnMut(&EventView<'_>) -> ControlFlow<()>,
) -> Result<Summary, ArchiveError> {
    visit_on(&OsDisk, path, visitor)
}

/// Opens a file on the machine's disk for reading block by block.
pub fn open(path: &Path) -> Result<Reader, ArchiveError> {
    Reader::open(&OsDisk, path)
}

/// As [`visit`], on any disk.
pub fn visit_on(
    disk: &dyn Disk,
    path: &Path,
    visitor: &mut dyn FnMut(&EventView<'_>) -> ControlFlow<()>,
) -> Result<Summary, ArchiveError> {
    let mut reader = Reader::open(disk, path)?;
    while let Some(block) = reader.next_block()? {
        if block.events().any(|event| visitor(&event).is_break()) {
            break;
        }
    }
    Ok(reader.into_summary())
}

/// Files to read for these paths: files as they are, directories with all below them but dotfiles
/// and what recovery set aside. Of one stem in the order they were written, that is by number.
pub fn segments(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ArchiveError> {
    segments_on(&OsDisk, paths)
}

/// As [`segments`], on any disk.
pub fn segments_on(disk: &dyn Disk, paths: &[PathBuf]) -> Result<Vec<PathBuf>, ArchiveError> {
    let mut files = Vec::new();
    for path in paths {
        let error = |source| ArchiveError { path: path.clone(), source };
        if !disk.facts(path).map_err(error)?.is_dir {
            files.push(path.clone());
            continue;
        }
        let mut found: Vec<_> = walk(disk, path)
            .map_err(error)?
            .into_iter()
            .filter_map(|file| {
                let name = SegmentName::parse(file.file_name()?);
                (name.state != State::Bad).then_some((name, file))
            })
            .collect();
        found.sort_by(|(a, x), (b, y)| {
            (x.parent(), &a.stem, a.number, x).cmp(&(y.parent(), &b.stem, b.number, y))
        });
        files.extend(found.into_iter().map(|(_, file)| file));
    }
    Ok(files)
}

/// Which series a file belongs to, and its number in it: files of one series hold what one sink
/// wrote to one path, in the order of their numbers.
pub fn series(file: &Path) -> (PathBuf, u32) {
    let Some(name) = file.file_name() else { return (file.to_owned(), 0) };
    let name = SegmentName::parse(name);
    let mut series = file.with_file_name(name.stem).into_os_string();
    series.push(name.container.suffix());
    (series.into(), name.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_segments_in_the_order_of_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["b.log.zst", "a.log.10.zst.open", "a.log.2.zst", "a.log.zst", "a.log.1.zst"];
        for name in names.iter().chain(&[".hidden", "a.log.3.zst.bad"]) {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        let single = dir.path().join("a.log.3.zst.bad");
        let found = segments(&[dir.path().to_owned(), single.clone()]).unwrap();
        let order = ["a.log.zst", "a.log.1.zst", "a.log.2.zst", "a.log.10.zst.open", "b.log.zst"];
        let mut expected: Vec<_> = order.iter().map(|name| dir.path().join(name)).collect();
        expected.push(single);
        assert_eq!(found, expected);
        assert!(segments(&[dir.path().join("missing")]).is_err());
    }

    #[test]
    fn a_series_is_one_path_and_one_codec() {
        let of = |name: &str| series(Path::new(name));
        assert_eq!(of("d/a.log.zst"), ("d/a.log.zst".into(), 0));
        assert_eq!(of("d/a.log.12.zst.open"), ("d/a.log.zst".into(), 12));
        assert_ne!(of("d/a.log.gz").0, of("d/a.log.zst").0);
        assert_ne!(of("e/a.log.zst").0, of("d/a.log.zst").0);
    }
}
