//! The one valve between a source thread and its channels: a free page AND credit of every channel
//! that waits. Accepted by all required channels or by none.
//!
//! A channel that drops never closes the valve: it is asked for credit when the batch is offered,
//! and without it the batch is counted as put and lost there, or one that has waited longest is.
//! A valve that balances needs credit of one channel only, and offers to that one.

use std::cell::Cell;
use std::sync::Arc;

use super::{Amount, Channel, CreditHold, Parcel};
use crate::limits;
use crate::memory::receipt::Reached;
use crate::memory::{Lease, Pool, ReceiptSlip};
use crate::ring::{Bell, Seat, Wake};
use crate::telemetry::{InletCounters, LostReason};
use crate::time::{Mono, Now};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    Wait,
    DropNewest,
    /// The batch that has waited longest goes, if one waits.
    DropOldest,
    /// The channel is optional to a source: as `DropNewest`, and no receipt waits for it.
    Optional,
}

/// One source thread's way into one channel.
pub struct Inlet {
    pub channel: Arc<dyn Channel>,
    pub when_full: WhenFull,
    pub counters: Arc<InletCounters>,
}

impl Inlet {
    /// Takes credit, at the cost of batches that wait if that is what the channel does.
    fn make_room(&self) -> bool {
        loop {
            if self.channel.credit().take() {
                return true;
            }
            let oldest = match self.when_full {
                WhenFull::DropOldest => self.channel.evict(),
                _ => None,
            };
            let Some(oldest) = oldest else { return false };
            let all = Amount::of(&oldest.batch);
            self.channel.leave(all, all.when(oldest.passes()));
            self.counters.lost.add(LostReason::ChannelFull, all.events);
        }
    }
}

/// How the fullest of the channels that wait stands: it is the one that will close the valve, and
/// whether the others move says nothing about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Batches in it, and in the hands of its sinks.
    pub backlog: u32,
    /// Batches that have left it, ever.
    pub gone: u64,
}

pub struct Valve {
    pool: Arc<Pool>,
    inlets: Vec<Inlet>,
    balance: Option<Balance>,
    /// The waking side of the source thread, at the pool's bell and at each waiting channel's.
    pool_seat: Seat,
    seats: Vec<Option<Seat>>,
    /// Batches that had left the channels at the last offer.
    gone: Cell<u64>,
}

/// Whose turn it is.
struct Balance {
    /// Of the channel that the open batch is for.
    chosen: Cell<usize>,
    /// A random number, when it is not the next one's turn.
    random: Option<Cell<u64>>,
}

impl Balance {
    /// Where to begin to look for a channel with room.
    fn turn(&self, channels: usize) -> usize {
        let Some(random) = &self.random else { return (self.chosen.get() + 1) % channels };
        // Marsaglia's xorshift64: never nought.
        let mut number = random.get();
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        random.set(number);
        usize::try_from(number % channels as u64).expect("less than a length")
    }
}

impl Valve {
    pub fn new(pool: Arc<Pool>, inlets: Vec<Inlet>, waker: &Arc<dyn Wake>) -> Self {
        let pool_seat = pool.bell().join(Arc::clone(waker));
        let seat = |inlet: &Inlet| {
            let waits = inlet.when_full == WhenFull::Wait;
            waits.then(|| inlet.channel.credit().bell().join(Arc::clone(waker)))
        };
        let seats = inlets.iter().map(seat).collect();
        Self { pool, inlets, balance: None, pool_seat, seats, gone: Cell::new(0) }
    }

    /// Each batch goes to one channel: the next one, or with a seed a random one.
    pub fn balanced(self, seed: Option<u64>) -> Self {
        let random = seed.map(|seed| Cell::new(seed.max(1)));
        let chosen = Cell::new(self.inlets.len() - 1);
        Self { balance: Some(Balance { chosen, random }), ..self }
    }

    /// The channels that the open batch is for.
    fn chosen(&self) -> &[Inlet] {
        match &self.balance {
            Some(balance) => std::slice::from_ref(&self.inlets[balance.chosen.get()]),
            None => &self.inlets,
        }
    }

