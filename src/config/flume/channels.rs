//! Flume's channels as ours. Theirs are bounded in events and ours in bytes: what that becomes is
//! told in each case.

use super::around::Around;
use super::make::{Made, text};
use super::refused::{self, NEVER_CHANNELS};
use super::tree::Part;
use crate::config::units::show_size;
use crate::config::value::{Spanned, Table, Value};

/// What an event is taken to weigh, as Flume's own spillable channel does.
const EVENT_BYTES: u64 = 512;
/// A ring that is smaller only costs speed. The largest is what a heap of that time would hold.
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 64 << 20..=8 << 30;

const LATER: &[(&str, &str)] = &[("kafkachannel", "kafka")];
const NAMES: [&str; 4] = ["memory", "file", "spillablememory", "kafkachannel"];

/// The channel's table, and the memory that it asks for.
pub(super) fn translate(part: &Part, around: &Around) -> Option<((Spanned<String>, Table), u64)> {
    let Some(kind) = refused::kind(part, "channel", NEVER_CHANNELS) else {
        return Some((stand_in(part), 0));
    };
    let made = match refused::word(&kind).as_str() {
        "memory" | "memorychannel" => memory(part, "capacity"),
        "file" | "filechannel" => (file(part, "file", "capacity", around), 0),
        "spillablememory" | "spillablememorychannel" => spillable(part, around),
        _ => {
            let later = refused::later(part, &kind, LATER, "channel", NAMES.into_iter());
            return Some((later.unwrap_or_else(|| stand_in(part)), 0));
        }
    };
    part.finish();
    Some((made.0.table(), made.1))
}

/// For one that was refused: who names it is right to do so.
fn stand_in(part: &Part) -> (Spanned<String>, Table) {
    part.ignore_rest();
    Made::new(part, "memory").table()
}

const TRANSACTIONS: &str = "there are no transactions: a batch goes in whole, when there is room";
const KEEP_ALIVE: &str = "a source waits for room as long as it takes";

/// `bound`: the key that says how many events it holds.
fn memory<'p>(part: &'p Part, bound: &str) -> (Made<'p>, u64) {
    let mut made = Made::new(part, "memory");
    let events = part.number(bound);
    let bytes = part.number("byteCapacity").filter(|bytes| bytes.value > 0);
    let wanted = match (&events, &bytes) {
        (_, Some(bytes)) => bytes.value.unsigned_abs(),
        (Some(events), None) => events.value.unsigned_abs().saturating_mul(EVENT_BYTES),
        (None, None) => 0,
    };
    let capacity =
        wanted.clamp(*MEMORY_BYTES.start(), *MEMORY_BYTES.end()).next_multiple_of(1 << 20);
    let shown = show_size(capacity);
    let given = bytes.as_ref().or(events.as_ref());
    let span = given.map_or_else(|| part.place(), |given| given.span.clone());
    made.put("capacity", &span, text(&shown));
    if let Some(events) = &events {
        if events.value < 1 {
            let what = format!("`{bound}`: {} events are no channel", events.value);
            part.fail(&events.span, what, "write 1 or more");
        }
        let what = format!("`{bound}` is counted in bytes here: {shown}");
        part.diagnostics.note(events.span.clone(), what);
    }
    part.without_effect(&[
        ("transactionCapacity", TRANSACTIONS),
        ("keep-alive", KEEP_ALIVE),
        ("byteCapacityBufferPercentage", "what stands beside the bodies is counted exactly"),
    ]);
    (made, capacity)
}

/// Without memory it is a log, and without a log it is memory.
fn spillable<'p>(part: &'p Part, around: &Around) -> (Made<'p>, u64) {
    let none = |key: &str| part.number(key).is_some_and(|events| events.value == 0);
    if none("memoryCapacity") {
        let made = file(part, "file", "overflowCapacity", around);
        let log = "without memory it is a channel `file`";
        part.without_effect(
            &["memoryCapacity", "byteCapacity", "avgEventSize"].map(|it| (it, log)),
        );
        turns(part, log);
        return (made, 0);
    }
    if none("overflowCapacity") {
        let made = memory(part, "memoryCapacity");
        let memory = "without a log it is a channel `memory`";
        part.without_effect(
            &["overflowCapacity", "dataDirs", "checkpointDir"].map(|it| (it, memory)),
        );
        part.ignore_below("checkpoint");
        turns(part, memory);
        return made;
    }
    (spill(part, around), 0)
}

