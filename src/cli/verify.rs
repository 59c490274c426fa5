//! `flumen verify`: every block of archives against its checksums, and against its file's chain.

mod tally;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::tally::Tally;
use super::Failure;
use super::gather::{Gathered, Work};
use super::output::{finish, tell};
use super::pipe::open_pipe;
use crate::archive::chain::Linked;
use crate::archive::crew::{Out, in_order, threads_default};
use crate::archive::order::{Job, Subject};
use crate::archive::query::TimeRange;
use crate::archive::survey::{BlockDecoder, encoding};
use crate::archive::{ArchiveError, BlockView, Ending, Reader};
use crate::storage::seal_key::{FILE_BYTES_MAX, VerifyingKey};
use crate::storage::segment::BlockEntry;
use crate::storage::{OsDisk, read_file};

/// Checks every block of archives, and says which are bad
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: flumen verify /var/log/flumen\n\
    \x20         flumen verify /var/log/flumen --key seal.pub\n\n\
    Decodes every block and compares header, stored and decoded bytes with their checksums and\n\
    the index, and chained blocks with their hashes and the seal. With --key every file must be\n\
    sealed with that key, but for those in progress. Files of other programs are decoded to\n\
    their end; plain text has nothing to check. The unfinished end of a file in progress is no\n\
    fault. Exits 1 when anything is bad.")]
pub struct VerifyArgs {
    /// Files, directories to walk, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// A public Ed25519 key (PEM) that files must be sealed with; or several
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// One JSON object: totals, and what is bad
    #[arg(long)]
    pub json: bool,
}

/// What came of a block, a gap or a file.
struct Found {
    of: Subject,
    /// And its number; None: a place that is no block, or a file without any.
    block: Option<(u64, BlockEntry)>,
    linked: Option<Linked>,
    events: u64,
    raw_bytes: u64,
    bad: Option<Bad>,
}

struct Bad {
    block: Option<u64>,
    at: Option<u64>,
    why: String,
    missing: bool,
}

pub fn run(args: &VerifyArgs) -> ExitCode {
    let keys: Result<Vec<_>, _> = args.key.iter().map(|path| public_key(path)).collect();
    match keys {
        Ok(keys) => finish("verify", verify(args, keys, &mut io::stdout().lock())),
        Err(what) => {
            tell("verify", what);
            Failure::Usage.into()
        }
    }
}

fn public_key(path: &Path) -> Result<VerifyingKey, String> {
    let name = path.display();
    let pem = read_file(&OsDisk, path, FILE_BYTES_MAX)
        .map_err(|error| format!("--key {name} cannot be read: {error}"))?;
    VerifyingKey::from_pem(&pem).map_err(|error| format!("--key {name} {error}: {}", error.remedy))
}

/// The files, which of them must tell something, and the work on them.
fn gather(
    args: &VerifyArgs,
    all: bool,
) -> (Gathered, Vec<PathBuf>, impl Iterator<Item = Work> + Send + use<>) {
    let mut gathered = Gathered::new("verify", &args.paths);
    let listed = if all { gathered.files().to_vec() } else { Vec::new() };
    let work = gathered.work(TimeRange::ALL);
    (gathered, listed, work)
}

fn verify(
    args: &VerifyArgs,
    keys: Vec<VerifyingKey>,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let (gathered, listed, work) = gather(args, !keys.is_empty());
    let results = in_order(threads_default(), work, || {
        let mut decoder = BlockDecoder::default();
        move |work, out: &Out<Found>| {
            out.put(check(work, &mut decoder));
        }
    })?;
    tell_all(args.json, keys, &gathered, &listed, results, out)
}

/// What was found, as it comes, and in the end what came of it.
fn tell_all(
    as_json: bool,
    keys: Vec<VerifyingKey>,
    gathered: &Gathered,
    listed: &[PathBuf],
    results: impl Iterator<Item = Found>,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let mut tally = Tally::new(as_json, keys);
    for found in results {
        let missing = found.bad.as_ref().is_some_and(|bad| bad.missing);
        if !missing || !gathered.may_be_gone(&found.of) {
            tally.take(found, out)?;
        }
    }
    tally.end(listed, out)?;
    out.flush()?;
    let failed = tally.is_bad() || gathered.failed;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Found {
    fn nothing(of: Subject) -> Self {
        Self { of, block: None, linked: None, events: 0, raw_bytes: 0, bad: None }
    }

    fn bad(of: Subject, block: Option<u64>, at: Option<u64>, why: String) -> Self {
        let bad = Some(Bad { block, at, why, missing: false });
        Self { bad, ..Self::nothing(of) }
    }
}

impl Bad {
    fn of_file(why: String) -> Self {
        Self { block: None, at: None, why, missing: false }
    }

    fn text(&self) -> String {
        match (self.block, self.at) {
            (Some(block), Some(at)) => format!("block {block} at byte {at}: {}", self.why),
            (None, Some(at)) => format!("at byte {at}: {}", self.why),
            _ => self.why.clone(),
        }
    }
}

fn check(work: Work, decoder: &mut BlockDecoder) -> Found {
    match work {
        Work::Pipe { of } => {
            let reader = open_pipe(&of.path);
            stream(of, reader)
        }
        Work::File(Job::Stream { of, file }) => {
            let reader = Reader::of_file(&of.path, file);
            stream(of, reader)
        }
        Work::File(Job::Block { of, file, codec, entry, number }) => {
            let events = u64::from(entry.event_count);
            let sound = match decoder.verify(&*file, codec, &entry) {
                Ok(Ok(raw)) => {
                    let view = BlockView::whole(raw, encoding(&entry), None);
                    view.miscount(events).map_or(Ok(raw.len() as u64), Err)
                }
                Ok(Err(why)) => Err(why),
                Err(error) => Err(error.to_string()),
            };
            match sound {
                Ok(raw_bytes) => {
                    let (block, linked) = (Some((number, entry)), decoder.linked());
                    Found { block, linked, events, raw_bytes, ..Found::nothing(of) }
                }
                Err(why) => {
                    let bad = Found::bad(of, Some(number), Some(entry.offset), why);
                    Found { block: Some((number, entry)), ..bad }
                }
            }
        }
        Work::File(Job::Gap { of, gap }) => Found::bad(of, None, Some(gap.at), gap.why),
        Work::File(Job::Failed { of, error }) => {
            let missing = error.kind() == io::ErrorKind::NotFound;
            let mut found = Found::bad(of, None, None, error.to_string());
            found.bad.iter_mut().for_each(|bad| bad.missing = missing);
            found
        }
        Work::File(Job::Skipped { .. }) => unreachable!("no range was given"),
    }
}

/// A file without headers is decoded to its end.
fn stream(of: Subject, reader: Result<Reader, ArchiveError>) -> Found {
    let read = reader.and_then(|mut reader| {
        while reader.next_block()?.is_some() {}
        Ok(reader.into_summary())
    });
    let bad = |of, why| Found::bad(of, None, None, why);
    match read {
        Ok(summary) => {
            let found = match summary.ending {
                Ending::StreamTorn { why } | Ending::Torn { why, .. } => bad(of, why),
                _ => Found::nothing(of),
            };
            Found { events: summary.events, raw_bytes: summary.raw_bytes, ..found }
        }
        Err(error) => bad(of, error.source.to_string()),
    }
}