    /// Chooses a channel that has room, or else one that drops.
    fn choose(&self, balance: &Balance) -> bool {
        let count = self.inlets.len();
        let first = balance.turn(count);
        let turns = || (first..first + count).map(|turn| turn % count);
        let room = turns().find(|index| self.inlets[*index].channel.credit().free() > 0);
        let drops = || turns().find(|index| self.inlets[*index].when_full != WhenFull::Wait);
        let found = room.or_else(drops);
        found.into_iter().for_each(|index| balance.chosen.set(index));
        found.is_some()
    }

    /// A page to fill, with credit of every channel that waits; or nothing at all.
    pub fn open(&self) -> Option<Lease> {
        // Looked at before anything is taken: what is taken for nothing wakes others when it is
        // given back, and two who lack the same channel would wake each other for ever.
        if !self.may_open() {
            return None;
        }
        if self.balance.as_ref().is_some_and(|balance| !self.choose(balance)) {
            return None;
        }
        for (index, inlet) in self.chosen().iter().enumerate() {
            if inlet.when_full == WhenFull::Wait && !inlet.channel.credit().take() {
                self.give(index);
                return None;
            }
        }
        let lease = self.pool.take();
        if lease.is_none() {
            self.give(self.chosen().len());
        }
        lease
    }

    /// Hands the batch to every channel.
    pub fn offer(&self, lease: Lease, mut slip: Option<ReceiptSlip>, first_at: Mono, now: Now) {
        let mut lease = lease;
        self.gone.set(self.given());
        let inlets = self.chosen();
        if inlets.iter().any(|inlet| inlet.channel.keeps_frames()) {
            lease.wipe_edges();
        }
        let batch = lease.seal();
        let events = u64::from(batch.event_count());
        let bytes = batch.event_bytes();
        let mut left = self.required();
        for inlet in inlets {
            let own = match inlet.when_full {
                WhenFull::Optional => None,
                _ => {
                    left -= 1;
                    if left > 0 { slip.as_ref().map(ReceiptSlip::for_channel) } else { slip.take() }
                }
            };
            inlet.counters.put_batches.add(1);
            inlet.counters.put_bytes.add(bytes);
            let credit = inlet.channel.credit();
            if inlet.when_full != WhenFull::Wait && !inlet.make_room() {
                inlet.counters.lost.add(LostReason::ChannelFull, events);
                inlet.counters.put_events.add(events);
                continue;
            }
            inlet.channel.counters().gauge.enter(events, bytes);
            inlet.counters.put_events.add(events);
            let (received, later) = match own {
                Some(slip) if slip.wanted() == Reached::Received => (Some(slip), None),
                other => (None, other),
            };
            inlet.channel.offer(Parcel {
                batch: batch.clone(),
                credit: Some(CreditHold { credit: Arc::clone(credit), hands: None, passes: false }),
                slip: later,
                first_at,
                offered_at: now.mono,
                refusals: None,
            });
            received.into_iter().for_each(ReceiptSlip::confirm);
        }
    }

    /// A slip for a batch of its own, to all channels, of what another slip is for.
    pub fn part_of(&self, slip: &ReceiptSlip) -> ReceiptSlip {
        slip.batch(limits::u32_of(self.required()))
    }

    /// Of what nothing is left for any channel.
    pub fn confirm(&self, slip: ReceiptSlip) {
        (1..self.required()).for_each(|_| slip.for_channel().confirm());
        slip.confirm();
    }

    /// Gives back the page and the credit of a filling that found nothing.
    pub fn give_back(&self, lease: Lease) {
        drop(lease);
        self.give(self.chosen().len());
    }

    /// Whether `open` might succeed: a snapshot.
    pub fn may_open(&self) -> bool {
        let open =
            |inlet: &Inlet| inlet.when_full != WhenFull::Wait || inlet.channel.credit().free() > 0;
        let inlets = &mut self.inlets.iter();
        self.pool.free() > 0
            && if self.balance.is_some() { inlets.any(open) } else { inlets.all(open) }
    }

    /// How the fullest channel stands: a snapshot.
    pub fn flow(&self) -> Flow {
        let waiting = self.inlets.iter().filter(|inlet| inlet.when_full == WhenFull::Wait);
        let flows = waiting.map(|inlet| {
            let credit = inlet.channel.credit();
            Flow { backlog: credit.total() - credit.free(), gone: credit.given() }
        });
        let by = |flow: &Flow| flow.backlog;
        // One that balances is held up when all of them are full.
        let flow = if self.balance.is_some() { flows.min_by_key(by) } else { flows.max_by_key(by) };
        flow.unwrap_or_default()
    }

