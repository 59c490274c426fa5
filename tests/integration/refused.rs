//! Events that one sink of a group refuses: the others are asked, and what nobody takes is set
//! aside once.

use crate::dead_letters::{Taster, letters_of, message, of_kind};
use crate::groups::written_by;
use crate::harness::{Agent, lines_in, plain_sink, sum, until};
use crate::http_sink::{Server, send};
use serde_json::Value;

const COUNT: usize = 300;
const POISON: u64 = COUNT as u64 / 10;

const WEB: &str = r#"
[sinks.{name}]
type            = "http"
channel         = "main"
endpoint        = "http://{at}/"
attempts        = 2
backoff_max     = "50ms"
request_timeout = "60s"
"#;

const NEXT: &str = r#"
[sinks.{name}]
type        = "syslog"
channel     = "main"
targets     = "relp://{at}"
attempts    = {attempts}
backoff_max = "50ms"
"#;

const GROUP: &str = r#"
[groups.out]
type         = "{type}"
sinks        = ["first", "second"]
penalty_max  = "100ms"
"#;

const LETTERS: &str = "dead_letters = \"{dir}/dead.ndjson\"\n";

fn web(name: &str, server: &Server) -> String {
    WEB.replace("{name}", name).replace("{at}", &server.at)
}

fn next(name: &str, taster: &Taster, attempts: u32) -> String {
    let text = NEXT.replace("{name}", name).replace("{at}", &taster.address.to_string());
    text.replace("{attempts}", &attempts.to_string())
}

fn group(kind: &str) -> String {
    GROUP.replace("{type}", kind)
}

/// These servers in a group, which has a file for what both refuse.
fn both(kind: &str, first: &Server, second: &Server) -> String {
    [&web("first", first), &web("second", second), &group(kind), LETTERS].concat()
}

/// An agent that has these sinks and has sent all messages, and its ledger then.
#[track_caller]
fn run(text: &str) -> (Agent, Value) {
    let agent = Agent::start(text);
    send(&agent, &(0..COUNT).map(message).collect::<Vec<_>>());
    let ledger = wait(&agent);
    (agent, ledger)
}

fn of(ledger: &Value, series: &str) -> u64 {
    sum(&ledger["sinks"], series)
}

/// All of it has an end.
#[track_caller]
fn wait(agent: &Agent) -> Value {
    agent.wait("each event has its end", |ledger| {
        let ends = of(ledger, "written_events") + of(ledger, "dead_lettered_events");
        ends + ledger["lost_events"].as_u64().expect("a count") == COUNT as u64
    })
}

fn posts_of(server: &Server, text: &str) -> usize {
    let body = format!("{text}\n").into_bytes();
    server.posts().iter().filter(|post| post.body == body).count()
}

#[test]
fn what_the_first_refuses_the_second_takes() {
    let servers = Server::with(80, "taste").zip(Server::with(81, "200"));
    let Some((first, second)) = servers else { return };
    let (agent, ledger) = run(&(lines_in() + &both("failover", &first, &second)));
    let counts = ["first", "second"].map(|sink| written_by(&ledger, sink));
    assert_eq!(counts, [COUNT as u64 - POISON, POISON], "{ledger:#}");
    let ended = agent.stop().well();
    assert_eq!(first.accepted(), of_kind(COUNT, false), "in order, and none twice");
    assert_eq!(second.accepted(), of_kind(COUNT, true), "and nothing else");
    assert_eq!(letters_of(&ended.dir.path().join("dead.ndjson")), Vec::<Value>::new());
    assert_eq!(posts_of(&first, &message(9)), 2, "it was tried twice, alone");
}

#[test]
fn what_all_refuse_is_set_aside_once_and_those_beside_it_arrive() {
    for (kind, hosts) in [("failover", [82, 83]), ("load_balance", [84, 85])] {
        let servers = Server::with(hosts[0], "taste").zip(Server::with(hosts[1], "taste"));
        let Some((first, second)) = servers else { return };
        let (agent, ledger) = run(&(lines_in() + &both(kind, &first, &second)));
        assert_eq!(of(&ledger, "dead_lettered_events"), POISON, "{kind}: {ledger:#}");
        assert_eq!(ledger["lost_events"], 0, "{kind}: {ledger:#}");
        let ended = agent.stop().well();
        let mut accepted = [first.accepted(), second.accepted()].concat();
        accepted.sort();
        assert_eq!(accepted, of_kind(COUNT, false), "{kind}: none twice, none missing");
        let letters = letters_of(&ended.dir.path().join("dead.ndjson"));
        let text = |letter: &Value| letter["event.original"].as_str().unwrap().to_owned();
        let mut originals: Vec<String> = letters.iter().map(text).collect();
        originals.sort();
        assert_eq!(originals, of_kind(COUNT, true), "{kind}");
        for letter in &letters {
            assert_eq!(letter["dead_letter.attempts"], 4, "{kind}: two of each: {letter:#}");
            let reason = letter["error.message"].as_str().unwrap();
            let both = [&first.at, &second.at].iter().all(|at| reason.contains(at.as_str()));
            assert!(both, "{kind}: {reason}");
        }
        for poison in of_kind(COUNT, true) {
            let posts = [&first, &second].map(|server| posts_of(server, &poison));
            assert!(posts.iter().all(|count| *count >= 2), "{kind}: {poison}: {posts:?}");
        }
    }
}

