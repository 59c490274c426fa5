//! What a configuration means: pure, nothing bound, nothing created.
//!
//! Every mistake that can be seen without touching the world is told here, all at once. A `Plan` is
//! valid: who builds from it never re-checks.

use std::sync::Arc;
use std::time::Duration;

use super::acks;
use super::budget::{self, Budget, ChannelDemand, Demand, Refusal};
use super::cores::{Dealer, Machine};
use super::exact;
use super::groups;
use super::headers;
use super::links::{self, Links};
use super::listeners;
use super::parts::Parts;
use super::sections::{self, AgentDraft, ChannelDraft, GroupDraft, SinkDraft, SourceDraft};
use crate::channel::sieve::copies_for;
use crate::channel::{ChannelPlan, Selector, WhenFull};
use crate::config::units::{show_duration, show_size};
use crate::config::{AgentConfig, Problem, Setting};
use crate::interceptor::{ChainPlan, Filters};
use crate::limits;
use crate::memory::MemoryLine;
use crate::memory::receipt::Reached;
use crate::sink::SinkPlan;
use crate::sink::group::GroupPlan;
use crate::source::SourcePlan;
use crate::source::restraint::Backlog;
use crate::source::runner::Pace;
use crate::syslog::parse::Fields;
use crate::time::duration_ns;

/// A whole agent, ready to be built.
pub struct Plan {
    pub name: String,
    pub drain: Duration,
    pub admin: Admin,
    pub sources: Vec<PlannedSource>,
    pub channels: Vec<PlannedChannel>,
    pub sinks: Vec<PlannedSink>,
    pub groups: Vec<PlannedGroup>,
    pub budget: Budget,
    pub settings: Vec<Setting>,
}

/// The endpoint that serves metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `HOST:PORT`, or `off`.
    pub address: String,
    pub pages: Pages,
}

/// Whose pages it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    Flumen,
    /// Those of Flume's `monitoring.type=http`.
    Flume,
}

impl Plan {
    /// The furthest mark that a source hears of from all of its channels. A durable one keeps what
    /// it confirms.
    pub fn furthest(&self, source: &PlannedSource) -> Reached {
        let required =
            |(bit, index): (usize, &usize)| (!source.selector.is_optional(bit)).then_some(*index);
        let required = source.channels.iter().enumerate().filter_map(required);
        let channels = required.map(|index| &self.channels[index]);
        let marks = channels.map(|channel| match channel.plan.is_durable() {
            true => Reached::Synced,
            false => channel.confirmed,
        });
        marks.min().unwrap_or(Reached::Received)
    }
}

pub struct PlannedSource {
    pub name: String,
    pub kind: &'static str,
    pub plan: Box<dyn SourcePlan>,
    /// Indices of its channels.
    pub channels: Vec<usize>,
    /// A core, or none, for each thread.
    pub cores: Vec<Option<usize>>,
    /// What the sinks that it reaches want to know of each message.
    pub wanted: Fields,
    /// A sink that it reaches keeps datagrams as they came.
    pub exact: bool,
    /// Whether any of them asks for headers.
    pub keeps_headers: bool,
    /// Whether they or its own interceptors do.
    pub want_headers: bool,
    pub pace: Pace,
    pub filters: Filters,
    pub chain: ChainPlan,
    pub selector: Selector,
    /// What must be read of a message to choose its channels.
    pub chosen_by: Fields,
    pub settings: Vec<Setting>,
}

pub struct PlannedChannel {
    pub name: String,
    pub kind: &'static str,
    pub plan: Box<dyn ChannelPlan>,
    /// The furthest mark that all of its sinks confirm.
    pub confirmed: Reached,
    /// Threads of its sinks.
    pub sink_threads: usize,
    /// How many batches it may hold.
    pub credit: u32,
    /// It stands in no file.
    pub implied: bool,
    pub settings: Vec<Setting>,
}

#[derive(Clone)]
pub struct PlannedSink {
    pub name: String,
    pub kind: &'static str,
    pub plan: Arc<dyn SinkPlan>,
    /// Index of its channel.
    pub channel: usize,
    pub cores: Vec<Option<usize>>,
    pub event_bytes_max: usize,
    pub filters: Filters,
    pub settings: Vec<Setting>,
}

