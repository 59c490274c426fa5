//! The ledger: every counter of an agent, by component.
//!
//! ```text
//!   builder.source("net").worker()           Arc<SourceCounters>   for each source thread
//!   builder.channel("main").inlet()          Arc<InletCounters>    for each such thread × channel
//!   builder.channel("main").counters()       Arc<ChannelCounters>  for each channel (the gauge)
//!   builder.sink("archive", "main").worker() Arc<SinkCounters>     for each sink thread
//! ```
//!
//! Built once, before the start; then nothing is added and reading takes no lock.

use std::sync::Arc;
use std::thread::yield_now;

use super::counter::{ChannelCounters, InletCounters, SinkCounters, SourceCounters};
use super::snapshot::{ChannelTotals, PoolTotals, SinkTotals, Snapshot, SourceTotals};
use crate::time::Wall;

/// A reading takes a few microseconds and a batch moves every few hundred: the second or third try
/// falls between two batches. So many outlast a thread that was preempted between two counts.
const SETTLE_TRIES_MAX: usize = 200;

/// Every counter of one agent.
pub struct Ledger {
    agent: String,
    started: Wall,
    sources: Vec<SourceEntry>,
    channels: Vec<ChannelEntry>,
    sinks: Vec<SinkEntry>,
    pool: Option<PoolEntry>,
}

/// A ledger to which components are still added.
pub struct LedgerBuilder {
    ledger: Ledger,
}

/// A source as the ledger knows it.
pub struct SourceEntry {
    name: String,
    workers: Vec<Arc<SourceCounters>>,
}

/// A channel as the ledger knows it.
pub struct ChannelEntry {
    name: String,
    counters: Arc<ChannelCounters>,
    inlets: Vec<Arc<InletCounters>>,
}

/// A sink as the ledger knows it.
pub struct SinkEntry {
    name: String,
    channel: String,
    workers: Vec<Arc<SinkCounters>>,
}

struct PoolEntry {
    batches: u64,
    free: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl LedgerBuilder {
    /// The agent started at `started`; Flume's JSON shows it.
    pub fn started(&mut self, started: Wall) -> &mut Self {
        self.ledger.started = started;
        self
    }

    /// The source of that name, added when it is new.
    pub fn source(&mut self, name: &str) -> &mut SourceEntry {
        let sources = &mut self.ledger.sources;
        let index = sources.iter().position(|entry| entry.name == name).unwrap_or_else(|| {
            sources.push(SourceEntry { name: name.to_owned(), workers: Vec::new() });
            sources.len() - 1
        });
        &mut sources[index]
    }

    /// The channel of that name, added when it is new.
    pub fn channel(&mut self, name: &str) -> &mut ChannelEntry {
        let channels = &mut self.ledger.channels;
        let index = channels.iter().position(|entry| entry.name == name).unwrap_or_else(|| {
            let counters = Arc::default();
            channels.push(ChannelEntry { name: name.to_owned(), counters, inlets: Vec::new() });
            channels.len() - 1
        });
        &mut channels[index]
    }

    /// The sink of that name, which takes from `channel`; added when it is new.
    pub fn sink(&mut self, name: &str, channel: &str) -> &mut SinkEntry {
        self.channel(channel);
        let sinks = &mut self.ledger.sinks;
        let index = sinks.iter().position(|entry| entry.name == name).unwrap_or_else(|| {
            let (name, channel) = (name.to_owned(), channel.to_owned());
            sinks.push(SinkEntry { name, channel, workers: Vec::new() });
            sinks.len() - 1
        });
        assert_eq!(sinks[index].channel, channel, "a sink takes from one channel");
        &mut sinks[index]
    }

    /// The pool: how many batches it has, and how to ask how many are free now.
    pub fn pool(&mut self, batches: u64, free: impl Fn() -> u64 + Send + Sync + 'static) {
        self.ledger.pool = Some(PoolEntry { batches, free: Box::new(free) });
    }

    pub fn build(self) -> Arc<Ledger> {
        Arc::new(self.ledger)
    }
}

impl SourceEntry {
    /// Counters for one more thread of this source.
    pub fn worker(&mut self) -> Arc<SourceCounters> {
        added(&mut self.workers)
    }
}

impl ChannelEntry {
    /// Counters for one more source thread that offers to this channel.
    pub fn inlet(&mut self) -> Arc<InletCounters> {
        added(&mut self.inlets)
    }

    /// The channel's own counters: gauge, recovered, lost, capacity. The same ones at every call.
    pub fn counters(&self) -> Arc<ChannelCounters> {
        self.counters.clone()
    }
}

impl SinkEntry {
    /// Counters for one more thread of this sink.
    pub fn worker(&mut self) -> Arc<SinkCounters> {
        added(&mut self.workers)
    }
}

fn added<T: Default>(entries: &mut Vec<Arc<T>>) -> Arc<T> {
    let entry = Arc::<T>::default();
    entries.push(entry.clone());
    entry
}

impl Ledger {
    pub fn builder(agent: &str) -> LedgerBuilder {
        LedgerBuilder {
            ledger: Self {
                agent: agent.to_owned(),
                started: Wall(0),
                sources: Vec::new(),
                channels: Vec::new(),
                sinks: Vec::new(),
                pool: None,
            },
        }
    }

    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// A reading that adds up, if one can be had by looking again: what was between two counts
    /// moves on, a wrong count stays. For people and programs that look at a running agent.
    pub fn settled(&self) -> Snapshot {
        let mut snapshot = self.snapshot();
        for _ in 1..SETTLE_TRIES_MAX {
            if snapshot.adds_up() {
                break;
            }
            yield_now();
            snapshot = self.snapshot();
        }
        snapshot
    }

