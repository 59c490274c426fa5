//! A durable channel on the simulated disk, with a valve before it, for whoever steps it by hand.

use std::sync::Arc;

use flumen::channel::{Built, Channel, ChannelContext, ChannelKind, Inlet, Valve, WhenFull, file};
use flumen::config::Section;
use flumen::memory::receipt::Reached;
use flumen::memory::{Credit, Pool};
use flumen::ring::Wake;
use flumen::runtime::Worker;
use flumen::telemetry::{ChannelCounters, Incidents, InletCounters};

use crate::disk::SimDisk;
use crate::source::Nobody;

const CREDIT: u32 = 8;

pub(crate) struct Raised {
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) counters: Arc<ChannelCounters>,
    pub(crate) inlet: Arc<InletCounters>,
    pub(crate) incidents: Arc<Incidents>,
    pub(crate) valve: Valve,
    pub(crate) keepers: Vec<Box<dyn Worker>>,
    pub(crate) helpers: Vec<Box<dyn Worker>>,
    /// What the start says.
    pub(crate) notes: Vec<String>,
}

/// Starts the channel, as these lines of its section say; `random` is the number of a new log.
pub(crate) fn raise(
    kind: &ChannelKind,
    options: &str,
    disk: &SimDisk,
    random: u64,
    page_bytes: usize,
) -> Result<Raised, String> {
    let section = Section::parse(options, file::OPTIONS);
    let plan = (kind.plan)(&section);
    let counters = Arc::new(ChannelCounters::default());
    let incidents = Incidents::new();
    let context = ChannelContext {
        name: "log".to_owned(),
        credit: Arc::new(Credit::new(CREDIT)),
        counters: Arc::clone(&counters),
        incidents: Arc::clone(&incidents),
        disk: Arc::new(disk.clone()),
        sink_threads: 1,
        confirmed: Reached::Synced,
        random,
    };
    let built = plan.build(context).map_err(|error| error.to_string())?;
    let Built { channel, keepers, helpers, notes } = built;
    let inlet = Arc::new(InletCounters::default());
    let waker: Arc<dyn Wake> = Arc::new(Nobody);
    let pool = Pool::new(CREDIT as usize + plan.pages_in_hand(), page_bytes);
    let inlets = vec![Inlet {
        channel: Arc::clone(&channel),
        when_full: WhenFull::Wait,
        counters: Arc::clone(&inlet),
    }];
    let valve = Valve::new(pool, inlets, &waker);
    Ok(Raised { channel, counters, inlet, incidents, valve, keepers, helpers, notes })
}