/// Sinks that take turns at their channel.
pub struct PlannedGroup {
    pub name: String,
    pub plan: GroupPlan,
    /// Their indices, the preferred one first.
    pub sinks: Vec<usize>,
    pub settings: Vec<Setting>,
}

/// Everything read, names resolved, nothing decided.
pub(super) struct Draft {
    agent: AgentDraft,
    pub(super) sources: Vec<SourceDraft>,
    pub(super) channels: Vec<ChannelDraft>,
    pub(super) sinks: Vec<SinkDraft>,
    pub(super) links: Links,
    pub(super) groups: Vec<GroupDraft>,
    /// For each group its sinks.
    pub(super) grouped: Vec<Vec<usize>>,
}

/// Connections, requests and pages of the admin endpoint.
const ADMIN_BYTES: u64 = 1 << 20;
/// Rings, counters, histograms, incidents, threads' own records.
const FRAME_BYTES: u64 = 1 << 20;

/// A path changes with the clock at multiples of its unit, and zones are off by multiples of
/// 15 minutes: a slice no longer than that is a slice in every zone.
const ZONE_SLICE: Duration = Duration::from_secs(15 * 60);

/// Batches in a channel that keep each thread of a sink busy.
const BACKLOG_PER_THREAD: usize = 4;

/// Plans one agent. What is wrong goes to the configuration's diagnostics; with errors there is no
/// plan. The configuration itself may hold errors already, and then there is none either.
pub fn plan(config: &AgentConfig, parts: &Parts, machine: &Machine) -> Option<Plan> {
    let understood = !config.agent.diagnostics().has_errors();
    let agent = sections::agent(config, machine);
    let source = |component| sections::source(component, parts, machine);
    let sources: Vec<_> = config.sources.iter().map(source).collect();
    let mut channels: Vec<_> =
        config.channels.iter().map(|component| sections::channel(component, parts)).collect();
    let sink = |component| sections::sink(component, parts, machine);
    let mut sinks: Vec<_> = config.sinks.iter().map(sink).collect();
    for plan in sinks.iter_mut().filter_map(|sink| sink.plan.as_mut()) {
        plan.take_share(agent.memory_bytes);
    }
    let diagnostics = agent.section.diagnostics().clone();
    let links = links::resolve(&sources, &mut channels, &sinks, understood, &diagnostics);
    listeners::check(&agent, &sources);
    listeners::check_places(&sinks);
    listeners::check_logs(&channels);
    acks::check(&sources, &channels, &sinks, &links);
    exact::check(&sources, &sinks, &links);
    let groups: Vec<_> = config.groups.iter().map(sections::group).collect();
    let grouped = groups::resolve(&groups, &sinks, &links);
    let draft = Draft { agent, sources, channels, sinks, links, groups, grouped };
    check_threads(&draft, machine);
    check_fields(&draft);
    headers::check(&draft);
    // A sum over parts that are not understood would only mislead.
    let budget = if draft.is_whole() { spend(&draft) } else { None };
    if diagnostics.has_errors() {
        return None;
    }
    Some(draft.decide(budget?, machine))
}

impl Draft {
    fn is_whole(&self) -> bool {
        self.agent.section.usable("memory")
            && !self.sources.is_empty()
            && !self.sinks.is_empty()
            && self.sources.iter().all(|source| source.plan.is_some())
            && self.sinks.iter().all(|sink| sink.plan.is_some())
            && self.channels.iter().all(|channel| channel.plan.is_some())
            && self.links.sources.iter().all(|channels| !channels.is_empty())
            && self.links.sinks.iter().all(Option::is_some)
    }

    pub(super) fn sources_of(&self, channel: usize) -> impl Iterator<Item = &SourceDraft> {
        let pairs = self.sources.iter().zip(&self.links.sources);
        pairs.filter(move |(_, channels)| channels.contains(&channel)).map(|(source, _)| source)
    }

