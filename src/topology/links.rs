//! Who writes and reads which channel; and what nobody writes or reads.

use super::sections::{ChannelDraft, SinkDraft, SourceDraft};
use crate::channel;
use crate::config::{Diagnostics, Problem, Section, Spanned, listed, nearest};

/// What the channel is called that stands in no file.
const IMPLIED: &str = "main";

pub(super) struct Links {
    /// For each source its channels, each once, in the order asked for.
    pub(super) sources: Vec<Vec<usize>>,
    /// For each sink its channel.
    pub(super) sinks: Vec<Option<usize>>,
}

/// Resolves the names. Adds the implied channel when there is one source, one sink, and no channel.
/// A file that was not `understood` may have the tables that seem to be missing.
pub(super) fn resolve(
    sources: &[SourceDraft],
    channels: &mut Vec<ChannelDraft>,
    sinks: &[SinkDraft],
    understood: bool,
    diagnostics: &Diagnostics,
) -> Links {
    let one_pair = sources.len() <= 1 && sinks.len() <= 1;
    let said = sources.iter().any(|source| !source.wanted.is_empty())
        || sinks.iter().any(|sink| sink.wanted.is_some());
    if one_pair && channels.is_empty() && !said {
        channels.push(ChannelDraft {
            name: Spanned::new(IMPLIED.to_owned(), 0..0),
            section: None,
            kind: channel::IMPLIED,
            plan: Some(channel::implied()),
        });
    }
    let implied = (one_pair && channels.len() == 1).then_some(0);
    let links = Links {
        sources: sources.iter().map(|source| of_source(source, channels, implied)).collect(),
        sinks: sinks.iter().map(|sink| of_sink(sink, channels, implied)).collect(),
    };
    if sources.is_empty() && understood {
        let what = "no source: nothing would ever arrive";
        let problem = Problem::missing(what).at(0..0, "");
        diagnostics.push(problem.remedy("add `[sources.NAME]` with a `type`"));
    }
    if sinks.is_empty() && understood {
        let what = "no sink: nothing would ever leave";
        let problem = Problem::missing(what).at(0..0, "");
        diagnostics.push(problem.remedy("add `[sinks.NAME]` with a `type`"));
    }
    told_unused(&links, sources, channels, sinks, diagnostics);
    links
}

fn of_source(
    source: &SourceDraft,
    channels: &[ChannelDraft],
    implied: Option<usize>,
) -> Vec<usize> {
    let section = &source.section;
    let usable = section.usable("channel") && section.usable("channels");
    if source.wanted.is_empty() && usable {
        return match implied {
            Some(channel) => vec![channel],
            None => {
                no_channel(section, "a source needs a channel to write to", channels);
                Vec::new()
            }
        };
    }
    let mut found = Vec::new();
    for name in &source.wanted {
        let Some(channel) = find(name, section, channels) else { continue };
        if found.contains(&channel) {
            let what = format!("{} names the channel `{name}` twice", section.title());
            section.fail_at(&name.span, what, "leave one out");
        } else {
            found.push(channel);
        }
    }
    found
}

fn of_sink(sink: &SinkDraft, channels: &[ChannelDraft], implied: Option<usize>) -> Option<usize> {
    match &sink.wanted {
        Some(name) => find(name, &sink.section, channels),
        None if !sink.section.usable("channel") => None,
        None => {
            if implied.is_none() {
                no_channel(&sink.section, "a sink needs a channel to read from", channels);
            }
            implied
        }
    }
}

fn no_channel(section: &Section, why: &str, channels: &[ChannelDraft]) {
    let what = format!("{} has no `channel`: {why}", section.title());
    let remedy = match channels {
        [] => format!("add `[channels.{IMPLIED}]` with `type = \"memory\"`, and name it here"),
        _ => format!("write `channel = \"{}\"`", channels[0].name),
    };
    section.diagnostics().push(Problem::missing(what).at(section.header(), "").remedy(remedy));
}

fn find(name: &Spanned<String>, section: &Section, channels: &[ChannelDraft]) -> Option<usize> {
    let found = channels.iter().position(|channel| *channel.name == **name);
    if found.is_none() {
        let names = || channels.iter().map(|channel| channel.name.as_str());
        let remedy = match nearest(name, names()) {
            Some(word) => format!("did you mean `{word}`?"),
            None if channels.is_empty() => {
                format!("add `[channels.{name}]` with `type = \"memory\"`")
            }
            None => format!("there is {}", listed(names())),
        };
        let what = format!("no channel is called `{name}`");
        section.diagnostics().push(Problem::missing(what).at(name.span.clone(), "").remedy(remedy));
    }
    found
}

/// Channels that are only written or only read. While some name could not be resolved it may be
/// this channel that was meant, and nobody else is blamed.
fn told_unused(
    links: &Links,
    sources: &[SourceDraft],
    channels: &[ChannelDraft],
    sinks: &[SinkDraft],
    diagnostics: &Diagnostics,
) {
    let lost_source = links.sources.iter().any(Vec::is_empty) || sources.is_empty();
    let misread = sources.iter().zip(&links.sources).any(|(a, b)| a.wanted.len() != b.len());
    let lost_sink = links.sinks.iter().any(Option::is_none) || sinks.is_empty();
    for (index, channel) in channels.iter().enumerate() {
        let Some(section) = &channel.section else { continue };
        let name = &channel.name;
        let told = |what: String, remedy: String| {
            diagnostics.push(Problem::missing(what).at(section.header(), "").remedy(remedy));
        };
        let written = links.sources.iter().any(|channels| channels.contains(&index));
        if !written && !lost_source && !misread {
            let remedy = format!("name it in a source: `channel = \"{name}\"`, or take it out");
            told(format!("nobody writes to the channel `{name}`"), remedy);
        }
        if !links.sinks.contains(&Some(index)) && !lost_sink {
            let remedy = format!("name it in a sink: `channel = \"{name}\"`, or take it out");
            told(format!("nobody reads the channel `{name}`: it would fill up and stop"), remedy);
        }
    }
}
