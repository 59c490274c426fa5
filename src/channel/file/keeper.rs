//! The channel's worker: it writes what is offered, hands over what waits, and remembers what was
//! delivered.
//!
//! ```text
//!   offered ──▶ log ──▶ young ───────────────────▶ ready ──▶ sinks
//!                 │       │ given back: synced,       ▲         │
//!                 │       ▼ and memory is scarce      │         │ receipts
//!                 └────▶ disk ──▶ reader (own pages) ─┘         ▼
//!                                                           delivered
//! ```
//! While the sinks keep up, a batch goes from memory to them, and is never read back. It is handed
//! over as soon as it is written; what is not synced yet is kept here beside it, in pages of our
//! own allowance, so that a failed sync costs nothing: it is written again. When sinks fall behind,
//! the youngest synced batches give their pages back and are read from the log when their turn
//! comes. Order is the order of numbers, whichever way a batch takes.
//!
//! Threading: one worker owns everything here; rings on all sides.

mod answers;
mod handing;
mod syncing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::clerk::{Answer, Question, Seek, Sought};
use super::delivered::Delivered;
use super::log::{Log, Place, Put, Written};
use super::shared::Shared;
use crate::channel::{Amount, Channel, CreditHold, Parcel};
use crate::event::Page;
use crate::memory::gate::exempt;
use crate::memory::receipt::Reached;
use crate::memory::{self, Pool, Receipt, ReceiptPool, ReceiptSlip};
use crate::ring::{Bell, Seat, Wake};
use crate::runtime::helper::Desk;
use crate::runtime::parker::Parker;
use crate::runtime::{Progress, Worker};
use crate::telemetry::{Incidents, Watch};
use crate::time::{Mono, Now};

/// How long what failed waits before it is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// So many batches are written in one piece of work.
const WRITES_MAX: usize = 8;
/// Segments that the clerk is asked to remove at once.
const REMOVALS_MAX: usize = 4;

/// How the channel behaves: its options, as numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// How long a batch may wait for its sync; none: each is synced at once.
    pub(super) sync: Option<Duration>,
    /// Bytes the log may have.
    pub(super) capacity_bytes: u64,
    /// So near to that nothing more is let in: room for what is on its way.
    pub(super) margin_bytes: u64,
    /// Events that may wait.
    pub(super) capacity_events: u64,
    /// Batches handed over before they are asked for.
    pub(super) ahead: usize,
    /// Batches that wait for sinks in memory; more give their pages back.
    pub(super) kept_max: usize,
    /// Batches in the sinks' hands that hold credit: some is always left for what comes in.
    pub(super) hands_max: u32,
    /// Batches handed over and not synced yet.
    pub(super) beside_max: usize,
}

/// A batch that was written, as long as memory has it.
struct Young {
    seq: u64,
    /// What had been put before it.
    before: Put,
    events: u64,
    bytes: u64,
    written: Written,
    batch: memory::Shared,
    /// None when the sink has it.
    credit: Option<CreditHold>,
    /// Of the source that waits for our sync.
    slip: Option<ReceiptSlip>,
    first_at: Mono,
    offered_at: Mono,
    handed: bool,
}

/// A batch in the sinks' hands.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    seq: u64,
    events: u64,
    bytes: u64,
}

/// What the reader was asked for.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// A batch that a sink gave up, not the one whose turn it is.
    again: bool,
    /// Where it began to look.
    place: Place,
    /// What had been put: every batch below stands before the limit it was given.
    put: Put,
}

pub(super) struct Keeper {
    pub(super) name: String,
    pub(super) shared: Arc<Shared>,
    pub(super) manner: Manner,
    pub(super) log: Log,
    pub(super) delivered: Delivered,
    /// The same as it was at the start.
    pub(super) earlier: Delivered,
    /// Batches below were synced before a crash, if there was one.
    pub(super) trusted: u64,
    pub(super) clerk: Desk<Question, Answer>,
    pub(super) reader: Desk<Seek, Sought>,
    pub(super) receipts: Arc<ReceiptPool>,
    pub(super) pages: Arc<Pool>,
    pub(super) watches: Watches,
    pub(super) parker: Parker,
    pub(super) seats: Seats,
    pub(super) state: Course,
    /// Nobody else has the directories as long as we have these.
    pub(super) _locks: Vec<Arc<dyn crate::storage::DiskFile>>,
}