    /// One reading of everything: sinks first, then gauges, then inlets, sources last, and in each
    /// what left before what came. What stands as written is then also counted as received; the
    /// difference on the other side is what was in motion while reading.
    pub fn snapshot(&self) -> Snapshot {
        let sinks: Vec<_> = self.sinks.iter().map(SinkEntry::totals).collect();
        let channels: Vec<_> = self.channels.iter().map(ChannelEntry::totals).collect();
        let sources: Vec<_> = self.sources.iter().map(SourceEntry::totals).collect();
        let pool = self.pool.as_ref();
        Snapshot {
            agent: self.agent.clone(),
            started: self.started,
            sources,
            channels,
            sinks,
            pool: pool.map(|pool| PoolTotals { batches: pool.batches, free: (pool.free)() }),
        }
    }
}

impl SinkEntry {
    fn totals(&self) -> SinkTotals {
        let mut totals = SinkTotals::new(&self.name, &self.channel);
        for worker in &self.workers {
            totals.synced_events += worker.synced_events.get();
            totals.written_events += worker.written_events.get();
            totals.written_bytes += worker.written_bytes.get();
            totals.written_batches += worker.written_batches.get();
            totals.stored_bytes += worker.stored_bytes.get();
            totals.filtered_events += worker.filtered_events.get();
            totals.dead_lettered_events += worker.dead_lettered_events.get();
            totals.lost.add(worker.lost.values());
            totals.marked.add(worker.marked.values());
            totals.errors += worker.errors.get();
            totals.retries += worker.retries.get();
            worker.channel_wait.add_to(&mut totals.channel_wait);
            worker.write.add_to(&mut totals.write);
            worker.sync.add_to(&mut totals.sync);
        }
        totals
    }
}

impl ChannelEntry {
    fn totals(&self) -> ChannelTotals {
        let counters = &self.counters;
        let mut totals = ChannelTotals::new(&self.name);
        totals.waiting_events = counters.gauge.events();
        totals.waiting_bytes = counters.gauge.bytes();
        totals.capacity_bytes = counters.capacity_bytes.get();
        totals.lost.add(counters.lost.values());
        totals.recovered_events = counters.recovered_events.get();
        for inlet in &self.inlets {
            totals.lost.add(inlet.lost.values());
            totals.put_events += inlet.put_events.get();
            totals.put_bytes += inlet.put_bytes.get();
            totals.put_batches += inlet.put_batches.get();
        }
        totals
    }
}

impl SourceEntry {
    fn totals(&self) -> SourceTotals {
        let mut totals = SourceTotals::new(&self.name);
        for worker in &self.workers {
            totals.routed_events += worker.routed_events.get();
            totals.routed_batches += worker.routed_batches.get();
            totals.filtered_events += worker.filtered_events.get();
            totals.lost.add(worker.lost.values());
            totals.marked.add(worker.marked.values());
            totals.unparsed.add(worker.unparsed.values());
            totals.errors += worker.errors.get();
            totals.refused_connections += worker.refused_connections.get();
            totals.open_connections += worker.open_connections.get();
            totals.received_events += worker.received_events.get();
            totals.received_bytes += worker.received_bytes.get();
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::counter::{Counter, LostReason, Mark};

    /// The pool's gauge is asked once a snapshot: here it plays a source between two counts.
    fn routed_at_reading(reading: u64) -> Arc<Ledger> {
        let mut builder = Ledger::builder("edge");
        let source = builder.source("net").worker();
        let readings = Counter::default();
        source.received_events.add(5);
        builder.pool(1, move || {
            readings.add(1);
            if readings.get() == reading {
                source.routed_events.add(5);
            }
            readings.get()
        });
        builder.build()
    }

    #[test]
    fn what_moves_is_looked_at_again_and_what_is_wrong_stays_wrong() {
        let settled = routed_at_reading(3).settled();
        assert!(settled.adds_up());
        assert_eq!(settled.pool, Some(PoolTotals { batches: 1, free: 4 }), "readings");
        let wrong = routed_at_reading(u64::MAX).settled();
        assert!(!wrong.adds_up());
        assert_eq!(wrong.pool.map(|pool| pool.free), Some(SETTLE_TRIES_MAX as u64));
    }

    #[test]
    fn names_are_declared_once_and_threads_add_up() {
        let mut builder = Ledger::builder("edge");
        let first = builder.source("net").worker();
        let second = builder.source("net").worker();
        let inlet = builder.channel("main").inlet();
        let gauge = builder.channel("main").counters();
        let sink = builder.sink("archive", "main").worker();
        builder.started(Wall(5)).pool(9, || 7);
        let ledger = builder.build();
        first.received_events.add(3);
        second.received_events.add(4);
        second.marked[Mark::Split].add(1);
        second.lost[LostReason::Kernel].add(2);
        inlet.put_events.add(6);
        gauge.gauge.enter(6, 60);
        gauge.capacity_bytes.set(100);
        sink.written_events.add(1);
        let snapshot = ledger.snapshot();
        assert_eq!((snapshot.agent.as_str(), snapshot.started), ("edge", Wall(5)));
        assert_eq!(snapshot.sources.len(), 1);
        assert_eq!(snapshot.sources[0].received_events, 7);
        assert_eq!(snapshot.sources[0].marked.get(Mark::Split), 1);
        assert_eq!(snapshot.sources[0].lost.get(LostReason::Kernel), 2);
        assert_eq!(snapshot.channels.len(), 1);
        assert_eq!(snapshot.channels[0].put_events, 6);
        assert_eq!(snapshot.channels[0].waiting_events, 6);
        assert_eq!(snapshot.channels[0].capacity_bytes, 100);
        assert_eq!(snapshot.sinks[0].written_events, 1);
        assert_eq!(snapshot.pool, Some(PoolTotals { batches: 9, free: 7 }));
    }
}
