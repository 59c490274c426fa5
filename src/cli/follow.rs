//! Files that grow: read to their end, and on as they do; `cat --follow`, `tail --follow`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::form::Form;
use super::output::tell;
use crate::archive::{ArchiveError, Ending, Reader, Summary, segments};
use crate::storage::OsDisk;
use crate::storage::catalog::OPEN_SUFFIX;

/// How often a followed file is looked at: well under `block.age`, its own granularity.
const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Files by the name they have or will have once finished, so that a seal prints none again.
pub(super) struct Followed {
    /// Whose complaints they are.
    command: &'static str,
    /// In the order in which they were found: who was rolled away comes before what followed it.
    readers: Vec<(PathBuf, Reader)>,
    done: BTreeSet<PathBuf>,
    failed: bool,
}

impl Followed {
    pub(super) fn new(command: &'static str) -> Self {
        Self { command, readers: Vec::new(), done: BTreeSet::new(), failed: false }
    }

    /// Passes over all that is there now. Says where each file in progress ends, as
    /// [`Reader::skip`] does.
    pub(super) fn skip(&mut self, paths: &[PathBuf]) -> BTreeMap<PathBuf, u64> {
        let mut ends = BTreeMap::new();
        for (name, path) in self.look(paths, true) {
            if !is_open(&path) {
                self.done.insert(name);
                continue;
            }
            let opened =
                Reader::open(&OsDisk, &path).and_then(|mut reader| Ok((reader.skip()?, reader)));
            match opened {
                Ok((end, reader)) => {
                    ends.insert(name.clone(), end);
                    self.readers.push((name, reader));
                }
                // Renamed since it was listed: it is read when it is found by its new name.
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.fail(&error),
            }
        }
        ends
    }

    /// Until the pipe closes, a signal comes, or all that was asked for is finished, and no
    /// directory is among it.
    pub(super) fn follow(
        mut self,
        paths: &[PathBuf],
        form: &mut Form,
        out: &mut impl Write,
    ) -> io::Result<ExitCode> {
        let folder = paths.iter().any(|path| path.is_dir());
        let mut first = true;
        loop {
            let there = self.look(paths, first);
            for (name, path) in &there {
                if self.done.contains(name) || self.readers.iter().any(|(it, _)| it == name) {
                    continue;
                }
                match Reader::open(&OsDisk, path) {
                    Ok(reader) => self.readers.push((name.clone(), reader)),
                    Err(error) if first => self.fail(&error),
                    // Renamed since it was listed: the next round sees it by its new name.
                    Err(_) => {}
                }
            }
            self.write(&there, form, out)?;
            out.flush()?;
            if self.readers.is_empty() && !folder {
                return Ok(if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
            }
            if !pause() {
                return Ok(ExitCode::SUCCESS);
            }
            first = false;
        }
    }

    /// What is there now, by the name it is followed by.
    fn look(&mut self, paths: &[PathBuf], first: bool) -> Vec<(PathBuf, PathBuf)> {
        let mut there = Vec::new();
        for path in paths {
            match segments(std::slice::from_ref(path)) {
                Ok(files) => there.extend(files.into_iter().map(|it| (finished_name(&it), it))),
                Err(error) if first => self.fail(&error),
                Err(_) => {
                    let name = finished_name(path);
                    if name.exists() {
                        there.push((name.clone(), name));
                    }
                }
            }
        }
        there
    }

    fn write(
        &mut self,
        there: &[(PathBuf, PathBuf)],
        form: &mut Form,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut ended = Vec::new();
        for (name, reader) in &mut self.readers {
            // Plain text has no end of its own; its name says when it is finished.
            let renamed = is_open(&reader.summary().path)
                && there.iter().any(|(it, path)| it == name && !is_open(path));
            let drained = drain(self.command, reader, form, out)?;
            if !drained || !reader.may_grow() || renamed {
                self.failed |= report(self.command, reader.summary()) || !drained;
                ended.push(name.clone());
            }
        }
        self.readers.retain(|(name, _)| !ended.contains(name));
        self.done.extend(ended);
        Ok(())
    }

    fn fail(&mut self, error: &ArchiveError) {
        tell(self.command, error);
        self.failed = true;
    }
}

/// Until the next look. False: nobody reads standard output any more, though nothing new has been
/// written to it by which we would know.
fn pause() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut watched, Some(&POLL)) {
        Ok(0) => true,
        Ok(_) => !watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
        // A signal that is none of ours; the next look comes earlier.
        Err(_) => true,
    }
}

/// Writes what the reader has now; false when the file could not be read on.
pub(super) fn drain(
    command: &str,
    reader: &mut Reader,
    form: &mut Form,
    out: &mut impl Write,
) -> io::Result<bool> {
    let path = reader.summary().path.clone();
    loop {
        match reader.next_block() {
            Ok(None) => return Ok(true),
            Ok(Some(block)) => form.write(&path, &block, out)?,
            Err(error) => {
                tell(command, error);
                return Ok(false);
            }
        }
    }
}

/// Says on stderr what could not be read. True when that is a failure: a torn tail of a file in
/// progress is none.
pub(super) fn report(command: &str, summary: &Summary) -> bool {
    let path = summary.path.display();
    if let Some(first) = &summary.first_damage {
        let count = summary.damaged_blocks;
        let what = format_args!("{count} damaged places left out; the first: {first}");
        tell(command, format_args!("{path}: {what}"));
    }
    let in_progress = is_open(&summary.path);
    match &summary.ending {
        Ending::Torn { at, bytes, why } => {
            tell(command, format_args!("{path}: the last {bytes} bytes, from {at} on: {why}"));
            !in_progress || summary.damaged_blocks > 0
        }
        Ending::StreamTorn { why } => {
            tell(command, format_args!("{path}: the file ends early or is damaged: {why}"));
            true
        }
        _ => summary.damaged_blocks > 0,
    }
}

pub(super) fn is_open(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == OPEN_SUFFIX.trim_matches('.'))
}

pub(super) fn finished_name(path: &Path) -> PathBuf {
    if is_open(path) { path.with_extension("") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_does_not_change_the_name_a_file_is_followed_by() {
        assert_eq!(finished_name(Path::new("a/x.log.1.zst.open")), Path::new("a/x.log.1.zst"));
        assert_eq!(finished_name(Path::new("a/x.log")), Path::new("a/x.log"));
    }
}