/// What may go wrong, each for itself: that the disk is full says nothing of what is read back.
pub(super) struct Watches {
    writing: Watch,
    reading: Watch,
    removing: Watch,
}

/// What changes from one piece of work to the next.
pub(super) struct Course {
    young: VecDeque<Young>,
    outstanding: Vec<Option<Outstanding>>,
    /// Given up by a sink: to be read again.
    again: VecDeque<Outstanding>,
    /// Behind the last batch that was handed over, in number and in the log.
    behind: Put,
    cursor: Option<Place>,
    /// Batches below are not to be found behind the cursor.
    sought: u64,
    reading: Option<Reading>,
    /// For the batch that is being read.
    receipt: Option<(Receipt, ReceiptSlip)>,
    /// A new segment is asked for.
    opening: bool,
    /// And could not be had when it was last asked for.
    unopened: bool,
    syncing: bool,
    /// The segment before the current one, until a sync covers it.
    older: Option<Arc<dyn crate::storage::DiskFile>>,
    /// How often batches had to be written again, now and when the sync was asked for.
    rewrites: u64,
    rewrites_asked: u64,
    /// The sync that is under way covers it.
    older_asked: bool,
    /// When the oldest batch that is not synced was written.
    unsynced_at: Mono,
    /// Some source waits for the next sync.
    hurried: bool,
    last_sync: Mono,
    /// `delivered.changes()` as last written, and as last synced.
    state_written: u64,
    state_asked: u64,
    state_synced: u64,
    changed_at: Mono,
    /// After something failed nothing is tried before.
    retry_at: Mono,
    removing: usize,
    /// After a removal that failed.
    remove_at: Mono,
    closing: bool,
    /// What the newest state says of synced batches.
    synced_written: u64,
    /// A batch that could not be written yet.
    held: Option<Parcel>,
}

pub(super) struct Seats {
    pub(super) offered: Seat,
    pub(super) polled: Seat,
    pub(super) credit: Seat,
    pub(super) receipts: Seat,
    pub(super) pages: Seat,
    pub(super) clerk: Seat,
    pub(super) reader: Seat,
}

impl Seats {
    pub(super) fn take(
        parker: &Parker,
        shared: &Shared,
        receipts: &ReceiptPool,
        pages: &Pool,
        clerk: &Desk<Question, Answer>,
        reader: &Desk<Seek, Sought>,
    ) -> Self {
        let join = |bell: &Bell| bell.join(parker.waker());
        Self {
            offered: join(shared.offered.bell()),
            polled: join(&shared.polled),
            credit: join(shared.credit().bell()),
            receipts: join(receipts.settled().bell()),
            pages: join(pages.bell()),
            clerk: join(clerk.answers().bell()),
            reader: join(reader.answers().bell()),
        }
    }
}

impl Watches {
    pub(super) fn new(incidents: &Arc<Incidents>, channel: &str) -> Self {
        let watch = || incidents.watch(&format!("channel {channel}"));
        Self { writing: watch(), reading: watch(), removing: watch() }
    }
}

impl Course {
    pub(super) fn new(delivered: &Delivered, credit: usize, receipts: usize) -> Self {
        let base = delivered.base();
        Self {
            young: VecDeque::with_capacity(credit + 1),
            outstanding: vec![None; receipts],
            again: VecDeque::with_capacity(receipts),
            behind: Put { seq: base.to, events: base.events, bytes: base.bytes },
            cursor: None,
            sought: 0,
            reading: None,
            receipt: None,
            opening: false,
            unopened: false,
            syncing: false,
            older: None,
            rewrites: 0,
            rewrites_asked: 0,
            older_asked: false,
            unsynced_at: Mono::MAX,
            hurried: false,
            last_sync: Mono::default(),
            state_written: 0,
            state_asked: 0,
            state_synced: 0,
            changed_at: Mono::MAX,
            retry_at: Mono::default(),
            removing: 0,
            remove_at: Mono::default(),
            closing: false,
            synced_written: 0,
            held: None,
        }
    }
}

