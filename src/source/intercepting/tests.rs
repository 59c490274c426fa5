//! A source through its runner, a chain, a valve and channels.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::channel::memory::MemoryChannel;
use crate::channel::{Channel, Inlet, Parcel, Valve, WhenFull};
use crate::config::Section;
use crate::event::{EventHead, Marks, Origin};
use crate::interceptor::{CHAIN, ChainPlan, Tools};
use crate::limits::BATCH_BYTES_MIN;
use crate::memory::receipt::{Outcome, Reached, ReceiptPool};
use crate::memory::{Credit, Pool, ReceiptSlip};
use crate::ring::Wake;
use crate::runtime::parker::Parker;
use crate::runtime::{Progress, Worker};
use crate::source::runner::{Pace, SourceRunner};
use crate::telemetry::{Ledger, SourceCounters};
use crate::time::{Mono, Now, Wall};

/// Numbered lines, as many as fit at a time.
struct Lines {
    next: u32,
    total: u32,
    receipts: Option<Arc<ReceiptPool>>,
    unanswered: bool,
    slips: Arc<std::sync::atomic::AtomicU32>,
}

fn line(number: u32) -> String {
    format!("line {number:06} {}", "x".repeat((number % 97) as usize))
}

impl Source for Lines {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        let origin = page.push_origin(Origin::LOCAL).expect("room for one");
        let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
        while self.next < self.total {
            if page.append_event(line(self.next).as_bytes(), head).is_err() {
                return Received { full: true, ..Received::default() };
            }
            self.unanswered = true;
            self.next += 1;
        }
        Received { finished: true, ..Received::default() }
    }

    fn wait(&mut self, _now: Now, _until: Mono, _open: bool) {}

    fn waker(&self) -> Arc<dyn Wake> {
        Parker::default().waker()
    }

    fn stop(&mut self, _now: Now) {}

    fn slip(&mut self) -> Option<ReceiptSlip> {
        let receipts = self.receipts.as_ref()?;
        if !std::mem::take(&mut self.unanswered) {
            return None;
        }
        self.slips.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        receipts.take(2).map(|(_, slip)| slip)
    }
}

struct Scene {
    runner: SourceRunner,
    channels: Vec<Arc<dyn Channel>>,
    ledger: Arc<Ledger>,
    counters: Arc<SourceCounters>,
    slips: Arc<std::sync::atomic::AtomicU32>,
    /// What was polled.
    parcels: Vec<Vec<Parcel>>,
}

const PAGES: usize = 64;

fn scene(chain: &str, total: u32, receipts: Option<Arc<ReceiptPool>>) -> Scene {
    let mut builder = Ledger::builder("test");
    let counters = builder.source("in").worker();
    let names = ["one", "two"];
    let channels = names.map(|name| {
        let own = builder.channel(name).counters();
        let credit = Arc::new(Credit::new(PAGES as u32 / 2));
        Arc::new(MemoryChannel::new(name.to_owned(), credit, own)) as Arc<dyn Channel>
    });
    let inlets = channels.iter().map(|channel| Inlet {
        channel: Arc::clone(channel),
        when_full: WhenFull::Wait,
        counters: builder.channel(channel.name()).inlet(),
    });
    let inlets = inlets.collect();
    let ledger = builder.build();
    let pool = Pool::new(PAGES, BATCH_BYTES_MIN);
    let page = pool.take().expect("free");
    let section = Section::parse(&format!("interceptors = {chain}"), &[CHAIN]);
    let plan = ChainPlan::plan(&section);
    assert_eq!(section.diagnostics().lines(), Vec::<String>::new());
    let slips = Arc::default();
    let slips_of = Arc::clone(&slips);
    let source = Lines { next: 0, total, receipts, unanswered: false, slips: slips_of };
    let valve = Valve::new(pool, inlets, &source.waker());
    let pace = Pace { age: Duration::from_secs(1), eager: false, backlog: None, slice_ns: None };
    let runner =
        SourceRunner::new("in".to_owned(), Box::new(source), valve, Arc::clone(&counters), pace);
    let runner = if plan.only_refuses() {
        runner.with_refusing(Some(plan.build(&Tools::default())))
    } else {
        let chain = plan.build(&Tools::default());
        runner.with_intercepting(Some(Intercepting::new(Staging::new(page, chain, 4096), true)))
    };
    let parcels = vec![Vec::new(), Vec::new()];
    Scene { runner, channels: channels.to_vec(), ledger, counters, slips, parcels }
}

