//! The durable channel against a plain queue: puts, takes, failures and restarts as proptest
//! chooses them, and shrinks them when something does not hold.
//!
//! The queue knows of each batch whether it is *sure*: its source was told that it is synced, or
//! the channel was closed since. What is sure comes out, in order, once. What was not sure when a
//! crash came may be missing, and comes in its place otherwise; what was done and not yet marked on
//! the disk may come once more. Whenever the channel has come to rest nothing is unsure, and the
//! queue is exact: even a power cut changes nothing any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use flumen::channel::{Parcel, file};
use flumen::event::{EventHead, Marks, Origin};
use flumen::memory::receipt::Reached;
use flumen::memory::{Outcome, Receipt, ReceiptPool};
use flumen::runtime::Progress;
use flumen::runtime::clock::{Clock, ManualClock};
use flumen::time::Wall;
use proptest::prelude::*;

use crate::disk::{Crash, SimDisk, Weather, Wind};
use crate::log::is_segment;
use crate::raised::{Raised, raise};
use crate::random::Random;
use crate::trace::Trace;

const PAGE_BYTES: usize = 64 << 10;
/// Of the sink: fewer than the channel gives out at once.
const HANDS: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A batch of so many events of so many bytes.
    Put(u16, u16),
    Take,
    /// The sink is through with a batch it has; or had to give it up.
    Finish(u8),
    GiveUp(u8),
    /// Everybody has so many turns, and milliseconds go by.
    Work(u8),
    /// Until nothing is left to do.
    Rest,
    Weather(Trouble),
    Stop(Stop),
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    None,
    Full,
    Syncs(Wind),
    Writes,
    Names,
    Reads,
}

#[derive(Clone, Copy, Debug)]
enum Stop {
    Close,
    Kill,
    Power,
}

fn step() -> impl Strategy<Value = Step> {
    let trouble = prop::sample::select(vec![
        Trouble::None,
        Trouble::None,
        Trouble::Full,
        Trouble::Syncs(Wind::Keep),
        Trouble::Syncs(Wind::Drop),
        Trouble::Syncs(Wind::Forget),
        Trouble::Writes,
        Trouble::Names,
        Trouble::Reads,
    ]);
    let stop = prop::sample::select(vec![Stop::Close, Stop::Kill, Stop::Power]);
    prop_oneof![
        6 => (1u16..40, 0u16..200).prop_map(|(events, bytes)| Step::Put(events, bytes)),
        2 => (200u16..300, 100u16..150).prop_map(|(events, bytes)| Step::Put(events, bytes)),
        6 => Just(Step::Take),
        5 => any::<u8>().prop_map(Step::Finish),
        1 => any::<u8>().prop_map(Step::GiveUp),
        6 => (1u8..30).prop_map(Step::Work),
        2 => Just(Step::Rest),
        1 => trouble.prop_map(Step::Weather),
        1 => stop.prop_map(Step::Stop),
    ]
}

/// A batch as the plain queue has it.
#[derive(Clone, Copy, Debug)]
struct Batch {
    number: usize,
    events: u16,
    bytes: u16,
    sure: bool,
    life: u32,
}

impl Batch {
    fn text(&self, event: u16) -> String {
        let Self { number, bytes, .. } = self;
        format!("{number} {event} {}", "x".repeat(usize::from(*bytes)))
    }
}

struct Model {
    options: String,
    clock: Arc<ManualClock>,
    disk: SimDisk,
    random: Random,
    raised: Option<Raised>,
    receipts: Arc<ReceiptPool>,
    waiting: Vec<(Receipt, usize)>,
    life: u32,
    puts: usize,
    /// What the channel has to hand out, in order; what it was given back; what the sink has.
    queue: VecDeque<Batch>,
    again: Vec<Batch>,
    hands: Vec<(Parcel, Batch)>,
    /// Confirmed by the sink, and perhaps not yet marked on the disk.
    done: Vec<Batch>,
    rested: bool,
}

