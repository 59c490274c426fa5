//! The durable channel on the disk that fails: offered, delivered and confirmed by hand, killed and
//! started again.
//!
//! Checked: what was acknowledged as synced is delivered, whatever fails and whenever it stops;
//! every event as it was offered, in order, once in a life unless its sink gave it up; after a
//! close nothing that was done comes again; the ledger adds up; the log's space is given back. With
//! a bit flipped at rest, what is missing is counted and nothing wrong is delivered.

mod forced;
mod starts;
mod stops;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flumen::channel::{Amount, Channel, Parcel, Valve, file};
use flumen::event::{EventHead, Marks, Origin};
use flumen::memory::receipt::Reached;
use flumen::memory::{Outcome, Receipt, ReceiptPool};
use flumen::runtime::clock::{Clock, ManualClock};
use flumen::runtime::{Progress, Worker};
use flumen::storage::Disk;
use flumen::telemetry::{ChannelCounters, Incidents, InletCounters, LostReason};
use flumen::time::Wall;

use crate::disk::{Crash, SimDisk, Weather};
use crate::raised::{Raised, raise};
use crate::random::Random;
use crate::setting;
use crate::trace::Trace;

const PAGE_BYTES: usize = 64 << 10;
const RECEIPTS: usize = 64;
const WRAPPED: &str = "codec = 'lz4'\nencryption = { keys = '/keys' }";
/// As many as fit into some seconds of a debug build on one core.
const SEEDS_DEFAULT: u64 = 150;

/// What became of an event.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Its source was told that it is safe.
    acked: bool,
    seen: u32,
    /// Its sink confirmed it.
    done: bool,
    /// And the channel was closed after that.
    settled: bool,
    /// Its sink has counted it: as written, or as lost there with no log to bring it again.
    counted: bool,
}

struct Story {
    random: Random,
    clock: Arc<ManualClock>,
    disk: SimDisk,
    trace: Trace,
    fates: Vec<Fate>,
    options: String,
    /// Memory first, the log when there is too much.
    spill: bool,
    faults: bool,
    flips: bool,
    /// Counted as lost by the channel in all lives.
    lost: u64,
    corrupt: u64,
    /// Unsynced bytes were lost once: later on nobody knows that they were never synced.
    power_cut: bool,
    /// Stopped by force: what memory had is in the log, behind what came after it.
    forced: bool,
}

struct Life {
    channel: Arc<dyn Channel>,
    counters: Arc<ChannelCounters>,
    inlet: Arc<InletCounters>,
    valve: Valve,
    receipts: Arc<ReceiptPool>,
    keepers: Vec<Box<dyn Worker>>,
    helpers: Vec<Box<dyn Worker>>,
    incidents: Arc<Incidents>,
    waiting: Vec<(Receipt, Range<usize>)>,
    hands: VecDeque<(Parcel, Vec<usize>)>,
    /// Seen in this life, and whether its sink gave it up.
    seen: Vec<(usize, bool)>,
    last: Option<usize>,
    written: u64,
    given_up: u64,
}

fn text(number: usize) -> Vec<u8> {
    let mut random = Random::new(number as u64);
    let length = if random.once_in(50) { random.index(9000) } else { random.index(300) };
    let mut text = format!("event {number} ").into_bytes();
    text.extend((0..length).map(|_| b'a' + random.below(26) as u8));
    text
}

fn number_of(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.split(' ').nth(1)?.parse().ok()
}

impl Story {
    fn new(seed: u64, flips: bool) -> Self {
        let mut random = Random::new(seed ^ 0x10C);
        let trace = Trace::default();
        let clock = Arc::new(ManualClock::at(Wall(1_065_910_455_000_000_000)));
        let disk = SimDisk::new(random.fork(), Arc::clone(&clock), trace.clone());
        let sync = *random.pick(&["10ms", "10ms", "batch", "1s"]);
        let path = *random.pick(&["'/log'", "'/log'", "['/a/log', '/b/log']"]);
        let capacity = *random.pick(&["6MiB", "12MiB", "1GiB"]);
        let options = format!(
            "path = {path}\nsync = '{sync}'\ncapacity = '{capacity}'\nsegment = '2MiB'\n\
             reserve = '0'\n{}",
            random.pick(&["", "", WRAPPED, "codec = 'lz4'"])
        );
        let keys = disk.create_new(Path::new("/keys")).expect("a fresh disk");
        keys.write_at(0, format!("5 {}", "a5".repeat(32)).as_bytes()).expect("a fresh disk");
        keys.sync_data().and_then(|()| disk.sync_dir(Path::new("/"))).expect("a fresh disk");
        let spill = random.once_in(4);
        let faults = !flips && !random.once_in(3);
        let (fates, lost, corrupt) = (Vec::new(), 0, 0);
        Self {
            random,
            clock,
            disk,
            trace,
            fates,
            options,
            spill,
            faults,
            flips,
            lost,
            corrupt,
            power_cut: false,
            forced: false,
        }
    }

