//! `flumen grep`: events that match, out of archives, in the order of time.

mod around;
mod search;

use std::collections::BTreeSet;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use self::around::Around;
use self::search::{Piece, Searcher, Shape};
use super::event_json::json_line;
use super::gather::Gathered;
use super::instant::instant;
use super::output::{complain, tell, time_text};
use crate::archive::EventView;
use crate::archive::crew::{InOrder, in_order, threads_default};
use crate::archive::pattern::{Pattern, Reading};
use crate::archive::query::{Query, TimeRange};
use crate::runtime::clock::{Clock, SystemClock};
use crate::syslog::names::{SEVERITIES, severity_named};
use crate::time::{Mono, Wall};

/// Finds events in archives by text, time, host and severity
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    flumen grep 'session (opened|closed)' /var/log/flumen --since 1h\n  \
    flumen grep -F 10.0.0.7 /var/log/flumen --since '2026-11-21 10:00' --until 10:01\n  \
    flumen grep '' /var/log/flumen --host web01 --severity ..err --json\n\n\
    Reads finished and unfinished files of any codec, directories searched through; a dash is\n\
    standard input. Blocks outside the time range are not read. Files that keep times come in\n\
    the order of time, block by block. Blocks whose headers tell their words (`tokens`) are\n\
    passed over when -w, or what stands around a word in PATTERN, rules them out.\n\
    A moment is \"1h\" (ago), \"10:00\" (today), or \"2026-11-21T10:00:00Z\". --since and --until\n\
    choose whole blocks by when they were received, and exactly where the sink keeps each\n\
    event's time (`keep_meta`).\n\
    Exits 0 when an event was found, 1 when none was, 2 when something could not be read.")]
pub struct GrepArgs {
    /// A regular expression; several stand on lines of their own; the empty one finds every event
    #[arg(value_name = "PATTERN")]
    pub pattern: String,
    /// Files, directories to search through, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// PATTERN is text, not an expression
    #[arg(short = 'F', long)]
    pub fixed_strings: bool,
    /// Letters match in either case
    #[arg(short, long)]
    pub ignore_case: bool,
    /// Only whole words: no letter, digit or underscore beside what matches
    #[arg(short, long)]
    pub word_regexp: bool,
    /// Events that do not match
    #[arg(short = 'v', long)]
    pub invert_match: bool,
    /// Events received at or after this moment
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Events received before this moment
    #[arg(long, value_name = "T")]
    pub until: Option<String>,
    /// Of this host, as the message names it; may be given more than once
    #[arg(long, value_name = "HOST")]
    pub host: Vec<String>,
    /// Of this severity: a name or number, or a range: "..warning" is warning and worse
    #[arg(long, value_name = "SEVERITY", value_parser = severities)]
    pub severity: Option<u8>,
    /// Only the parts that match, one a line
    #[arg(short, long, conflicts_with = "json")]
    pub only_matching: bool,
    /// Only how many events there are
    #[arg(short, long, conflicts_with = "json")]
    pub count: bool,
    /// Nothing is written; ends at the first event
    #[arg(short, long)]
    pub quiet: bool,
    /// One JSON object a line: time, peer, message (or message_base64), file
    #[arg(long)]
    pub json: bool,
    /// Also so many events behind each
    #[arg(short = 'A', long, value_name = "N")]
    pub after_context: Option<usize>,
    /// Also so many events before each
    #[arg(short = 'B', long, value_name = "N")]
    pub before_context: Option<usize>,
    /// Also so many events on both sides of each
    #[arg(short = 'C', long, value_name = "N")]
    pub context: Option<usize>,
    /// Says on standard error what was read, skipped and found, and how fast
    #[arg(long)]
    pub stats: bool,
    /// Threads that search; as many as there are cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: Option<u8>,
}

const OUTPUT_BYTES: usize = 256 << 10;
/// Before a search says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);
const TROUBLE: u8 = 2;

pub fn run(args: &GrepArgs) -> ExitCode {
    let clock = SystemClock::default();
    let query = match query(args, clock.now().wall) {
        Ok(query) => query,
        Err(error) => {
            tell("grep", error);
            return ExitCode::from(TROUBLE);
        }
    };
    let mut search = Search::new(args, query, clock);
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let outcome = search.run(&mut out).and_then(|()| out.flush());
    match outcome {
        Ok(()) => search.conclude(),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            tell("grep", format_args!("standard output: {error}"));
            ExitCode::from(TROUBLE)
        }
    }
}

