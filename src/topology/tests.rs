//! Agents in this process, with sources and sinks of the tests' own.

mod changes;
mod stand_ins;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stand_ins::{Board, PARTS, board};

use super::build::no_endpoint;
use super::{Agent, Control, Machine, Outcome, Plan, plan};
use crate::config::Config;
use crate::runtime::clock::{Clock, SystemClock};
use crate::telemetry::{LostReason, Snapshot};

fn planned(text: &str) -> Plan {
    let config = Config::parse(text);
    let agent = config.agent(None).expect("one agent");
    let plan = plan(&agent, &PARTS, &Machine::default());
    plan.unwrap_or_else(|| panic!("{}", config.diagnostics().render(false)))
}

fn start(text: &str) -> Agent {
    Agent::start(&planned(text), &Control::default(), no_endpoint).expect("starts")
}

#[track_caller]
fn wait(agent: &Agent, what: &str, condition: impl Fn(&Snapshot) -> bool) {
    wait_until(what, || condition(&agent.ledger().snapshot()));
}

#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let clock = SystemClock::default();
    while !condition() {
        assert!(clock.now().mono.0 < 30_000_000_000, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn well(outcome: &Outcome) {
    assert!(outcome.snapshot.adds_up(), "{:#?}", outcome.snapshot.balance());
    assert_eq!((outcome.code, outcome.hung), (0, false));
    assert_eq!(outcome.snapshot.lost_events(), 0);
    let pool = outcome.snapshot.pool.expect("an agent has one");
    assert_eq!(pool.free, pool.batches, "every batch is home");
}

/// Failed, but every event is accounted for.
#[track_caller]
fn failed(outcome: &Outcome) {
    assert!(outcome.snapshot.adds_up(), "{:#?}", outcome.snapshot.balance());
    assert_eq!(outcome.code, 1);
}

fn shutdown_losses(snapshot: &Snapshot) -> u64 {
    let channels = snapshot.channels.iter().map(|it| it.lost.get(LostReason::Shutdown));
    let sources = snapshot.sources.iter().map(|it| it.lost.get(LostReason::Shutdown));
    channels.chain(sources).sum()
}

fn sorted(board: &Board) -> Vec<u64> {
    let mut collected = board.collected.lock().unwrap().clone();
    collected.sort_unstable();
    collected
}

fn one_pair(test: &str, agent: &str, source: &str, sink: &str) -> String {
    format!(
        "[agent]\nmemory = '8MiB'\n{agent}\n\
         [sources.in]\ntype = 'count'\ntest = '{test}'\n{source}\n\
         [sinks.out]\ntype = 'collect'\ntest = '{test}'\n{sink}\n"
    )
}

/// More events than 8 MiB hold, and few enough to be read in the last second of a drain by a busy
/// machine without optimisation.
const PLENTY: u64 = 400_000;

/// A capacity of so many bytes needs small batches: as small as the neediest source allows.
#[test]
fn the_sources_say_how_small_a_batch_may_be() {
    let told = |a: &str, b: &str| {
        let text = format!(
            "[agent]\nmemory = '8MiB'\n\
             [sources.a]\ntype = 'count'\n{a}\nchannel = 'main'\n\
             [sources.b]\ntype = 'count'\n{b}\nchannel = 'main'\n\
             [channels.main]\ntype = 'memory'\ncapacity = '640KiB'\n\
             [sinks.out]\ntype = 'collect'\nchannel = 'main'\n"
        );
        let config = Config::parse(&text);
        let agent = config.agent(None).expect("one agent");
        let plan = plan(&agent, &PARTS, &Machine::default());
        plan.map(|plan| plan.budget.page_bytes).ok_or_else(|| config.diagnostics().render(false))
    };
    // Three threads and two that travel.
    assert_eq!(told("", "event_max = '256KiB'"), Ok(128 << 10));
    assert_eq!(told("page_min = '128KiB'", ""), Ok(128 << 10));
    for (a, b) in [("page_min = '129KiB'", ""), ("", "page_min = '129KiB'")] {
        let refused = told(a, b).expect_err("too small for five of them");
        assert!(refused.contains("5 batches of 256KiB"), "{refused}");
    }
}

#[test]
fn sources_that_end_end_the_agent() {
    let outcome = start(&one_pair("ends", "", "events = 300000", "")).join();
    well(&outcome);
    let board = board("ends");
    let collected = board.collected.lock().unwrap();
    assert!(collected.iter().copied().eq(0..300_000), "all, once, in order");
}

#[test]
fn an_idle_agent_stops() {
    let agent = start(&one_pair("idle", "drain = '1h'", "then = 'stay'", ""));
    agent.stop();
    well(&agent.join());
}

#[test]
fn a_stop_before_the_start_is_a_stop() {
    let control = Control::default();
    control.stop();
    let text = one_pair("early", "", "events = 5\nthen = 'stay'\nstop = 'after_the_rest'", "");
    let agent = Agent::start(&planned(&text), &control, no_endpoint).expect("starts");
    let outcome = agent.join();
    well(&outcome);
    assert_eq!(sorted(&board("early")), [0, 1, 2, 3, 4]);
}

#[test]
fn two_sources_share_a_channel_and_two_sinks_share_it_out() {
    let text = "[agent]\nmemory = '16MiB'\n\
        [sources.a]\ntype = 'count'\ntest = 'shared'\nevents = 200000\nchannel = 'main'\n\
        threads = 2\n\
        [sources.b]\ntype = 'count'\ntest = 'shared'\nevents = 200000\nchannel = 'main'\n\
        [channels.main]\ntype = 'memory'\n\
        [sinks.x]\ntype = 'collect'\ntest = 'shared'\nchannel = 'main'\nthreads = 2\n\
        [sinks.y]\ntype = 'collect'\ntest = 'shared'\nchannel = 'main'\n";
    let outcome = start(text).join();
    well(&outcome);
    let collected = sorted(&board("shared"));
    assert!(collected.iter().copied().eq((0..200_000).flat_map(|n| [n, n, n])));
    let written = |index: usize| outcome.snapshot.sinks[index].written_events;
    assert_eq!(written(0) + written(1), 600_000);
}

#[test]
fn every_channel_of_a_source_gets_every_event() {
    let text = "[agent]\nmemory = '16MiB'\n\
        [sources.a]\ntype = 'count'\nevents = 100000\nchannels = ['one', 'two']\n\
        [channels.one]\ntype = 'memory'\n[channels.two]\ntype = 'memory'\ncapacity = '4MiB'\n\
        [sinks.x]\ntype = 'collect'\ntest = 'all one'\nchannel = 'one'\n\
        [sinks.y]\ntype = 'collect'\ntest = 'all two'\nchannel = 'two'\n";
    let outcome = start(text).join();
    well(&outcome);
    assert_eq!(outcome.snapshot.sources[0].routed_events, 100_000);
    for test in ["all one", "all two"] {
        assert!(board(test).collected.lock().unwrap().iter().copied().eq(0..100_000));
    }
}

#[test]
fn a_channel_that_drops_counts_what_it_drops() {
    let text = "[agent]\nmemory = '16MiB'\n\
        [sources.a]\ntype = 'count'\nevents = 1000000\nchannel = 'main'\n\
        [channels.main]\ntype = 'memory'\nwhen_full = 'drop_newest'\n\
        [sinks.x]\ntype = 'collect'\ndoes = 'hang'\ntest = 'drops'\nchannel = 'main'\n";
    let agent = start(text);
    wait(&agent, "all is read", |ledger| ledger.sources[0].routed_events == 1_000_000);
    board("drops").open();
    let outcome = agent.join();
    assert!(outcome.snapshot.adds_up() && outcome.code == 0, "{:?}", outcome.snapshot);
    let channel = &outcome.snapshot.channels[0];
    let (put, dropped) = (channel.put_events, channel.lost.get(LostReason::ChannelFull));
    assert!(dropped > 0, "16 MiB do not hold it");
    assert_eq!((put, sorted(&board("drops")).len() as u64 + dropped), (1_000_000, 1_000_000));
}

#[test]
fn the_drain_of_a_stuck_sink_ends_at_its_deadline_and_counts() {
    for stop in ["at_once", "after_the_rest"] {
        let test = format!("stuck {stop}");
        let source = format!("events = {PLENTY}\nstop = '{stop}'");
        let agent = start(&one_pair(&test, "drain = '50ms'", &source, "does = 'fail'"));
        wait(&agent, "it is stuck", |ledger| ledger.sinks[0].errors > 0);
        agent.stop();
        let outcome = agent.join();
        failed(&outcome);
        let produced = board(&test).produced.load(Ordering::Relaxed);
        assert_eq!(outcome.snapshot.sources[0].received_events, produced);
        assert_eq!(shutdown_losses(&outcome.snapshot), produced);
        assert!(!outcome.hung);
        if stop == "after_the_rest" {
            assert_eq!(produced, PLENTY, "what had arrived is read and counted");
        }
    }
}

#[test]
fn a_sink_that_hangs_in_the_kernel_is_left_behind() {
    let source = format!("events = {PLENTY}\nstop = 'after_the_rest'");
    let agent = start(&one_pair("hangs", "drain = '50ms'", &source, "does = 'hang'"));
    wait(&agent, "something waits", |ledger| ledger.channels[0].waiting_events > 0);
    agent.stop();
    let outcome = agent.join();
    failed(&outcome);
    assert!(outcome.hung);
    assert_eq!(shutdown_losses(&outcome.snapshot), PLENTY);
    board("hangs").open();
}

#[test]
fn a_second_wish_ends_a_drain_at_once() {
    let agent = start(&one_pair("twice", "drain = '1h'", "events = 1000000", "does = 'fail'"));
    wait(&agent, "it is stuck", |ledger| ledger.sinks[0].errors > 0);
    agent.stop();
    agent.control().stop_now();
    let outcome = agent.join();
    failed(&outcome);
    let produced = board("twice").produced.load(Ordering::Relaxed);
    assert_eq!(shutdown_losses(&outcome.snapshot), produced);
}

#[test]
fn a_reader_that_goes_away_ends_the_agent_quietly() {
    let agent = start(&one_pair("gone", "drain = '1h'", "events = 1000000", "does = 'end'"));
    let outcome = agent.join();
    assert!(outcome.snapshot.adds_up());
    assert_eq!(outcome.code, 0);
    let produced = board("gone").produced.load(Ordering::Relaxed);
    assert_eq!(shutdown_losses(&outcome.snapshot), produced);
}

#[test]
fn a_panic_fails_the_agent_and_nothing_goes_uncounted() {
    let sink = start(&one_pair("panics out", "drain = '1h'", "events = 1000000", "does = 'panic'"));
    let incidents = sink.handles().incidents.clone();
    let outcome = sink.join();
    failed(&outcome);
    let produced = board("panics out").produced.load(Ordering::Relaxed);
    assert_eq!(shutdown_losses(&outcome.snapshot), produced);
    let told = incidents.list().into_iter().find(|it| it.component == "sink.out.0");
    assert_eq!(told.expect("an incident").what, "panicked: as the test wants");

    let source = "events = 1000\nthen = 'panic'";
    let outcome = start(&one_pair("panics in", "drain = '1h'", source, "")).join();
    failed(&outcome);
    assert_eq!(outcome.snapshot.sources[0].received_events, 1000);
}

#[test]
fn a_start_that_fails_tells_every_reason_and_leaves_nothing() {
    let text = one_pair("taken", "", "listen = 'udp://taken:1'", "path = '/nowhere'");
    let errors = Agent::start(&planned(&text), &Control::default(), no_endpoint).err();
    let told: Vec<String> = errors.expect("fails").iter().map(ToString::to_string).collect();
    assert_eq!(told, ["sinks.out cannot write in /nowhere: name another directory"]);

    let text = one_pair("taken", "", "listen = 'udp://taken:1'", "");
    let errors = Agent::start(&planned(&text), &Control::default(), no_endpoint).err();
    let told: Vec<String> = errors.expect("fails").iter().map(ToString::to_string).collect();
    assert_eq!(told, ["cannot listen on udp://taken:1: choose another port"]);
}

#[test]
fn a_wish_to_roll_reaches_the_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("out.log");
    let text = format!(
        "[agent]\nmemory = '32MiB'\n[sources.in]\ntype = 'count'\nevents = 10\nthen = 'stay'\n\
         [sinks.out]\ntype = 'file'\ncodec = 'none'\npath = '{}'\nblock = {{ age = '10ms' }}\n",
        path.display()
    );
    let agent = start(&text);
    wait(&agent, "it is written", |ledger| ledger.sinks[0].written_events == 10);
    let control = agent.control().clone();
    let watcher = std::thread::spawn(move || agent.join());
    control.roll();
    wait_until("the file is finished", || path.exists());
    control.stop();
    well(&watcher.join().expect("no panic"));
    assert_eq!(lines(&path), (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a file");
    text.lines().map(str::to_owned).collect()
}
