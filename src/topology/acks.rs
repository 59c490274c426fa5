//! Who acknowledges must hear from everybody behind how far events came.

use super::links::Links;
use super::sections::{ChannelDraft, SinkDraft, SourceDraft};
use crate::channel::WhenFull;
use crate::config::Section;
use crate::memory::receipt::Reached;
use crate::source::SourcePlan;

/// Tells of sources whose mark could not be kept.
pub(super) fn check(
    sources: &[SourceDraft],
    channels: &[ChannelDraft],
    sinks: &[SinkDraft],
    links: &Links,
) {
    for (source, own) in sources.iter().zip(&links.sources) {
        let section = &source.section;
        let mark = source.plan.as_ref().and_then(|plan| plan.acknowledges());
        let Some(mark) = mark.filter(|_| section.usable("ack")) else { continue };
        for (bit, index) in own.iter().enumerate() {
            if source.selector.is_optional(bit) {
                // No sender waits for it.
                continue;
            }
            check_channel(section, &channels[*index]);
            if channels[*index].is_durable() {
                // It confirms by itself, and keeps what it confirmed.
                continue;
            }
            let behind = sinks.iter().zip(&links.sinks).filter(|(_, of)| **of == Some(*index));
            behind.for_each(|(sink, _)| check_sink(section, mark, sink));
        }
    }
}

fn check_channel(section: &Section, channel: &ChannelDraft) {
    if channel.when_full() != WhenFull::Wait {
        let what = format!(
            "{} acknowledges, and the channel `{}` drops events when it is full",
            section.title(),
            channel.name
        );
        let remedy = "write `when_full = \"wait\"` there: its senders can wait";
        section.fail("ack", what, remedy);
    }
}

fn check_sink(section: &Section, mark: Reached, sink: &SinkDraft) {
    let Some(plan) = &sink.plan else { return };
    let (furthest, why) = plan.confirms();
    if furthest >= mark {
        return;
    }
    let what = format!(
        "{} acknowledges what is {}, which {} cannot confirm: {why}",
        section.title(),
        mark.name(),
        sink.section.title()
    );
    let remedy = format!("write `ack = \"{}\"`, or change the sink", furthest.name());
    section.fail("ack", what, remedy);
}

/// `acknowledges what is synced`, for `check` to print.
pub(super) fn show(plan: &dyn SourcePlan) -> Option<String> {
    plan.acknowledges()
        .filter(|_| plan.names_mark())
        .map(|mark| format!("acknowledges what is {}", mark.name()))
}