/// Whoever is away has refused nothing, and nobody waits for it. What is set aside is synced and
/// out of the log: a restart finds nothing.
#[test]
fn one_that_is_away_holds_up_nothing() {
    let servers = Server::with(86, "taste").zip(Server::new(87));
    let Some((first, second)) = servers else { return };
    let log = "type = \"file\"\npath = \"{dir}/log\"\nreserve = \"0\"\n";
    let lines = lines_in().replace("type = \"memory\"\n", log);
    let text = lines + &both("failover", &first, &second);
    let (agent, ledger) = run(&text);
    assert_eq!(of(&ledger, "dead_lettered_events"), POISON, "{ledger:#}");
    assert_eq!(written_by(&ledger, "first"), COUNT as u64 - POISON, "{ledger:#}");
    let ended = agent.stop().well();
    assert_eq!(first.accepted(), of_kind(COUNT, false), "in order, and none twice");
    let file = ended.dir.path().join("dead.ndjson");
    assert_eq!(letters_of(&file).len() as u64, POISON);
    let agent = Agent::start_in(ended.dir, &text);
    send(&agent, &["poison at last".to_owned()]);
    let ledger = agent.wait("it is set aside", |ledger| of(ledger, "dead_lettered_events") == 1);
    assert_eq!(sum(&ledger["channels"], "recovered_events"), 0, "{ledger:#}");
    agent.stop().well();
    assert_eq!(first.accepted().len() as u64, COUNT as u64 - POISON, "nothing came again");
}

/// Over RELP, with a file behind it, which takes everything; and without any file of letters.
#[test]
fn of_different_kinds_the_one_that_can_takes_it() {
    let taster = Taster::start();
    let first = next("first", &taster, 3);
    let text = [lines_in(), first, plain_sink("second"), group("failover")].concat();
    let (agent, ledger) = run(&text);
    let counts = ["first", "second"].map(|sink| written_by(&ledger, sink));
    assert_eq!(counts, [COUNT as u64 - POISON, POISON], "{ledger:#}");
    let ended = agent.stop().well();
    assert!(until(|| taster.taken() == of_kind(COUNT, false)), "in order, and none twice");
    assert_eq!(ended.lines("second.log"), of_kind(COUNT, true));
    // Both refuse, and there is no file.
    let Some(second) = Server::with(88, "taste") else { return };
    let taster = Taster::start();
    let first = next("first", &taster, 3);
    let text = [lines_in(), first, web("second", &second), group("load_balance")].concat();
    let (agent, ledger) = run(&text);
    assert_eq!(ledger["lost_events"], POISON, "{ledger:#}");
    assert_eq!(of(&ledger, "dead_lettered_events"), 0, "{ledger:#}");
    agent.stop().well();
    let mut taken = [taster.taken(), second.accepted()].concat();
    taken.sort();
    assert_eq!(taken, of_kind(COUNT, false), "none twice, none missing");
}

#[test]
fn each_has_its_own_attempts() {
    let (first, second) = (Taster::start(), Taster::start());
    let sinks = [next("first", &first, 2), next("second", &second, 4), group("failover")].concat();
    let (agent, ledger) = run(&[&lines_in(), &sinks, LETTERS].concat());
    assert_eq!(of(&ledger, "dead_lettered_events"), POISON, "{ledger:#}");
    let ended = agent.stop().well();
    let refused = [&first, &second].map(|taster| taster.refused().len() as u64);
    assert_eq!(refused, [2 * POISON, 4 * POISON]);
    assert_eq!(first.taken(), of_kind(COUNT, false), "in order, and none twice");
    let letters = letters_of(&ended.dir.path().join("dead.ndjson"));
    assert_eq!(letters.len() as u64, POISON);
    for letter in &letters {
        assert_eq!(letter["dead_letter.attempts"], 6, "{letter:#}");
        let both = "first: the next hop answered 500; the next hop answered 500";
        assert_eq!(letter["error.message"], both, "{letter:#}");
    }
}
