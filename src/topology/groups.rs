//! Sinks in groups: which they are, and what a group needs for events that its sinks refuse.

use super::links::Links;
use super::plan::{Draft, PlannedGroup};
use super::sections::{GroupDraft, SinkDraft};
use crate::config::{listed, nearest};
use crate::sink::SinkPlan;

/// For each group its sinks, in its order; what cannot be joined is told.
pub(super) fn resolve(
    groups: &[GroupDraft],
    sinks: &[SinkDraft],
    links: &Links,
) -> Vec<Vec<usize>> {
    let mut taken: Vec<Option<&str>> = vec![None; sinks.len()];
    let mut found = Vec::new();
    for group in groups {
        let section = &group.section;
        let mut own: Vec<usize> = Vec::new();
        for name in &group.plan.sinks {
            let Some(index) = sinks.iter().position(|sink| sink.name.value == **name) else {
                let names = || sinks.iter().map(|sink| sink.name.as_str());
                let remedy = match nearest(name, names()) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => format!("there is {}", listed(names())),
                };
                section.fail_at(&name.span, format!("no sink is called `{name}`"), remedy);
                continue;
            };
            if let Some(other) = taken[index].replace(group.name.as_str()) {
                let what = format!("the sink `{name}` is in the group `{other}` already");
                section.fail_at(&name.span, what, "name it once");
                continue;
            }
            if !sinks[index].filters.is_empty() {
                let what = format!("the sink `{name}` has filters, and is in a group");
                let remedy = "what an event becomes would hang on who has its turn: put the \
                              filters at the source, or take the sink out of the group";
                section.fail_at(&name.span, what, remedy);
            }
            let channel = links.sinks[index];
            let first = own.first().map_or(channel, |first| links.sinks[*first]);
            if first.is_some() && channel.is_some() && first != channel {
                let what = format!("the sink `{name}` reads another channel than the first one");
                section.fail_at(&name.span, what, "sinks of a group share a channel");
            }
            own.push(index);
        }
        check_letters(group, own.iter().map(|index| &sinks[*index]));
        found.push(own);
    }
    found
}

/// A file for what is refused, where nobody refuses anything.
fn check_letters<'a>(group: &GroupDraft, mut sinks: impl Iterator<Item = &'a SinkDraft>) {
    if group.plan.dead_letters.is_some() && sinks.all(|sink| sink.plan.is_some() && !refuses(sink))
    {
        let what = format!("{}: none of its sinks ever refuses an event", group.section.title());
        group.section.warn("dead_letters", what, "leave it out");
    }
}

fn refuses(sink: &SinkDraft) -> bool {
    sink.plan.as_ref().is_some_and(|plan| plan.refuses())
}

/// Whether a group at this channel sets aside by itself: a letter tells all that is known of its
/// event.
pub(super) fn sets_aside(draft: &Draft, channel: usize) -> bool {
    let mut groups = draft.groups.iter().zip(&draft.grouped);
    groups.any(|(group, sinks)| {
        let at = sinks.first().and_then(|sink| draft.links.sinks[*sink]);
        group.plan.dead_letters.is_some() && at == Some(channel)
    })
}

/// Pages for copies of what other channels read, too, when some of it is refused: one in the hands
/// of each thread whose sink refuses. While all are out, those threads wait for the other sinks.
pub(super) fn copies<'a>(sinks: impl Iterator<Item = &'a dyn SinkPlan>) -> usize {
    sinks.filter(|plan| plan.refuses()).map(|plan| plan.threads()).sum()
}

/// For each group, for the sum.
pub(super) fn in_hands(draft: &Draft) -> Vec<(String, String, u64)> {
    let row = |(group, sinks): (&GroupDraft, &Vec<usize>)| {
        let plans = sinks.iter().filter_map(|sink| draft.sinks[*sink].plan.as_deref());
        let why = "of shared ones, refused".to_owned();
        (format!("groups.{}", group.name), why, copies(plans) as u64)
    };
    draft.groups.iter().zip(&draft.grouped).map(row).collect()
}

pub(super) fn planned(groups: Vec<GroupDraft>, sinks: Vec<Vec<usize>>) -> Vec<PlannedGroup> {
    let planned = |(draft, sinks): (GroupDraft, Vec<usize>)| PlannedGroup {
        name: draft.name.value,
        settings: draft.section.settings(),
        plan: draft.plan,
        sinks,
    };
    groups.into_iter().zip(sinks).map(planned).collect()
}