    /// Whether a page that is not full is worth a place in its channels: one of them has nothing,
    /// or a log, or something has left them since the last offer. Behind a sink that stands still
    /// an event would take as much of their room as a full page.
    pub fn moves(&self) -> bool {
        let takes = |inlet: &Inlet| inlet.channel.is_empty() || inlet.channel.logs();
        self.chosen().iter().any(takes) || self.given() != self.gone.get()
    }

    /// Whether what is in an open page is as good as received: each channel that a receipt waits
    /// for has given its credit, and would have it in memory, too.
    pub fn vouches(&self) -> bool {
        self.chosen().iter().all(|inlet| match inlet.when_full {
            WhenFull::Wait => !inlet.channel.logs(),
            WhenFull::Optional => true,
            WhenFull::DropNewest | WhenFull::DropOldest => false,
        })
    }

    /// Batches that have left the channels, ever.
    fn given(&self) -> u64 {
        self.inlets.iter().map(|inlet| inlet.channel.credit().given()).sum()
    }

    /// Every ring is empty: nobody has work waiting.
    pub fn drained(&self) -> bool {
        self.inlets.iter().all(|inlet| inlet.channel.is_empty())
    }

    /// Some consumer sleeps: what is offered now is taken at once.
    pub fn awaited(&self) -> bool {
        self.inlets.iter().any(|inlet| inlet.channel.bell().has_sleepers())
    }

    /// Says "about to sleep" at every bell; look at `may_open` once more afterwards.
    pub fn doze(&self) {
        self.bells().for_each(|(bell, seat)| bell.doze(seat));
    }

    pub fn rise(&self) {
        self.bells().for_each(|(bell, seat)| bell.rise(seat));
    }

    fn bells(&self) -> impl Iterator<Item = (&Bell, Seat)> {
        let channels = self.inlets.iter().zip(&self.seats);
        let credits = channels
            .filter_map(|(inlet, seat)| seat.map(|seat| (inlet.channel.credit().bell(), seat)));
        std::iter::once((self.pool.bell(), self.pool_seat)).chain(credits)
    }

    /// Channels that a receipt waits for.
    fn required(&self) -> usize {
        let required = |inlet: &&Inlet| inlet.when_full != WhenFull::Optional;
        self.chosen().iter().filter(required).count()
    }

