//! Counters with one writer each, and the structs that hold them, one for each thread that counts.
//!
//! Threading: a [`Counter`] is written by ONE thread at a time and read by any. Adding is a plain
//! load and store (`mov`, `add`, `mov` on x86), not a locked read-modify-write: a locked add costs
//! about 5 ns uncontended and a cache line's journey when shared. The price is the rule: two
//! writers lose counts. A writer may change only across a join or a hand-over with its own
//! happens-before edge (a runner's thread that ends, the agent that counts what was left).
//!
//! The stores are Release and the loads Acquire: whoever sees an event counted downstream then sees
//! it counted upstream as well, because the batch travelled through a ring in between. That is why
//! a snapshot reads sinks first and sources last. On x86 neither costs anything.
//!
//! Refuses: counts per event. Counters are added to once a batch.

use std::ops::Index;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::histogram::Histogram;

/// A count that only grows, written by one thread at a time.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `count`. Only the counter's one writer may call this.
    pub fn add(&self, count: u64) {
        let before = self.0.load(Ordering::Relaxed);
        // Release; pairs with the Acquire in `get`.
        self.0.store(before.wrapping_add(count), Ordering::Release);
    }

    /// Takes back what turned out not to hold (a written event that a failed sync lost). The same
    /// writer as `add`.
    pub fn take_back(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) - count, Ordering::Release);
    }

    pub fn get(&self) -> u64 {
        // Acquire; pairs with the Release in `add`.
        self.0.load(Ordering::Acquire)
    }
}

