//! The writer: blocks in order into segments; rolls, syncs, and waits out a failing disk.
//!
//! One owner at a time may use it: the keyed sink's thread, or whichever thread of the ordered sink
//! holds its lock. It never blocks but for the append itself; open, sync, rename and the like go to
//! the clerk, whose answers are taken in `answers`.
//!
//! A failed append leaves the length as it was, so the same bytes are tried again at the same
//! place: nothing is written twice and no half block stays.

mod answers;
mod commits;
mod seals;
mod syncs;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::at_open;
use super::block::{Blank, Block, Place};
use super::clerk::{Answer, Question, Sealing, Segment, Tending, Unsynced};
use super::lane::{Lane, State};
use super::roll_policy::{RollPolicy, Turn};
use super::tempo::Tempo;
use crate::channel::{Amount, Channel};
use crate::limits;
use crate::memory::gate::exempt;
use crate::memory::receipt::Reached;
use crate::ring::Ring;
use crate::runtime::clock::Clock;
use crate::runtime::helper::Desk;
use crate::sink::Orders;
use crate::storage::block::crc32c;
use crate::storage::segment::BlockEntry;
use crate::storage::{Container, write_all_at};
use crate::telemetry::{SinkCounters, Watch};
use crate::time::{Mono, Now};

/// Open questions at the clerk's desk; more wait in the writer.
pub(super) const QUESTIONS_MAX: usize = 64;
/// Empty queues that are kept, and room in each.
const QUEUES_MAX: usize = 16;
const QUEUE_ROOM_MAX: usize = 4;
/// How often rolls and syncs are looked at while files are open.
const TICK: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_millis(250);
/// Between two blocks, or syncs, that somebody waits for.
const APART: Duration = Duration::from_nanos(limits::COMMIT_APART_NS);
/// A file that is not synced is looked at so often, and with more than so many files each later:
/// ten thousand that nobody writes need no ten thousand looks a second.
const LOOK: Duration = Duration::from_secs(1);
const LOOKED_AT: usize = 1000;
const RETAIN: Duration = Duration::from_secs(60);
/// Retention looks at all files, a second after some were finished; with so many of them that it
/// takes long, it rests so many times as long, for the clerk has other things to do.
const RETAIN_SHARE: u32 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    Every(Duration),
    Block,
    Never,
}

/// What the writer is told at build.
pub(super) struct Rules {
    pub(super) container: Container,
    pub(super) roll: RollPolicy,
    /// Files of many paths are finished one after the other.
    pub(super) in_turn: bool,
    pub(super) sync: Sync,
    pub(super) retain: bool,
    /// Dirty files synced one by one; more are one question to the clerk.
    pub(super) synced_singly_max: usize,
    /// Files open at once; the one idle for longest is finished when another is needed.
    pub(super) open_files_max: usize,
    /// Blocks of open files that are known at once.
    pub(super) entries_max: usize,
}

/// What the writer is connected to.
pub(super) struct Ties {
    /// For the log: `sink archive`.
    pub(super) name: String,
    pub(super) desk: Desk<Question, Answer>,
    pub(super) buffers: Arc<Ring<Blank>>,
    pub(super) channel: Arc<dyn Channel>,
    pub(super) counters: Arc<SinkCounters>,
    pub(super) orders: Arc<Orders>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) watch: Watch,
    /// When those who wait for it have their blocks and syncs.
    pub(super) tempo: Arc<Tempo>,
}

