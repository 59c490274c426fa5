//! The whole sink, stepped by hand over a real directory.

mod acks;
mod chains;
mod current;
mod known;
mod levels;
mod rescues;
mod rounds;
mod seals;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::channel::memory::MemoryChannel;
use crate::channel::{Channel, Inlet, Valve, WhenFull};
use crate::config::Section;
use crate::event::{EventHead, Marks, Origin};
use crate::memory::{Credit, Pool, ReceiptSlip};
use crate::ring::Wake;
use crate::runtime::Progress;
use crate::runtime::clock::{Clock, ManualClock};
use crate::sink::Orders;
use crate::storage::{Disk, OsDisk};
use crate::telemetry::{Incidents, Ledger};
use crate::time::Wall;

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

struct Stand {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    pool: Arc<Pool>,
    valve: Valve,
    ledger: Arc<Ledger>,
    incidents: Arc<Incidents>,
    orders: Arc<Orders>,
    workers: Vec<Box<dyn Worker>>,
    helpers: Vec<Box<dyn Worker>>,
    notes: Vec<String>,
}

/// 2003-10-11T22:14:15Z
const START: Wall = Wall(1_065_910_455_000_000_000);
const PAGES: u32 = 8;

impl Stand {
    fn new(options: &str) -> Self {
        Self::over(tempfile::tempdir().expect("a directory"), options)
    }

    fn over(dir: tempfile::TempDir, options: &str) -> Self {
        Self::on(dir, Arc::new(OsDisk), options)
    }

    fn on(dir: tempfile::TempDir, disk: Arc<dyn Disk>, options: &str) -> Self {
        let text = options.replace("DIR", &dir.path().display().to_string());
        let section = Section::parse(&text, KIND.options);
        let plan = (KIND.plan)(&section);
        assert_eq!(section.diagnostics().lines(), [""; 0]);
        let clock = Arc::new(ManualClock::at(START));
        let pool = Pool::new(PAGES as usize + plan.pages_in_hand(), 64 << 10);
        let mut builder = Ledger::builder("test");
        let counters = builder.channel("main").counters();
        let inlet_counters = builder.channel("main").inlet();
        let credit = Arc::new(Credit::new(PAGES));
        let channel: Arc<dyn Channel> =
            Arc::new(MemoryChannel::new("main".to_owned(), credit, counters));
        let sinks = (0..plan.threads()).map(|_| builder.sink("out", "main").worker()).collect();
        let orders = Arc::new(Orders::default());
        let incidents = Incidents::new();
        let context = SinkContext {
            name: "out".to_owned(),
            channel: Arc::clone(&channel),
            counters: sinks,
            dead_letters: None,
            incidents: Arc::clone(&incidents),
            disk,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            orders: Arc::clone(&orders),
            page_bytes: 64 << 10,
            event_bytes_max: 4 << 10,
            now: clock.now(),
        };
        let built = plan.build(&context).expect("builds");
        let inlet = Inlet { channel, when_full: WhenFull::Wait, counters: inlet_counters };
        let waker: Arc<dyn Wake> = Arc::new(Nobody);
        let valve = Valve::new(Arc::clone(&pool), vec![inlet], &waker);
        Self {
            dir,
            clock,
            pool,
            valve,
            ledger: builder.build(),
            incidents,
            orders,
            workers: built.workers,
            helpers: built.helpers,
            notes: built.notes,
        }
    }

    /// Offers one batch of events, each from its peer.
    fn put(&self, events: &[(&str, &str)]) {
        self.put_for(events, None);
    }

    /// The same, and somebody waits for it.
    fn put_for(&self, events: &[(&str, &str)], slip: Option<ReceiptSlip>) {
        let now = self.clock.now();
        let mut page = self.valve.open().expect("credit");
        for (peer, text) in events {
            let peer = (!peer.is_empty()).then(|| format!("{peer}:514").parse().expect("peer"));
            let origin = page.push_origin(Origin::new(peer, 0)).expect("room");
            let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
            page.append_event(text.as_bytes(), head).expect("room");
        }
        self.valve.offer(page, slip, now.mono, now);
    }

    /// Steps everybody until nobody does anything any more.
    fn settle(&mut self) {
        let mut idle = 0;
        while idle < 3 {
            let now = self.clock.now();
            let mut worked = false;
            for worker in self.workers.iter_mut().chain(&mut self.helpers) {
                worked |= worker.work(now) == Progress::Worked;
            }
            idle = if worked { 0 } else { idle + 1 };
        }
    }

