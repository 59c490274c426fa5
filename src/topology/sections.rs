//! One table at a time: the rows every part of a room has, then the part's own.
//!
//! What comes out is a draft: names of channels are still only words. A draft without a plan had an
//! unknown type, which has been told; its words still count, so that nothing else is blamed.

use std::time::Duration;

use super::cores::{Cores, Machine};
use super::parts::{self, Parts};
use super::plan::{Admin, Pages};
use crate::channel::{ChannelPlan, SELECTOR, Selector, WhenFull};
use crate::config::{AgentConfig, Component, OptionDoc, Section, Spanned};
use crate::interceptor::{CHAIN, ChainPlan, FILTERS, Filters};
use crate::sink::SinkPlan;
use crate::sink::group::GroupPlan;
use crate::source::SourcePlan;

const AGENT: &[OptionDoc] = &[
    OptionDoc {
        name: "memory",
        default: Some("512MiB"),
        doc: "batches, codec contexts, buffers, carry: everything but code, stacks and allocator",
    },
    OptionDoc {
        name: "drain",
        default: Some("20s"),
        doc: "how long a stop may take to deliver what was accepted",
    },
    OptionDoc {
        name: "admin",
        default: Some("127.0.0.1:41414"),
        doc: "where metrics and health are served; \"off\" for nowhere",
    },
    OptionDoc {
        name: "pages",
        default: Some("flumen"),
        doc: "what is served there: flumen, or flume: its JSON at /metrics, and nothing else",
    },
    OptionDoc {
        name: "cores",
        default: Some("all"),
        doc: "cores that threads are pinned to in turn: \"all\", \"0-3,5\" or \"none\"",
    },
];

/// Must be given; `parts::find` says so, and knows what there is.
const TYPE: OptionDoc = OptionDoc { name: "type", default: Some(""), doc: "which part this is" };
const CORES: OptionDoc = OptionDoc {
    name: "cores",
    default: Some(""),
    doc: "cores for this part's threads; by default they take turns on the agent's",
};

const SOURCE: &[OptionDoc] = &[
    TYPE,
    OptionDoc {
        name: "channel",
        default: Some(""),
        doc: "where its events go; may be left out with one source, sink and channel",
    },
    OptionDoc {
        name: "channels",
        default: Some(""),
        doc: "several channels instead: each gets every event, or as `selector` says",
    },
    CORES,
    FILTERS,
    CHAIN,
    SELECTOR,
];

const CHANNEL: &[OptionDoc] = &[TYPE];

const SINK: &[OptionDoc] = &[
    TYPE,
    OptionDoc {
        name: "channel",
        default: Some(""),
        doc: "where its events come from; may be left out with one source, sink and channel",
    },
    CORES,
    FILTERS,
];

pub(super) struct AgentDraft {
    pub(super) name: String,
    pub(super) section: Section,
    pub(super) memory_bytes: u64,
    pub(super) drain: Duration,
    pub(super) admin: Admin,
    pub(super) cores: Option<Cores>,
}

pub(super) struct SourceDraft {
    pub(super) name: Spanned<String>,
    pub(super) section: Section,
    pub(super) kind: &'static str,
    pub(super) plan: Option<Box<dyn SourcePlan>>,
    pub(super) wanted: Vec<Spanned<String>>,
    pub(super) cores: Option<Cores>,
    /// Where each of the plan's listeners stands in the file, when that is known.
    pub(super) listens: Vec<Spanned<String>>,
    pub(super) filters: Filters,
    pub(super) chain: ChainPlan,
    pub(super) selector: Selector,
}

pub(super) struct ChannelDraft {
    pub(super) name: Spanned<String>,
    /// None when the channel stands in no file: one source, one sink, and nothing said.
    pub(super) section: Option<Section>,
    pub(super) kind: &'static str,
    pub(super) plan: Option<Box<dyn ChannelPlan>>,
}

impl ChannelDraft {
    pub(super) fn when_full(&self) -> WhenFull {
        self.plan.as_ref().map_or(WhenFull::Wait, |plan| plan.when_full())
    }

    pub(super) fn recovers(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.recovers())
    }

    pub(super) fn is_durable(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.is_durable())
    }
}

pub(super) struct SinkDraft {
    pub(super) name: Spanned<String>,
    pub(super) section: Section,
    pub(super) kind: &'static str,
    pub(super) plan: Option<Box<dyn SinkPlan>>,
    pub(super) wanted: Option<Spanned<String>>,
    pub(super) cores: Option<Cores>,
    pub(super) filters: Filters,
}

