//! What a RELP peer refuses is sent again, so often and no more, and nothing else with it.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Instant;

use super::acknowledged::{Relp, relp_target};
use super::dead_letters::{letters, set_aside};
use super::forwarding::{Peer, Sink, written};
use super::*;
use crate::runtime::Progress;

const COUNT: usize = 12;

fn options(peer: &Peer, more: &str) -> String {
    format!("targets = '{}'\nbackoff_max = '10ms'\nwindow = 5\n{more}", relp_target(peer))
}

fn of(indexes: &[usize]) -> Vec<Vec<u8>> {
    indexes.iter().map(|index| events(COUNT).remove(*index)).collect()
}

fn is_of(indexes: &[usize], text: &[u8]) -> bool {
    of(indexes).iter().any(|event| event == text)
}

/// The peer's last connection is served until the condition holds.
#[track_caller]
fn serve(
    sink: &mut Sink,
    peer: &mut Peer,
    relp: &mut Relp,
    judge: impl Fn(&[u8]) -> u16,
    done: impl Fn(&Line, &Relp) -> bool,
) {
    sink.until("the peer has said it all", |line| {
        peer.accept();
        if let Some(socket) = peer.connections.last_mut() {
            relp.judge(socket, usize::MAX, &judge);
        }
        done(line, relp)
    });
}

fn lost(line: &Line) -> u64 {
    line.ledger.snapshot().sinks[0].lost.get(LostReason::Refused)
}

#[test]
fn what_is_refused_for_a_time_arrives_and_nothing_else_comes_again() {
    let (mut peer, mut relp) = (Peer::new(), Relp::default());
    let mut sink = Sink::new(&options(&peer, "attempts = 4"));
    sink.line.offer(&events(COUNT), Marks::NONE);
    let left = Cell::new(4);
    let judge = |text: &[u8]| {
        let refused = is_of(&[3, 11], text) && left.get() > 0;
        left.set(left.get() - u32::from(refused));
        if refused { 500 } else { 200 }
    };
    serve(&mut sink, &mut peer, &mut relp, judge, |line, _| written(line) == COUNT as u64);
    let expected = [events(COUNT), of(&[3, 11, 3, 11])].concat();
    assert_eq!(relp.answered, expected, "in their order, each attempt after the one before");
    let counters = &sink.line.ledger.snapshot().sinks[0];
    assert_eq!((counters.errors, counters.retries, lost(&sink.line)), (2, 2, 0));
    let told = sink.line.context.incidents.list();
    assert_eq!(told.len(), 1, "one story: {told:?}");
    let what = "the next hop answered 500: what it refused is sent again";
    assert!(told[0].what.contains(what), "{told:?}");
    // The next batch begins anew.
    sink.line.offer(&of(&[3]), Marks::NONE);
    left.set(3);
    let all = COUNT as u64 + 1;
    serve(&mut sink, &mut peer, &mut relp, judge, |line, _| written(line) == all);
    assert_eq!(relp.answered[expected.len()..], of(&[3, 3, 3, 3]));
    sink.line.adds_up();
}

#[test]
fn after_so_many_attempts_it_is_refused() {
    for (option, attempts) in [("attempts = 1", 1), ("attempts = 2", 2), ("", 3)] {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("dead.ndjson");
        let (mut peer, mut relp) = (Peer::new(), Relp::default());
        let more = format!("{option}\ndead_letters = '{}'", file.display());
        let mut sink = Sink::new(&options(&peer, &more));
        sink.line.offer(&events(COUNT), Marks::NONE);
        sink.line.offer(&events(2), Marks::NONE);
        let judge = |text: &[u8]| if is_of(&[3, 11], text) { 501 } else { 200 };
        serve(&mut sink, &mut peer, &mut relp, judge, |line, _| written(line) == 12);
        let again = vec![of(&[3, 11]); attempts - 1].concat();
        assert_eq!(relp.answered, [events(COUNT), again, events(2)].concat());
        assert_eq!((set_aside(&sink.line), lost(&sink.line)), (2, 0));
        let said = |key: &str| letters(&file).iter().map(|it| it[key].clone()).collect::<Vec<_>>();
        assert_eq!(said("dead_letter.attempts"), [attempts; 2]);
        assert_eq!(said("error.message"), ["the next hop answered 501"; 2]);
        sink.line.adds_up();
    }
}

