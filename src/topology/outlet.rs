//! A sink's place in an agent: its channel and its counters, which stay when the sink is replaced.

use std::sync::Arc;

use super::plan::PlannedSink;
use crate::channel::sieve::{Sieve, copies_for};
use crate::channel::{Channel, Tap};
use crate::event::Event;
use crate::memory::Pool;
use crate::sink::group::Member;
use crate::sink::{BuildError, Built, SinkContext};
use crate::telemetry::SinkCounters;
use crate::time::Now;

pub struct Outlet {
    /// None in a group, whose members know each other: they stay as they are.
    tap: Option<Arc<Tap>>,
    /// Those of its threads, then that of the sieve, if it has filters.
    counters: Vec<Arc<SinkCounters>>,
    context: SinkContext,
}

impl Outlet {
    /// `context` has the channel itself; a member of a group sees it as its group does.
    pub(super) fn new(
        context: SinkContext,
        member: Option<Arc<Member>>,
        counters: Vec<Arc<SinkCounters>>,
    ) -> Self {
        let (tap, channel) = match member {
            Some(member) => (None, member as Arc<dyn Channel>),
            None => {
                let tap = Arc::new(Tap::new(Arc::clone(&context.channel)));
                (Some(Arc::clone(&tap)), tap as Arc<dyn Channel>)
            }
        };
        Self { tap, counters, context: SinkContext { channel, ..context } }
    }

    /// Its sink gets nothing more.
    pub(super) fn shut(&self) {
        self.tap.iter().for_each(|tap| tap.shut());
    }

    /// It does again.
    pub(super) fn open(&self) {
        self.tap.iter().for_each(|tap| tap.open());
    }

    /// Workers for this place. The number of threads is that of the counters, and filters are there
    /// when they were there before.
    pub(super) fn build(&self, planned: &PlannedSink, now: Now) -> Result<Built, BuildError> {
        let (own, sieves) = self.counters.split_at(planned.plan.threads());
        let channel = Arc::clone(&self.context.channel);
        let context = SinkContext {
            channel: sieve(planned, channel, sieves, self.context.page_bytes),
            counters: own.to_vec(),
            event_bytes_max: planned.event_bytes_max,
            now,
            ..self.context.clone()
        };
        planned.plan.build(&context)
    }
}

/// The channel as a sink's filters leave it.
fn sieve(
    planned: &PlannedSink,
    channel: Arc<dyn Channel>,
    counters: &[Arc<SinkCounters>],
    page_bytes: usize,
) -> Arc<dyn Channel> {
    let [counters] = counters else { return channel };
    let filters = planned.filters.clone();
    let copies = copies_for(planned.plan.threads(), planned.plan.pages_in_hand());
    let copies = Pool::new(copies, page_bytes);
    let keep = move |event: &Event<'_>| filters.pass(event);
    Arc::new(Sieve::new(channel, keep, copies, Arc::clone(counters)))
}
