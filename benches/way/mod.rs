//! A channel with a sink behind it, stepped by hand: batches of lines go in, as a source hands them
//! over, and are timed until nobody has anything to do any more.

use crate::text;
use criterion::{BenchmarkGroup, Throughput, measurement::WallTime};
use flumen::channel::{CHANNELS, ChannelContext, Inlet, Valve};
use flumen::config::{OptionDoc, Section};
use flumen::event::{Origin, Page};
use flumen::memory::receipt::Reached;
use flumen::memory::{Credit, Pool};
use flumen::ring::Wake;
use flumen::runtime::clock::{Clock, SystemClock};
use flumen::runtime::{Progress, Worker};
use flumen::sink::{Orders, SINKS, SinkContext};
use flumen::source::framing::{Rules, Stage, frame};
use flumen::storage::{Disk, OsDisk};
use flumen::telemetry::{Incidents, Ledger};
use flumen::time::Now;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PAGE_BYTES: usize = 1 << 20;
const LINE_BYTES: usize = 190;
const PAGES: u32 = 8;
const RULES: Rules =
    Rules { counted: false, zipped: false, event_bytes_max: 64 << 10, want_pri: false };

pub(crate) struct Way {
    clock: Arc<SystemClock>,
    valve: Valve,
    workers: Vec<Box<dyn Worker>>,
    text: Vec<u8>,
    _dir: tempfile::TempDir,
}

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

impl Way {
    /// `DIR` in the options is a directory of its own.
    fn new(channel: (&str, &str), sink: (&str, &str)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let section = |text: &str, rows: &'static [OptionDoc]| {
            let section =
                Section::parse(&text.replace("DIR", &dir.path().display().to_string()), rows);
            assert!(
                section.diagnostics().lines().is_empty(),
                "{:?}",
                section.diagnostics().lines()
            );
            section
        };
        let clock = Arc::new(SystemClock::default());
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let mut ledger = Ledger::builder("bench");

        let kind = CHANNELS.iter().find(|kind| kind.name == channel.0).expect("a channel's type");
        let channels = (kind.plan)(&section(channel.1, kind.options));
        let kind = SINKS.iter().find(|kind| kind.name == sink.0).expect("a sink's type");
        let sinks = (kind.plan)(&section(sink.1, kind.options));
        let pages = PAGES as usize + channels.pages_in_hand() + sinks.pages_in_hand();
        let pool = Pool::new(pages, PAGE_BYTES);

        let incidents = Incidents::new();
        let way = channels.build(ChannelContext {
            name: "main".to_owned(),
            credit: Arc::new(Credit::new(PAGES)),
            counters: ledger.channel("main").counters(),
            incidents: Arc::clone(&incidents),
            disk: Arc::clone(&disk),
            sink_threads: sinks.threads(),
            confirmed: Reached::Written,
            random: 7,
        });
        let way = way.expect("a channel");
        let end = sinks.build(&SinkContext {
            name: "out".to_owned(),
            channel: Arc::clone(&way.channel),
            counters: vec![ledger.sink("out", "main").worker()],
            incidents,
            disk,
            dead_letters: None,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            orders: Arc::new(Orders::default()),
            page_bytes: PAGE_BYTES,
            event_bytes_max: RULES.event_bytes_max,
            now: clock.now(),
        });
        let end = end.expect("a sink");
        let inlet = Inlet {
            when_full: channels.when_full(),
            counters: ledger.channel("main").inlet(),
            channel: way.channel,
        };
        let waker: Arc<dyn Wake> = Arc::new(Nobody);
        let workers = [way.keepers, way.helpers, end.workers, end.helpers];
        Self {
            clock,
            valve: Valve::new(pool, vec![inlet], &waker),
            workers: workers.into_iter().flatten().collect(),
            text: text::lines(PAGE_BYTES * 9 / 10, LINE_BYTES),
            _dir: dir,
        }
    }

    fn events(&self) -> u64 {
        (self.text.len() / (LINE_BYTES + 1)) as u64
    }

    /// Everybody works until nobody has anything to do.
    fn settle(&mut self) {
        let mut worked = true;
        while std::mem::take(&mut worked) {
            let now = self.clock.now();
            for worker in &mut self.workers {
                worked |= worker.work(now) == Progress::Worked;
            }
        }
    }

    /// What it takes to pass one batch on.
    fn pass(&mut self) -> Duration {
        let mut lease = loop {
            match self.valve.open() {
                Some(lease) => break lease,
                None => self.settle(),
            }
        };
        let now = self.clock.now();
        fill(&mut lease, &self.text, now);
        let began = Instant::now();
        self.valve.offer(lease, None, now.mono, now);
        self.settle();
        began.elapsed()
    }
}

/// As a source does: the text is read into the page, and framed where it lies.
fn fill(page: &mut Page, lines: &[u8], now: Now) {
    let origin = page.push_origin(Origin::LOCAL).expect("an empty page");
    page.spare_mut()[..lines.len()].copy_from_slice(lines);
    let (text, mut records) = page.frame(lines.len() as u32, now.wall, origin);
    let partial = frame(text, 0, 0, Stage::Start, &RULES, &mut records).partial;
    let sums = records.finish();
    page.settle(sums, now.wall, partial as u32);
}

/// A row of the group: batches through this channel to this sink.
pub(crate) fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    channel: (&str, &str),
    sink: (&str, &str),
) {
    let mut way = Way::new(channel, sink);
    // Files are real: a few seconds of them are enough.
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(way.events()));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| way.pass()).sum());
    });
}