    pub(super) fn sinks_of(&self, channel: usize) -> impl Iterator<Item = &SinkDraft> {
        let pairs = self.sinks.iter().zip(&self.links.sinks);
        pairs.filter(move |(_, of)| **of == Some(channel)).map(|(sink, _)| sink)
    }

    /// The longest event that can come out of a channel, its headers among them.
    fn event_bytes_max(&self, channel: usize) -> usize {
        self.text_bytes_max(channel) + headers::bytes_max(self, channel)
    }

    fn text_bytes_max(&self, channel: usize) -> usize {
        if self.channels[channel].recovers() {
            // What waits there may be from another configuration.
            return limits::EVENT_BYTES_MAX;
        }
        let longest = self.sources_of(channel).filter_map(|source| source.plan.as_ref());
        let longest = longest.map(|plan| plan.event_bytes_max()).max();
        longest.unwrap_or(limits::EVENT_BYTES_DEFAULT)
    }

    /// The furthest mark that all sinks of a channel confirm, and how many threads they have.
    fn behind(&self, channel: usize) -> (Reached, usize) {
        let plans = || self.sinks_of(channel).filter_map(|sink| sink.plan.as_ref());
        let confirmed = plans().map(|plan| plan.confirms().0).min();
        let threads = plans().map(|plan| plan.threads()).sum();
        (confirmed.unwrap_or(Reached::Received), threads)
    }

    /// When a source that can wait holds back.
    fn backlog(&self, page_bytes: usize) -> Backlog {
        let threads = self.sinks.iter().filter_map(|sink| sink.plan.as_ref());
        let threads: usize = threads.map(|plan| plan.threads()).sum();
        let backlog = limits::BACKLOG_BYTES / page_bytes;
        let batches = limits::u32_of(backlog.max(BACKLOG_PER_THREAD * threads));
        let filling = self.sources.iter().filter_map(|source| source.plan.as_ref());
        let filling: usize = filling.map(|plan| plan.threads()).sum();
        Backlog { batches, threads: limits::u32_of(filling) }
    }

    /// Batches are never too few, nor too small: the plan, all of it.
    fn decide(self, budget: Budget, machine: &Machine) -> Plan {
        let mut dealer = Dealer::new(self.agent.cores.as_ref(), machine);
        let channel_of = |sink: usize| self.links.sinks[sink].expect("a whole draft is linked");
        let event_bytes_max: Vec<usize> =
            (0..self.sinks.len()).map(|sink| self.event_bytes_max(channel_of(sink))).collect();
        let behind: Vec<(Reached, usize)> =
            (0..self.channels.len()).map(|channel| self.behind(channel)).collect();
        let pairs = self.sources.iter().zip(&self.links.sources);
        let asked: Vec<Asked> =
            pairs.map(|(source, channels)| self.asked(source, channels)).collect();
        let backlog = self.backlog(budget.page_bytes);
        let mut sources = Vec::new();
        let pairs = self.sources.into_iter().zip(self.links.sources);
        for ((draft, channels), asked) in pairs.zip(asked) {
            let Asked { wanted, mut pace, keeps_headers, chain, exact } = asked;
            let chosen_by = headers::chosen_by(&draft);
            let chooses = chosen_by.is_some();
            let chosen_by = chosen_by.map_or(Fields::NONE, headers::fields_of);
            let plan = draft.plan.expect("a whole draft has every plan");
            pace.backlog = plan.is_patient().then_some(backlog);
            let cores = dealer.deal(draft.cores.as_ref(), plan.threads(), machine);
            let settings = draft.section.settings();
            sources.push(PlannedSource {
                name: draft.name.value,
                kind: draft.kind,
                plan,
                channels,
                cores,
                wanted,
                exact,
                keeps_headers,
                want_headers: keeps_headers || chooses || !chain.reads().is_empty(),
                pace,
                filters: draft.filters,
                chain,
                selector: draft.selector,
                chosen_by,
                settings,
            });
        }
        let channels = self.channels.into_iter().zip(behind).zip(&budget.credits);
        let channels = channels.map(planned_channel).collect();
        let mut sinks = Vec::new();
        let pairs = self.sinks.into_iter().zip(self.links.sinks);
        for ((draft, channel), event_bytes_max) in pairs.zip(event_bytes_max) {
            let plan = draft.plan.as_ref();
            let threads = plan.map_or(0, |plan| plan.threads());
            let cores = dealer.deal(draft.cores.as_ref(), threads, machine);
            sinks.push(planned_sink(draft, channel, cores, event_bytes_max));
        }
        Plan {
            name: self.agent.name,
            drain: self.agent.drain,
            admin: self.agent.admin,
            sources,
            channels,
            sinks,
            groups: groups::planned(self.groups, self.grouped),
            budget,
            settings: self.agent.section.settings(),
        }
    }