pub(super) struct Writer {
    rules: Rules,
    ties: Ties,
    lanes: Vec<Option<Lane>>,
    /// Numbers of lanes that are gone.
    vacant: Vec<usize>,
    by_stem: HashMap<Arc<Path>, usize>,
    /// Empty, with room: what lanes put blocks in while those wait. Few do at a time.
    queues: Vec<VecDeque<Block>>,
    /// Files that are open, or were when they were last counted.
    open_at_most: usize,
    /// Room for entries of blocks in them, and from how many on some are forgotten.
    entries: usize,
    entries_next: usize,
    /// Lanes whose sync is due, and the list that goes to the clerk and comes back.
    due: Vec<usize>,
    round: Vec<Tending>,
    /// Lanes whose file is to be looked at.
    looks: Vec<usize>,
    /// Asked of the clerk and not answered.
    open_questions: usize,
    backlog: VecDeque<Question>,
    /// Segments to be finished, together, as soon as those are that are at the clerk's.
    seals: Vec<Sealing>,
    sealing: bool,
    /// Segments whose sealing failed, to be tried again.
    unsealed: Vec<(Segment, Unsynced)>,
    unsealed_retry_at: Mono,
    /// Those of them that are at the clerk's.
    sealing_again: usize,
    failing_lanes: usize,
    tick_at: Mono,
    /// Lanes with events in no sync yet for whose sync somebody waits; some more than once, or no
    /// more.
    awaited: Vec<usize>,
    /// When the last such sync was asked for.
    commit_at: Mono,
    retain_at: Mono,
    /// Not before.
    retain_from: Mono,
    rolls_seen: u64,
    closing: bool,
}

impl Writer {
    pub(super) fn new(rules: Rules, ties: Ties) -> Self {
        let rolls_seen = ties.orders.rolls();
        Self {
            entries_next: rules.entries_max / 2,
            entries: 0,
            rules,
            ties,
            lanes: Vec::with_capacity(16),
            vacant: Vec::with_capacity(16),
            by_stem: HashMap::with_capacity(16),
            queues: Vec::with_capacity(QUEUES_MAX),
            open_at_most: 0,
            due: Vec::with_capacity(16),
            round: Vec::new(),
            looks: Vec::with_capacity(16),
            open_questions: 0,
            backlog: VecDeque::with_capacity(QUESTIONS_MAX),
            seals: Vec::new(),
            sealing: false,
            unsealed: Vec::new(),
            unsealed_retry_at: Mono(0),
            sealing_again: 0,
            failing_lanes: 0,
            tick_at: Mono(0),
            awaited: Vec::with_capacity(16),
            commit_at: Mono(0),
            retain_at: Mono(0),
            retain_from: Mono(0),
            rolls_seen,
            closing: false,
        }
    }

    pub(super) fn desk(&self) -> &Desk<Question, Answer> {
        &self.ties.desk
    }

    /// Appends the block now, or as soon as its file is there, and syncs it if that is due.
    pub(super) fn accept(&mut self, block: Block, now: Now) {
        self.add(block, now);
        self.commit(now);
        self.seal_all();
    }

    /// Appends one of several blocks; what is due then is done when the caller tends.
    pub(super) fn add(&mut self, block: Block, now: Now) {
        let id = self.lane_of(&block.contents.place, now);
        let queue = (self.lane(id).parked.capacity() == 0).then(|| self.queues.pop()).flatten();
        let parked = &mut self.lane(id).parked;
        if let Some(queue) = queue {
            *parked = queue;
        }
        // Grows while its file is opened, and seldom.
        exempt(|| parked.push_back(block));
        self.flush(id, now);
    }

    /// Answers of the clerk, then what is due by the clock. Says whether anything happened.
    pub(super) fn tend(&mut self, now: Now) -> bool {
        let mut worked = false;
        while let Some(answer) = self.ties.desk.poll() {
            worked = true;
            self.open_questions -= 1;
            exempt(|| self.answered(answer, now));
        }
        self.commit(now);
        if now.mono >= self.tick_at {
            self.tick(now);
        }
        self.seal_all();
        while self.open_questions < QUESTIONS_MAX {
            let Some(question) = self.backlog.pop_front() else { break };
            self.open_questions += 1;
            self.ties.desk.ask(question);
        }
        worked
    }

