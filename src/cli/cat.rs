//! `flumen cat`: events back out, exactly as stored or as one JSON object a line.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::event_json::json_lines;
use super::output::{finish, tell};
use super::pipe::{is_pipe, open_pipe};
use crate::archive::{ArchiveError, Ending, Reader, Summary, segments};
use crate::storage::OsDisk;
use crate::storage::catalog::OPEN_SUFFIX;

/// Writes the events of archives to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen cat /var/log/flumen --json | jq -r .message\n\n\
    Reads finished and unfinished files of any codec; directories are walked, dotfiles left out.\n\
    A dash is standard input; from a pipe events come without the times of their blocks.\n\
    --follow ends when every file named is finished; of a directory it never is.\n\
    With --json an event without a time of its own carries its block's last receive time,\n\
    and says so: \"time_of\":\"block\".")]
pub struct CatArgs {
    /// Files, directories to walk, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// One JSON object a line: time, peer, message (or message_base64), file
    #[arg(long)]
    pub json: bool,
    /// Goes on with new blocks and new files as they appear
    #[arg(long, short)]
    pub follow: bool,
}

/// How often a followed file is looked at: well under `block.age`, its own granularity.
const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// Large enough that a block is a few writes.
const OUTPUT_BYTES: usize = 256 << 10;

pub fn run(args: &CatArgs) -> ExitCode {
    let once_only = args.paths.iter().find(|path| args.follow && is_pipe(path));
    if let Some(path) = once_only {
        let why = "is read to its end as it is: leave out --follow";
        tell("cat", format_args!("{}: {why}", path.display()));
        return ExitCode::from(2);
    }
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let outcome =
        if args.follow { Followed::default().follow(args, &mut out) } else { once(args, &mut out) };
    finish("cat", outcome.and_then(|code| out.flush().map(|()| code)))
}

fn once(args: &CatArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut failed = false;
    for path in &args.paths {
        if is_pipe(path) {
            failed |= !whole(open_pipe(path), args.json, out)?;
            continue;
        }
        match segments(std::slice::from_ref(path)) {
            Ok(files) => {
                for file in files {
                    failed |= !whole(Reader::open(&OsDisk, &file), args.json, out)?;
                }
            }
            Err(error) => {
                tell("cat", error);
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One file from its beginning to its end; true when nothing of it is missing.
fn whole(
    reader: Result<Reader, ArchiveError>,
    json: bool,
    out: &mut impl Write,
) -> io::Result<bool> {
    match reader {
        Ok(mut reader) => {
            let drained = drain(&mut reader, json, out)?;
            Ok(!report(reader.summary()) && drained)
        }
        Err(error) => {
            tell("cat", error);
            Ok(false)
        }
    }
}

/// Files by the name they have or will have once finished, so that a seal prints none again.
#[derive(Default)]
struct Followed {
    /// In the order in which they were found: who was rolled away comes before what followed it.
    readers: Vec<(PathBuf, Reader)>,
    done: BTreeSet<PathBuf>,
    failed: bool,
}

impl Followed {
    /// Until the pipe closes, a signal comes, or all that was asked for is finished, and no
    /// directory is among it.
    fn follow(mut self, args: &CatArgs, out: &mut impl Write) -> io::Result<ExitCode> {
        let folder = args.paths.iter().any(|path| path.is_dir());
        let mut first = true;
        loop {
            let there = self.look(&args.paths, first);
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
            self.write(&there, args.json, out)?;
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
        json: bool,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut ended = Vec::new();
        for (name, reader) in &mut self.readers {
            // Plain text has no end of its own; its name says when it is finished.
            let renamed = is_open(&reader.summary().path)
                && there.iter().any(|(it, path)| it == name && !is_open(path));
            let drained = drain(reader, json, out)?;
            if !drained || !reader.may_grow() || renamed {
                self.failed |= report(reader.summary()) || !drained;
                ended.push(name.clone());
            }
        }
        self.readers.retain(|(name, _)| !ended.contains(name));
        self.done.extend(ended);
        Ok(())
    }

    fn fail(&mut self, error: &ArchiveError) {
        tell("cat", error);
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
fn drain(reader: &mut Reader, json: bool, out: &mut impl Write) -> io::Result<bool> {
    let path = reader.summary().path.clone();
    loop {
        match reader.next_block() {
            Ok(None) => return Ok(true),
            Ok(Some(block)) if json => json_lines(&path, &block, out)?,
            Ok(Some(block)) => out.write_all(block.bytes)?,
            Err(error) => {
                tell("cat", error);
                return Ok(false);
            }
        }
    }
}

/// Says on stderr what could not be read. True when that is a failure: a torn tail of a file in
/// progress is none.
fn report(summary: &Summary) -> bool {
    let path = summary.path.display();
    if let Some(first) = &summary.first_damage {
        let count = summary.damaged_blocks;
        let what = format_args!("{count} damaged blocks left out; the first: {first}");
        tell("cat", format_args!("{path}: {what}"));
    }
    let in_progress = is_open(&summary.path);
    match &summary.ending {
        Ending::Torn { at, bytes, why } => {
            tell("cat", format_args!("{path}: the last {bytes} bytes, from {at} on: {why}"));
            !in_progress || summary.damaged_blocks > 0
        }
        Ending::StreamTorn { why } => {
            tell("cat", format_args!("{path}: the file ends early or is damaged: {why}"));
            true
        }
        _ => summary.damaged_blocks > 0,
    }
}

fn is_open(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == OPEN_SUFFIX.trim_matches('.'))
}

fn finished_name(path: &Path) -> PathBuf {
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