    fn all(mut self) -> Result<(), String> {
        let mut crashed = false;
        for rest in (0..self.random.within(2..6)).rev() {
            let mut life = self.start(crashed)?;
            self.live(&mut life)?;
            crashed = rest > 0 && !self.random.once_in(3);
            if crashed {
                let power = self.random.once_in(2);
                self.take_receipts(&mut life);
                self.end(life);
                self.power_cut |= power;
                self.disk.crash(if power { Crash::Power } else { Crash::Killed });
            } else {
                self.close(life)?;
            }
            // What is not yet said to be synced cannot be told from a torn end.
            if self.flips && !crashed && self.random.once_in(2) {
                let files = self.disk.files();
                let segments: Vec<_> = files
                    .iter()
                    .filter(|(path, bytes)| is_segment(path) && bytes.len() > 9000)
                    .collect();
                if !segments.is_empty() {
                    let at = self.random.index(segments.len());
                    self.disk.flip_a_bit(&segments[at].0.clone());
                }
            }
        }
        self.verdict()
    }

    /// Everything that was promised was delivered.
    fn verdict(&self) -> Result<(), String> {
        let missing: Vec<usize> = (0..self.fates.len())
            .filter(|at| self.fates[*at].acked && self.fates[*at].seen == 0)
            .collect();
        if !self.flips && !missing.is_empty() {
            let (first, last) = (missing[0], missing[missing.len() - 1]);
            let count = missing.len();
            return Err(format!("{count} promised events never came, from {first} to {last}"));
        }
        if !self.flips && !self.faults && !self.power_cut && self.corrupt > 0 {
            return Err(format!(
                "{} events were called corrupt, and no bit was flipped",
                self.corrupt
            ));
        }
        if missing.len() as u64 > self.lost {
            return Err(format!("{} events are missing, {} counted", missing.len(), self.lost));
        }
        let left: Vec<_> =
            self.disk.files().into_iter().filter(|(path, _)| is_segment(path)).collect();
        if !self.flips && left.len() > 2 {
            return Err(format!("{} segments are left, and nothing waits", left.len()));
        }
        Ok(())
    }

    // ── a life ──

    fn start(&mut self, crashed: bool) -> Result<Life, String> {
        if self.faults && crashed && self.random.once_in(3) {
            self.disk.set_weather(Weather::random(&mut self.random));
            drop(self.build());
        }
        self.disk.set_weather(Weather::calm());
        self.build()
    }

    fn build(&mut self) -> Result<Life, String> {
        let random = self.random.next();
        let kind = if self.spill { file::SPILL } else { file::KIND };
        let raised = raise(&kind, &self.options, &self.disk, random, PAGE_BYTES)?;
        let Raised { channel, counters, inlet, incidents, valve, keepers, helpers, notes } = raised;
        notes.iter().for_each(|note| self.trace.say(note));
        Ok(Life {
            valve,
            channel,
            counters,
            inlet,
            receipts: ReceiptPool::new(RECEIPTS, Reached::Synced),
            keepers,
            helpers,
            incidents,
            waiting: Vec::new(),
            hands: VecDeque::new(),
            seen: Vec::new(),
            last: None,
            written: 0,
            given_up: 0,
        })
    }

    fn live(&mut self, life: &mut Life) -> Result<(), String> {
        let steps = self.random.within(50..1500);
        let lazy = self.random.once_in(2);
        self.live_for(life, steps, lazy)
    }

    /// So many steps, or until the machine stops. `lazy` sinks stand still for the first half, and
    /// let the log grow.
    fn live_for(&mut self, life: &mut Life, steps: u64, lazy: bool) -> Result<(), String> {
        for step in 0..steps {
            if self.disk.stopped_at().is_some() {
                break;
            }
            if self.faults && self.random.once_in(60) {
                self.disk.set_weather(Weather::random(&mut self.random));
            }
            if self.random.once_in(3) {
                self.clock.advance(Duration::from_micros(self.random.below(4000)));
            }
            match self.random.below(6) {
                0 => self.offer(life),
                1 if !(lazy && step < steps / 2) => self.take(life)?,
                2 if !(lazy && step < steps / 2) => self.finish(life),
                _ => self.work(life),
            }
            self.take_receipts(life);
            self.ledger(life)?;
        }
        Ok(())
    }