    /// When `tend` has something to do by itself.
    pub(super) fn deadline(&self) -> Mono {
        let quiet = self.by_stem.is_empty() && self.unsealed.is_empty();
        let tick = if quiet && !self.rules.retain { Mono::MAX } else { self.tick_at };
        if !self.awaited.is_empty() { tick.min(self.ties.tempo.next()) } else { tick }
    }

    /// No more blocks will come: everything is appended, then finished.
    pub(super) fn close(&mut self, now: Now) {
        self.closing = true;
        self.tick_at = now.mono;
    }

    pub(super) fn is_closed(&self) -> bool {
        let idle = self.open_questions == 0 && self.backlog.is_empty();
        let idle = idle && self.seals.is_empty();
        self.closing && idle && self.unsealed.is_empty() && self.by_stem.is_empty()
    }

    // ── appending ──

    fn flush(&mut self, id: usize, now: Now) {
        loop {
            if self.is_crowded(id) {
                return;
            }
            let policy = self.rules.roll;
            let lane = self.lane(id);
            let Some(front) = lane.parked.front() else { return self.put_back_queue(id) };
            if lane.retry_at > now.mono {
                return;
            }
            match &lane.state {
                State::Opening | State::Rescuing { .. } => return,
                State::Closed => {
                    lane.state = State::Opening;
                    let place = lane.place.clone();
                    self.ask(Question::Open { lane: id, place });
                    return;
                }
                State::Open(open) if open.held => return,
                State::Open(open)
                    if policy.full(open.segment.stored_bytes(), front.bytes().len())
                        || policy.aged(open.opened_at, lane.turn, now) =>
                {
                    // A failed sync is told once: the answer must find its segment here.
                    if lane.tending {
                        return;
                    }
                    exempt(|| self.roll(id));
                }
                State::Open(_) => {
                    if !self.append(id, now) {
                        return;
                    }
                }
            }
        }
    }

    /// Appends the lane's first block; on failure says why and when to try again.
    fn append(&mut self, id: usize, now: Now) -> bool {
        let (container, full) = (self.rules.container, self.rules.roll.bytes);
        let before = self.ties.clock.now().mono;
        let lane = self.lanes[id].as_mut().expect("the caller's lane exists");
        let State::Open(open) = &mut lane.state else { return false };
        let Some(mut block) = lane.parked.pop_front() else { return false };
        let segment = &mut open.segment;
        let value = segment.blocks.stamp(container, &mut block.buffer, segment.id);
        let file = segment.file.as_ref();
        segment.ahead.prepare(file, segment.bytes, block.bytes().len(), full);
        if let Err(error) = write_all_at(file, segment.bytes, block.bytes()) {
            // What was written of it lies behind the length; cutting it is a courtesy to readers.
            let _ = segment.file.truncate(segment.bytes);
            lane.parked.push_front(block);
            self.ties.counters.retries.add(1);
            exempt(|| self.fail(id, now, &error));
            return false;
        }
        let entry = entry_of(container, segment.bytes, &block);
        if segment.blocks.is_full() {
            // A dozen times in the life of most files.
            self.entries -= segment.blocks.room();
            exempt(|| segment.blocks.reserve());
            self.entries += segment.blocks.room();
        }
        segment.blocks.add(entry, value);
        segment.bytes += block.bytes().len() as u64;
        lane.appended_at = now.mono;
        let took = self.ties.clock.now().mono.since(before);
        self.ties.counters.write.record(took);
        self.recover(id, now);
        if self.entries > self.entries_next {
            exempt(|| self.spare_entries());
        }
        if self.rules.sync == Sync::Block {
            self.hold(id, block);
        } else {
            self.book(id, block, now);
        }
        true
    }