/// A level that goes up and down, set by one thread: open connections, open files.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// Only the level's one writer may call this.
    pub fn set(&self, level: u64) {
        self.0.store(level, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares an enum that labels series, and the array of counters it indexes.
macro_rules! labelled_counters {
    ($(#[$doc:meta])* $key:ident; $(#[$counters_doc:meta])* $counters:ident;
     $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum $key { $($(#[$variant_doc])* $variant,)* }

        impl $key {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            pub const COUNT: usize = Self::ALL.len();

            /// The label's value in `/metrics` and `/ledger`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        $(#[$counters_doc])*
        #[derive(Debug, Default)]
        pub struct $counters([Counter; $key::COUNT]);

        impl $counters {
            pub fn add(&self, which: $key, count: u64) {
                self[which].add(count);
            }

            /// The values now, in the order of `ALL`.
            pub fn values(&self) -> [u64; $key::COUNT] {
                std::array::from_fn(|index| self.0[index].get())
            }
        }

        impl Index<$key> for $counters {
            type Output = Counter;

            fn index(&self, which: $key) -> &Counter {
                &self.0[which as usize]
            }
        }
    };
}

labelled_counters! {
    /// Why an event is in no file. A lost event stands in exactly one series.
    LostReason;
    /// One counter for each [`LostReason`]: `counters.lost[LostReason::Kernel].add(n)`.
    LostCounters;
    /// The kernel dropped it before we could read it: the socket's queue was full.
    Kernel = "kernel",
    /// Read and thrown away by a source, because no batch was free.
    PoolEmpty = "pool_empty",
    /// A channel that drops had no credit left. Counted by the channel, on top of its `put`.
    ChannelFull = "channel_full",
    /// No channel wanted it.
    Unrouted = "unrouted",
    /// A part or its peer will never take it, and no dead-letter place is configured.
    Refused = "refused",
    /// Written, but a failed fdatasync means it may not be on the disk, and it could not be saved.
    Sync = "sync",
    /// The drain deadline came before it could be delivered.
    Shutdown = "shutdown",
    /// Its sender has sent more than its `rate_limit`.
    RateLimited = "rate_limited",
    /// Its checksum did not match when it was read back.
    Corrupt = "corrupt",
}

labelled_counters! {
    /// What was noticed about an event that is kept. An event may have several marks.
    Mark;
    /// One counter for each [`Mark`].
    MarkCounters;
    /// The datagram was longer than its slot: the tail is missing.
    Truncated = "truncated",
    /// One line became several events, because it was longer than allowed.
    Split = "split",
    /// It was asked to be parsed and could not be: kept whole.
    Unparsed = "unparsed",
    /// It may have been delivered before.
    Redelivered = "redelivered",
}

labelled_counters! {
    /// Why a message could not be parsed. Together they are as many as are marked `unparsed`.
    Unparsed;
    /// One counter for each [`Unparsed`].
    UnparsedCounters;
    Empty = "empty",
    /// Neither a time nor a tag: nothing to tell a header by.
    NoHeader = "no_header",
    Pri = "bad_pri",
    Version = "bad_version",
    Timestamp = "bad_timestamp",
    Hostname = "bad_hostname",
    AppName = "bad_app_name",
    ProcId = "bad_proc_id",
    MsgId = "bad_msg_id",
    StructuredData = "bad_structured_data",
    /// RFC 5424 that ends before its structured data.
    CutShort = "cut_short",
    /// A field is longer, or lies further back, than the record beside an event can say.
    Oversize = "oversize",
    /// It came compressed, and could not be expanded.
    Compressed = "compressed",
}

/// What one source thread counts. Written by that thread's runner only.
///
/// 128-aligned so that no two threads write one cache line, nor the pair the prefetcher fetches.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SourceCounters {
    /// Events read, whatever became of them; without those in `lost{kernel}`. Counted together with
    /// what became of them, so that a reading between the two is rare.
    pub received_events: Counter,
    /// Bytes of those events, without framing.
    pub received_bytes: Counter,
    /// Refused by an interceptor on purpose.
    pub filtered_events: Counter,
    /// Offered to at least one channel; once, however many channels get it.
    pub routed_events: Counter,
    /// Batches offered.
    pub routed_batches: Counter,
    /// Lost here. What a channel drops is counted there.
    pub lost: LostCounters,
    pub marked: MarkCounters,
    /// The marked ones that are unparsed, by the reason.
    pub unparsed: UnparsedCounters,
    /// Reads that failed (a reset connection, a broken file), each once.
    pub errors: Counter,
    /// Connections closed because their peers may not send, or because their handshake failed:
    /// what they would have sent, nobody knows.
    pub refused_connections: Counter,
    pub open_connections: Level,
    /// Read, in the thread's own page, and not offered yet: no part of any equation, and what a
    /// stop at the deadline counts as received and lost.
    pub held_events: Level,
}

/// What one source thread counts towards one channel. Written by that thread's runner only.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct InletCounters {
    /// Everything offered, also what the channel then dropped.
    pub put_events: Counter,
    pub put_bytes: Counter,
    pub put_batches: Counter,
    /// Dropped by the channel at the hand of this thread: `channel_full`, with either drop policy.
    pub lost: LostCounters,
}

/// What a channel counts of itself, outside its inlets and its sinks.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ChannelCounters {
    /// What it counted as waiting; every part that accepts or delivers keeps it.
    pub gauge: ChannelGauge,
    /// What a durable channel held when it started. Written by whoever opens it.
    pub recovered_events: Counter,
    /// `shutdown`: written by the agent once the sinks' threads have ended.
    /// `corrupt`: by the channel's reader.
    pub lost: LostCounters,
    /// How much may wait. Set when built.
    pub capacity_bytes: Level,
}

/// What is accepted and not yet appended: ring, disk, sinks' hands, open blocks.
///
/// It is counted by itself and not as a difference of counters, so that the channel's equation can
/// fail. Several threads write it: one atomic add a batch.
#[derive(Debug, Default)]
pub struct ChannelGauge {
    events: AtomicI64,
    bytes: AtomicI64,
}

impl ChannelGauge {
    /// A batch is about to be offered: before the push, so that nobody takes it out earlier. What
    /// the channel drops at once never enters.
    pub fn enter(&self, events: u64, bytes: u64) {
        // AcqRel: a reader that sees the batch leave has seen it enter.
        self.events.fetch_add(signed(events), Ordering::AcqRel);
        self.bytes.fetch_add(signed(bytes), Ordering::AcqRel);
    }

    /// Events were written, filtered, set aside or lost.
    pub fn leave(&self, events: u64, bytes: u64) {
        self.events.fetch_sub(signed(events), Ordering::AcqRel);
        self.bytes.fetch_sub(signed(bytes), Ordering::AcqRel);
    }

    /// Below zero only for the moment in which a sink was quicker than the source's own count.
    pub fn events(&self) -> i64 {
        self.events.load(Ordering::Acquire)
    }

    pub fn bytes(&self) -> i64 {
        self.bytes.load(Ordering::Acquire)
    }
}

/// What one sink thread counts. Written by that thread only.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SinkCounters {
    /// Appended, and no longer waiting. A retry counts once, when it succeeds.
    pub written_events: Counter,
    /// Bytes of those events as they came.
    pub written_bytes: Counter,
    pub written_batches: Counter,
    /// Bytes that reached the file or the peer, encoded and compressed.
    pub stored_bytes: Counter,
    /// Known to be on the disk.
    pub synced_events: Counter,
    pub filtered_events: Counter,
    pub dead_lettered_events: Counter,
    pub lost: LostCounters,
    /// Written, and not whole: what a next hop could not be sent all of.
    pub marked: MarkCounters,
    /// Attempts that failed.
    pub errors: Counter,
    /// Attempts made again.
    pub retries: Counter,
    /// From the offer of a batch to its poll.
    pub channel_wait: Histogram,
    /// One append, from its first attempt to its success.
    pub write: Histogram,
    /// One fdatasync, asked to answered.
    pub sync: Histogram,
}

/// Counts stay far below 2^63 (at a billion events a second for 292 years).
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn reasons_and_marks_have_distinct_lower_case_names() {
        let reasons = LostReason::ALL.iter().map(|reason| reason.name());
        let marks = Mark::ALL.iter().map(|mark| mark.name());
        for names in [reasons.collect::<Vec<_>>(), marks.collect()] {
            for (index, name) in names.iter().enumerate() {
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
                assert!(!names[..index].contains(name), "{name} stands twice");
            }
        }
        assert_eq!(LostReason::COUNT, 9);
        assert_eq!(Mark::COUNT, 4);
    }

    #[test]
    fn a_labelled_counter_counts_only_its_own_series() {
        let lost = LostCounters::default();
        lost[LostReason::Unrouted].add(3);
        lost.add(LostReason::Shutdown, 4);
        let expected = LostReason::ALL.iter().map(|reason| match reason {
            LostReason::Unrouted => 3,
            LostReason::Shutdown => 4,
            _ => 0,
        });
        assert!(lost.values().into_iter().eq(expected));
    }

    #[test]
    fn no_two_threads_share_a_cache_line() {
        assert_eq!(align_of::<SourceCounters>() % 128, 0);
        assert_eq!(align_of::<InletCounters>() % 128, 0);
        assert_eq!(align_of::<ChannelCounters>() % 128, 0);
        assert_eq!(align_of::<SinkCounters>() % 128, 0);
    }

    /// The promise of the head: seen downstream means seen upstream, and no count is torn or lost.
    #[test]
    fn counters_survive_concurrent_reading() {
        const ROUNDS: u64 = 200_000;
        let source = Arc::new(SourceCounters::default());
        let sink = Arc::new(SinkCounters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let reader = {
            let (source, sink, stop) = (source.clone(), sink.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    let written = sink.written_events.get();
                    let received = source.received_events.get();
                    assert!(written >= last, "went backwards: {last} then {written}");
                    assert!(written <= received, "{written} written of {received}");
                    last = written;
                }
            })
        };
        for _ in 0..ROUNDS {
            source.received_events.add(7);
            sink.written_events.add(7);
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("the reader saw every promise kept");
        assert_eq!(source.received_events.get(), 7 * ROUNDS);
        assert_eq!(sink.written_events.get(), 7 * ROUNDS);
    }

    #[test]
    fn the_gauge_counts_from_several_threads() {
        let gauge = Arc::new(ChannelGauge::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let gauge = gauge.clone();
                std::thread::spawn(move || {
                    for _ in 0..10_000 {
                        gauge.enter(5, 50);
                        gauge.leave(4, 40);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!((gauge.events(), gauge.bytes()), (40_000, 400_000));
    }
}