    fn asked(&self, source: &SourceDraft, channels: &[usize]) -> Asked {
        let (wanted, pace) = self.reach(channels);
        Asked {
            wanted,
            pace,
            keeps_headers: headers::wanted(self, channels),
            chain: headers::chain(self, source, channels),
            exact: exact::wanted(channels, &self.sinks, &self.links),
        }
    }

    /// What the sinks that these channels reach ask of a source.
    fn reach(&self, channels: &[usize]) -> (Fields, Pace) {
        let plans = || {
            let sinks = channels.iter().flat_map(|channel| self.sinks_of(*channel));
            sinks.filter_map(|sink| sink.plan.as_ref())
        };
        let age = plans().map(|plan| plan.batch_age()).min().unwrap_or(Duration::from_secs(1));
        let eager = plans().any(|plan| plan.eager());
        let slice = plans().filter_map(|plan| plan.path_slice()).min();
        let slice_ns = slice.map(|slice| {
            i64::try_from(duration_ns(slice.min(ZONE_SLICE))).expect("15 minutes fit")
        });
        let wanted = plans().fold(Fields::NONE, |all, plan| all.union(plan.wanted()));
        (wanted, Pace { age, eager, backlog: None, slice_ns })
    }
}

/// What is asked of a source by those behind it.
struct Asked {
    wanted: Fields,
    pace: Pace,
    keeps_headers: bool,
    chain: ChainPlan,
    exact: bool,
}

fn planned_channel(
    ((draft, behind), credit): ((ChannelDraft, (Reached, usize)), &u64),
) -> PlannedChannel {
    PlannedChannel {
        name: draft.name.value,
        kind: draft.kind,
        plan: draft.plan.expect("a whole draft has every plan"),
        confirmed: behind.0,
        sink_threads: behind.1,
        credit: u32::try_from(*credit).expect("the sum bounds it"),
        implied: draft.section.is_none(),
        settings: draft.section.map_or_else(Vec::new, |section| section.settings()),
    }
}

fn planned_sink(
    draft: SinkDraft,
    channel: Option<usize>,
    cores: Vec<Option<usize>>,
    event_bytes_max: usize,
) -> PlannedSink {
    PlannedSink {
        name: draft.name.value,
        kind: draft.kind,
        plan: Arc::from(draft.plan.expect("a whole draft has every plan")),
        channel: channel.expect("a whole draft is linked"),
        cores,
        event_bytes_max,
        filters: draft.filters,
        settings: draft.section.settings(),
    }
}

/// Threads that do not fit a bell, or only take turns on their cores.
fn check_threads(draft: &Draft, machine: &Machine) {
    let diagnostics = draft.agent.section.diagnostics();
    let threads_of = |source: &SourceDraft| source.plan.as_ref().map_or(0, |plan| plan.threads());
    // Where channels are chosen event by event a thread waits for each of them by itself.
    let seats = |(source, channels): (&SourceDraft, &Vec<usize>)| {
        let chooses = headers::chosen_by(source).is_some();
        threads_of(source) * if chooses { channels.len().max(1) } else { 1 }
    };
    let threads: usize = draft.sources.iter().zip(&draft.links.sources).map(seats).sum();
    let max = limits::SLEEPERS_MAX;
    if threads > max {
        let what = format!("the sources have {threads} threads together, {max} are possible");
        let span = draft.sources[0].section.header();
        diagnostics.error(span, what, "lower `threads` of some");
    }
    for (index, channel) in draft.channels.iter().enumerate() {
        let sinks = draft.sinks_of(index).filter_map(|sink| sink.plan.as_ref());
        let threads: usize = sinks.map(|plan| plan.threads()).sum();
        if threads > max {
            let name = &channel.name;
            let what = format!("{threads} sink threads read the channel `{name}`, {max} can");
            diagnostics.error(name.span.clone(), what, "lower `threads` of some");
        }
    }
    let cores = machine.cores.len();
    let sources = draft.sources.iter().map(|it| (&it.section, threads_of(it)));
    let sinks = draft
        .sinks
        .iter()
        .map(|it| (&it.section, it.plan.as_ref().map_or(0, |plan| plan.threads())));
    for (section, threads) in sources.chain(sinks) {
        if cores > 0 && threads > cores {
            let what = format!("{} has {threads} threads for {cores} cores", section.title());
            section.warn("threads", what, format!("`threads = {cores}` does the same work"));
        }
    }
}

