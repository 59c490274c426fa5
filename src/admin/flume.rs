//! The JSON that Flume's http reporter gives, from our ledger: same component keys, same counter
//! names, every value a string, so that what scrapes a Flume scrapes us.
//!
//! What our model does not have stays "0", as it does in Flume for the parts that do not keep it.
//! Two differ in meaning: ChannelCapacity is in events in Flume and in bytes here, so it is given
//! as the number of events, of the mean size so far, that fit; ChannelFillPercentage is exact.

use serde_json::{Map, Value};

use crate::telemetry::snapshot::{ChannelTotals, SinkTotals, Snapshot, SourceTotals};

/// Before the first event there is no mean: a syslog line has about so many bytes.
const EVENT_BYTES_GUESS: u64 = 190;

/// `{"SOURCE.net":{"Type":"SOURCE","EventReceivedCount":"7",…},"CHANNEL.main":{…},"SINK.…":{…}}`
pub fn metrics(snapshot: &Snapshot) -> String {
    let started = (snapshot.started.0 / 1_000_000).to_string();
    let mut all = Map::new();
    for part in &snapshot.sources {
        all.insert(format!("SOURCE.{}", part.name), object("SOURCE", &started, source(part)));
    }
    for part in &snapshot.channels {
        let sinks: Vec<_> = snapshot.sinks_of(&part.name).collect();
        let counters = channel(part, &sinks);
        all.insert(format!("CHANNEL.{}", part.name), object("CHANNEL", &started, counters));
    }
    for part in &snapshot.sinks {
        all.insert(format!("SINK.{}", part.name), object("SINK", &started, sink(part)));
    }
    Value::Object(all).to_string()
}

fn object(
    kind: &str,
    started: &str,
    counters: impl IntoIterator<Item = (&'static str, String)>,
) -> Value {
    let head = [("Type", kind.to_owned()), ("StartTime", started.to_owned())];
    let stop = [("StopTime", "0".to_owned())];
    let all = head.into_iter().chain(stop).chain(counters);
    Value::Object(all.map(|(name, value)| (name.to_owned(), Value::String(value))).collect())
}

fn source(part: &SourceTotals) -> [(&'static str, String); 10] {
    [
        ("EventReceivedCount", part.received_events),
        ("EventAcceptedCount", part.routed_events),
        ("AppendReceivedCount", 0),
        ("AppendAcceptedCount", 0),
        ("AppendBatchReceivedCount", part.routed_batches),
        ("AppendBatchAcceptedCount", part.routed_batches),
        ("OpenConnectionCount", part.open_connections),
        ("EventReadFail", part.errors),
        ("ChannelWriteFail", part.lost_here()),
        ("GenericProcessingFail", 0),
    ]
    .map(|(name, count)| (name, count.to_string()))
}

fn channel(part: &ChannelTotals, sinks: &[&SinkTotals]) -> [(&'static str, String); 7] {
    let taken: u64 = sinks.iter().map(|sink| sink.written_events + sink.filtered_events).sum();
    let dead: u64 = sinks.iter().map(|sink| sink.dead_lettered_events).sum();
    let mean = part.put_bytes.checked_div(part.put_events).unwrap_or(EVENT_BYTES_GUESS).max(1);
    let filled = match part.capacity_bytes {
        0 => 0.0,
        capacity => part.waiting_bytes.max(0) as f64 / capacity as f64 * 100.0,
    };
    let count = |name, count: u64| (name, count.to_string());
    [
        count("ChannelSize", part.waiting_events.max(0).unsigned_abs()),
        count("ChannelCapacity", part.capacity_bytes / mean),
        ("ChannelFillPercentage", format!("{filled:?}")),
        count("EventPutAttemptCount", part.put_events),
        count("EventPutSuccessCount", part.put_events - part.lost.total().min(part.put_events)),
        count("EventTakeAttemptCount", taken + dead),
        count("EventTakeSuccessCount", taken + dead),
    ]
}

fn sink(part: &SinkTotals) -> [(&'static str, String); 10] {
    let drained = part.written_events;
    [
        ("ConnectionCreatedCount", 0),
        ("ConnectionClosedCount", 0),
        ("ConnectionFailedCount", 0),
        ("BatchEmptyCount", 0),
        ("BatchUnderflowCount", 0),
        ("BatchCompleteCount", part.written_batches),
        ("EventDrainAttemptCount", drained + part.dead_lettered_events + part.lost.total()),
        ("EventDrainSuccessCount", drained),
        ("EventWriteFail", part.errors),
        ("ChannelReadFail", 0),
    ]
    .map(|(name, count)| (name, count.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Ledger, LostReason};
    use crate::time::Wall;

    #[test]
    fn keys_and_names_are_flumes_and_values_are_strings() {
        let mut builder = Ledger::builder("a1");
        builder.started(Wall(1_700_000_000_123_000_000));
        let r1 = builder.source("r1").worker();
        let (c1, inlet) = (builder.channel("c1").counters(), builder.channel("c1").inlet());
        let k1 = builder.sink("k1", "c1").worker();
        let ledger = builder.build();
        r1.received_events.add(10);
        r1.routed_events.add(9);
        r1.lost[LostReason::Unrouted].add(1);
        inlet.put_events.add(9);
        inlet.put_bytes.add(900);
        inlet.lost[LostReason::ChannelFull].add(2);
        c1.gauge.enter(7, 700);
        c1.gauge.leave(2, 200);
        c1.capacity_bytes.set(2_000);
        k1.written_events.add(2);
        let json: Value = serde_json::from_str(&metrics(&ledger.snapshot())).expect("JSON");
        let keys: Vec<_> = json.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["CHANNEL.c1", "SINK.k1", "SOURCE.r1"]);
        for (name, counters) in [("CHANNEL.c1", 7), ("SINK.k1", 10), ("SOURCE.r1", 10)] {
            let part = json[name].as_object().expect("an object");
            assert!(part.values().all(Value::is_string), "{name}");
            assert_eq!(part.len(), counters + 3, "{name}: and Type, StartTime, StopTime");
        }
        assert_eq!(json["SOURCE.r1"]["Type"], "SOURCE");
        assert_eq!(json["SOURCE.r1"]["StartTime"], "1700000000123");
        assert_eq!(json["SOURCE.r1"]["EventReceivedCount"], "10");
        assert_eq!(json["SOURCE.r1"]["ChannelWriteFail"], "1");
        assert_eq!(json["CHANNEL.c1"]["ChannelSize"], "5");
        assert_eq!(json["CHANNEL.c1"]["ChannelCapacity"], "20");
        assert_eq!(json["CHANNEL.c1"]["ChannelFillPercentage"], "25.0");
        assert_eq!(json["CHANNEL.c1"]["EventPutSuccessCount"], "7");
        assert_eq!(json["CHANNEL.c1"]["EventTakeSuccessCount"], "2");
        assert_eq!(json["SINK.k1"]["EventDrainSuccessCount"], "2");
    }
}
