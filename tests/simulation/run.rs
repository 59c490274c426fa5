//! One seed, start to end: lives of an agent on one disk, with everything that may go wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flumen::event::HeaderMap;
use flumen::runtime::clock::{Clock, ManualClock};
use flumen::storage::recovery::{Mode, recover};
use flumen::time::Wall;

use crate::archive::Excuse;
use crate::dealing::{Dealing, Way};
use crate::disk::{Crash, SimDisk, Weather, Wind};
use crate::life::{Life, World};
use crate::oracle::{Checked, Oracle};
use crate::plan::{Plan, SourceShape};
use crate::random::Random;
use crate::source::Feed;
use crate::trace::Trace;

/// 2003-10-11T22:14:15Z
const START: Wall = Wall(1_065_910_455_000_000_000);

/// Something in the test itself that is deliberately broken: the checkers must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// The disk says that it synced.
    LyingDisk,
    /// One event more is counted than was put.
    CountOffByOne,
    /// A batch vanishes and the books are cooked.
    SwallowedBatch,
    /// A source sends an event twice.
    DoubledEvent,
    /// A source sends two events in the wrong order.
    SwappedEvents,
    /// A bit of a finished file turns over.
    FlippedBit,
    /// Somebody keeps a page.
    KeptPage,
    /// Now and then an event says that it goes elsewhere.
    StrayEvents,
}

/// What a run that held was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) events: u64,
    pub(crate) lives: u64,
    pub(crate) crashes: u64,
    pub(crate) faults: u64,
    /// Syncs of the whole volume.
    pub(crate) rounds: u64,
    /// Events that made room for newer ones, and that no channel was for.
    pub(crate) evicted: u64,
    pub(crate) unrouted: u64,
    /// Lives in which a failover group's second sink had events.
    pub(crate) failovers: u64,
    /// Events dealt out by their headers, of which their source knows how far they came.
    pub(crate) answered: u64,
    /// Sinks that write files of lzop's.
    pub(crate) lzo: u64,
    /// Events that a next hop took that refuses some, and those that nobody took.
    pub(crate) taken: u64,
    pub(crate) letters: u64,
    /// Lines traced, and their hash.
    pub(crate) digest: (u64, u64),
}

/// Runs one seed; the error tells what did not hold, and what happened last.
pub(crate) fn run(seed: u64, sabotage: Sabotage) -> Result<Report, String> {
    run_as(seed, sabotage, Dealing::All)
}

/// The same with so much dealt out.
pub(crate) fn run_as(seed: u64, sabotage: Sabotage, dealing: Dealing) -> Result<Report, String> {
    let trace = Trace::default();
    let said = trace.clone();
    let work = AssertUnwindSafe(|| Run::new(seed, sabotage, dealing, trace).all());
    let outcome = catch_unwind(work).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    outcome.map_err(|what| {
        let last = said.last_lines();
        format!("seed {seed}: {what}\nreplay with FLUMEN_SEED={seed}; what happened last:\n{last}")
    })
}

struct Run {
    random: Random,
    world: World,
    oracle: Oracle,
    sabotage: Sabotage,
    report: Report,
    /// Nothing was injected in this life.
    faultless: bool,
    moves: u32,
}

impl Run {
    fn new(seed: u64, sabotage: Sabotage, dealing: Dealing, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let mut plan = Plan::new(&mut random);
        // A stream of its own: what a seed was without it, it is with it.
        plan.deal(&mut random.clone().fork(), dealing);
        trace.say(format!("{plan:?}"));
        let clock = Arc::new(ManualClock::at(START));
        let disk = SimDisk::new(random.fork(), Arc::clone(&clock), trace.clone());
        let feed = |(source, shape): (usize, &SourceShape)| {
            Arc::new(Mutex::new(Feed {
                source,
                next: vec![0; shape.connections],
                random: random.fork(),
                doubles: sabotage == Sabotage::DoubledEvent,
                swaps: sabotage == Sabotage::SwappedEvents,
                headed: matches!(shape.way, Way::Mapped(_)),
                strays: sabotage == Sabotage::StrayEvents,
                headers: HeaderMap::default(),
            }))
        };
        let feeds = plan.sources.iter().enumerate().map(feed).collect();
        let accepted = plan.channels.iter().map(|_| Arc::default()).collect();
        let evicted = plan.channels.iter().map(|_| Arc::default()).collect();
        let taken = plan.channels.iter().map(|_| Arc::default()).collect();
        if sabotage == Sabotage::LyingDisk {
            disk.lie_about_syncs();
        }
        let world = World { plan, clock, disk, trace, feeds, accepted, evicted, taken };
        let oracle = Oracle::new(&world);
        let lzo = world.plan.sinks.iter().filter(|sink| sink.codec == "lzo").count() as u64;
        let report = Report { lzo, ..Report::default() };
        Self { random, world, oracle, sabotage, report, faultless: true, moves: 0 }
    }

