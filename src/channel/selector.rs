//! Which of its channels a source's events take.
//!
//! ```toml
//! channels = ["a", "b", "c"]
//! selector = { type = "replicating", optional = ["c"] }
//! selector = { type = "load_balancing", policy = "random" }
//! selector = { type = "multiplexing", header = "state", default = "c",
//!              mapping = { CZ = "a", US = ["a", "b"] }, optional = { US = "c" } }
//! ```
//! An optional channel that is full loses the event, counted there, and keeps nobody waiting.

use crate::config::{OptionDoc, Section, Span, Spanned, listed, nearest};

/// The row of sources.
pub const SELECTOR: OptionDoc = OptionDoc {
    name: "selector",
    default: Some(""),
    doc: "which channels events take: { type = \"replicating\" }, \
          { type = \"multiplexing\", … } or { type = \"load_balancing\" }",
};

const TYPE: OptionDoc =
    OptionDoc { name: "type", default: Some("replicating"), doc: "how channels are chosen" };

const NONE: &[OptionDoc] = &[TYPE];
const REPLICATING: &[OptionDoc] = &[OptionDoc {
    name: "optional",
    default: Some(""),
    doc: "channels that nobody waits for: without room there, an event is lost for them",
}];
const BALANCING: &[OptionDoc] = &[OptionDoc {
    name: "policy",
    default: Some("round_robin"),
    doc: "whose turn it is: round_robin or random; a full channel is passed over",
}];
const MULTIPLEXING: &[OptionDoc] = &[
    OptionDoc {
        name: "header",
        default: Some("flume.selector.header"),
        doc: "the header whose value decides",
    },
    OptionDoc { name: "mapping", default: Some(""), doc: "channels by value: { US = [\"a\"] }" },
    OptionDoc { name: "optional", default: Some(""), doc: "optional channels by value" },
    OptionDoc {
        name: "default",
        default: Some(""),
        doc: "channels of events with another value or none; without it they are lost{unrouted}",
    },
];

/// More channels than bits would not fit a [`Lanes`].
const CHANNELS_MAX: usize = 64;

/// Channels of a source, one bit each, in the order in which it names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lanes {
    pub required: u64,
    /// None of the required ones.
    pub optional: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// All of them; these are optional.
    Replicating {
        optional: u64,
    },
    /// One of them for each batch.
    Balancing {
        random: bool,
    },
    Multiplexing(Mapping),
}

/// Channels by the value of a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    pub header: String,
    values: Vec<(String, Lanes)>,
    default: Lanes,
}

impl Default for Selector {
    fn default() -> Self {
        Self::Replicating { optional: 0 }
    }
}

impl Mapping {
    /// Where an event goes; a blank value is as good as none.
    pub fn lanes(&self, value: &[u8]) -> Lanes {
        let found = self.values.iter().find(|(own, _)| own.as_bytes() == value);
        let found = found.filter(|_| !value.trim_ascii().is_empty());
        found.map_or(self.default, |(_, lanes)| *lanes)
    }

    fn lanes_of(&mut self, value: String) -> &mut Lanes {
        let index = self.values.iter().position(|(own, _)| *own == value);
        let index = index.unwrap_or_else(|| {
            self.values.push((value, Lanes::default()));
            self.values.len() - 1
        });
        &mut self.values[index].1
    }

    fn all(&self) -> u64 {
        let lanes = self.values.iter().map(|(_, lanes)| lanes).chain([&self.default]);
        lanes.fold(0, |all, lanes| all | lanes.required | lanes.optional)
    }
}

/// Reads the names of channels that a source writes to.
struct Names<'a> {
    section: &'a Section,
    channels: &'a [Spanned<String>],
}

impl Names<'_> {
    fn bits(&self, names: &[Spanned<String>]) -> u64 {
        names.iter().fold(0, |bits, name| bits | self.bit(name, &name.span))
    }

    fn bit(&self, name: &str, span: &Span) -> u64 {
        if let Some(index) = self.channels.iter().position(|channel| **channel == *name) {
            return 1 << index;
        }
        let names = || self.channels.iter().map(|channel| channel.as_str());
        let remedy = match nearest(name, names()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("its `channels` are {}", listed(names())),
        };
        let title = self.section.title();
        let what = format!("{title} names the channel `{name}`, not one of its source's");
        self.section.fail_at(span, what, remedy);
        0
    }
}

impl Selector {
    /// Reads `selector` of a source that names these channels; what is wrong is told at its place.
    pub fn plan(source: &Section, channels: &[Spanned<String>]) -> Self {
        let section = source.subsection(SELECTOR.name, NONE);
        if !source.explicit(SELECTOR.name) {
            return Self::default();
        }
        if channels.len() > CHANNELS_MAX {
            let what = format!("a selector chooses among {CHANNELS_MAX} channels at most");
            section.fail_here(what, "take several sources");
            return Self::default();
        }
        let names = Names { section: &section, channels };
        const TYPES: [(&str, Kind); 6] = [
            ("replicating", Kind::Replicating),
            ("multiplexing", Kind::Multiplexing),
            ("load_balancing", Kind::Balancing),
            ("org.apache.flume.channel.ReplicatingChannelSelector", Kind::Replicating),
            ("org.apache.flume.channel.MultiplexingChannelSelector", Kind::Multiplexing),
            ("org.apache.flume.channel.LoadBalancingChannelSelector", Kind::Balancing),
        ];
        match section.choice("type", &TYPES) {
            Kind::Replicating => {
                section.describe(REPLICATING);
                let optional = names.bits(&section.texts("optional"));
                if optional.count_ones() as usize == channels.len() && optional > 0 {
                    let what = "every channel is optional: with room nowhere all would be lost";
                    section.fail("optional", what, "leave one out");
                }
                Self::Replicating { optional }
            }
            Kind::Balancing => {
                section.describe(BALANCING);
                let words = [("round_robin", false), ("random", true)];
                let random = section.choice("policy", &words);
                if channels.len() < 2 {
                    let what = "there is nothing to balance with a single channel";
                    section.fail_here(what, "name several in `channels`");
                }
                Self::Balancing { random }
            }
            Kind::Multiplexing => {
                section.describe(MULTIPLEXING);
                Self::Multiplexing(mapping(&section, &names))
            }
        }
    }