#[test]
fn a_batch_that_is_refused_as_a_whole_is_tried_as_a_whole() {
    let (mut peer, mut relp) = (Peer::new(), Relp::default());
    let mut sink = Sink::new(&options(&peer, "attempts = 3"));
    sink.line.offer(&events(COUNT), Marks::NONE);
    serve(&mut sink, &mut peer, &mut relp, |_| 500, |line, _| lost(line) == COUNT as u64);
    assert_eq!(relp.answered, vec![events(COUNT); 3].concat());
    sink.line.adds_up();
}

fn at(ms: u64) -> Now {
    Now { mono: Mono(ms * 1_000_000), wall: Wall(0) }
}

/// Serves while time stands still, until the worker waits for it to go on; until when.
#[track_caller]
fn frozen(sink: &mut Sink, peer: &mut Peer, relp: &mut Relp, now: Now, answered: usize) -> Mono {
    let began = Instant::now();
    loop {
        let progress = sink.step_at(now);
        peer.accept();
        peer.connections.iter_mut().for_each(|socket| relp.judge(socket, usize::MAX, |_| 500));
        // With the answer in hand it waits for less than `write_timeout`.
        if let Progress::Idle { until } = progress
            && relp.answered.len() == answered
            && until < now.mono.after(Duration::from_secs(5))
        {
            return until;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "never {answered} answers");
    }
}

#[test]
fn between_two_attempts_it_waits_and_a_stop_shortens_that() {
    let (mut peer, mut relp) = (Peer::new(), Relp::default());
    let target = relp_target(&peer);
    let mut sink = Sink::new(&format!("targets = '{target}'\nattempts = 100"));
    sink.line.offer(&events(1), Marks::NONE);
    let mut now = at(1);
    for attempt in 1..=5 {
        let until = frozen(&mut sink, &mut peer, &mut relp, now, attempt);
        let (pause, whole) = (until.since(now.mono), Duration::from_millis(50 << attempt));
        assert!((whole / 2..=whole).contains(&pause), "attempt {attempt}: {pause:?}");
        for _ in 0..20 {
            assert_eq!(sink.step_at(now), Progress::Idle { until }, "nothing is done meanwhile");
        }
        if attempt < 5 {
            now.mono = until;
        }
    }
    sink.close_at(now);
    let Progress::Idle { until } = sink.step_at(now) else { panic!("it waits") };
    assert_eq!(until.since(now.mono), Duration::from_millis(500), "it was 0.8 s at least");
    now.mono = until;
    let began = Instant::now();
    while sink.step_at(now) != Progress::Done {
        relp.serve(&mut peer.connections[0], 1, 200);
        assert!(began.elapsed() < Duration::from_secs(20), "it does not end");
    }
    assert_eq!((relp.answered.len(), relp.closed, written(&sink.line)), (6, true, 1));
    sink.line.adds_up();
}

/// It breaks after any number of answers of either attempt: what was accepted never comes again,
/// what was refused counts, and the rest goes on where it was.
#[test]
fn a_connection_that_breaks_forgets_no_attempt() {
    let poison = [3, 7, 11];
    for answers in 0..COUNT + 2 * poison.len() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("dead.ndjson");
        let (mut peer, mut first) = (Peer::new(), Relp::default());
        let more = format!("attempts = 3\ndead_letters = '{}'", file.display());
        let mut sink = Sink::new(&options(&peer, &more));
        sink.line.offer(&events(COUNT), Marks::NONE);
        let judge = |text: &[u8]| if is_of(&poison, text) { 500 } else { 200 };
        let whole = [events(COUNT), of(&poison), of(&poison)].concat();
        let round = if answers < COUNT { COUNT } else { COUNT + (answers - 9) / 3 * 3 };
        sink.until("so many are answered, and heard", |_| {
            peer.accept();
            let left = answers - first.answered.len();
            peer.connections.iter_mut().for_each(|socket| first.judge(socket, left, judge));
            // What comes next shows that the sink has heard the answers.
            first.answered.len() == answers && first.open.len() == 5.min(round - answers)
        });
        peer.connections.clear();
        let mut second = Relp::default();
        serve(&mut sink, &mut peer, &mut second, judge, |line, _| {
            (written(line), set_aside(line)) == (9, 3)
        });
        assert_eq!(first.answered, whole[..answers]);
        assert_eq!(second.answered, whole[answers..], "after {answers} answers");
        let found = letters(&file);
        assert!(found.len() == 3 && found.iter().all(|it| it["dead_letter.attempts"] == 3));
        sink.line.adds_up();
    }
}