    /// Credit of the first `inlets` chosen goes back.
    fn give(&self, inlets: usize) {
        for inlet in &self.chosen()[..inlets] {
            if inlet.when_full == WhenFull::Wait {
                inlet.channel.credit().give();
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::memory::MemoryChannel;
    use super::*;
    use crate::memory::Credit;
    use crate::telemetry::ChannelCounters;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    #[test]
    fn a_channel_that_moves_says_nothing_of_one_that_does_not() {
        let channels: Vec<Arc<dyn Channel>> = ["stuck", "moving"]
            .map(|name| {
                let credit = Arc::new(Credit::new(8));
                let counters = Arc::<ChannelCounters>::default();
                Arc::new(MemoryChannel::new(name.to_owned(), credit, counters)) as Arc<dyn Channel>
            })
            .to_vec();
        let inlet = |channel: &Arc<dyn Channel>| Inlet {
            channel: Arc::clone(channel),
            when_full: WhenFull::Wait,
            counters: Arc::default(),
        };
        let waker: Arc<dyn Wake> = Arc::new(Nobody);
        let valve =
            Valve::new(Pool::new(8, 64 << 10), channels.iter().map(inlet).collect(), &waker);
        for batches in 1..=5 {
            let page = valve.open().expect("room");
            valve.offer(page, None, Mono(0), Now { mono: Mono(0), wall: crate::time::Wall(0) });
            drop(channels[1].poll().expect("offered"));
            assert_eq!(valve.flow(), Flow { backlog: batches, gone: 0 });
        }
    }

    fn memory(credits: &[u32]) -> Vec<Arc<dyn Channel>> {
        let channel = |credit: &u32| {
            let credit = Arc::new(Credit::new(*credit));
            Arc::new(MemoryChannel::new("c".to_owned(), credit, Arc::default())) as _
        };
        credits.iter().map(channel).collect()
    }

    fn valve(channels: &[Arc<dyn Channel>], when_full: &[WhenFull]) -> Valve {
        let inlet = |(channel, when_full): (&Arc<dyn Channel>, &WhenFull)| Inlet {
            channel: Arc::clone(channel),
            when_full: *when_full,
            counters: Arc::default(),
        };
        let waker: Arc<dyn Wake> = Arc::new(Nobody);
        Valve::new(
            Pool::new(16, 64 << 10),
            channels.iter().zip(when_full).map(inlet).collect(),
            &waker,
        )
    }

    /// A batch of one event, which is a number.
    fn send(valve: &Valve, number: u8) -> bool {
        let Some(mut page) = valve.open() else { return false };
        let origin = page.push_origin(crate::event::Origin::LOCAL).expect("room");
        let (at, pri, marks) = (crate::time::Wall(1), None, crate::event::Marks::NONE);
        page.append_event(&[number], crate::event::EventHead { at, origin, pri, marks })
            .expect("room");
        valve.offer(page, None, Mono(0), Now::default());
        true
    }

    fn numbers(channel: &Arc<dyn Channel>) -> Vec<u8> {
        let parcels = std::iter::from_fn(|| channel.poll());
        parcels.map(|it| it.batch.events().next().expect("one").bytes[0]).collect()
    }

    #[test]
    fn batches_take_turns_and_pass_over_a_full_channel() {
        let channels = memory(&[2, 4, 4]);
        let turns = valve(&channels, &[WhenFull::Wait; 3]).balanced(None);
        (1..=10).for_each(|number| assert!(send(&turns, number), "{number}"));
        assert!(!turns.may_open() && !send(&turns, 11));
        let found: Vec<_> = channels.iter().map(numbers).collect();
        assert_eq!(found, [vec![1, 4], vec![2, 5, 7, 9], vec![3, 6, 8, 10]]);
        assert!(turns.may_open());
        // What was opened for nothing gives its one credit back.
        let page = turns.open().expect("room");
        turns.give_back(page);
        assert!(channels.iter().all(|it| it.credit().free() == it.credit().total()));
        let random = valve(&channels, &[WhenFull::Wait; 3]).balanced(Some(7));
        (1..=10).for_each(|number| assert!(send(&random, number), "{number}"));
        let all: usize = channels.iter().map(|channel| numbers(channel).len()).sum();
        assert_eq!(all, 10);
    }

    #[test]
    fn the_oldest_goes_and_is_counted() {
        let channels = memory(&[2]);
        let drops = valve(&channels, &[WhenFull::DropOldest]);
        (1..=5).for_each(|number| assert!(send(&drops, number)));
        let lost = |valve: &Valve| valve.inlets[0].counters.lost[LostReason::ChannelFull].get();
        assert_eq!((lost(&drops), channels[0].counters().gauge.events()), (3, 2));
        // All are in a sink's hands: then it is the newest after all.
        let held: Vec<_> = std::iter::from_fn(|| channels[0].poll()).collect();
        assert_eq!(
            held.iter()
                .map(|it| it.batch.events().next().expect("one").bytes[0])
                .collect::<Vec<_>>(),
            [4, 5]
        );
        assert!(send(&drops, 6));
        assert_eq!(lost(&drops), 4);
        let put = drops.inlets[0].counters.put_events.get();
        assert_eq!((put, channels[0].counters().gauge.events()), (6, 2));
    }

    #[test]
    fn nobody_waits_for_an_optional_channel() {
        use crate::memory::receipt::{Outcome, ReceiptPool};
        let channels = memory(&[1, 4]);
        let valve = valve(&channels, &[WhenFull::Optional, WhenFull::Wait]);
        let receipts = ReceiptPool::new(4, Reached::Received);
        for _ in 0..3 {
            let page = valve.open().expect("room");
            let (_, slip) = receipts.take(1).expect("free");
            valve.offer(page, Some(slip), Mono(0), Now::default());
            assert_eq!(receipts.poll().map(|it| it.1), Some(Outcome::Confirmed));
        }
        assert_eq!([0, 1].map(|index: usize| channels[index].credit().free()), [0, 1]);
    }
}