    /// Steps the writers alone: what they ask of the clerk is not answered.
    fn without_clerk(&mut self, time: Duration) {
        self.clock.advance(time);
        for _ in 0..5 {
            let now = self.clock.now();
            for worker in &mut self.workers {
                worker.work(now);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.settle();
    }

    /// Steps until there is room for a batch.
    #[track_caller]
    fn make_room(&mut self) {
        for _ in 0..10_000 {
            if self.valve.may_open() {
                return;
            }
            self.pass(Duration::from_millis(1));
        }
        panic!("no batch comes home");
    }

    /// Closes and steps until all are done, like the agent: writers first, then helpers.
    fn close(&mut self) {
        let now = self.clock.now();
        self.workers.iter_mut().for_each(|worker| worker.close(now));
        let mut done = vec![false; self.workers.len()];
        for _ in 0..10_000 {
            self.clock.advance(Duration::from_millis(10));
            let now = self.clock.now();
            for (worker, done) in self.workers.iter_mut().zip(&mut done) {
                *done = *done || worker.work(now) == Progress::Done;
            }
            self.helpers.iter_mut().for_each(|helper| {
                helper.work(now);
            });
            if done.iter().all(|done| *done) {
                return;
            }
        }
        panic!("the sink never closed");
    }

    fn files(&self) -> Vec<String> {
        let mut files: Vec<PathBuf> = Vec::new();
        let mut dirs = vec![self.dir.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { dirs.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        let name = |path: &PathBuf| {
            path.strip_prefix(self.dir.path()).expect("below").display().to_string()
        };
        files.iter().map(name).collect()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).expect("a file")
    }

    fn read(&self, name: &str) -> String {
        let mut text = Vec::new();
        let bytes = self.bytes(name);
        let mut reader = zstd::stream::read::Decoder::new(&bytes[..]).expect("a decoder");
        let torn = std::io::Read::read_to_end(&mut reader, &mut text);
        torn.expect("whole frames");
        String::from_utf8(text).expect("text")
    }

    /// What stands before the first torn frame.
    fn readable(&self, name: &str) -> String {
        let mut text = Vec::new();
        let bytes = self.bytes(name);
        let mut reader = zstd::stream::read::Decoder::new(&bytes[..]).expect("a decoder");
        let _ = std::io::Read::read_to_end(&mut reader, &mut text);
        String::from_utf8(text).expect("text")
    }

    fn adds_up(&self) {
        let snapshot = self.ledger.snapshot();
        for equation in snapshot.balance() {
            assert!(equation.holds() || equation.component.contains("source"), "{equation}");
        }
    }
}

#[test]
fn what_was_put_is_in_the_file_within_the_block_age() {
    let mut stand = Stand::new("path = 'DIR/all.log'\nblock = { age = '1s' }");
    stand.put(&[("", "one"), ("", "two")]);
    stand.settle();
    assert_eq!(stand.files(), [""; 0]);
    stand.put(&[("", "three")]);
    stand.pass(Duration::from_millis(900));
    assert_eq!(stand.files(), ["all.log.zst.open"]);
    assert_eq!(stand.read("all.log.zst.open"), "one\ntwo\nthree\n");
    assert_eq!(stand.pool.free(), stand.pool.pages());
    let snapshot = stand.ledger.snapshot();
    assert_eq!(snapshot.sinks[0].written_events, 3);
    stand.close();
    assert_eq!(stand.files(), ["all.log.zst"]);
    assert_eq!(stand.read("all.log.zst"), "one\ntwo\nthree\n");
    assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 3);
    stand.adds_up();
}

#[test]
fn threads_compress_in_parallel_and_append_in_order() {
    let mut stand = Stand::new("path = 'DIR/all.log'\nthreads = 3\nblock = { bytes = '4KiB' }");
    let mut expected = String::new();
    for batch in 0..40 {
        let texts: Vec<String> = (0..100).map(|n| format!("batch {batch} event {n}")).collect();
        let events: Vec<(&str, &str)> = texts.iter().map(|text| ("", text.as_str())).collect();
        stand.make_room();
        stand.put(&events);
        texts.iter().for_each(|text| expected.push_str(&format!("{text}\n")));
    }
    stand.close();
    assert_eq!(stand.files(), ["all.log.zst"]);
    assert_eq!(stand.read("all.log.zst"), expected);
    assert_eq!(stand.pool.free(), stand.pool.pages());
    stand.adds_up();
}

#[test]
fn rolls_by_bytes_order_and_time_unit() {
    let options = "path = 'DIR/%H/all.log'\nzone = 'UTC'\nroll = { bytes = '64KiB' }\n\
                   codec = 'none'\nblock = { bytes = '4KiB', age = '100ms' }";
    let mut stand = Stand::new(options);
    let text = "x".repeat(1000);
    for _ in 0..100 {
        stand.put(&[("", &text)]);
        stand.pass(Duration::from_millis(200));
    }
    stand.orders.roll_all();
    stand.pass(Duration::from_millis(200));
    assert_eq!(stand.files(), ["22/all.log", "22/all.log.1"]);
    stand.put(&[("", "next")]);
    stand.pass(Duration::from_millis(200));
    assert_eq!(stand.files(), ["22/all.log", "22/all.log.1", "22/all.log.2.open"]);
    stand.clock.advance(Duration::from_secs(3600));
    stand.put(&[("", "hour")]);
    stand.pass(Duration::from_millis(200));
    stand.pass(Duration::from_millis(200));
    let expected = ["22/all.log", "22/all.log.1", "22/all.log.2", "23/all.log.open"];
    assert_eq!(stand.files(), expected);
    stand.close();
    let bytes = |name: &str| std::fs::read(stand.dir.path().join(name)).expect("a file").len();
    assert_eq!(bytes("22/all.log") + bytes("22/all.log.1"), 100 * 1001);
    assert!(bytes("22/all.log") <= 64 << 10);
    stand.adds_up();
}

#[test]
fn a_file_for_each_peer() {
    let mut stand = Stand::new("path = 'DIR/%{peer}.log'\nthreads = 2");
    for round in 0..50 {
        let text = format!("round {round}");
        let events: Vec<(String, &str)> =
            (1..20).map(|peer| (format!("10.0.0.{peer}"), text.as_str())).collect();
        let events: Vec<(&str, &str)> =
            events.iter().map(|(peer, text)| (peer.as_str(), *text)).collect();
        stand.make_room();
        stand.put(&events);
        stand.settle();
    }
    stand.put(&[("", "local")]);
    stand.close();
    let files = stand.files();
    assert_eq!(files.len(), 20, "{files:?}");
    let expected: String = (0..50).map(|round| format!("round {round}\n")).collect();
    for peer in 1..20 {
        assert_eq!(stand.read(&format!("10.0.0.{peer}.log.zst")), expected);
    }
    assert_eq!(stand.read("unknown.log.zst"), "local\n");
    assert_eq!(stand.pool.free(), stand.pool.pages());
    stand.adds_up();
}

#[test]
fn a_deleted_file_is_begun_anew() {
    for sync in ["1s", "1h", "block", "never"] {
        deleted_file_is_begun_anew(sync);
    }
}

fn deleted_file_is_begun_anew(sync: &str) {
    let options = format!("path = 'DIR/sub/all.log'\nsync = '{sync}'\nblock = {{ age = '100ms' }}");
    let mut stand = Stand::new(&options);
    stand.put(&[("", "gone")]);
    stand.pass(Duration::from_millis(200));
    std::fs::remove_dir_all(stand.dir.path().join("sub")).expect("removed");
    stand.put(&[("", "also gone, or not")]);
    stand.pass(Duration::from_millis(200));
    stand.pass(Duration::from_secs(2));
    stand.put(&[("", "kept")]);
    stand.pass(Duration::from_millis(200));
    stand.close();
    assert_eq!(stand.files(), ["sub/all.log.zst"]);
    assert!(stand.read("sub/all.log.zst").ends_with("kept\n"));
    stand.adds_up();
}

/// The clerk looks whether an idle file is still there; meanwhile comes a block, and an order.
#[test]
fn what_comes_while_the_clerk_looks_is_not_forgotten() {
    for sync in ["1h", "block", "never"] {
        let mut stand = Stand::new(&format!(
            "path = 'DIR/all.log'\nsync = '{sync}'\nblock = {{ age = '10ms' }}"
        ));
        stand.put(&[("", "one")]);
        stand.pass(Duration::from_millis(200));
        stand.without_clerk(Duration::from_secs(2));
        stand.put(&[("", "two")]);
        stand.without_clerk(Duration::from_millis(200));
        stand.orders.roll_all();
        stand.without_clerk(Duration::from_millis(200));
        assert_eq!(stand.files(), ["all.log.zst.open"], "sync = {sync}");
        stand.pass(Duration::from_millis(200));
        stand.pass(Duration::from_millis(200));
        assert_eq!(stand.files(), ["all.log.zst"], "sync = {sync}");
        assert_eq!(stand.read("all.log.zst"), "one\ntwo\n");
        assert_eq!(stand.ledger.snapshot().sinks[0].written_events, 2);
        stand.close();
        stand.adds_up();
    }
}

#[test]
fn what_a_crash_left_open_is_finished_at_the_next_start() {
    let mut stand = Stand::new("path = 'DIR/all.log'\nblock = { age = '100ms' }");
    stand.put(&[("", "one")]);
    stand.pass(Duration::from_millis(200));
    let Stand { dir, workers, helpers, .. } = stand;
    drop((workers, helpers));
    let mut stand = Stand::over(dir, "path = 'DIR/all.log'\nblock = { age = '100ms' }");
    assert_eq!(stand.notes.len(), 1);
    assert!(stand.notes[0].contains("1 blocks, 1 events kept; nothing cut"), "{:?}", stand.notes);
    stand.put(&[("", "two")]);
    stand.close();
    assert_eq!(stand.files(), ["all.log.1.zst", "all.log.zst"]);
    assert_eq!(stand.read("all.log.1.zst"), "two\n");
}

#[test]
fn sync_block_waits_for_the_disk_after_each_block() {
    let mut stand = Stand::new("path = 'DIR/all.log'\nsync = 'block'\nblock = { age = '100ms' }");
    for text in ["one", "two", "three"] {
        stand.put(&[("", text)]);
        stand.pass(Duration::from_millis(200));
    }
    let sink = &stand.ledger.snapshot().sinks[0];
    assert_eq!((sink.written_events, sink.synced_events), (3, 3));
    stand.close();
    assert_eq!(stand.read("all.log.zst"), "one\ntwo\nthree\n");
    stand.adds_up();
}
