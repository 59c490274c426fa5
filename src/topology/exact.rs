//! A sink that keeps datagrams as they came must be sent nothing else.

use super::links::Links;
use super::sections::{SinkDraft, SourceDraft};
use crate::sink::null;

/// The sinks behind a source.
pub(super) fn sinks_behind<'a>(
    channels: &'a [usize],
    sinks: &'a [SinkDraft],
    links: &'a Links,
) -> impl Iterator<Item = &'a SinkDraft> {
    let pairs = sinks.iter().zip(&links.sinks);
    pairs.filter(|(_, of)| of.is_some_and(|of| channels.contains(&of))).map(|(sink, _)| sink)
}

fn keeps(sink: &SinkDraft) -> bool {
    sink.plan.as_ref().is_some_and(|plan| plan.keeps_datagrams())
}

/// Some sink behind these channels keeps datagrams.
pub(super) fn wanted(channels: &[usize], sinks: &[SinkDraft], links: &Links) -> bool {
    sinks_behind(channels, sinks, links).any(keeps)
}

/// Tells of sources that cannot give what such a sink keeps, and of sinks beside it that get more
/// than they would have.
pub(super) fn check(sources: &[SourceDraft], sinks: &[SinkDraft], links: &Links) {
    for (source, channels) in sources.iter().zip(&links.sources) {
        let Some(plan) = &source.plan else { continue };
        let behind = || sinks_behind(channels, sinks, links);
        let Some(keeper) = behind().find(|sink| keeps(sink)) else { continue };
        if let Err((key, why, remedy)) = plan.is_exact() {
            let (sink, title) = (keeper.section.title(), source.section.title());
            let what = format!("{sink} keeps datagrams as they came, and {title} cannot: {why}");
            source.section.fail(key, what, remedy);
            continue;
        }
        let text = |sink: &&SinkDraft| !keeps(sink) && sink.kind != null::KIND.name;
        if let Some(other) = behind().find(text) {
            let what = format!(
                "{} keeps datagrams with their line ends, and {} then writes those as #012",
                keeper.section.title(),
                other.section.title()
            );
            source.section.warn("type", what, "a source of its own for each, at another port");
        }
    }
}
