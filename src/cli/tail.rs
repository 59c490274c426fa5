//! `flumen tail`: the last events of archives, across files, and those to come.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::follow::{Followed, finished_name};
use super::form::Form;
use super::gather::{Gathered, Work};
use super::output::{finish, tell};
use super::pipe::is_pipe;
use crate::archive::order::{Job, Subject};
use crate::archive::query::TimeRange;
use crate::archive::survey::{BlockDecoder, open_file};
use crate::archive::{BlockView, Reader};
use crate::codec::Codec;
use crate::storage::OsDisk;
use crate::storage::segment::BlockEntry;

/// Writes the last events of archives, and with --follow those to come
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    flumen tail -n 100 /var/log/flumen\n  \
    flumen tail -f /var/log/flumen --json | jq -r .message\n\n\
    The last events are those of the blocks received last, whichever files they are in; files\n\
    that keep no times come before all others. --follow goes on with new blocks and new files,\n\
    through every roll, a second (block.age) behind what is received.")]
pub struct TailArgs {
    /// Files, or directories to walk
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// So many events
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub lines: u64,
    /// Goes on with new blocks and new files as they appear
    #[arg(short, long)]
    pub follow: bool,
    /// One JSON object a line: time, peer, message (or message_base64), file
    #[arg(long)]
    pub json: bool,
}

/// A block near the end.
struct Late {
    of: Subject,
    codec: Codec,
    entry: BlockEntry,
}

pub fn run(args: &TailArgs) -> ExitCode {
    if let Some(path) = args.paths.iter().find(|path| is_pipe(path)) {
        let why = "can be read only from its front: flumen cat reads it";
        tell("tail", format_args!("{}: {why}", path.display()));
        return ExitCode::from(2);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = tail(args, &mut out);
    finish("tail", outcome.and_then(|code| out.flush().map(|()| code)))
}

fn tail(args: &TailArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut followed = Followed::new("tail");
    // First where the files end now: what comes behind that is followed, what is before it is here.
    let ends = if args.follow { followed.skip(&args.paths) } else { BTreeMap::new() };
    let mut last = Last { wanted: args.lines, ends, failed: false };
    last.write(args, out)?;
    if args.follow {
        out.flush()?;
        return followed.follow(&args.paths, &mut Form::new(args.json), out);
    }
    Ok(if last.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Last {
    wanted: u64,
    /// By the name a file has once it is finished: no further than this.
    ends: BTreeMap<PathBuf, u64>,
    failed: bool,
}

impl Last {
    fn write(&mut self, args: &TailArgs, out: &mut impl Write) -> io::Result<()> {
        let mut gathered = Gathered::new("tail", &args.paths);
        self.failed = gathered.failed;
        let (mut blocks, mut events, mut streams) = (VecDeque::<Late>::new(), 0, Vec::new());
        for work in gathered.work(TimeRange::ALL) {
            match work {
                Work::File(Job::Block { of, codec, entry, .. }) => {
                    if !self.is_before_end(&of, entry.end_offset()) {
                        continue;
                    }
                    events += u64::from(entry.event_count);
                    blocks.push_back(Late { of, codec, entry });
                    // Of the front only what is still wanted behind it.
                    while let Some(first) = blocks.front()
                        && events - u64::from(first.entry.event_count) >= self.wanted
                    {
                        events -= u64::from(first.entry.event_count);
                        blocks.pop_front();
                    }
                }
                // Opened again when it is read: there may be more of them than may be open.
                Work::File(Job::Stream { of, .. }) => streams.push(of),
                Work::File(Job::Gap { of, gap }) => {
                    let what = format!("{} bytes at byte {}: {}", gap.bytes, gap.at, gap.why);
                    self.fail(&of, &what);
                }
                Work::File(Job::Failed { of, error }) => {
                    let gone = error.kind() == io::ErrorKind::NotFound;
                    if !(gone && gathered.may_be_gone(&of)) {
                        self.fail(&of, &error.to_string());
                    }
                }
                Work::File(Job::Skipped { .. }) | Work::Pipe { .. } => {}
            }
        }
        self.streams(&streams, self.wanted.saturating_sub(events), args.json, out)?;
        self.blocks(&blocks, events.saturating_sub(self.wanted), args.json, out)
    }

    fn is_before_end(&self, of: &Subject, offset: u64) -> bool {
        self.ends.get(&finished_name(&of.path)).is_none_or(|end| offset <= *end)
    }

    fn fail(&mut self, of: &Subject, what: &str) {
        tell("tail", format_args!("{}: {what}", of.path.display()));
        self.failed = true;
    }

    fn blocks(
        &mut self,
        blocks: &VecDeque<Late>,
        mut passed_over: u64,
        json: bool,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut decoder = BlockDecoder::default();
        for late in blocks {
            let decoded = open_file(&OsDisk, &late.of.path)
                .and_then(|(_, file)| decoder.view(&*file, late.codec, &late.entry, json))
                .unwrap_or_else(|error| Err(error.to_string()));
            let view = match decoded {
                Ok(view) => view,
                Err(why) => {
                    let at = late.entry.offset;
                    self.fail(&late.of, &format!("the block at byte {at} is left out: {why}"));
                    continue;
                }
            };
            let passed = passed_over.min(u64::from(late.entry.event_count));
            passed_over -= passed;
            write(&late.of, &view.skip_events(passed), json, out)?;
        }
        Ok(())
    }

    /// The last so many lines of files without blocks, of which nothing is known but their order.
    fn streams(
        &mut self,
        streams: &[Subject],
        mut wanted: u64,
        json: bool,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut kept = Vec::new();
        for of in streams.iter().rev() {
            if wanted == 0 {
                break;
            }
            let end = self.ends.get(&finished_name(&of.path)).copied();
            match last_lines(of, wanted, end.unwrap_or(u64::MAX)) {
                Ok(lines) => {
                    wanted -= lines.len() as u64;
                    kept.push((of, lines));
                }
                Err(what) => self.fail(of, &what),
            }
        }
        for (of, lines) in kept.iter().rev() {
            let mut text = Vec::new();
            for line in lines {
                text.extend_from_slice(line);
                text.push(b'\n');
            }
            write(of, &BlockView::whole(&text, None, None), json, out)?;
        }
        Ok(())
    }
}

fn write(of: &Subject, view: &BlockView<'_>, json: bool, out: &mut impl Write) -> io::Result<()> {
    Form::new(json).write(&of.path, view, out)
}

/// The last lines of a stream, of those that end within its first `end` bytes.
fn last_lines(of: &Subject, wanted: u64, end: u64) -> Result<VecDeque<Vec<u8>>, String> {
    let (path, file) = open_file(&OsDisk, &of.path).map_err(|error| error.to_string())?;
    let reader = Reader::of_file(&path, file);
    let mut reader = reader.map_err(|error| error.source.to_string())?;
    let (mut lines, mut passed) = (VecDeque::new(), 0);
    while let Some(view) = reader.next_block().map_err(|error| error.source.to_string())? {
        for event in view.events() {
            passed += event.line.len() as u64 + 1;
            if passed > end {
                break;
            }
            if lines.len() as u64 == wanted {
                lines.pop_front();
            }
            lines.push_back(event.line.to_vec());
        }
    }
    Ok(lines)
}