fn query(args: &GrepArgs, now: Wall) -> Result<Query, String> {
    let (fixed, ignore_case, word) = (args.fixed_strings, args.ignore_case, args.word_regexp);
    let reading = Reading { fixed, ignore_case, word };
    let pattern = Pattern::new(&args.pattern, reading).map_err(|error| {
        format!("\"{}\" is no regular expression: {error}\n(-F takes it as text)", args.pattern)
    })?;
    let moment = |text: &Option<String>, otherwise: Wall| {
        text.as_ref().map_or(Ok(otherwise), |text| instant(text, now))
    };
    let since = moment(&args.since, Wall::MIN).map_err(|error| format!("--since: {error}"))?;
    let until = moment(&args.until, Wall::MAX).map_err(|error| format!("--until: {error}"))?;
    if since >= until {
        let [since, until] = [since, until].map(time_text);
        return Err(format!("--since ({since}) is not before --until ({until}): nothing is asked"));
    }
    let mut query = Query::new(pattern).of_hosts(args.host.clone());
    query.range = TimeRange { since, until };
    query.invert = args.invert_match;
    query.severities = args.severity;
    Ok(query)
}

/// One bit each of the severities that a word or a range names.
fn severities(text: &str) -> Result<u8, String> {
    let one = |word: &str| {
        let named = severity_named(&word.to_ascii_lowercase());
        named.ok_or_else(|| format!("severities are {}, or 0 to 7", SEVERITIES.join(", ")))
    };
    let (worst, least) = match text.split_once("..") {
        Some((worst, least)) => {
            let end = |word: &str, open| if word.is_empty() { Ok(open) } else { one(word) };
            (end(worst, 0)?, end(least, 7)?)
        }
        None => (one(text)?, one(text)?),
    };
    if worst > least {
        return Err(format!("the worse one comes first: \"{}\"", turned(text)));
    }
    Ok((worst..=least).fold(0, |bits, severity| bits | 1 << severity))
}

fn turned(text: &str) -> String {
    text.split_once("..").map_or_else(String::new, |(a, b)| format!("{b}..{a}"))
}

struct Search<'a> {
    args: &'a GrepArgs,
    query: Query,
    shape: Shape,
    clock: SystemClock,
    total: Totals,
    gathered: Gathered,
    failed: bool,
    shown: Option<Mono>,
}

#[derive(Default)]
struct Totals {
    selected: u64,
    blocks: u64,
    skipped_blocks: u64,
    raw_bytes: u64,
    stored_bytes: u64,
    troubles: u64,
    files: BTreeSet<usize>,
    timeless: BTreeSet<usize>,
}

impl<'a> Search<'a> {
    fn new(args: &'a GrepArgs, query: Query, clock: SystemClock) -> Self {
        let around = args.context.or(args.after_context).or(args.before_context).is_some();
        let shape = match args {
            _ if args.count || args.quiet => Shape::Count,
            _ if args.only_matching => Shape::Parts,
            _ if around => Shape::Around,
            _ if args.json => Shape::Json,
            _ => Shape::Lines,
        };
        let (total, gathered) = (Totals::default(), Gathered::default());
        Self { args, query, shape, clock, total, gathered, failed: false, shown: None }
    }

    fn run(&mut self, out: &mut impl Write) -> io::Result<()> {
        let pieces = match self.begin() {
            Ok(pieces) => pieces,
            Err(error) => {
                tell("grep", error);
                self.failed = true;
                return Ok(());
            }
        };
        let both = self.args.context.unwrap_or(0);
        let before = self.args.before_context.unwrap_or(both);
        let mut around = Around::new(before, self.args.after_context.unwrap_or(both));
        for piece in pieces {
            self.count(&piece);
            if self.args.quiet && piece.selected > 0 {
                break;
            }
            if self.shape == Shape::Around {
                around.write(&piece, out, |line, out| self.line(&piece, line, out))?;
            } else {
                out.write_all(&piece.text)?;
            }
            self.progress();
        }
        if self.args.count && !self.args.quiet {
            writeln!(out, "{}", self.total.selected)?;
        }
        Ok(())
    }