impl Scene {
    fn run(&mut self) {
        let mut turns = 0;
        while self.runner.work(Now { mono: Mono(turns), wall: Wall(5_000_000) }) != Progress::Done {
            turns += 1;
            assert!(turns < 10_000, "it does not come to an end");
        }
        for (channel, parcels) in self.channels.iter().zip(&mut self.parcels) {
            parcels.extend(std::iter::from_fn(|| channel.poll()));
        }
    }

    fn texts(&self, channel: usize) -> Vec<String> {
        let events = self.parcels[channel].iter().flat_map(|parcel| parcel.batch.events());
        let show = |event: Event<'_>| {
            let site = event.headers().get("site").unwrap_or(b"-");
            String::from_utf8([event.bytes, b" ", site].concat()).expect("UTF-8")
        };
        events.map(show).collect()
    }
}

#[test]
fn what_grows_on_its_way_takes_more_pages_and_nothing_is_lost() {
    let chain = "[{ type = 'static', key = 'site', value = 'berlin' },
        { type = 'search_replace', search_pattern = '0', replace_string = 'zero-' },
        { type = 'dedup', by = 'text' },
        { type = 'regex_filter', regex = '7 x*$', exclude_events = true }]";
    let mut scene = scene(chain, 5000, None);
    scene.run();
    let kept = (0..5000).filter(|number| number % 10 != 7);
    let expected: Vec<_> =
        kept.map(|number| line(number).replace('0', "zero-") + " berlin").collect();
    assert_eq!(scene.texts(0), expected);
    assert_eq!(scene.texts(1), expected);
    assert!(scene.parcels[0].len() > 5);
    // Alike headers are labels: all but the last page are full of texts.
    let full = &scene.parcels[0][..scene.parcels[0].len() - 1];
    assert!(full.iter().all(|parcel| parcel.batch.free_bytes() < 512));
    let totals = &scene.ledger.snapshot().sources[0];
    assert_eq!((totals.received_events, totals.routed_events), (5000, 4500));
    assert_eq!(totals.filtered_events, 500);
    assert_eq!(scene.counters.held_events.get(), 0);
}

#[test]
fn a_chain_that_only_refuses_moves_nothing() {
    let mut scene = scene("[{ type = 'regex_filter', regex = '[02468] x*$' }]", 1000, None);
    scene.run();
    assert_eq!(scene.texts(0).len(), 500);
    let totals = &scene.ledger.snapshot().sources[0];
    assert_eq!((totals.received_events, totals.filtered_events), (1000, 500));
}

/// A reading that straddles pages is acknowledged when all of them are where they should be.
#[test]
fn a_receipt_waits_for_every_part() {
    let receipts = ReceiptPool::new(32, Reached::Written);
    let chain = "[{ type = 'search_replace', search_pattern = 'x', replace_string = 'xyz' }]";
    let mut scene = scene(chain, 4000, Some(Arc::clone(&receipts)));
    scene.run();
    let slips = scene.slips.load(std::sync::atomic::Ordering::Relaxed);
    let parcels: Vec<Parcel> = scene.parcels.drain(..).flatten().collect();
    assert!(parcels.len() as u32 > 2 * slips, "some readings straddle");
    let mut all: Vec<_> = parcels.into_iter().map(|it| it.slip.expect("each has one")).collect();
    let last = all.pop().expect("some");
    all.into_iter().for_each(ReceiptSlip::confirm);
    let settled = || std::iter::from_fn(|| receipts.poll()).map(|(_, outcome)| outcome);
    let before: Vec<_> = settled().collect();
    assert_eq!(before, vec![Outcome::Confirmed; slips as usize - 1]);
    last.confirm();
    assert_eq!(settled().collect::<Vec<_>>(), [Outcome::Confirmed]);
}

/// All of a reading refused: its sender is told all the same.
#[test]
fn what_is_refused_is_acknowledged() {
    let receipts = ReceiptPool::new(32, Reached::Written);
    let chain = "[{ type = 'static' }, { type = 'regex_filter', regex = 'nothing' }]";
    let mut scene = scene(chain, 100, Some(Arc::clone(&receipts)));
    scene.run();
    assert!(scene.parcels.iter().all(Vec::is_empty));
    assert_eq!(receipts.poll().map(|(_, outcome)| outcome), Some(Outcome::Confirmed));
}