    /// Counts an appended block and sends its buffer home.
    fn book(&mut self, id: usize, block: Block, now: Now) {
        let stored_bytes = block.bytes().len() as u64;
        let (buffer, mut contents) = block.take_apart();
        let counters = &self.ties.counters;
        let events = u64::from(contents.events);
        counters.written_events.add(events);
        counters.written_bytes.add(contents.event_bytes);
        counters.written_batches.add(1);
        counters.stored_bytes.add(stored_bytes);
        let all = Amount { events, bytes: contents.event_bytes };
        self.ties.channel.leave(all, contents.passing);
        let State::Open(open) = &mut self.lane(id).state else {
            return self.ties.buffers.offer(Blank { bytes: buffer, slips: Vec::new() });
        };
        open.fresh.events += events;
        let (mut written, mut synced) = (false, false);
        let fresh = &mut open.fresh.slips;
        if fresh.capacity() < fresh.len() + contents.slips.len() {
            exempt(|| fresh.reserve(contents.slips.len()));
        }
        for slip in contents.slips.drain(..) {
            match slip.wanted() {
                Reached::Received | Reached::Written => {
                    slip.confirm();
                    written = true;
                }
                Reached::Synced => {
                    synced |= slip.hurries();
                    fresh.push(slip);
                }
            }
        }
        self.ties.buffers.offer(Blank { bytes: buffer, slips: contents.slips });
        if synced {
            self.want_commit(id);
        } else if written {
            // Without a sync to wait for, the next block is as far off.
            self.ties.tempo.told(events, now.mono.after(APART));
        }
    }

    /// An empty queue is for whoever needs it next.
    fn put_back_queue(&mut self, id: usize) {
        let queue = std::mem::take(&mut self.lane(id).parked);
        if (1..=QUEUE_ROOM_MAX).contains(&queue.capacity()) && self.queues.len() < QUEUES_MAX {
            self.queues.push(queue);
        }
    }

    /// `sync = "block"`: the block stays here until the disk has it.
    fn hold(&mut self, id: usize, block: Block) {
        let lane = self.lane(id);
        let State::Open(open) = &mut lane.state else { return };
        open.held = true;
        lane.parked.push_front(block);
        self.sync(id, true);
    }

    // ── by the clock ──

    fn tick(&mut self, now: Now) {
        self.tick_at = now.mono.after(TICK);
        let rolls = self.ties.orders.rolls();
        let ordered = std::mem::replace(&mut self.rolls_seen, rolls) != rolls;
        for id in 0..self.lanes.len() {
            if self.lanes[id].is_some() {
                self.tick_lane(id, ordered, now);
            }
        }
        self.sync_due();
        self.look_due();
        if !self.unsealed.is_empty() && now.mono >= self.unsealed_retry_at {
            exempt(|| self.seal_again(now));
        }
        if self.rules.retain && now.mono >= self.retain_at && !self.closing {
            self.retain_at = now.mono.after(RETAIN);
            self.ask(Question::Retain);
        }
    }

    fn tick_lane(&mut self, id: usize, ordered: bool, now: Now) {
        self.flush(id, now);
        let (policy, sync, closing) = (self.rules.roll, self.rules.sync, self.closing);
        let look = LOOK * (1 + self.lanes.len() / LOOKED_AT) as u32;
        let lane = self.lane(id);
        lane.roll_ordered |= ordered && matches!(lane.state, State::Open(_));
        let open = match &lane.state {
            State::Open(open) => open,
            State::Rescuing { .. } if lane.retry_at <= now.mono => return self.rescue(id),
            _ => return self.remove_if_empty(id),
        };
        if open.held {
            // A look at the file was under way when it was held, or its sync must be tried again.
            return self.sync(id, true);
        }
        if !lane.parked.is_empty() {
            return;
        }
        let finish = lane.roll_ordered
            || closing
            || policy.aged(open.opened_at, lane.turn, now)
            || policy.idle(lane.appended_at, lane.turn, now)
            || RollPolicy::over(lane.place.until, lane.turn, now);
        if finish && !lane.tending {
            return exempt(|| self.roll(id));
        }
        let every = match sync {
            Sync::Every(every) => every,
            Sync::Block | Sync::Never => Duration::MAX,
        };
        let age = now.mono.since(open.synced_at);
        if open.is_dirty() && age >= every.saturating_sub(TICK) {
            match open.joins_a_round() {
                // At the clerk's already: its answer comes first.
                true if lane.tending => {}
                true => self.due.push(id),
                false => self.sync(id, true),
            }
        } else if now.mono.since(open.looked_at) >= look && !lane.tending {
            self.looks.push(id);
        }
    }

