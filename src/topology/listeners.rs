//! Nobody listens where another does, and no two sinks write to one place.

use std::net::IpAddr;

use super::sections::{AgentDraft, ChannelDraft, SinkDraft, SourceDraft};
use crate::config::{Problem, Span};

struct Listener<'a> {
    /// `sources.net`, `admin`.
    part: String,
    transport: &'a str,
    host: &'a str,
    port: u16,
    shown: String,
    span: Span,
}

/// Tells every pair of listeners that want the same port of the same address.
pub(super) fn check(agent: &AgentDraft, sources: &[SourceDraft]) {
    let shown: Vec<Vec<String>> = sources
        .iter()
        .map(|source| source.plan.as_ref().map_or_else(Vec::new, |plan| plan.listeners()))
        .collect();
    let mut listeners: Vec<Listener<'_>> = Vec::new();
    for (source, shown) in sources.iter().zip(&shown) {
        for (index, text) in shown.iter().enumerate() {
            let exact = source.listens.get(index).filter(|_| source.listens.len() == shown.len());
            let span = exact.map_or_else(|| source.section.header(), |text| text.span.clone());
            let part = format!("sources.{}", source.name);
            listeners.extend(parse(text).map(|(transport, host, port)| {
                let shown = format!("{transport}://{host}:{port}");
                Listener { part, transport, host, port, shown, span }
            }));
        }
    }
    if let Some((_, host, port)) = parse(&format!("tcp://{}", agent.admin.address)) {
        let (host, shown) = (host.to_owned(), agent.admin.address.clone());
        let admin = Listener {
            part: "admin".to_owned(),
            transport: "tcp",
            host: &host,
            port,
            shown,
            span: agent.section.span("admin"),
        };
        pairs(&listeners, Some(admin), agent);
    } else {
        pairs(&listeners, None, agent);
    }
}

fn pairs(listeners: &[Listener<'_>], admin: Option<Listener<'_>>, agent: &AgentDraft) {
    let all: Vec<&Listener<'_>> = listeners.iter().chain(admin.as_ref()).collect();
    for (index, later) in all.iter().enumerate() {
        let Some(earlier) = all[..index].iter().find(|earlier| clash(earlier, later)) else {
            continue;
        };
        let what = format!(
            "{} and {} want the same port: {} and {}",
            earlier.part, later.part, earlier.shown, later.shown
        );
        let problem = Problem::error(what).at(later.span.clone(), "");
        let problem = problem.at(earlier.span.clone(), "taken here");
        agent.section.diagnostics().push(problem.remedy("choose another port or address"));
    }
}

fn parse(text: &str) -> Option<(&str, &str, u16)> {
    let (transport, rest) = text.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    Some((transport, host, port.parse().ok()?))
}

fn clash(a: &Listener<'_>, b: &Listener<'_>) -> bool {
    let overlap = match (ip(a.host), ip(b.host)) {
        // Within a source a group has a socket of its own, and the others refuse groups.
        (Some(a_ip), Some(b_ip))
            if a.part == b.part && (a_ip.is_multicast() || b_ip.is_multicast()) =>
        {
            a_ip == b_ip
        }
        // Within a source the two families are bound apart; across sources `[::]` takes both.
        (Some(a_ip), Some(b_ip)) if a_ip.is_ipv4() != b_ip.is_ipv4() => {
            let six = if a_ip.is_ipv6() { a_ip } else { b_ip };
            a.part != b.part && six.is_unspecified()
        }
        (Some(a), Some(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        _ => a.host.eq_ignore_ascii_case(b.host),
    };
    a.port != 0 && a.port == b.port && a.transport == b.transport && overlap
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Tells every sink that writes where an earlier one does.
pub(super) fn check_logs(channels: &[ChannelDraft]) {
    let places =
        |channel: &ChannelDraft| channel.plan.as_ref().map_or_else(Vec::new, |plan| plan.places());
    for (index, later) in channels.iter().enumerate() {
        let Some(section) = &later.section else { continue };
        for here in places(later) {
            let same = |earlier: &&ChannelDraft| places(earlier).contains(&here);
            let Some(earlier) = channels[..index].iter().find(same) else { continue };
            let what = format!("the channels `{}` and `{}`", earlier.name, later.name);
            let what = format!("{what} both keep their log in {here}");
            section.fail("path", what, "give each channel a directory of its own");
        }
    }
}

/// No two sinks write to one place.
pub(super) fn check_places(sinks: &[SinkDraft]) {
    let place = |sink: &SinkDraft| sink.plan.as_ref().and_then(|plan| plan.place());
    for (index, later) in sinks.iter().enumerate() {
        let Some(here) = place(later) else { continue };
        let same = |earlier: &&SinkDraft| place(earlier).as_ref() == Some(&here);
        let Some(earlier) = sinks[..index].iter().find(same) else { continue };
        let what = format!("sinks.{} and sinks.{} both write to {here}", earlier.name, later.name);
        let problem = Problem::error(what).at(later.section.span("path"), "");
        let problem = problem.at(earlier.section.span("path"), "and so does this one");
        let remedy = "give one of them another place, or let several sources share one sink";
        later.section.diagnostics().push(problem.remedy(remedy));
    }
}