/// Fields that are wanted of messages which nobody reads.
fn check_fields(draft: &Draft) {
    for (source, channels) in draft.sources.iter().zip(&draft.links.sources) {
        if source.plan.as_ref().is_none_or(|plan| plan.zones().is_some()) {
            continue;
        }
        let naming = |sink: &&SinkDraft| sink.plan.as_ref().is_some_and(|it| it.names_fields());
        let mut sinks = channels.iter().flat_map(|channel| draft.sinks_of(*channel));
        if let Some(sink) = sinks.find(naming) {
            let what = format!(
                "sinks.{} wants fields of messages, and sources.{} of type `{}` takes any text: \
                 they are `unknown`, and `%{{host}}` is the sender's address",
                sink.name, source.name, source.kind
            );
            source.section.warn("type", what, "take `type = \"syslog\"`");
        }
    }
}

/// The memory sum, or why there is none, told.
fn spend(draft: &Draft) -> Option<Budget> {
    let demand = demand(draft);
    let refusal = match budget::spend(&demand) {
        Ok(budget) => return Some(budget),
        Err(refusal) => refusal,
    };
    let agent = &draft.agent.section;
    let diagnostics = agent.diagnostics();
    match refusal {
        Refusal::Capacity(channels) => {
            for (index, least_bytes) in channels {
                let channel = &draft.channels[index];
                let section = channel.section.as_ref().expect("a capacity stands in a section");
                let batches = demand.channels[index].batches_min;
                let what = format!(
                    "the capacity of `{}` is too small: its threads need {batches} batches of {}",
                    channel.name,
                    show_size(least_bytes / batches)
                );
                let key = channel.plan.as_ref().map_or("capacity", |plan| plan.memory_key());
                section.fail(key, what, format!("at least {}", show_size(least_bytes)));
            }
        }
        Refusal::Capacities { bytes } => {
            let what = format!(
                "the channels' capacities are {} together, and `agent.memory` is {}",
                show_size(bytes),
                show_size(demand.memory_bytes)
            );
            let mut problem = Problem::error(what);
            for channel in &draft.channels {
                let plan = channel.plan.as_ref().filter(|plan| plan.memory_bytes().is_some());
                let (Some(section), Some(plan)) = (&channel.section, plan) else { continue };
                problem = problem.at(section.span(plan.memory_key()), "");
            }
            diagnostics.push(problem.remedy("lower them, or raise `memory` in `[agent]`"));
        }
        Refusal::Memory { least_bytes, lines } => {
            let what = format!(
                "`agent.memory` is {}, and this plan needs {}",
                show_size(demand.memory_bytes),
                show_size(least_bytes)
            );
            let sum: Vec<String> = lines.iter().map(show_line).collect();
            let remedy = format!("the least sum is\n{}", sum.join("\n"));
            diagnostics.push(Problem::error(what).at(agent.span("memory"), "").remedy(remedy));
        }
    }
    None
}

/// `sources.net      0.5 MiB  64 datagram slots`.
pub(super) fn show_line(line: &MemoryLine) -> String {
    let mib = line.bytes as f64 / f64::from(1 << 20);
    format!("{:<18}{mib:>10.2} MiB  {}", line.part, line.what)
}