impl Model {
    fn new(options: &str) -> Self {
        let clock = Arc::new(ManualClock::at(Wall(1_065_910_455_000_000_000)));
        let mut random = Random::new(7);
        let disk = SimDisk::new(random.fork(), Arc::clone(&clock), Trace::default());
        let mut model = Self {
            options: options.to_owned(),
            clock,
            disk,
            random,
            raised: None,
            receipts: ReceiptPool::new(64, Reached::Synced),
            waiting: Vec::new(),
            life: 0,
            puts: 0,
            queue: VecDeque::new(),
            again: Vec::new(),
            hands: Vec::new(),
            done: Vec::new(),
            rested: false,
        };
        model.start();
        model
    }

    fn channel(&self) -> &Raised {
        self.raised.as_ref().expect("it runs")
    }

    fn start(&mut self) {
        self.disk.set_weather(Weather::calm());
        let raised = raise(&file::KIND, &self.options, &self.disk, self.random.next(), PAGE_BYTES);
        self.raised = Some(raised.expect("a calm disk"));
        self.life += 1;
    }

    fn step(&mut self, step: Step) {
        let rested = std::mem::take(&mut self.rested);
        match step {
            Step::Put(events, bytes) => self.put(events, bytes),
            Step::Take => self.take(rested),
            Step::Finish(at) => self.finish(at.into(), true),
            Step::GiveUp(at) => self.finish(at.into(), false),
            Step::Work(turns) => (0..turns).for_each(|_| _ = self.work()),
            Step::Rest => self.rest(),
            Step::Weather(trouble) => self.disk.set_weather(weather(trouble)),
            Step::Stop(stop) => self.stop(stop),
        }
        self.hear();
    }

    fn put(&mut self, events: u16, bytes: u16) {
        let batch = Batch { number: self.puts, events, bytes, sure: false, life: self.life };
        let now = self.clock.now();
        let channel = self.raised.as_ref().expect("it runs");
        let Some(mut page) = channel.valve.open() else { return };
        let Some((receipt, slip)) = self.receipts.take(1) else {
            channel.valve.give_back(page);
            return;
        };
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        for event in 0..events {
            let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
            page.append_event(batch.text(event).as_bytes(), head).expect("room");
        }
        channel.valve.offer(page, Some(slip), now.mono, now);
        self.waiting.push((receipt, batch.number));
        self.queue.push_back(batch);
        self.puts += 1;
    }

    /// What sources are told.
    fn hear(&mut self) {
        while let Some((receipt, outcome)) = self.receipts.poll() {
            let at = self.waiting.iter().position(|(other, _)| *other == receipt);
            let (_, number) = self.waiting.swap_remove(at.expect("it was taken"));
            if outcome == Outcome::Confirmed {
                let hands = self.hands.iter_mut().map(|(_, batch)| batch);
                let all = self.queue.iter_mut().chain(&mut self.again).chain(&mut self.done);
                let own = all.chain(hands).find(|batch| batch.number == number);
                own.expect("nothing is forgotten before that").sure = true;
            }
        }
    }

    fn take(&mut self, rested: bool) {
        if self.hands.len() >= HANDS {
            return;
        }
        let Some(parcel) = self.channel().channel.poll() else {
            let due = !self.again.is_empty() || self.queue.iter().any(|batch| batch.sure);
            assert!(!(rested && due), "it is at rest, and hands out nothing: {:?}", self.queue);
            return;
        };
        let mut texts = parcel.batch.events().map(|event| event.bytes.to_vec());
        let first = texts.next().expect("a batch has events");
        let text = String::from_utf8(first.clone()).expect("as it was put");
        let number: usize = text.split(' ').next().and_then(|it| it.parse().ok()).expect("ours");
        let batch = match self.again.iter().position(|batch| batch.number == number) {
            Some(at) => self.again.remove(at),
            None => loop {
                let next = self.queue.pop_front();
                let next = next.unwrap_or_else(|| panic!("nobody waits for batch {number}"));
                if next.number == number {
                    break next;
                }
                let excused = !next.sure && next.life < self.life;
                assert!(excused, "batch {number} came, and {next:?} was to come");
            },
        };
        assert_eq!(first, batch.text(0).as_bytes());
        for event in 1..batch.events {
            assert_eq!(texts.next().as_deref(), Some(batch.text(event).as_bytes()));
        }
        assert_eq!(texts.next(), None);
        drop(texts);
        self.hands.push((parcel, batch));
    }