    fn offer(&mut self, life: &mut Life) {
        let Some(mut page) = life.valve.open() else { return };
        let Some((receipt, slip)) = life.receipts.take(1) else {
            life.valve.give_back(page);
            return;
        };
        let now = self.clock.now();
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        let first = self.fates.len();
        let count = if self.random.once_in(4) { 1000 } else { self.random.within(1..40) };
        for _ in 0..count {
            let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
            if page.append_event(&text(self.fates.len()), head).is_err() {
                break;
            }
            self.fates.push(Fate::default());
        }
        self.trace.say(format!("offer {first}..{}", self.fates.len()));
        life.waiting.push((receipt, first..self.fates.len()));
        life.valve.offer(page, Some(slip), now.mono, now);
    }

    fn take_receipts(&mut self, life: &mut Life) {
        while let Some((receipt, outcome)) = life.receipts.poll() {
            let at = life.waiting.iter().position(|(other, _)| *other == receipt);
            let (_, events) = life.waiting.swap_remove(at.expect("it was taken"));
            if outcome == Outcome::Confirmed {
                self.fates[events].iter_mut().for_each(|fate| fate.acked = true);
            }
        }
    }

    /// The sink takes a batch, and looks at it.
    fn take(&mut self, life: &mut Life) -> Result<(), String> {
        if life.hands.len() >= 3 {
            return Ok(());
        }
        let Some(parcel) = life.channel.poll() else { return Ok(()) };
        let mut numbers = Vec::new();
        for event in parcel.batch.events() {
            let number = number_of(event.bytes).ok_or("a text that nobody sent")?;
            if event.bytes != text(number) {
                return Err(format!("event {number} was changed"));
            }
            let fate = self.fates.get_mut(number).ok_or("an event that nobody sent")?;
            if fate.settled {
                return Err(format!("event {number} came again after a close"));
            }
            fate.seen += 1;
            let again = life.seen.iter().any(|(seen, up)| *seen == number && *up);
            if life.seen.iter().any(|(seen, up)| *seen == number && !*up) {
                return Err(format!("event {number} came twice in one life"));
            }
            if !again {
                if !self.forced && life.last.is_some_and(|last| last >= number) {
                    return Err(format!("event {number} came after {:?}", life.last));
                }
                life.last = Some(number);
            }
            life.seen.retain(|(seen, _)| *seen != number);
            life.seen.push((number, false));
            numbers.push(number);
        }
        self.trace.say(format!("take {:?} to {:?}", numbers.first(), numbers.last()));
        life.hands.push_back((parcel, numbers));
        Ok(())
    }

    /// The sink is through with a batch; now and then it has to give one up.
    fn finish(&mut self, life: &mut Life) {
        if life.hands.is_empty() {
            return;
        }
        let at = self.random.index(life.hands.len());
        let (mut parcel, numbers) = life.hands.remove(at).expect("in range");
        let (all, passes) = (Amount::of(&parcel.batch), parcel.passes());
        let events = all.events;
        life.channel.leave(all, all.when(passes));
        let slip = parcel.slip.take().expect("a durable channel wants to know");
        if self.random.once_in(25) {
            life.given_up += events;
            numbers.iter().for_each(|number| self.fates[*number].counted |= passes);
            self.trace.say(format!("give up {:?}", numbers.first()));
            let up = |seen: &mut (usize, bool)| seen.1 |= numbers.contains(&seen.0);
            life.seen.iter_mut().for_each(up);
            return;
        }
        life.written += events;
        slip.confirm();
        for number in numbers {
            (self.fates[number].done, self.fates[number].counted) = (true, true);
        }
    }

    fn work(&mut self, life: &mut Life) {
        let staff = life.keepers.len() + life.helpers.len();
        let at = self.random.index(staff);
        let all = &mut life.keepers.iter_mut().chain(&mut life.helpers);
        let worker = all.nth(at).expect("in range");
        let _ = worker.work(self.clock.now());
    }