/// Pages that a thread of a source fills without credit of any channel.
fn pages_without_credit(draft: &Draft, source: &SourceDraft, channels: &[usize]) -> usize {
    let drops = |(bit, channel): &(usize, &usize)| {
        let waits = draft.channels[**channel].when_full() == WhenFull::Wait;
        !waits || source.selector.is_optional(*bit)
    };
    let dropping = channels.iter().enumerate().filter(drops).count();
    match source.selector {
        Selector::Multiplexing(_) => dropping,
        Selector::Balancing { .. } => dropping.min(1),
        Selector::Replicating { .. } => usize::from(dropping == channels.len()),
    }
}

fn demand(draft: &Draft) -> Demand {
    let mut fixed = Vec::new();
    let mut in_hands = Vec::new();
    let mut page_bytes_min = 0;
    for (source, channels) in draft.sources.iter().zip(&draft.links.sources) {
        let Some(plan) = &source.plan else { continue };
        fixed.extend(plan.memory(&source.name));
        page_bytes_min = plan.page_bytes_min().max(page_bytes_min);
        let chain = headers::chain(draft, source, channels);
        if !chain.only_refuses() || headers::chosen_by(source).is_some() {
            let why = "before their interceptors".to_owned();
            in_hands.push((format!("sources.{}", source.name), why, plan.threads() as u64));
            let least = plan.event_bytes_max() + 2 * limits::HEADERS_BYTES_MAX;
            page_bytes_min = page_bytes_min.max(least + limits::PAGE_HEADER_BYTES);
        }
        let why = "in the hands of threads that drop".to_owned();
        let dropping = pages_without_credit(draft, source, channels) * plan.threads();
        in_hands.push((format!("sources.{}", source.name), why, dropping as u64));
    }
    for (sink, channel) in draft.sinks.iter().zip(&draft.links.sinks) {
        let (Some(plan), Some(channel)) = (&sink.plan, channel) else { continue };
        fixed.extend(plan.memory(&sink.name, draft.event_bytes_max(*channel)));
        let why = "in hands after their turn".to_owned();
        in_hands.push((format!("sinks.{}", sink.name), why, plan.pages_in_hand() as u64));
        if !sink.filters.is_empty() {
            let why = "of shared ones, sifted".to_owned();
            let copies = copies_for(plan.threads(), plan.pages_in_hand());
            in_hands.push((format!("sinks.{}", sink.name), why, copies as u64));
        }
    }
    in_hands.extend(groups::in_hands(draft));
    if draft.agent.admin.address != "off" {
        fixed.push(MemoryLine::new("admin", "connections and pages", ADMIN_BYTES));
    }
    fixed.push(MemoryLine::new("agent", "rings, counters, incidents", FRAME_BYTES));
    for (index, channel) in draft.channels.iter().enumerate() {
        let Some(plan) = &channel.plan else { continue };
        fixed.extend(plan.memory(&channel.name, draft.behind(index).1));
        let why = "handed over and not synced yet".to_owned();
        in_hands.push((format!("channels.{}", channel.name), why, plan.pages_in_hand() as u64));
    }
    let channels = draft.channels.iter().enumerate().map(|(index, channel)| {
        let sources = draft.sources_of(index).filter_map(|source| source.plan.as_ref());
        let sinks = draft.sinks_of(index).filter_map(|sink| sink.plan.as_ref());
        let threads = sources.map(|plan| plan.threads()).sum::<usize>()
            + sinks.map(|plan| plan.threads()).sum::<usize>();
        ChannelDemand {
            name: channel.name.value.clone(),
            capacity_bytes: channel.plan.as_ref().and_then(|plan| plan.memory_bytes()),
            batches_min: threads as u64 + 2,
        }
    });
    Demand {
        memory_bytes: draft.agent.memory_bytes,
        fixed,
        page_bytes_min,
        channels: channels.collect(),
        in_hands,
    }
}

/// `drain 20s`: for the first line of the report.
pub(super) fn show_drain(plan: &Plan) -> String {
    show_duration(plan.drain)
}