/// When it turns to the log and back.
fn turns(part: &Part, why: &str) {
    let keys = ["overflowTimeout", "overflowDeactivationThreshold"];
    part.without_effect(&keys.map(|key| (key, why)));
    part.without_effect(&[("byteCapacityBufferPercentage", why)]);
}

/// Memory first, and the log of `file` for what does not fit there.
fn spill<'p>(part: &'p Part, around: &Around) -> Made<'p> {
    let made = file(part, "spill", "overflowCapacity", around);
    let memory = "memory is counted in bytes here: `memory` in TOML, an equal share by default";
    part.without_effect(&[
        ("memoryCapacity", memory),
        ("byteCapacity", memory),
        ("byteCapacityBufferPercentage", memory),
        ("avgEventSize", memory),
        ("capacity", memory),
    ]);
    turns(part, "the log is used while memory is half full, and left when it is empty");
    made
}

/// The channel of this type, whose log may hold as many events as `bound` says.
fn file<'p>(part: &'p Part, kind: &str, bound: &'static str, around: &Around) -> Made<'p> {
    let mut made = Made::new(part, kind);
    paths(&mut made, around);
    made.number(bound, "capacity_events");
    if part.find(bound).is_none() && kind == "file" {
        let events = if bound == "capacity" { 1_000_000 } else { 100_000_000 };
        made.imply("capacity_events", Value::Integer(events));
    }
    made.number("minimumRequiredSpace", "reserve");
    sync(&mut made);
    part.refuse(&[
        ("encryption.activeKey", "leave `encryption.*` out; in TOML: `encryption`"),
        ("encryption.keyProvider", "leave `encryption.*` out; in TOML: `encryption`"),
    ]);
    part.ignore_below("encryption.");
    let checkpoints = "the log needs no checkpoint: starting reads one record of each segment";
    part.without_effect(&[
        ("checkpointDir", checkpoints),
        ("checkpointInterval", checkpoints),
        ("checkpointOnClose", checkpoints),
        ("useDualCheckpoints", checkpoints),
        ("backupCheckpointDir", checkpoints),
        ("compressBackupCheckpoint", checkpoints),
        ("use-log-replay-v1", checkpoints),
        ("use-fast-replay", checkpoints),
        ("maxFileSize", "segments have 64 MiB; `segment` in TOML"),
        ("transactionCapacity", TRANSACTIONS),
        ("keep-alive", KEEP_ALIVE),
    ]);
    made
}

/// Ours lies beside Flume's own log, which it leaves alone.
fn paths(made: &mut Made<'_>, around: &Around) {
    let part = made.part;
    let Some(key) = part.find("dataDirs") else {
        match around.variable("HOME") {
            Some(home) => {
                made.imply("path", text(&format!("{home}/.flume/file-channel/data/flumen")));
            }
            None => part.missing("dataDirs", "where the log lies; there is no $HOME to stand in"),
        }
        return;
    };
    let span = key.value.span.clone();
    let paths = key.value.split(',').map(str::trim).filter(|path| !path.is_empty());
    let paths = paths.map(|path| {
        let path = format!("{}/flumen", path.trim_end_matches('/'));
        Spanned::new(text(&path), span.clone())
    });
    made.put("path", &span, Value::List(paths.collect()));
    let what = "Flume's own log is not read: ours lies beside it, in `flumen`. Let Flume deliver \
                what waits before you change over";
    part.diagnostics.note(span, what);
}

fn sync(made: &mut Made<'_>) {
    let part = made.part;
    let each = part.flag("fsyncPerTransaction");
    let interval = part.number("fsyncInterval");
    match each {
        Some(each) if !each.value => {
            let seconds = interval.map_or(5, |seconds| seconds.value.max(1));
            made.put("sync", &each.span, text(&format!("{seconds}s")));
        }
        _ => {
            let why = "each batch is synced, as `fsyncPerTransaction` says";
            part.without_effect(&[("fsyncInterval", why)]);
        }
    }
}