    // ── lanes and faults ──

    fn lane(&mut self, id: usize) -> &mut Lane {
        self.lanes[id].as_mut().expect("a lane stays while anything refers to it")
    }

    fn lane_of(&mut self, place: &Place, now: Now) -> usize {
        if let Some(id) = self.by_stem.get(&place.stem) {
            return *id;
        }
        exempt(|| {
            let id = self.vacant.pop().unwrap_or_else(|| {
                self.lanes.push(None);
                // All may be due at once.
                self.due.reserve(self.lanes.len());
                self.looks.reserve(self.lanes.len());
                self.lanes.len() - 1
            });
            let turn = self.rules.in_turn.then(|| Turn::of_path(&place.stem));
            let lane = Lane::new(place.clone(), turn.unwrap_or_default(), now.mono);
            self.lanes[id] = Some(lane);
            self.by_stem.insert(Arc::clone(&place.stem), id);
            self.tick_at = self.tick_at.min(now.mono.after(TICK));
            id
        })
    }

    fn remove_if_empty(&mut self, id: usize) {
        if self.lane(id).is_empty()
            && let Some(lane) = self.lanes[id].take()
        {
            self.by_stem.remove(&lane.place.stem);
            self.vacant.push(id);
        }
    }

    fn fail(&mut self, id: usize, now: Now, error: &io::Error) {
        let lane = self.lane(id);
        lane.retry_at = now.mono.after(RETRY);
        let what = format!("{}: {error}", at_open::shown(&lane.place.stem));
        if !std::mem::replace(&mut lane.failing, true) {
            self.failing_lanes += 1;
        }
        self.ties.counters.errors.add(1);
        match self.ties.channel.is_covered() {
            true => self.ties.watch.fault(now, &what),
            false => self.ties.watch.blocked(now, &what),
        };
        // What is in hand stays here; what is to come may go elsewhere.
        self.ties.channel.failing(now);
    }

    fn recover(&mut self, id: usize, now: Now) {
        let lane = self.lane(id);
        if std::mem::replace(&mut lane.failing, false) {
            self.failing_lanes -= 1;
            if self.failing_lanes == 0 {
                self.ties.channel.working();
            }
        }
        self.breathe(now);
    }

    /// The incident is over when nothing fails any more.
    fn breathe(&mut self, now: Now) {
        // What the clerk has in hand may fail again.
        let sealed = self.unsealed.is_empty() && self.sealing_again == 0;
        if self.failing_lanes == 0 && sealed && self.ties.watch.is_open() {
            self.ties.watch.recovered(now);
        }
    }

    fn ask(&mut self, question: Question) {
        self.backlog.push_back(question);
        self.ask_next();
    }

    fn ask_next(&mut self) {
        if self.open_questions < QUESTIONS_MAX
            && let Some(question) = self.backlog.pop_front()
        {
            self.open_questions += 1;
            self.ties.desk.ask(question);
        }
    }
}

fn entry_of(container: Container, offset: u64, block: &Block) -> BlockEntry {
    if container.headed() {
        return BlockEntry::of_block(offset, block.bytes()).expect("the press made its header");
    }
    let bytes = u32::try_from(block.bytes().len()).expect("a block is under 4 GiB");
    BlockEntry {
        offset,
        time_min: block.contents.time_min,
        time_max: block.contents.time_max,
        header_bytes: 0,
        stored_bytes: bytes,
        raw_bytes: bytes,
        event_count: block.contents.events,
        crc_raw: crc32c(block.bytes()),
        encoder: 0,
    }
}