    /// Whether nobody waits for the channel of that number, whatever the event.
    pub fn is_optional(&self, channel: usize) -> bool {
        matches!(self, Self::Replicating { optional } if optional >> channel & 1 == 1)
    }

    /// Of so many channels, those that an acknowledging source waits for.
    pub fn required(&self, channels: usize) -> usize {
        match self {
            Self::Replicating { optional } => channels - optional.count_ones() as usize,
            Self::Balancing { .. } | Self::Multiplexing(_) => 1,
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Replicating,
    Balancing,
    Multiplexing,
}

fn mapping(section: &Section, names: &Names<'_>) -> Mapping {
    let mut mapping = Mapping { header: section.text("header"), ..Mapping::default() };
    for (value, channels) in section.table_of_lists("mapping") {
        mapping.lanes_of(value.value).required |= names.bits(&channels);
    }
    for (value, channels) in section.table_of_lists("optional") {
        mapping.lanes_of(value.value).optional |= names.bits(&channels);
    }
    mapping.default.required = names.bits(&section.texts("default"));
    let default = mapping.default.required;
    for (_, lanes) in &mut mapping.values {
        if lanes.required == 0 {
            // As in Flume: optional channels come beside the default's.
            lanes.required = default;
        }
        // A channel that is both is required.
        lanes.optional &= !lanes.required;
    }
    if mapping.header.is_empty() && section.usable("header") {
        section.fail("header", "`header`: a name is missing", "write for example \"state\"");
    }
    let all = mapping.all();
    for (index, channel) in names.channels.iter().enumerate() {
        if all >> index & 1 == 0 {
            let what = format!("nothing is mapped to the channel `{channel}`");
            let remedy = "name it in `mapping` or `default`, or leave it out";
            section.diagnostics().warning(channel.span.clone(), what, remedy);
        }
    }
    mapping
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &[OptionDoc] = &[SELECTOR];

    fn plan(text: &str) -> Result<Selector, String> {
        let section = Section::parse(&format!("selector = {text}"), DOCS);
        let channels = ["a", "b", "c"].map(|name| Spanned::new(name.to_owned(), 0..0));
        let selector = Selector::plan(&section, &channels);
        section.finish();
        let told = section.diagnostics().lines();
        if told.is_empty() { Ok(selector) } else { Err(told.join("\n")) }
    }

    #[test]
    fn values_lead_to_channels() {
        let text = "{ type = 'multiplexing', header = 'state', default = 'c', \
                    mapping = { CZ = 'a', US = ['a', 'b'], ' ' = 'b' }, \
                    optional = { US = ['b', 'c'], DE = 'b' } }";
        let Ok(Selector::Multiplexing(mapping)) = plan(text) else { panic!("{:?}", plan(text)) };
        assert_eq!(mapping.header, "state");
        for (value, required, optional) in [
            ("CZ", 0b001, 0),
            // Both required and optional is required.
            ("US", 0b011, 0b100),
            ("DE", 0b100, 0b010),
            ("us", 0b100, 0),
            ("", 0b100, 0),
            (" ", 0b100, 0),
        ] {
            assert_eq!(mapping.lanes(value.as_bytes()), Lanes { required, optional }, "{value}");
        }
        assert_eq!(Selector::Multiplexing(mapping).required(3), 1);
    }

    #[test]
    fn the_others_are_read() {
        assert_eq!(plan("{}"), Ok(Selector::Replicating { optional: 0 }));
        let one = plan("{ optional = 'c' }").expect("well");
        assert_eq!((&one, one.required(3)), (&Selector::Replicating { optional: 4 }, 2));
        assert_eq!(plan("{ type = 'load_balancing' }"), Ok(Selector::Balancing { random: false }));
        let random = plan("{ type = 'load_balancing', policy = 'random' }");
        assert_eq!(random, Ok(Selector::Balancing { random: true }));
    }

    #[test]
    fn mistakes_are_told() {
        for (text, told) in [
            ("{ type = 'multiplex' }", "did you mean"),
            ("{ optional = 'd' }", "names the channel `d`, not one of its source's"),
            ("{ optional = ['a', 'b', 'c'] }", "every channel is optional"),
            ("{ type = 'load_balancing', policy = 'least' }", "`policy`"),
            ("{ type = 'load_balancing', header = 'x' }", "unknown key `header`"),
            ("{ type = 'multiplexing', mapping = { x = 'd' } }", "names the channel `d`"),
            ("{ type = 'multiplexing', mapping = { x = 'a' } }", "mapped to the channel `b`"),
            ("{ type = 'multiplexing', mapping = 'a' }", "expected a table"),
            ("{ type = 'multiplexing', mapping = { x = 7 } }", "expected a list of strings"),
        ] {
            let found = plan(text).expect_err(text);
            assert!(found.contains(told), "{text}: {found}");
        }
    }
}
