//! When a page goes that is not full: a source of one event a turn before channels that move, or
//! do not.

use super::*;
use crate::channel::memory::MemoryChannel;
use crate::channel::{Channel, Inlet, Parcel, WhenFull};
use crate::event::{EventHead, Marks, Origin};
use crate::limits::BATCH_BYTES_MIN;
use crate::memory::receipt::{Outcome, ReceiptPool};
use crate::memory::{Credit, Pool};
use crate::runtime::parker::Parker;
use crate::source::Received;
use crate::telemetry::Ledger;

const AGE: Duration = Duration::from_secs(1);
const PAGES: u32 = 8;

/// One event a turn; with receipts its sender waits.
struct Trickle {
    receipts: Option<Arc<ReceiptPool>>,
    unanswered: bool,
}

impl Source for Trickle {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        let origin = page.push_origin(Origin::LOCAL).expect("room for one");
        let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
        page.append_event(b"an event", head).expect("room for one");
        self.unanswered = self.receipts.is_some();
        Received::default()
    }

    fn wait(&mut self, _now: Now, _until: Mono, _open: bool) {}

    fn waker(&self) -> Arc<dyn Wake> {
        Parker::default().waker()
    }

    fn stop(&mut self, _now: Now) {}

    fn wanted(&self) -> Option<Reached> {
        self.receipts.as_ref().filter(|_| self.unanswered).map(|receipts| receipts.wanted())
    }

    fn slip(&mut self) -> Option<ReceiptSlip> {
        let receipts = self.receipts.as_ref().filter(|_| std::mem::take(&mut self.unanswered))?;
        Some(receipts.take(1).expect("each is polled").1)
    }
}

struct Scene {
    runner: SourceRunner,
    channels: Vec<Arc<dyn Channel>>,
    counters: Arc<SourceCounters>,
    at: Mono,
}

/// A channel for each way to be full.
fn scene(ways: &[WhenFull], receipts: Option<Arc<ReceiptPool>>) -> Scene {
    let mut builder = Ledger::builder("test");
    let counters = builder.source("in").worker();
    let mut channel = |(index, when_full): (usize, &WhenFull)| {
        let name = format!("channel{index}");
        let (own, inlet) = (builder.channel(&name).counters(), builder.channel(&name).inlet());
        let credit = Arc::new(Credit::new(PAGES));
        let channel: Arc<dyn Channel> = Arc::new(MemoryChannel::new(name, credit, own));
        Inlet { channel, when_full: *when_full, counters: inlet }
    };
    let inlets: Vec<Inlet> = ways.iter().enumerate().map(&mut channel).collect();
    let channels = inlets.iter().map(|inlet| Arc::clone(&inlet.channel)).collect();
    let source = Trickle { receipts, unanswered: false };
    let pool = Pool::new(PAGES as usize + 1, BATCH_BYTES_MIN);
    let valve = Valve::new(pool, inlets, &source.waker());
    let pace = Pace { age: AGE, eager: false, backlog: None, slice_ns: None };
    let own = Arc::clone(&counters);
    let runner = SourceRunner::new("in".to_owned(), Box::new(source), valve, own, pace);
    Scene { runner, channels, counters, at: Mono(0) }
}

impl Scene {
    fn turn(&mut self) {
        self.at = self.at.after(AGE / 10);
        let progress = self.runner.work(Now { mono: self.at, wall: Wall(5_000_000) });
        let Progress::Idle { until } = progress else { panic!("{progress:?}") };
        assert!(until > self.at, "it would turn for nothing");
    }

    /// Ten events a second, for so long.
    fn run(&mut self, seconds: u32) {
        (0..10 * seconds).for_each(|_| self.turn());
    }

    /// In the open page.
    fn held(&self) -> u64 {
        self.counters.held_events.get()
    }

    /// Batches that a channel has, or had and was not given back.
    fn taken(&self, channel: usize) -> u32 {
        let credit = self.channels[channel].credit();
        credit.total() - credit.free()
    }
}

/// How many events a batch has.
fn events(parcel: Option<&Parcel>) -> u32 {
    parcel.map_or(0, |parcel| parcel.batch.event_count())
}

#[test]
fn behind_a_sink_that_stands_still_a_trickle_fills_one_page() {
    let mut scene = scene(&[WhenFull::Wait], None);
    scene.run(60);
    assert_eq!((scene.held(), scene.taken(0)), (589, 2), "one that was due, and the open one");
    let first = scene.channels[0].poll();
    assert_eq!(events(first.as_ref()), 11);
    // A sink has it, and will take the next one: then that is the one that waits for it.
    scene.run(60);
    assert_eq!((scene.held(), scene.taken(0)), (599, 3));
    drop(first);
    scene.turn();
    assert_eq!((scene.held(), scene.taken(0)), (0, 2), "something moves");
    let waiting = [(); 3].map(|()| events(scene.channels[0].poll().as_ref()));
    assert_eq!(waiting, [590, 600, 0]);
}

#[test]
fn what_leaves_makes_room_for_as_much() {
    let mut scene = scene(&[WhenFull::Wait], None);
    scene.run(2);
    for round in 0..20 {
        // A slow sink: one page in five seconds.
        drop(scene.channels[0].poll().expect("one waits"));
        scene.run(5);
        assert!(scene.taken(0) <= 3, "round {round}");
    }
}

#[test]
fn a_channel_that_has_nothing_does_not_wait_for_another() {
    let mut scene = scene(&[WhenFull::DropNewest, WhenFull::Wait], None);
    scene.run(2);
    for round in 0..20 {
        drop(scene.channels[1].poll().unwrap_or_else(|| panic!("nothing in round {round}")));
        scene.run(2);
    }
    assert_eq!(scene.taken(0), PAGES);
}

#[test]
fn who_waits_for_the_channels_alone_is_told_while_the_page_waits() {
    let receipts = ReceiptPool::new(1, Reached::Received);
    let ways = [WhenFull::Wait, WhenFull::Optional];
    let mut scene = scene(&ways, Some(Arc::clone(&receipts)));
    for turn in 0..500 {
        scene.turn();
        let outcome = receipts.poll().map(|it| it.1);
        assert_eq!(outcome, Some(Outcome::Confirmed), "at turn {turn}");
    }
    assert_eq!((scene.held(), scene.taken(0)), (499, 2), "one to a drained channel, and the rest");
}

#[test]
fn who_waits_for_more_is_not_told_before() {
    for (wanted, way) in [
        (Reached::Written, WhenFull::Wait),
        (Reached::Received, WhenFull::DropNewest),
        (Reached::Received, WhenFull::DropOldest),
    ] {
        let receipts = ReceiptPool::new(4, wanted);
        let mut scene = scene(&[way], Some(Arc::clone(&receipts)));
        scene.turn();
        let _ = receipts.poll();
        scene.run(50);
        assert_eq!((receipts.poll(), scene.held()), (None, 500), "{wanted:?} {way:?}");
    }
}