/// A target of another kind gets what is left, and only that.
#[test]
fn when_the_peer_goes_away_another_target_gets_what_it_refused() {
    for rewritten in ["", "format = 'rfc3164'"] {
        let (mut peer, mut relp, mut plain) = (Peer::new(), Relp::default(), Peer::new());
        let mut sink = Sink::new(&format!(
            "targets = ['{}', '{}']\nattempts = 100\n{rewritten}",
            relp_target(&peer),
            plain.target()
        ));
        sink.line.offer(&events(COUNT), Marks::NONE);
        let seen = RefCell::new(Vec::new());
        let judge = |text: &[u8]| {
            let refused = (4..6).contains(&seen.borrow().len());
            seen.borrow_mut().push(text.to_vec());
            if refused { 500 } else { 200 }
        };
        let all = |_: &Line, relp: &Relp| relp.answered.len() == COUNT;
        serve(&mut sink, &mut peer, &mut relp, judge, all);
        let refused = seen.borrow()[4..6].to_vec();
        drop(peer);
        sink.until("the other has it", |line| {
            plain.accept();
            written(line) == COUNT as u64
        });
        let expected = framed(Framing::Newline, &refused);
        sink.until("all of it is here", |_| plain.read() == expected.len());
        assert!(plain.got == expected, "{rewritten}");
        assert_eq!(lost(&sink.line), 0);
        sink.line.adds_up();
    }
}

/// Answers and breaks as chance has it, with answers that never arrive: each event has one end.
#[test]
fn whatever_happens_each_event_has_one_end() {
    for seed in 1..40_u64 {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("dead.ndjson");
        let chance = Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let once_in = |count: u64| {
            let mut next = chance.get();
            next ^= next << 13;
            next ^= next >> 7;
            next ^= next << 17;
            chance.set(next);
            (next >> 11).is_multiple_of(count)
        };
        let (mut peer, mut relp) = (Peer::new(), Relp::default());
        let more = format!("attempts = 3\ndead_letters = '{}'", file.display());
        let mut sink = Sink::new(&options(&peer, &more));
        let (accepted, refused) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let judge = |text: &[u8]| {
            let no = once_in(2);
            let shelf = if no { &refused } else { &accepted };
            shelf.borrow_mut().push(text.to_vec());
            if no { 500 } else { 200 }
        };
        sink.line.offer(&events(COUNT), Marks::NONE);
        sink.until("each has its end", |line| {
            peer.accept();
            if once_in(12) {
                peer.connections.clear();
            }
            if let Some(socket) = peer.connections.last_mut() {
                let answers = if once_in(2) { 1 } else { 7 };
                relp.judge(socket, answers, judge);
            } else {
                relp = Relp::default();
            }
            written(line) + set_aside(line) == COUNT as u64
        });
        ends(&sink.line, &file, &accepted.borrow(), &refused.borrow(), seed);
    }
}

#[track_caller]
fn ends(line: &Line, file: &Path, accepted: &[Vec<u8>], refused: &[Vec<u8>], seed: u64) {
    let letters = letters(file);
    assert_eq!(letters.len() as u64, set_aside(line), "seed {seed}");
    let dead = |text: &[u8]| {
        letters.iter().any(|it| it["event.original"].as_str().map(str::as_bytes) == Some(text))
    };
    for text in events(COUNT) {
        let noes = refused.iter().filter(|it| **it == text).count();
        match dead(&text) {
            true => assert!(noes >= 3, "seed {seed}: {noes} times no"),
            false => assert!(accepted.contains(&text), "seed {seed}: it is nowhere"),
        }
    }
    assert!(letters.iter().all(|it| it["dead_letter.attempts"] == 3), "seed {seed}");
    line.adds_up();
}