    fn ledger(&self, life: &Life) -> Result<(), String> {
        let lost: u64 = life.counters.lost.values().iter().sum();
        let put = life.inlet.put_events.get() + life.counters.recovered_events.get();
        let out = life.counters.gauge.events() + (life.written + life.given_up + lost) as i64;
        if put as i64 == out {
            return Ok(());
        }
        let waiting = life.counters.gauge.events();
        Err(format!(
            "the ledger is off: put + recovered {put}, waiting {waiting}, written {}, given up {}, \
             lost {lost}",
            life.written, life.given_up
        ))
    }

    // ── its end ──

    fn end(&mut self, life: Life) {
        let (lost, back) = (life.counters.lost.values(), life.counters.recovered_events.get());
        self.trace.say(format!(
            "recovered {back}, lost {lost:?}, waiting {}",
            life.counters.gauge.events()
        ));
        self.lost += life.counters.lost.values().iter().sum::<u64>();
        self.corrupt += life.counters.lost[LostReason::Corrupt].get();
    }

    fn close(&mut self, mut life: Life) -> Result<(), String> {
        self.trace.say("close");
        self.disk.set_weather(Weather::calm());
        let mut turns = 0;
        while !(life.channel.is_drained() && life.hands.is_empty()) {
            self.clock.advance(Duration::from_millis(5));
            self.take(&mut life)?;
            if self.random.once_in(2) {
                self.finish(&mut life);
            }
            self.all_work(&mut life);
            self.take_receipts(&mut life);
            self.ledger(&life)?;
            turns += 1;
            if turns > 20_000 {
                let waiting = life.counters.gauge.events();
                let blocking = life.incidents.blocking();
                return Err(format!("it does not drain: {waiting} wait, {blocking:?}"));
            }
        }
        let mut open = life.keepers.len();
        life.keepers.iter_mut().for_each(|keeper| keeper.close(self.clock.now()));
        while open > 0 {
            self.clock.advance(Duration::from_millis(5));
            open = 0;
            for keeper in &mut life.keepers {
                open += usize::from(keeper.work(self.clock.now()) != Progress::Done);
            }
            for helper in &mut life.helpers {
                let _ = helper.work(self.clock.now());
            }
            turns += 1;
            if turns > 40_000 {
                return Err("the keeper does not end".to_owned());
            }
        }
        self.take_receipts(&mut life);
        self.ledger(&life)?;
        if !life.waiting.is_empty() {
            return Err(format!("never acknowledged: {:?}", life.waiting));
        }
        if life.counters.gauge.events() != 0 {
            return Err(format!("{} events wait, and it is drained", life.counters.gauge.events()));
        }
        if !life.incidents.blocking().is_empty() {
            return Err(format!("all is well, and {:?}", life.incidents.blocking()));
        }
        for fate in self.fates.iter_mut().filter(|fate| fate.done) {
            fate.settled = true;
        }
        self.end(life);
        Ok(())
    }

    fn all_work(&self, life: &mut Life) {
        let now = self.clock.now();
        for worker in life.keepers.iter_mut().chain(&mut life.helpers) {
            let _ = worker.work(now);
        }
    }
}

pub(crate) fn is_segment(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("segment."))
        && path.extension().is_none_or(|end| end != "bad")
}

fn run(seed: u64, flips: bool) -> Result<(), String> {
    let story = Story::new(seed, flips);
    let trace = story.trace.clone();
    let work = std::panic::AssertUnwindSafe(|| story.all());
    let outcome = std::panic::catch_unwind(work).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    let said = trace;
    outcome.map_err(|what| format!("log seed {seed}: {what}\n{}", said.last_lines()))
}

fn many(flips: bool) {
    let first = setting("FLUMEN_FIRST").unwrap_or(0);
    let count = setting("FLUMEN_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let failures: Vec<String> =
        (first..first + count).filter_map(|seed| run(seed, flips).err()).collect();
    let firsts: Vec<&str> = failures.iter().filter_map(|what| what.lines().next()).collect();
    assert!(
        failures.is_empty(),
        "{}\n{} of {count} failed:\n{}",
        failures[0],
        failures.len(),
        firsts.join("\n")
    );
}

#[test]
fn a_log_keeps_what_it_promised() {
    many(false);
}

#[test]
fn a_flipped_bit_costs_what_is_counted() {
    many(true);
}

#[test]
fn one_log_seed() {
    let seed = setting("FLUMEN_SEED").unwrap_or(1);
    run(seed, false).unwrap_or_else(|what| panic!("{what}"));
}
