//! The machine stops at each operation of the log's disk, one after the other: at every write, half
//! of which may be there, at every sync, at every name that comes or goes, from the first
//! start on. Then it stops once more while the next start finds out what is left. What was promised
//! is delivered all the same.

use super::{Crash, Story, WRAPPED};

/// Enough for some segments that come and go.
const STEPS: u64 = 260;
/// Operations of one start, more or less.
const START: u64 = 17;

/// What became of one such story: at which operation the machine stopped, if it did.
fn stopped_after(operations: u64, manner: &Manner, crash: Crash) -> Result<Option<String>, String> {
    let mut story = Story::new(manner.seed, false);
    story.faults = false;
    story.spill = manner.spill;
    story.options = format!(
        "path = {}\nsync = '{}'\ncapacity = '6MiB'\nsegment = '2MiB'\nreserve = '0'\n{}",
        manner.path, manner.sync, manner.more
    );
    story.disk.light_fuse(operations);
    // Stopped while it starts, there is no life to end.
    let life = story.build();
    let started = life.is_ok() || story.disk.stopped_at().is_some();
    if let Ok(mut life) = life {
        story.live_for(&mut life, STEPS, manner.lazy)?;
        story.take_receipts(&mut life);
        story.end(life);
    }
    let stopped = story.disk.stopped_at();
    if !started {
        return Err("it did not start, and the machine goes on".to_owned());
    }
    story.power_cut |= crash == Crash::Power;
    story.disk.crash(crash);
    story.disk.light_fuse(operations % START);
    drop(story.build());
    story.disk.crash(crash);
    let mut life = story.build()?;
    story.live_for(&mut life, 40, false)?;
    story.close(life)?;
    story.verdict()?;
    Ok(stopped)
}

struct Manner {
    seed: u64,
    spill: bool,
    /// The sink does nothing for half of the time: the log grows.
    lazy: bool,
    path: &'static str,
    sync: &'static str,
    more: &'static str,
}

const PLAIN: Manner =
    Manner { seed: 1, spill: false, lazy: true, path: "'/log'", sync: "10ms", more: "" };

fn at_each(manner: &Manner, crashes: &[Crash]) {
    for &crash in crashes {
        let (mut operations, mut writes) = (0, 0);
        loop {
            let outcome = stopped_after(operations, manner, crash);
            let outcome = outcome.unwrap_or_else(|what| {
                panic!("{crash:?} after {operations} operations: {what}");
            });
            let Some(what) = outcome else { break };
            writes += u64::from(what == "write");
            operations += 1;
        }
        println!("{crash:?} at each of {operations} operations, {writes} of them writes");
        assert!(writes > 40 && operations > writes + 30, "{writes} writes of {operations}");
    }
}

#[test]
fn the_machine_stops_at_each_operation() {
    at_each(&PLAIN, &[Crash::Power, Crash::Killed]);
}

#[test]
fn the_machine_stops_at_each_operation_of_each_batch_that_is_synced() {
    at_each(
        &Manner { seed: 2, sync: "batch", path: "['/a/log', '/b/log']", lazy: false, ..PLAIN },
        &[Crash::Power],
    );
}

#[test]
fn the_machine_stops_at_each_operation_of_an_encrypted_log() {
    at_each(&Manner { seed: 3, more: WRAPPED, ..PLAIN }, &[Crash::Power]);
}

#[test]
fn the_machine_stops_at_each_operation_of_a_spill_channel() {
    at_each(&Manner { seed: 4, spill: true, more: "codec = 'lz4'", ..PLAIN }, &[Crash::Power]);
}
