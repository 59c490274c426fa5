//! Events to channels by what stands in them.

use std::time::Duration;

use super::*;
use crate::channel::memory::MemoryChannel;
use crate::channel::{Channel, SELECTOR, Selector, WhenFull};
use crate::config::{Section, Spanned};
use crate::event::{EventHead, Origin, Page};
use crate::interceptor::{CHAIN, ChainPlan, Tools};
use crate::limits;
use crate::memory::Credit;
use crate::memory::receipt::{Outcome, Reached, ReceiptPool};
use crate::runtime::parker::Parker;
use crate::source::Received;
use crate::telemetry::Ledger;
use crate::time::Wall;

/// Events with the given first letters, over and over, numbered.
struct Letters {
    letters: &'static str,
    next: usize,
    total: usize,
    /// In one turn.
    most: usize,
    receipts: Option<Arc<ReceiptPool>>,
}

impl Source for Letters {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        let origin = page.push_origin(Origin::LOCAL).expect("room for one");
        let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
        let turn = self.next.saturating_add(self.most);
        while self.next < self.total.min(turn) {
            let letter = self.letters.as_bytes()[self.next % self.letters.len()];
            let text = format!("{} {:05} {}", char::from(letter), self.next, "x".repeat(100));
            if page.append_event(text.as_bytes(), head).is_err() {
                return Received { full: true, ..Received::default() };
            }
            self.next += 1;
        }
        Received { finished: self.next == self.total, ..Received::default() }
    }

    fn wait(&mut self, _now: Now, _until: Mono, _open: bool) {}

    fn waker(&self) -> Arc<dyn Wake> {
        Parker::default().waker()
    }

    fn stop(&mut self, _now: Now) {}

    fn slip(&mut self) -> Option<ReceiptSlip> {
        self.receipts.as_ref().and_then(|pool| pool.take(1)).map(|(_, slip)| slip)
    }
}

struct Scene {
    runner: RoutingRunner,
    channels: Vec<Arc<dyn Channel>>,
    ledger: Arc<Ledger>,
}

fn scene(
    selector: &str,
    letters: &'static str,
    credits: [u32; 3],
    receipts: Option<Arc<ReceiptPool>>,
) -> Scene {
    scene_of(selector, letters, credits, receipts, usize::MAX)
}

fn scene_of(
    selector: &str,
    letters: &'static str,
    credits: [u32; 3],
    receipts: Option<Arc<ReceiptPool>>,
    most: usize,
) -> Scene {
    let mut builder = Ledger::builder("test");
    let counters = builder.source("in").worker();
    let names = ["a", "b", "c"];
    let channel = |(name, credit): (&str, u32)| {
        let own = builder.channel(name).counters();
        let credit = Arc::new(Credit::new(credit));
        Arc::new(MemoryChannel::new(name.to_owned(), credit, own)) as Arc<dyn Channel>
    };
    let channels: Vec<_> = names.into_iter().zip(credits).map(channel).collect();
    let inlet = |channel: &Arc<dyn Channel>| Inlet {
        channel: Arc::clone(channel),
        when_full: WhenFull::Wait,
        counters: builder.channel(channel.name()).inlet(),
    };
    let inlets = channels.iter().map(inlet).collect();
    let ledger = builder.build();
    let pool = Pool::new(64, limits::BATCH_BYTES_MIN);
    let regex = "[{ type = 'regex_extractor', regex = '^(.)', serializers = [{ name = 'way' }] }]";
    let text = format!("interceptors = {regex}\nselector = {selector}");
    let section = Section::parse(&text, const { &[CHAIN, SELECTOR] });
    let chain = ChainPlan::plan(&section).build(&Tools::default());
    let names = names.map(|name| Spanned::new(name.to_owned(), 0..0));
    let Selector::Multiplexing(mapping) = Selector::plan(&section, &names) else {
        panic!("another selector")
    };
    assert_eq!(section.diagnostics().lines(), Vec::<String>::new());
    let staging = Staging::new(pool.take().expect("free"), chain, 4096);
    let parsers = vec![None, None, None];
    let route = Route { mapping, inlets, pool, parsers, keeps_headers: true };
    let source = Box::new(Letters { letters, next: 0, total: 3000, most, receipts });
    let pace = Pace { age: Duration::from_secs(1), eager: false, backlog: None, slice_ns: None };
    let runner = RoutingRunner::new("in".to_owned(), source, staging, route, counters, pace);
    Scene { runner, channels, ledger }
}

fn now(turn: u64) -> Now {
    Now { mono: Mono(turn), wall: Wall(5_000_000) }
}

impl Scene {
    /// Works until nothing moves any more; says whether it is done.
    fn run(&mut self) -> bool {
        for turn in 0..10_000 {
            match self.runner.work(now(turn)) {
                Progress::Done => return true,
                Progress::Worked => {}
                Progress::Idle { .. } => return false,
            }
        }
        panic!("it does not come to an end");
    }

    /// The numbers that wait in a channel; they are taken out.
    fn numbers(&self, channel: usize) -> Vec<usize> {
        let channel = &self.channels[channel];
        let mut numbers = Vec::new();
        while let Some(parcel) = channel.poll() {
            for event in parcel.batch.events() {
                assert_eq!(event.headers().get("way"), Some(&event.bytes[..1]));
                let text = std::str::from_utf8(&event.bytes[2..7]).expect("digits");
                numbers.push(text.parse().expect("a number"));
            }
            let bytes = parcel.batch.event_bytes();
            channel.counters().gauge.leave(u64::from(parcel.batch.event_count()), bytes);
        }
        numbers
    }
}