    fn finish(&mut self, at: usize, well: bool) {
        if self.hands.is_empty() {
            return;
        }
        let (mut parcel, batch) = self.hands.remove(at % self.hands.len());
        let bytes = parcel.batch.event_bytes();
        self.channel().counters.gauge.leave(u64::from(batch.events), bytes);
        let slip = parcel.slip.take().expect("a durable channel wants to know");
        if well {
            slip.confirm();
            self.done.push(batch);
        } else {
            self.again.push(batch);
        }
    }

    fn work(&mut self) -> bool {
        self.clock.advance(Duration::from_millis(2));
        let now = self.clock.now();
        let raised = self.raised.as_mut().expect("it runs");
        let mut worked = false;
        for worker in raised.keepers.iter_mut().chain(&mut raised.helpers) {
            worked |= worker.work(now) == Progress::Worked;
        }
        worked
    }

    /// Until everything is written, synced and marked.
    fn rest(&mut self) {
        self.disk.set_weather(Weather::calm());
        let mut quiet = 0;
        for turn in 0.. {
            quiet = if self.work() { 0 } else { quiet + 1 };
            // Longer than whatever waits before it is tried again, or is written together.
            if quiet > 700 {
                break;
            }
            assert!(turn < 100_000, "it never comes to rest");
        }
        self.hear();
        assert!(self.waiting.is_empty(), "never acknowledged: {:?}", self.waiting);
        self.done.clear();
        self.rested = true;
        let hands = self.hands.iter().map(|(_, batch)| batch);
        let all = || self.queue.iter().chain(&self.again).chain(hands.clone());
        let events = |sure: bool| -> i64 {
            all().filter(|batch| batch.sure || !sure).map(|batch| i64::from(batch.events)).sum()
        };
        let (least, most) = (events(true), events(false));
        let waiting = self.channel().counters.gauge.events();
        assert!((least..=most).contains(&waiting), "{waiting} wait, not {least} to {most}");
        let lost: u64 = self.channel().counters.lost.values().iter().sum();
        assert!(lost == 0 || least < most || self.life > 1, "{lost} lost");
    }

    fn stop(&mut self, stop: Stop) {
        let mut raised = self.raised.take().expect("it runs");
        if matches!(stop, Stop::Close) {
            self.disk.set_weather(Weather::calm());
            let hands: Vec<_> = self.hands.drain(..).collect();
            raised.channel.discard();
            self.again.extend(hands.into_iter().map(|(_, batch)| batch));
            raised.keepers.iter_mut().for_each(|keeper| keeper.close(self.clock.now()));
            for turn in 0.. {
                self.clock.advance(Duration::from_millis(2));
                let now = self.clock.now();
                let over = |keeper: &mut Box<dyn flumen::runtime::Worker>| {
                    keeper.work(now) == Progress::Done
                };
                if raised.keepers.iter_mut().all(over) {
                    break;
                }
                raised.helpers.iter_mut().for_each(|helper| _ = helper.work(now));
                assert!(turn < 100_000, "the keeper does not end");
            }
            // Everything that was offered is in the log, and everything that is done is marked.
            let queue = self.queue.iter_mut().chain(&mut self.again);
            queue.filter(|batch| batch.life == self.life).for_each(|batch| batch.sure = true);
            self.done.clear();
        }
        drop(raised);
        self.hear();
        self.waiting.clear();
        self.receipts = ReceiptPool::new(64, Reached::Synced);
        match stop {
            Stop::Close => {}
            Stop::Kill => self.disk.crash(Crash::Killed),
            Stop::Power => self.disk.crash(Crash::Power),
        }
        let hands = self.hands.drain(..).map(|(_, batch)| batch);
        self.queue.extend(hands.chain(self.again.drain(..)));
        // Whether its mark reached the disk nobody knows.
        let done = self.done.drain(..).map(|batch| Batch { sure: false, ..batch });
        self.queue.extend(done);
        self.queue.make_contiguous().sort_by_key(|batch| batch.number);
        self.start();
    }