    fn all(mut self) -> Result<Report, String> {
        let mut crash = None;
        for rest in (0..self.random.within(1..4)).rev() {
            let mut life = self.start(crash)?;
            self.report.lives += 1;
            self.live(&mut life)?;
            let last = rest == 0 && !self.random.once_in(4);
            crash = match self.random.below(8) {
                _ if last => None,
                0..4 => Some(Crash::Power),
                4..6 => Some(Crash::Killed),
                _ => None,
            };
            match crash {
                Some(crash) => {
                    self.oracle.before_crash(&self.world, &life, crash)?;
                    drop(life);
                    self.crash(crash);
                }
                None => self.close(life)?,
            }
        }
        if crash.is_some() {
            let life = self.start(crash)?;
            self.close(life)?;
        }
        let sent =
            self.world.feeds.iter().map(|feed| feed.lock().expect("one thread").next.clone());
        self.report.events = sent.flatten().map(u64::from).sum();
        let kinds =
            ["write", "sync", "name", "open", "list", "read", "truncate", "sync_dir", "full"];
        self.report.faults = kinds.iter().map(|kind| self.world.disk.struck(kind)).sum();
        self.report.rounds = self.world.disk.struck("round");
        self.report.digest = self.world.trace.digest();
        Ok(self.report)
    }

    fn crash(&mut self, crash: Crash) {
        self.oracle.ever_killed |= crash == Crash::Killed;
        self.world.disk.crash(crash);
        self.report.crashes += 1;
    }

    // ── start-up and recovery ──

    fn start(&mut self, crash: Option<Crash>) -> Checked<Life> {
        let disk = self.world.disk.clone();
        self.faultless = true;
        if self.world.plan.faults {
            if self.random.once_in(3) {
                // The machine stops during recovery.
                disk.light_fuse(self.random.below(60));
                drop(Life::start(&self.world));
                self.crash(crash.unwrap_or(Crash::Killed));
            }
            if self.random.once_in(4) {
                // The disk fails during recovery, but tells no lies about what it lost.
                let weather = Weather::random(&mut self.random);
                disk.set_weather(Weather { wind: Wind::Keep, sync: 0, ..weather });
                drop(Life::start(&self.world));
            }
        }
        disk.set_weather(Weather::calm());
        let life = Life::start(&self.world).map_err(|error| error.to_string())?;
        life.notes.iter().for_each(|note| self.world.trace.say(note));
        self.recover_again()?;
        self.oracle.recovered(&self.world, crash)?;
        Ok(life)
    }

    /// A second recovery has nothing to do.
    fn recover_again(&self) -> Checked {
        let before = self.world.disk.files();
        for root in self.world.roots() {
            let all = recover(&self.world.disk, &root, &|_| true, Mode::Repair);
            let all = all.map_err(|error| error.to_string())?;
            if let Some(one) = all.first() {
                return Err(format!("a second recovery found {one}"));
            }
        }
        if before == self.world.disk.files() {
            Ok(())
        } else {
            Err("a second recovery changed something".to_owned())
        }
    }

    // ── a life ──

