//! `flumen verify`: every block of archives against its checksums.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::gather::{Gathered, Work};
use super::output::finish;
use super::pipe::open_pipe;
use crate::archive::crew::{Out, in_order, threads_default};
use crate::archive::order::{Job, Subject};
use crate::archive::query::TimeRange;
use crate::archive::survey::{BlockDecoder, encoding};
use crate::archive::{ArchiveError, BlockView, Ending, Reader};

/// Checks every block of archives, and says which are bad
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen verify /var/log/flumen\n\n\
    Decodes every block and compares header, stored and decoded bytes with their checksums and\n\
    the index. Files of other programs are decoded to their end; plain text has nothing to\n\
    check. The unfinished end of a file in progress is no fault. Exits 1 when anything is bad.")]
pub struct VerifyArgs {
    /// Files, directories to walk, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// One JSON object: totals, and what is bad
    #[arg(long)]
    pub json: bool,
}

/// What came of a block, a gap or a file.
struct Found {
    of: Subject,
    blocks: u64,
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
    finish("verify", verify(args, &mut io::stdout().lock()))
}

fn verify(args: &VerifyArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut gathered = Gathered::new("verify", &args.paths);
    let work = gathered.work(TimeRange::ALL);
    let results = in_order(threads_default(), work, || {
        let mut decoder = BlockDecoder::default();
        move |work, out: &Out<Found>| {
            for found in check(work, &mut decoder) {
                out.put(found);
            }
        }
    })?;
    let (mut blocks, mut events, mut raw_bytes) = (0, 0, 0);
    let mut files = BTreeSet::new();
    let (mut count, mut bad) = (0_u64, Vec::new());
    for found in results {
        files.insert(found.of.number);
        blocks += found.blocks;
        events += found.events;
        raw_bytes += found.raw_bytes;
        let Some(one) = found.bad else { continue };
        if one.missing && gathered.may_be_gone(&found.of) {
            continue;
        }
        count += 1;
        if args.json {
            let file = found.of.path.to_string_lossy();
            bad.push(json!({ "file": file, "block": one.block, "at": one.at, "why": one.why }));
        } else {
            writeln!(out, "{}: {}", found.of.path.display(), one.text())?;
        }
    }
    let files = files.len();
    if args.json {
        let totals = json!({
            "files": files, "blocks": blocks, "events": events, "raw_bytes": raw_bytes, "bad": bad,
        });
        writeln!(out, "{totals}")?;
    } else {
        let verdict = match count {
            0 => "all is well".to_owned(),
            1 => "1 place is bad".to_owned(),
            more => format!("{more} places are bad"),
        };
        writeln!(
            out,
            "{files} files, {blocks} blocks, {events} events, {raw_bytes} bytes: {verdict}"
        )?;
    }
    out.flush()?;
    let failed = count > 0 || gathered.failed;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Bad {
    fn text(&self) -> String {
        match (self.block, self.at) {
            (Some(block), Some(at)) => format!("block {block} at byte {at}: {}", self.why),
            (None, Some(at)) => format!("at byte {at}: {}", self.why),
            _ => self.why.clone(),
        }
    }
}

fn check(work: Work, decoder: &mut BlockDecoder) -> Vec<Found> {
    let bad = |of: Subject, block, at, why: String| {
        let bad = Some(Bad { block, at, why, missing: false });
        vec![Found { of, blocks: 0, events: 0, raw_bytes: 0, bad }]
    };
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
            let why = match decoder.verify(&*file, codec, &entry) {
                Ok(Ok(raw)) => {
                    let raw_bytes = raw.len() as u64;
                    let events = u64::from(entry.event_count);
                    match BlockView::whole(raw, encoding(&entry), None).miscount(events) {
                        None => return vec![Found { of, blocks: 1, events, raw_bytes, bad: None }],
                        Some(why) => why,
                    }
                }
                Ok(Err(why)) => why,
                Err(error) => error.to_string(),
            };
            bad(of, Some(number), Some(entry.offset), why)
        }
        Work::File(Job::Gap { of, gap }) => bad(of, None, Some(gap.at), gap.why),
        Work::File(Job::Failed { of, error }) => {
            let missing = error.kind() == io::ErrorKind::NotFound;
            let mut found = bad(of, None, None, error.to_string());
            found.iter_mut().flat_map(|one| &mut one.bad).for_each(|bad| bad.missing = missing);
            found
        }
        Work::File(Job::Skipped { .. }) => Vec::new(),
    }
}

/// A file without headers is decoded to its end.
fn stream(of: Subject, reader: Result<Reader, ArchiveError>) -> Vec<Found> {
    let read = reader.and_then(|mut reader| {
        while reader.next_block()?.is_some() {}
        Ok(reader.into_summary())
    });
    let bad = |why: String| Some(Bad { block: None, at: None, why, missing: false });
    let (events, raw_bytes, bad) = match read {
        Ok(summary) => {
            let why = match summary.ending {
                Ending::StreamTorn { why } | Ending::Torn { why, .. } => bad(why),
                _ => None,
            };
            (summary.events, summary.raw_bytes, why)
        }
        Err(error) => (0, 0, bad(error.source.to_string())),
    };
    vec![Found { of, blocks: 0, events, raw_bytes, bad }]
}
