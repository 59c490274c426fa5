//! Flume's sink groups as ours.

use super::make::{Made, text};
use super::refused;
use super::tree::Part;
use crate::config::units::show_duration;
use crate::config::value::{Spanned, Table, Value};
use std::time::Duration;

pub(super) fn translate(part: &Part) -> Option<(Spanned<String>, Table)> {
    let Some(sinks) = part.find("sinks") else {
        part.missing("sinks", "the sinks of the group, divided by blanks");
        part.ignore_rest();
        return None;
    };
    let place = sinks.value.span.clone();
    let mut names = sinks.words();
    let kind = part.text("processor.type");
    let word = kind.as_ref().map_or_else(|| "default".to_owned(), |kind| refused::word(kind));
    let kind_place = kind.as_ref().map_or_else(|| part.place(), |kind| kind.span.clone());
    let mut made = Made::bare(part);
    match word.as_str() {
        "failover" | "failoversinkprocessor" => {
            made.put("type", &kind_place, text("failover"));
            by_priority(part, &mut names);
            made.put("sinks", &place, words(names));
            penalty(&mut made, "processor.maxpenalty");
        }
        "load_balance" | "loadbalancingsinkprocessor" => {
            made.put("type", &kind_place, text("load_balance"));
            made.put("sinks", &place, words(names));
            let policies = [("round_robin", "round_robin"), ("random", "random")];
            if let (Some(policy), Some(key)) =
                (part.choice("processor.selector", &policies), part.find("processor.selector"))
            {
                made.put("policy", &key.value.span, text(policy));
            }
            // Flume's default is to ask a sink that failed again at once.
            let backoff = part.flag("processor.backoff");
            let (backoff, span) = backoff.map_or((false, place), |it| (it.value, it.span));
            made.put("backoff", &span, Value::Flag(backoff));
            penalty(&mut made, "processor.selector.maxTimeOut");
        }
        "default" | "defaultsinkprocessor" if names.len() < 2 => {
            // One sink by itself needs no group.
            part.finish();
            return None;
        }
        "default" | "defaultsinkprocessor" => {
            let what = "the sink processor `default` takes a single sink";
            part.fail(&kind_place, what, "write `failover` or `load_balance`");
            part.ignore_rest();
            return None;
        }
        _ => {
            let shown = kind.as_ref().map_or("", |kind| kind.as_str());
            let what = format!("no sink processor has the type `{shown}`");
            let remedy = "there is `default`, `failover` and `load_balance`; a class of your own \
                          cannot be loaded: there is no Java here";
            part.fail(&kind_place, what, remedy);
            part.ignore_rest();
            return None;
        }
    }
    part.finish();
    Some(made.table())
}

/// The highest first; those without one come behind, in their order.
fn by_priority(part: &Part, names: &mut [Spanned<String>]) {
    let mut unset = 0;
    let mut priority = |name: &Spanned<String>| {
        part.number(&format!("processor.priority.{name}")).map_or_else(
            || {
                unset -= 1;
                unset
            },
            |number| number.value,
        )
    };
    let mut ranked: Vec<(i64, Spanned<String>)> =
        names.iter().map(|name| (priority(name), name.clone())).collect();
    ranked.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    for (place, (_, name)) in names.iter_mut().zip(ranked) {
        *place = name;
    }
}

fn penalty(made: &mut Made<'_>, key: &str) {
    if let Some(millis) = made.part.number(key) {
        let longest = Duration::from_millis(u64::try_from(millis.value).unwrap_or(0));
        made.put("penalty_max", &millis.span, text(&show_duration(longest)));
    }
}

fn words(names: Vec<Spanned<String>>) -> Value {
    Value::List(names.into_iter().map(|it| Spanned::new(text(&it.value), it.span)).collect())
}