pub(super) struct GroupDraft {
    pub(super) name: Spanned<String>,
    pub(super) section: Section,
    pub(super) plan: GroupPlan,
}

pub(super) fn group(component: &Component) -> GroupDraft {
    let (name, section) = (component.name.clone(), component.section.clone());
    let plan = GroupPlan::plan(&section);
    GroupDraft { name, section, plan }
}

const DRAIN_MAX: Duration = Duration::from_secs(24 * 3600);

pub(super) fn agent(config: &AgentConfig, machine: &Machine) -> AgentDraft {
    let section = config.agent.clone();
    section.describe(AGENT);
    section.later("monitoring", "needs other reporters than `admin`");
    let memory_bytes = section.size("memory");
    let drain = section.duration_in("drain", Duration::ZERO..=DRAIN_MAX);
    let admin = section.text("admin");
    if section.usable("admin") && admin != "off" && !is_address(&admin) {
        let what = format!("`admin`: \"{admin}\" is no address");
        section.fail("admin", what, "write \"127.0.0.1:41414\", or \"off\"");
    }
    let pages = section.choice("pages", &[("flumen", Pages::Flumen), ("flume", Pages::Flume)]);
    let admin = Admin { address: admin, pages };
    let cores = Cores::read(&section, machine);
    section.finish();
    AgentDraft { name: config.name.value.clone(), section, memory_bytes, drain, admin, cores }
}

/// `HOST:PORT`; whether the host exists is seen when it is bound.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
    })
}

pub(super) fn source(component: &Component, parts: &Parts, machine: &Machine) -> SourceDraft {
    let section = component.section.clone();
    section.describe(SOURCE);
    let found = parts::find(&section, parts.sources);
    let wanted = source_channels(&section);
    let cores = Cores::read(&section, machine);
    let selector = Selector::plan(&section, &wanted);
    let mut draft = SourceDraft {
        name: component.name.clone(),
        section: section.clone(),
        kind: "",
        plan: None,
        wanted,
        cores,
        listens: Vec::new(),
        filters: Filters::plan(&section),
        chain: ChainPlan::plan(&section),
        selector,
    };
    if let Some(kind) = found {
        section.describe(kind.options);
        draft.kind = kind.name;
        draft.plan = Some((kind.plan)(&section));
        if kind.options.iter().any(|row| row.name == "listen") {
            draft.listens = section.texts("listen");
        }
        section.finish();
    }
    draft
}

fn source_channels(section: &Section) -> Vec<Spanned<String>> {
    let one = section.optional_text("channel");
    let several = section.texts("channels");
    if one.is_some() && !several.is_empty() {
        let what = format!("{} says both `channel` and `channels`", section.title());
        section.fail("channels", what, "keep one of them");
    }
    let one = one.map(|name| Spanned::new(name, section.span("channel")));
    one.into_iter().chain(several).collect()
}

pub(super) fn channel(component: &Component, parts: &Parts) -> ChannelDraft {
    let section = component.section.clone();
    section.describe(CHANNEL);
    section.later("selector", "belongs to a source and chooses channels event by event");
    let found = parts::find(&section, parts.channels);
    let mut draft = ChannelDraft {
        name: component.name.clone(),
        section: Some(section.clone()),
        kind: "",
        plan: None,
    };
    if let Some(kind) = found {
        section.describe(kind.options);
        draft.kind = kind.name;
        draft.plan = Some((kind.plan)(&section));
        section.finish();
    }
    draft
}

pub(super) fn sink(component: &Component, parts: &Parts, machine: &Machine) -> SinkDraft {
    let section = component.section.clone();
    section.describe(SINK);
    let found = parts::find(&section, parts.sinks);
    let wanted = section.optional_text("channel");
    let wanted = wanted.map(|name| Spanned::new(name, section.span("channel")));
    let cores = Cores::read(&section, machine);
    let mut draft = SinkDraft {
        name: component.name.clone(),
        section: section.clone(),
        kind: "",
        plan: None,
        wanted,
        cores,
        filters: Filters::plan(&section),
    };
    if let Some(kind) = found {
        section.describe(kind.options);
        draft.kind = kind.name;
        draft.plan = Some((kind.plan)(&section));
        section.finish();
    }
    draft
}