    fn live(&mut self, life: &mut Life) -> Checked {
        let steps = self.random.within(100..1500);
        let guilty = self.random.below(steps);
        for step in 0..steps {
            if step == guilty {
                self.sabotage(life);
            }
            if self.random.once_in(60) {
                life.stir(&mut self.random);
            }
            self.pass_time();
            if self.world.plan.faults && self.random.once_in(80) {
                self.faultless = false;
                self.world.disk.set_weather(Weather::random(&mut self.random));
            }
            if self.world.plan.meddling && self.random.once_in(200) {
                self.faultless = false;
                self.meddle()?;
            }
            if self.random.once_in(300) {
                self.world.trace.say("roll all");
                life.orders.roll_all();
            }
            if self.random.once_in(250) {
                let view = self.oracle.look(&self.world, Excuse::None)?;
                // What a rescue could neither set aside nor cut is found twice until it can.
                if self.world.disk.struck("truncate") == 0 {
                    self.oracle.no_doubles(&self.world, &view)?;
                }
            }
            if self.random.once_in(20) {
                Oracle::ledger(life)?;
            }
            if self.random.once_in(500) {
                self.rest(life)?;
            }
            life.step(&self.world, &mut self.random);
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        let clock = &self.world.clock;
        let millis = match self.random.below(300) {
            0 => self.random.within(1_000..70_000),
            1..30 => self.random.below(150),
            30..150 => self.random.below(3),
            _ => return,
        };
        clock.advance(Duration::from_micros(millis * 1000 + self.random.below(1000)));
        if self.random.once_in(400) {
            let second = 1_000_000_000;
            clock.step_wall(*self.random.pick(&[-3600 * second, -second, second, 3600 * second]));
        }
    }

    /// Somebody deletes a file, or moves a sink's directory away.
    fn meddle(&mut self) -> Checked {
        let view = self.oracle.look(&self.world, Excuse::None)?;
        if self.random.once_in(3) {
            let root = PathBuf::from(&self.random.pick(&self.world.plan.sinks).root);
            let inside = |path: &&PathBuf| path.starts_with(&root);
            let taken: Vec<PathBuf> = view.paths(false).iter().filter(inside).cloned().collect();
            if taken.is_empty() || self.world.disk.owes_a_failure_at(&root) {
                return Ok(());
            }
            self.oracle.somebody_took(&self.world, &view, &taken);
            self.moves += 1;
            let to = PathBuf::from(format!("{}-moved{}", root.display(), self.moves));
            self.world.disk.move_under(&root, &to);
            return Ok(());
        }
        let paths = view.paths(self.random.once_in(2));
        if !paths.is_empty() {
            let path = self.random.pick(&paths).clone();
            // What a failed sync took from it before could not be told from what goes with it.
            if self.world.disk.owes_a_failure_at(&path) {
                return Ok(());
            }
            self.oracle.somebody_took(&self.world, &view, std::slice::from_ref(&path));
            self.world.disk.delete_under(&path);
        }
        Ok(())
    }

    /// The weather clears and nothing new comes: everything under way arrives by itself.
    fn rest(&mut self, life: &mut Life) -> Checked {
        self.world.trace.say("rest");
        self.world.disk.set_weather(Weather::calm());
        life.be_quiet(true);
        // What a sink of a group had to give up blocks nobody: it is counted when its rest is over.
        let resting = Duration::from_secs(if self.world.plan.groups.is_empty() { 0 } else { 20 });
        let (clock, rested) = (&self.world.clock, self.world.clock.now().mono.after(resting));
        let calm = |life: &Life| {
            let blocked = !life.incidents.blocking().is_empty();
            life.at_rest() && !blocked && clock.now().mono >= rested
        };
        // A sink of a group may rest first.
        if !life.until(&self.world, Duration::from_secs(60), calm) {
            let waiting: Vec<i64> =
                life.snapshot().channels.iter().map(|channel| channel.waiting_events).collect();
            let blocking = life.incidents.blocking();
            return Err(format!("no rest after 60 s: waiting {waiting:?}, blocked {blocking:?}"));
        }
        self.oracle.rest(&self.world, life)?;
        Oracle::ledger(life)?;
        life.be_quiet(false);
        Ok(())
    }

    fn close(&mut self, mut life: Life) -> Checked {
        self.world.trace.say("close");
        self.world.disk.set_weather(Weather::calm());
        life.end(&self.world)?;
        self.report.evicted += life.evicted(&self.world);
        self.report.unrouted += life.unrouted();
        self.report.failovers += life.failovers(&self.world);
        self.report.answered = self.oracle.answered(&self.world);
        let taken = self.world.taken.iter().map(|ids| ids.lock().expect("one thread").len());
        self.report.taken = taken.sum::<usize>() as u64;
        let channels = 0..self.world.plan.channels.len();
        let letters = channels.map(|channel| self.world.letters(channel).len());
        self.report.letters = letters.sum::<usize>() as u64;
        self.oracle.closed(&self.world, &life, self.faultless)
    }

    fn sabotage(&self, life: &mut Life) {
        match self.sabotage {
            Sabotage::CountOffByOne => life.inlets[0].put_events.add(1),
            Sabotage::SwallowedBatch => life.probes[0].swallow.store(true, Ordering::Relaxed),
            Sabotage::KeptPage => life.kept = life.pool.take(),
            Sabotage::FlippedBit => {
                let files = self.world.disk.files();
                if let Some((path, _)) = files.first() {
                    self.world.disk.flip_a_bit(path);
                }
            }
            Sabotage::None
            | Sabotage::LyingDisk
            | Sabotage::DoubledEvent
            | Sabotage::StrayEvents
            | Sabotage::SwappedEvents => {}
        }
    }
}