    /// Sets the crew to work.
    fn begin(&mut self) -> io::Result<InOrder<Piece>> {
        self.gathered = Gathered::new("grep", &self.args.paths);
        self.failed = self.gathered.failed;
        let work = self.gathered.work(self.query.range);
        let threads = self.args.threads.map_or_else(threads_default, usize::from);
        in_order(threads, work, || {
            let mut searcher = Searcher::new(&self.query, self.shape);
            move |work, out: &_| searcher.search(work, out)
        })
    }

    fn count(&mut self, piece: &Piece) {
        let total = &mut self.total;
        total.selected += piece.selected;
        total.blocks += piece.blocks;
        total.skipped_blocks += piece.skipped_blocks;
        total.raw_bytes += piece.raw_bytes;
        total.stored_bytes += piece.stored_bytes;
        if let Some(of) = &piece.of {
            if piece.stream {
                total.timeless.insert(of.number);
            }
            total.files.insert(of.number);
        }
        if let Some(trouble) = &piece.trouble {
            let of = piece.of.as_ref();
            if trouble.missing && of.is_some_and(|of| self.gathered.may_be_gone(of)) {
                return;
            }
            self.clear_progress();
            tell("grep", &trouble.text);
            self.failed = true;
            self.total.troubles += 1;
        }
    }

    fn line(&self, piece: &Piece, line: &[u8], mut out: &mut dyn Write) -> io::Result<()> {
        let (true, Some(of)) = (self.args.json, &piece.of) else {
            out.write_all(line)?;
            return out.write_all(b"\n");
        };
        // Lines around an event may be of the block before: the times are those of blocks.
        let event = EventView::of_line(line, piece.encoding, piece.times);
        let time = piece.times.map(|(_, last)| time_text(last));
        json_line(&of.path.to_string_lossy(), time.as_deref(), &event, &mut out)
    }

    fn progress(&mut self) {
        let now = self.clock.now().mono;
        let since = self.shown.map_or(now, |shown| Mono(now.0 - shown.0));
        let due = if self.shown.is_some() { Duration::from_millis(500) } else { PROGRESS };
        let watched = io::stderr().is_terminal() && !io::stdout().is_terminal();
        if Duration::from_nanos(since.0) < due || !watched {
            return;
        }
        self.shown = Some(now);
        let (read, found) = (self.total.raw_bytes / 1_000_000, self.total.selected);
        complain(&format!("\r\x1b[K{read} MB searched, {found} found"));
    }

    fn clear_progress(&self) {
        if self.shown.is_some() {
            complain("\r\x1b[K");
        }
    }

    fn conclude(&self) -> ExitCode {
        self.clear_progress();
        let ranged = self.query.range != TimeRange::ALL;
        if self.args.stats {
            self.stats();
        }
        if ranged && !self.total.timeless.is_empty() {
            let count = self.total.timeless.len();
            tell("grep", format_args!("{count} files keep no times and were searched whole"));
        }
        match (self.failed, self.total.selected > 0) {
            // As grep does: who only asks whether there is one has the answer.
            (_, true) if self.args.quiet => ExitCode::SUCCESS,
            (true, _) => ExitCode::from(TROUBLE),
            (false, true) => ExitCode::SUCCESS,
            (false, false) => ExitCode::from(1),
        }
    }

    fn stats(&self) {
        let total = &self.total;
        let seconds = self.clock.now().mono.0 as f64 / 1e9;
        let (raw, stored) = (total.raw_bytes as f64 / 1e6, total.stored_bytes as f64 / 1e6);
        complain(&format!(
            "{} events found in {} files\n{} blocks searched, {} left out for their times or \
             words, {} places bad\n{raw:.1} MB of text, stored as {stored:.1} MB in blocks\n\
             {seconds:.3} s, {:.0} MB/s of text\n",
            total.selected,
            total.files.len(),
            total.blocks,
            total.skipped_blocks,
            total.troubles,
            raw / seconds.max(1e-9),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_a_name_a_number_or_a_range() {
        for (text, bits) in [
            ("err", 0b1000),
            ("3", 0b1000),
            ("ERROR", 0b1000),
            ("..warning", 0b1_1111),
            ("info..", 0b1100_0000),
            ("crit..err", 0b1100),
            ("..", 0xff),
        ] {
            assert_eq!(severities(text), Ok(bits), "{text}");
        }
        for (text, remedy) in
            [("bad", "severities are emerg"), ("8", "or 0 to 7"), ("info..err", "\"err..info\"")]
        {
            assert!(severities(text).unwrap_err().contains(remedy), "{text}");
        }
    }
}