    /// Takes everything, closes, starts once more: nothing comes, and the space is given back.
    fn end(mut self) {
        for turn in 0.. {
            self.rest();
            self.take(true);
            self.finish(0, true);
            if self.channel().channel.is_drained() && self.hands.is_empty() {
                break;
            }
            assert!(turn < 10_000, "it does not drain: {:?}", self.queue);
        }
        let left: Vec<_> = self.queue.iter().filter(|batch| batch.sure).collect();
        assert!(left.is_empty() && self.again.is_empty(), "never came: {left:?}");
        self.rest();
        assert_eq!(self.channel().counters.gauge.events(), 0);
        self.queue.clear();
        self.stop(Stop::Close);
        self.rest();
        assert!(self.channel().channel.poll().is_none(), "done, and it comes again");
        let files = self.disk.files().into_iter().filter(|(path, _)| is_segment(path)).count();
        assert!(files <= 2, "{files} segments are left, and nothing waits");
    }
}

fn weather(trouble: Trouble) -> Weather {
    let calm = Weather::calm();
    match trouble {
        Trouble::None => calm,
        Trouble::Full => Weather { full: true, ..calm },
        Trouble::Syncs(wind) => Weather { sync: 2, wind, ..calm },
        Trouble::Writes => Weather { write: 3, short: 3, ..calm },
        Trouble::Names => Weather { name: 2, open: 2, sync_dir: 2, ..calm },
        Trouble::Reads => Weather { read: 2, ..calm },
    }
}

const CASES: u32 = 48;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: crate::setting("FLUMEN_SEEDS").map_or(CASES, |count| count as u32),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_log_is_a_queue(
        steps in prop::collection::vec(step(), 1..150),
        sync in prop::sample::select(vec!["10ms", "batch", "1s"]),
        codec in prop::sample::select(vec!["none", "lz4"]),
        path in prop::sample::select(vec!["'/log'", "['/a/log', '/b/log']"]),
    ) {
        let options = format!(
            "path = {path}\nsync = '{sync}'\ncodec = '{codec}'\ncapacity = '1GiB'\n\
             segment = '2MiB'\nreserve = '0'"
        );
        let mut model = Model::new(&options);
        steps.into_iter().for_each(|step| model.step(step));
        model.end();
    }
}

/// The queue knows: with a disk that only says that it syncs, what was promised is missing.
#[test]
#[should_panic(expected = "0 wait, not 20 to 20")]
fn a_lying_disk_is_noticed() {
    let mut model = Model::new("path = '/log'\ncapacity = '1GiB'\nsegment = '2MiB'\nreserve = '0'");
    model.disk.lie_about_syncs();
    let steps = [Step::Put(20, 100), Step::Rest, Step::Stop(Stop::Power)];
    steps.into_iter().for_each(|step| model.step(step));
    model.end();
}

/// And it knows whose turn it is.
#[test]
#[should_panic(expected = "was to come")]
fn a_batch_out_of_turn_is_noticed() {
    let mut model = Model::new("path = '/log'\ncapacity = '1GiB'\nsegment = '2MiB'\nreserve = '0'");
    let steps = [Step::Put(2, 10), Step::Put(3, 10), Step::Rest];
    steps.into_iter().for_each(|step| model.step(step));
    model.queue.swap(0, 1);
    model.take(true);
}