impl Keeper {
    // ── writing ──

    /// Writes what was offered, as long as there is room for it.
    fn write(&mut self, now: Now) -> bool {
        let mut wrote = false;
        for _ in 0..WRITES_MAX {
            let Some(parcel) = self.state.held.take().or_else(|| self.shared.offered.poll()) else {
                break;
            };
            if !self.may_write(&parcel.batch, now) {
                self.state.held = Some(parcel);
                break;
            }
            match self.log.append(&parcel.batch) {
                Ok(written) => {
                    self.watches.writing.recovered(now);
                    self.accept(parcel, written, now);
                    wrote = true;
                }
                Err(error) => {
                    self.state.held = Some(parcel);
                    self.fail(now, &format!("writing: {error}"));
                    // Another segment may lie on a better disk; a full one is only waited for.
                    if error.kind() != std::io::ErrorKind::StorageFull {
                        self.ask_segment();
                    }
                    break;
                }
            }
        }
        wrote
    }

    /// Whether there is room for a batch; asks for a segment when there is none to write to.
    fn may_write(&mut self, page: &Page, now: Now) -> bool {
        if self.rests(now) {
            return false;
        }
        let record_bytes = Log::record_bytes(page);
        if !self.log.has_room(record_bytes) {
            self.ask_segment();
            return false;
        }
        let (done, _) = self.delivered.totals();
        let waiting = self.log.put.events.saturating_sub(done);
        // At a stop what is on its way is kept in any case; of bytes there is a margin for it.
        let events = waiting == 0
            || self.state.closing
            || waiting + u64::from(page.event_count()) <= self.manner.capacity_events;
        let bytes = self.log.bytes() + record_bytes <= self.manner.capacity_bytes;
        if !bytes && self.all_done() {
            // Nothing waits: what fills it is delivered, and goes with its segment.
            self.ask_segment();
        }
        events && bytes
    }

    fn all_done(&self) -> bool {
        self.delivered.low() >= self.log.put.seq
    }

    fn ask_segment(&mut self) {
        // The one before the current must be synced first: a sync covers two.
        if self.state.opening || self.state.older.is_some() {
            return;
        }
        self.state.opening = true;
        let (number, path) = exempt(|| self.log.next_segment());
        self.clerk.ask(Question::Open { number, path });
    }

    fn accept(&mut self, parcel: Parcel, written: Written, now: Now) {
        let Parcel { batch, credit, mut slip, first_at, offered_at, .. } = parcel;
        let (events, bytes) = (u64::from(batch.event_count()), batch.event_bytes());
        let put = self.log.put;
        let before =
            Put { seq: put.seq - 1, events: put.events - events, bytes: put.bytes - bytes };
        self.shared.kept(Amount { events, bytes });
        if slip.as_ref().is_some_and(|slip| slip.wanted() <= Reached::Written) {
            slip.take().into_iter().for_each(ReceiptSlip::confirm);
        }
        self.state.hurried |= slip.as_ref().is_some_and(ReceiptSlip::hurries);
        self.state.unsynced_at = self.state.unsynced_at.min(now.mono);
        self.state.young.push_back(Young {
            seq: before.seq,
            before,
            events,
            bytes,
            written,
            batch,
            credit,
            slip,
            first_at,
            offered_at,
            handed: false,
        });
    }

    fn fail(&mut self, now: Now, what: &str) {
        self.watches.writing.blocked(now, what);
        self.state.retry_at = now.mono.after(RETRY);
    }

    /// Something has just failed, and is not tried again yet.
    fn rests(&self, now: Now) -> bool {
        now.mono < self.state.retry_at
    }

    /// Batches that wait in memory give their pages back when there are too many, the youngest
    /// first: they are on the disk.
    fn give_back(&mut self) {
        let state = &mut self.state;
        let mut waiting = state.young.iter().filter(|young| !young.handed).count();
        while waiting > self.manner.kept_max {
            let synced = |young: &Young| !young.handed && young.seq < self.log.synced;
            let Some(at) = state.young.iter().rposition(synced) else { break };
            state.young.remove(at);
            waiting -= 1;
        }
    }

