//! Who reads which headers, and whether anybody sets them.

use super::plan::Draft;
use super::sections::{SinkDraft, SourceDraft};
use crate::codec::field::Field;
use crate::config::{listed, nearest};
use crate::event::HeaderNames;
use crate::event::headers::TOLD;
use crate::interceptor::ChainPlan;
use crate::limits::HEADERS_BYTES_MAX;

/// Whether a sink behind these channels reads headers.
pub(super) fn wanted(draft: &Draft, channels: &[usize]) -> bool {
    channels.iter().flat_map(|channel| draft.sinks_of(*channel)).any(reads_some)
}

fn reads_some(sink: &SinkDraft) -> bool {
    let plan = sink.plan.as_ref();
    !sink.filters.headers().is_empty()
        || plan.is_some_and(|plan| plan.headers().iter().any(|(_, names)| !names.is_empty()))
}

/// A source's interceptors, without those that would mark events for nobody.
pub(super) fn chain(draft: &Draft, source: &SourceDraft, channels: &[usize]) -> ChainPlan {
    let chain = source.chain.clone();
    if wanted(draft, channels) { chain } else { chain.without_marks() }
}

/// What headers can add to the longest event of a channel, for sinks that read them.
pub(super) fn bytes_max(draft: &Draft, channel: usize) -> usize {
    let sets = draft.sources_of(channel).any(|source| !set_by(source).is_empty());
    // What waits in a log may be from another configuration.
    let some = sets || draft.channels[channel].recovers();
    if some && draft.sinks_of(channel).any(reads_some) { 2 * HEADERS_BYTES_MAX } else { 0 }
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

/// A field of its own, or Flume's other spelling of one.
fn known(name: &str) -> bool {
    Field::named(name).is_some() || matches!(name, "Priority" | "Version")
}
