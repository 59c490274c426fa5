//! Looking a `type` up in a registry.

use crate::channel::{CHANNELS, ChannelKind};
use crate::config::{Problem, Section, listed, nearest};
use crate::sink::{SINKS, SinkKind};
use crate::source::{SOURCES, SourceKind};

/// The registries a plan is made from: ours, or a test's.
#[derive(Clone, Copy)]
pub struct Parts {
    pub sources: &'static [SourceKind],
    pub channels: &'static [ChannelKind],
    pub sinks: &'static [SinkKind],
}

impl Default for Parts {
    fn default() -> Self {
        Self { sources: SOURCES, channels: CHANNELS, sinks: SINKS }
    }
}

/// A row of any registry.
pub(super) trait Kind: 'static {
    fn name(&self) -> &'static str;
    fn aliases(&self) -> &'static [&'static str];
    /// Types that people will ask for and that are still to come.
    const LATER: &'static [&'static str];
    const ROOM: &'static str;
}

impl Kind for SourceKind {
    fn name(&self) -> &'static str {
        self.name
    }
    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }
    const LATER: &'static [&'static str] =
        &["avro", "gelf", "kafka", "netflow", "otlp", "relp", "thrift", "tls"];
    const ROOM: &'static str = "source";
}

impl Kind for ChannelKind {
    fn name(&self) -> &'static str {
        self.name
    }
    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }
    const LATER: &'static [&'static str] = &["jdbc", "kafka"];
    const ROOM: &'static str = "channel";
}

impl Kind for SinkKind {
    fn name(&self) -> &'static str {
        self.name
    }
    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }
    const LATER: &'static [&'static str] = &[
        "avro",
        "elasticsearch",
        "hbase",
        "hdfs",
        "hive",
        "http",
        "kafka",
        "loki",
        "relp",
        "s3",
        "tcp",
        "thrift",
        "udp",
    ];
    const ROOM: &'static str = "sink";
}

/// The row that `type` names; `None` is told.
pub(super) fn find<K: Kind>(section: &Section, kinds: &'static [K]) -> Option<&'static K> {
    let wanted = section.optional_text("type");
    if !section.usable("type") {
        return None;
    }
    let names = || kinds.iter().map(Kind::name);
    let there_is = format!("there is {}", listed(names()));
    let Some(wanted) = wanted else {
        let what = format!("`type` is missing in {}", section.title());
        let problem = Problem::missing(what).at(section.header(), "");
        section.diagnostics().push(problem.remedy(there_is));
        return None;
    };
    let named = |kind: &&K| kind.name() == wanted || kind.aliases().contains(&wanted.as_str());
    if let Some(kind) = kinds.iter().find(named) {
        return Some(kind);
    }
    if K::LATER.contains(&wanted.to_ascii_lowercase().as_str()) {
        let what = format!("the {} type `{wanted}` is not built yet", K::ROOM);
        section.fail("type", what, there_is);
        return None;
    }
    let words = names().chain(kinds.iter().flat_map(|kind| kind.aliases().iter().copied()));
    let remedy = match nearest(&wanted, words) {
        Some(word) => format!("did you mean `{word}`?"),
        None => there_is,
    };
    section.fail("type", format!("no {} has the type `{wanted}`", K::ROOM), remedy);
    None
}