const MAPPED: &str = "{ type = 'multiplexing', header = 'way', \
                      mapping = { X = 'a', Y = ['a', 'b'] }, default = 'c' }";

fn every(letters: &str, of: &str) -> Vec<usize> {
    let taken = |number: &usize| of.contains(letters.as_bytes()[number % letters.len()] as char);
    (0..3000).filter(taken).collect()
}

#[test]
fn each_event_takes_the_channels_of_its_value() {
    let mut scene = scene(MAPPED, "XYZX", [32; 3], None);
    assert!(scene.run());
    let found = [0, 1, 2].map(|channel| scene.numbers(channel));
    assert_eq!(found, [every("XYZX", "XY"), every("XYZX", "Y"), every("XYZX", "Z")]);
    let snapshot = scene.ledger.snapshot();
    let source = &snapshot.sources[0];
    assert_eq!((source.received_events, source.routed_events), (3000, 3000));
    let put: Vec<u64> = snapshot.channels.iter().map(|channel| channel.put_events).collect();
    assert_eq!(put, [2250, 750, 750]);
}

#[test]
fn what_has_no_channel_is_lost_unrouted() {
    let text = "{ type = 'multiplexing', header = 'way', mapping = { X = ['a', 'b', 'c'] } }";
    let mut scene = scene(text, "XQQ", [32; 3], None);
    assert!(scene.run());
    let source = &scene.ledger.snapshot().sources[0];
    assert_eq!((source.received_events, source.routed_events), (3000, 1000));
    assert_eq!(source.lost.get(LostReason::Unrouted), 2000);
}

/// A channel without room stops all, for the order is kept; nothing comes twice when it moves.
#[test]
fn a_required_channel_without_room_is_waited_for() {
    let mut scene = scene(MAPPED, "XYZX", [32, 1, 32], None);
    let mut found = [Vec::new(), Vec::new(), Vec::new()];
    let mut rounds = 0;
    loop {
        let done = scene.run();
        rounds += 1;
        for (channel, numbers) in found.iter_mut().enumerate() {
            numbers.extend(scene.numbers(channel));
        }
        if done {
            break;
        }
        assert!(scene.runner.blocked == Some(1) && rounds < 1000);
    }
    assert!(rounds > 1, "its one batch was not enough");
    assert_eq!(found, [every("XYZX", "XY"), every("XYZX", "Y"), every("XYZX", "Z")]);
}

#[test]
fn an_optional_channel_without_room_loses_and_counts() {
    let text = "{ type = 'multiplexing', header = 'way', mapping = { X = 'a', Z = 'c' }, \
                optional = { X = 'b' } }";
    let mut scene = scene(text, "XZ", [32, 1, 32], None);
    assert!(scene.run());
    assert_eq!(scene.numbers(0), every("XZ", "X"));
    let kept = scene.numbers(1);
    assert_eq!(kept, every("XZ", "X")[..kept.len()]);
    let channel = &scene.ledger.snapshot().channels[1];
    assert_eq!(channel.put_events, 1500);
    assert_eq!(channel.lost.get(LostReason::ChannelFull) as usize, 1500 - kept.len());
}

#[test]
fn a_receipt_waits_for_all_channels() {
    let receipts = ReceiptPool::new(64, Reached::Written);
    let mut scene = scene(MAPPED, "XYZ", [32; 3], Some(Arc::clone(&receipts)));
    assert!(scene.run());
    let mut slips: Vec<_> = scene
        .channels
        .iter()
        .flat_map(|channel| std::iter::from_fn(|| channel.poll()))
        .map(|parcel| parcel.slip.expect("each has one"))
        .collect();
    assert!(slips.len() > 6);
    assert_eq!(receipts.poll(), None);
    // Those of the last channel alone hold up every receipt.
    let last = slips.split_off(slips.len() - 3);
    slips.into_iter().for_each(ReceiptSlip::confirm);
    let before = std::iter::from_fn(|| receipts.poll()).count();
    last.into_iter().for_each(ReceiptSlip::confirm);
    let after: Vec<_> = std::iter::from_fn(|| receipts.poll()).map(|it| it.1).collect();
    assert_eq!(after.len(), 3, "{before}");
    assert!(after.iter().all(|outcome| *outcome == Outcome::Confirmed));
}

/// Behind sinks that stand still whoever waits for the channels alone is told, and pages fill up.
#[test]
fn answered_readings_share_the_pages_of_channels_that_stand_still() {
    let receipts = ReceiptPool::new(1, Reached::Received);
    let mut scene = scene_of(MAPPED, "XYZ", [16; 3], Some(Arc::clone(&receipts)), 3);
    for turn in 0..900 {
        let progress = scene.runner.work(now(turn));
        assert!(matches!(progress, Progress::Idle { .. }), "{progress:?} at turn {turn}");
        let outcome = receipts.poll().map(|it| it.1);
        assert_eq!(outcome, Some(Outcome::Confirmed), "at turn {turn}");
    }
    // They move again: all comes, once and in order.
    let mut found = [Vec::new(), Vec::new(), Vec::new()];
    while found.iter().map(Vec::len).sum::<usize>() < 4000 {
        let _ = scene.runner.work(now(1000));
        let _ = receipts.poll();
        for (channel, numbers) in found.iter_mut().enumerate() {
            numbers.extend(scene.numbers(channel));
        }
    }
    assert_eq!(found, [every("XYZ", "XY"), every("XYZ", "Y"), every("XYZ", "Z")]);
}