    // ── what was delivered ──

    /// Takes in how the sinks' batches ended.
    fn settle(&mut self, now: Now) -> bool {
        let mut settled = false;
        while let Some((receipt, outcome)) = self.receipts.poll() {
            settled = true;
            let Some(one) = self.state.outstanding[receipt.index()].take() else { continue };
            match outcome {
                memory::Outcome::Confirmed => {
                    self.delivered.add(one.seq, one.events, one.bytes);
                    self.state.changed_at = self.state.changed_at.min(now.mono);
                }
                // The sinks have been dropped: the next start delivers it.
                memory::Outcome::Failed if self.state.closing || self.is_unread() => {}
                memory::Outcome::Failed => {
                    let counters = &self.shared.counters;
                    counters.recovered_events.add(one.events);
                    counters.gauge.enter(one.events, one.bytes);
                    self.state.again.push_back(one);
                    self.shared.owed.fetch_add(1, Ordering::Release);
                }
            }
        }
        settled
    }

    pub(super) fn is_unread(&self) -> bool {
        self.shared.unread.load(Ordering::Acquire)
    }

    /// Near its capacity the log gives no more credit, so that what is on its way still finds room.
    fn withhold(&self) {
        let near = self.log.bytes() + self.manner.margin_bytes > self.manner.capacity_bytes;
        self.shared.credit().shut(near && !self.all_done());
    }

    /// What the disk knows to be delivered may go, a few segments at a time.
    fn may_remove(&self) -> bool {
        self.state.state_synced == self.delivered.changes() && self.state.removing < REMOVALS_MAX
    }

    /// Segments that nobody needs go, once that they need not be kept is on the disk.
    fn remove(&mut self, now: Now) {
        while self.may_remove() && now.mono >= self.state.remove_at {
            let Some(segment) = self.log.take_finished(&self.delivered) else { break };
            self.state.removing += 1;
            self.clerk.ask(Question::Remove(segment));
        }
    }

    /// What others want to know of the log.
    fn publish(&self) {
        let handed = self.delivered.next_missing(self.state.behind.seq);
        self.shared.handed.store(handed, Ordering::Release);
    }

    fn is_through(&self) -> bool {
        let state = &self.state;
        let nothing = self.shared.offered.is_empty() && state.held.is_none();
        let synced = state.synced_written == self.log.synced || self.log.file.is_none();
        let synced = synced && state.young.iter().all(|young| young.seq < self.log.synced);
        let written = self.log.file.is_none() || state.state_synced == self.delivered.changes();
        let tidy = state.removing == 0 && !self.log.has_finished(&self.delivered);
        nothing && tidy && synced && written && !state.syncing && !state.opening
    }
}

impl Worker for Keeper {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        let mut worked = self.take_answers(now);
        worked |= self.settle(now);
        worked |= self.write(now);
        worked |= self.hand_over(now);
        self.give_back();
        self.withhold();
        self.sync(now);
        self.remove(now);
        self.publish();
        if self.state.closing && self.is_through() {
            return Progress::Done;
        }
        if worked { Progress::Worked } else { Progress::Idle { until: self.due(now) } }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let bells = [
            (self.shared.offered.bell(), self.seats.offered),
            (&self.shared.polled, self.seats.polled),
            (self.shared.credit().bell(), self.seats.credit),
            (self.receipts.settled().bell(), self.seats.receipts),
            (self.pages.bell(), self.seats.pages),
            (self.clerk.answers().bell(), self.seats.clerk),
            (self.reader.answers().bell(), self.seats.reader),
        ];
        bells.iter().for_each(|(bell, seat)| bell.doze(*seat));
        let offered = self.state.held.is_none() && !self.shared.offered.is_empty();
        let news = offered
            || !self.receipts.settled().is_empty()
            || !self.clerk.answers().is_empty()
            || !self.reader.answers().is_empty()
            || self.may_hand(now);
        if !news {
            self.parker.sleep(now, until);
        }
        bells.iter().for_each(|(bell, seat)| bell.rise(*seat));
    }

    fn close(&mut self, _now: Now) {
        self.state.closing = true;
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.deserted.store(true, Ordering::Release);
    }
}
