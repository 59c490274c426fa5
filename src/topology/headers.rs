//! Who reads which headers, and whether anybody sets them.

use super::groups;
use super::plan::Draft;
use super::sections::{SinkDraft, SourceDraft};
use crate::channel::Selector;
use crate::codec::field::Field;
use crate::config::{listed, nearest};
use crate::event::HeaderNames;
use crate::event::headers::TOLD;
use crate::interceptor::ChainPlan;
use crate::limits::HEADERS_BYTES_MAX;
use crate::syslog::parse::Fields;

/// Whether a sink behind these channels reads headers.
pub(super) fn wanted(draft: &Draft, channels: &[usize]) -> bool {
    channels.iter().any(|channel| reads(draft, *channel))
}

fn reads(draft: &Draft, channel: usize) -> bool {
    draft.sinks_of(channel).any(reads_some) || groups::sets_aside(draft, channel)
}

fn reads_some(sink: &SinkDraft) -> bool {
    let plan = sink.plan.as_ref();
    !sink.filters.headers().is_empty()
        || plan.is_some_and(|plan| plan.headers().iter().any(|(_, names)| !names.is_empty()))
}

/// A source's interceptors, without those that would mark events for nobody.
pub(super) fn chain(draft: &Draft, source: &SourceDraft, channels: &[usize]) -> ChainPlan {
    let chain = source.chain.clone();
    if wanted(draft, channels) || chosen_by(source).is_some() {
        chain
    } else {
        chain.without_marks()
    }
}

/// The header that channels are chosen by.
pub(super) fn chosen_by(source: &SourceDraft) -> Option<&str> {
    match &source.selector {
        Selector::Multiplexing(mapping) => Some(&mapping.header),
        Selector::Replicating { .. } | Selector::Balancing { .. } => None,
    }
}

/// What must be read of a message for a header of that name.
pub(super) fn fields_of(name: &str) -> Fields {
    Field::read(name).map_or(Fields::NONE, |field| field.wanted())
}

/// What headers can add to the longest event of a channel, for sinks that read them.
pub(super) fn bytes_max(draft: &Draft, channel: usize) -> usize {
    let sets = draft.sources_of(channel).any(|source| !set_by(source).is_empty());
    // What waits in a log may be from another configuration.
    let some = sets || draft.channels[channel].recovers();
    if some && reads(draft, channel) { 2 * HEADERS_BYTES_MAX } else { 0 }
}

/// The headers that events of a source may have.
fn set_by(source: &SourceDraft) -> HeaderNames {
    let mut names = source.plan.as_ref().map(|plan| plan.headers()).unwrap_or_default();
    names.add(source.chain.sets());
    names
}

/// Tells of headers that a sink names and nobody sets: a name that was mistyped would else be
/// missing in silence.
pub(super) fn check(draft: &Draft) {
    for source in &draft.sources {
        let (Some(header), Some(plan)) = (chosen_by(source), &source.plan) else { continue };
        let set = set_by(source);
        if !set.contains(header) && !is_said(header, plan.zones().is_some()) {
            let what = format!(
                "nobody sets the header `{header}` that channels are chosen by: all events go to \
                 the default"
            );
            let remedy = match nearest(header, set.names.iter().map(String::as_str).chain(TOLD)) {
                Some(word) => format!("did you mean `{word}`?"),
                None => "set it by an interceptor, `static` or `regex_extractor`".to_owned(),
            };
            source.section.warn("selector", what, remedy);
        }
    }
    for (sink, channel) in draft.sinks.iter().zip(&draft.links.sinks) {
        let (Some(plan), Some(channel)) = (&sink.plan, channel) else { continue };
        let mut set = HeaderNames::default();
        let mut sources = draft.sources_of(*channel).peekable();
        if sources.peek().is_none() {
            // Nobody knows yet who writes to it.
            continue;
        }
        sources.for_each(|source| set.add(set_by(source)));
        for (key, read) in plan.headers() {
            let told = |name: &&String| TOLD.contains(&name.as_str()) || known(name);
            for name in read.names.iter().filter(|name| !set.contains(name) && !told(name)) {
                let what = format!("`%{{{name}}}` is no field, and nobody sets such a header");
                let mut words: Vec<&str> = Field::names().collect();
                words.extend(set.names.iter().map(String::as_str).filter(|it| !it.is_empty()));
                words.dedup();
                let there_is = || listed(words.iter().copied());
                let remedy = match nearest(name, words.iter().copied()) {
                    Some(word) => format!("did you mean `%{{{word}}}`?"),
                    None => format!("there is {}; an interceptor sets others", there_is()),
                };
                sink.section.fail(key, what, remedy);
            }
        }
    }
}

/// An event has a field of that name without anybody's doing, or its message says so, if it is
/// `parsed`.
fn is_said(name: &str, parsed: bool) -> bool {
    match Field::read(name) {
        Some(Field::Header(_)) => parsed && fields_of(name) != Fields::NONE,
        // The sender's address, where no message says another.
        Some(Field::Host) => true,
        Some(field) => parsed || field.wanted() == Fields::NONE,
        None => false,
    }
}

/// A field of its own, or Flume's other spelling of one.
fn known(name: &str) -> bool {
    Field::named(name).is_some() || matches!(name, "Priority" | "Version")
}
