//! What a peer refuses for ever, and a file that takes it or does not.

use std::fs;
use std::path::Path;

use super::acknowledged::{Relp, relp_target};
use super::forwarding::{Peer, Sink, written};
use super::*;

fn sink(peer: &Peer, file: &Path) -> Sink {
    let (target, file) = (relp_target(peer), file.display());
    Sink::new(&format!(
        "targets = '{target}'\nbackoff_max = '10ms'\nwindow = 5\nattempts = 1\n\
         dead_letters = '{file}'"
    ))
}

pub(super) fn set_aside(line: &Line) -> u64 {
    line.ledger.snapshot().sinks[0].dead_lettered_events
}

pub(super) fn letters(file: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(file).expect("it is there");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Answers one by one, with `no` to those of these numbers, until all have an answer.
#[track_caller]
fn answer(sink: &mut Sink, peer: &mut Peer, relp: &mut Relp, count: usize, no: &[usize]) {
    sink.until("all have an answer", |_| {
        peer.accept();
        if let Some(socket) = peer.connections.last_mut() {
            let code = if no.contains(&relp.answered.len()) { 501 } else { 200 };
            relp.serve(socket, usize::from(relp.answered.len() < count), code);
        }
        relp.answered.len() == count
    });
}

#[test]
fn what_the_peer_refuses_is_set_aside_and_never_sent_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("not/there/yet/dead.ndjson");
    let (mut peer, mut relp) = (Peer::new(), Relp::default());
    let mut sink = sink(&peer, &file);
    assert_eq!(letters(&file).len(), 0, "that it can be written is known before the first");
    sink.line.offer(&events(12), Marks::NONE);
    answer(&mut sink, &mut peer, &mut relp, 12, &[3, 11]);
    sink.until("the batch is done", |line| (written(line), set_aside(line)) == (10, 2));
    assert_eq!(relp.answered, events(12));
    let found = letters(&file);
    let said = |key: &str| found.iter().map(|letter| letter[key].clone()).collect::<Vec<_>>();
    let text = |index: usize| String::from_utf8(events(12).remove(index)).expect("UTF-8");
    assert_eq!(said("event.original"), [text(3), text(11)]);
    assert_eq!(said("error.message"), ["the next hop answered 501"; 2]);
    assert_eq!(said("dead_letter.sink"), ["next"; 2]);
    let sink_counters = &sink.line.ledger.snapshot().sinks[0];
    assert_eq!(sink_counters.lost.get(LostReason::Refused), 0);
    sink.worker_closes(|| {
        relp.serve(&mut peer.connections[0], 0, 200);
        relp.closed
    });
}

#[test]
fn a_file_that_cannot_be_written_holds_the_sink_and_nothing_comes_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("letters");
    let file = folder.join("dead.ndjson");
    let (mut peer, mut relp) = (Peer::new(), Relp::default());
    let mut sink = sink(&peer, &file);
    // From here on a file has the folder's name.
    fs::remove_dir_all(&folder).expect("ours");
    fs::write(&folder, "in the way").expect("ours");
    sink.line.offer(&events(4), Marks::NONE);
    sink.line.offer(&events(2), Marks::NONE);
    answer(&mut sink, &mut peer, &mut relp, 4, &[1]);
    let errors = |line: &Line| line.ledger.snapshot().sinks[0].errors;
    sink.until("it has tried twice", |line| errors(line) >= 2);
    let told = sink.line.context.incidents.blocking().join("\n");
    assert!(told.contains("dead.ndjson") && told.contains("Not a directory"), "{told}");
    assert_eq!((written(&sink.line), set_aside(&sink.line)), (0, 0));
    assert_eq!(relp.open.len(), 0, "the second batch waits");
    // The peer goes away meanwhile: what it has answered stays answered.
    let before = errors(&sink.line);
    peer.connections.clear();
    sink.until("that is noticed", |line| errors(line) > before);
    fs::remove_file(&folder).expect("ours");
    let mut second = Relp::default();
    answer(&mut sink, &mut peer, &mut second, 2, &[]);
    sink.until("all is done", |line| (written(line), set_aside(line)) == (5, 1));
    assert_eq!(second.answered, events(2), "nothing of the first batch came again");
    assert_eq!(letters(&file).len(), 1);
    sink.worker_closes(|| {
        second.serve(peer.connections.last_mut().expect("connected"), 0, 200);
        second.closed
    });
}

#[test]
fn without_a_file_it_is_lost_and_with_one_a_torn_line_stays_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("dead.ndjson");
    fs::write(&file, "{\"torn").expect("ours");
    let mut peer = Peer::new();
    let target = peer.target();
    // No framing of a stream has empty messages.
    let empty = [b"<13>a".to_vec(), Vec::new(), b"<13>b".to_vec()];
    for (letters, kept, lost) in [("", 0, 1), ("dead_letters", 1, 0)] {
        let mut options = format!("targets = '{target}'");
        if !letters.is_empty() {
            options.push_str(&format!("\n{letters} = '{}'", file.display()));
        }
        let mut sink = Sink::new(&options);
        sink.line.offer(&empty, Marks::NONE);
        sink.until("the batch is done", |line| {
            peer.accept();
            written(line) == 2
        });
        let lost_now = sink.line.ledger.snapshot().sinks[0].lost.get(LostReason::Refused);
        assert_eq!((set_aside(&sink.line), lost_now), (kept, lost));
        peer.connections.clear();
        sink.close();
    }
    let text = fs::read_to_string(&file).expect("it is there");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "{\"torn"), "{text}");
    assert!(lines[1].contains("\"error.message\":\"empty: ") && text.ends_with("\n"), "{text}");
}
