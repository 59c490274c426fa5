//! What another configuration would change in a running agent, and whether it can without a
//! restart.
//!
//! It is taken as a whole or not at all, so that what runs is what stands in the files. Sinks can
//! be replaced one by one: what waits for them is in their channel. A new sink must fit what was
//! dealt out at the start (threads, counters, batches, memory) and must not ask anything else of
//! the sources; whatever is not a sink's takes a restart.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Plan, PlannedSink, PlannedSource};
use super::report;

/// A plan as it can be compared: kept when the plan itself has been built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    values: BTreeMap<String, Option<String>>,
    page_bytes: usize,
    pages: u64,
    credits: Vec<u64>,
    /// What each source is asked for by those behind it.
    sources: Vec<(String, String)>,
    channels: Vec<(String, String)>,
    sinks: Vec<Seat>,
}

/// What a sink has of the agent for good.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seat {
    name: String,
    channel: usize,
    threads: usize,
    cores: Vec<Option<usize>>,
    filtered: bool,
    grouped: bool,
    event_bytes_max: usize,
}

/// What it takes to get from one configuration to another.
pub enum Step {
    /// They mean the same.
    None,
    /// Sinks are replaced, by their indices, for these settings; then the agent has that shape.
    Sinks { sinks: Vec<(usize, PlannedSink)>, settings: Vec<String>, shape: Shape },
    /// These settings have changed, and for these reasons they cannot while the agent runs.
    Restart { settings: Vec<String>, reasons: Vec<String> },
}

impl Shape {
    pub fn of(plan: &Plan) -> Self {
        let channel = |it: &super::plan::PlannedChannel| {
            let behind = format!("{:?} {} {}", it.confirmed, it.sink_threads, it.implied);
            (it.name.clone(), behind)
        };
        let grouped = |index| plan.groups.iter().any(|group| group.sinks.contains(&index));
        let seat = |(index, sink): (usize, &PlannedSink)| Seat {
            name: sink.name.clone(),
            channel: sink.channel,
            threads: sink.plan.threads(),
            cores: sink.cores.clone(),
            filtered: !sink.filters.is_empty(),
            grouped: grouped(index),
            event_bytes_max: sink.event_bytes_max,
        };
        Self {
            values: report::values(plan),
            page_bytes: plan.budget.page_bytes,
            pages: plan.budget.pages,
            credits: plan.budget.credits.clone(),
            sources: plan.sources.iter().map(|it| (it.name.clone(), asked(plan, it))).collect(),
            channels: plan.channels.iter().map(channel).collect(),
            sinks: plan.sinks.iter().enumerate().map(seat).collect(),
        }
    }

    /// How an agent of this shape comes to what another plan means.
    pub fn step(&self, next: Plan) -> Step {
        let to = Self::of(&next);
        let differing = differing(&self.values, &to.values);
        if differing.is_empty() && self.sinks == to.sinks {
            return Step::None;
        }
        let mut reasons = BTreeSet::new();
        let mut replaced = BTreeSet::new();
        for name in &differing {
            let sink = self.sinks.iter().position(|sink| name.starts_with(&prefix(&sink.name)));
            match sink {
                Some(index) => _ = replaced.insert(index),
                None => _ = reasons.insert(format!("{name} is no sink's")),
            }
        }
        self.compare(&to, &replaced, &mut reasons);
        if !reasons.is_empty() {
            let reasons = reasons.into_iter().collect();
            return Step::Restart { settings: differing, reasons };
        }
        let sinks = next.sinks.into_iter().enumerate();
        let sinks = sinks.filter(|(index, _)| replaced.contains(index)).collect();
        // Batches stay as they are.
        let shape = Self { values: to.values, ..self.clone() };
        Step::Sinks { sinks, settings: differing, shape }
    }

    fn compare(&self, to: &Self, replaced: &BTreeSet<usize>, reasons: &mut BTreeSet<String>) {
        let mut say = |reason: String| _ = reasons.insert(reason);
        if self.sinks.len() != to.sinks.len() {
            return say("there are more sinks, or fewer".to_owned());
        }
        for (index, (from, to)) in self.sinks.iter().zip(&to.sinks).enumerate() {
            let name = &from.name;
            if replaced.contains(&index) && from.grouped {
                say(format!("sinks.{name} is in a group"));
            }
            if from.name != to.name || from.channel != to.channel || from.grouped != to.grouped {
                say(format!("sinks.{name} stands elsewhere"));
            } else if from.threads != to.threads {
                say(format!("sinks.{name} has another number of threads"));
            } else if from.filtered != to.filtered {
                say(format!("sinks.{name} begins or ends to have filters"));
            } else if from != to {
                say(format!("sinks.{name} has other cores, or gets longer events"));
            }
        }
        for (from, to) in self.sources.iter().zip(&to.sources) {
            if from != to {
                say(format!("sources.{} would read or hand over otherwise", from.0));
            }
        }
        if self.sources.len() != to.sources.len() || self.channels != to.channels {
            say("channels and sources are connected otherwise".to_owned());
        }
        // The batches there are stay; the new sinks must leave room for them.
        let fits = self.page_bytes == to.page_bytes
            && self.pages <= to.pages
            && self.credits.len() == to.credits.len()
            && self.credits.iter().zip(&to.credits).all(|(from, to)| from <= to);
        if !fits {
            say("agent.memory is dealt out at the start, and this needs more of it".to_owned());
        }
    }
}

/// What a source does for the sake of others.
fn asked(plan: &Plan, source: &PlannedSource) -> String {
    let PlannedSource { channels, wanted, exact, keeps_headers, want_headers, pace, .. } = source;
    let furthest = plan.furthest(source);
    format!("{channels:?} {wanted:?} {exact} {keeps_headers} {want_headers} {pace:?} {furthest:?}")
}

fn prefix(sink: &str) -> String {
    format!("sinks.{sink}.")
}

/// Names of settings that are others, or gone, or new.
fn differing(
    from: &BTreeMap<String, Option<String>>,
    to: &BTreeMap<String, Option<String>>,
) -> Vec<String> {
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    names.into_iter().filter(|name| from.get(*name) != to.get(*name)).cloned().collect()
}
