//! rsyslogd sending with omrelp over TLS: with both libraries that librelp knows, with and without
//! certificates of its own, and refused by us or refusing us.

use crate::harness::{Agent, agent, flumen, sum, written};
use crate::papers::Papers;
use crate::peers::{Running, assert_texts, rsyslogd, run, texts, write_lines};
use std::path::Path;
use std::process::Command;

const COUNT: usize = 3000;

const TO_FILE: &str = r#"
[sources.net]
type   = "syslog"
listen = "relps://127.0.0.1:0"

[sources.net.tls]
certificate = "{here}/server.pem"
key         = "{here}/server.key"
{clients}

[sinks.archive]
type  = "file"
path  = "{dir}/out.log"
codec = "none"
"#;

const MUTUAL: &str = "clients = 'required'\nclient_ca = '{here}/ca.pem'\npeers = ['*.example']";

/// rsyslogd sends each line of `{dir}/texts`, and tries for ever.
const SEND: &str = r#"
global(workDirectory="{dir}" net.enableDNS="off")
module(load="imfile")
module(load="omrelp" tls.tlsLib="{library}")
input(type="imfile" File="{dir}/texts" Tag="flumen-test:" Severity="info" Facility="local4")
action(type="omrelp" target="127.0.0.1" port="{port}" {tls}
       action.resumeRetryCount="-1" action.resumeInterval="1")
"#;

const TLS: &str =
    r#"tls="on" tls.caCert="{here}/ca.pem" tls.authMode="name" tls.permittedPeer="localhost""#;

fn start(papers: &Papers, clients: &str) -> Agent {
    let text = agent("128MiB", "") + &TO_FILE.replace("{clients}", clients);
    Agent::start(&text.replace("{here}", papers.dir.path().to_str().unwrap()))
}

fn tls_by(name: &str) -> String {
    let own = r#" tls.myCert="{here}/{name}.pem" tls.myPrivKey="{here}/{name}.key""#;
    TLS.to_owned() + &own.replace("{name}", name)
}

/// An rsyslogd in a folder of its own among the papers.
fn sender(program: &Path, papers: &Papers, agent: &Agent, library: &str, tls: &str) -> Running {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = papers.path(&format!("sender-{next}"));
    std::fs::create_dir(&folder).unwrap();
    write_lines(&folder.join("texts"), &texts(COUNT));
    let configuration = SEND
        .replace("{tls}", tls)
        .replace("{dir}", folder.to_str().unwrap())
        .replace("{here}", papers.dir.path().to_str().unwrap())
        .replace("{library}", library)
        .replace("{port}", &agent.relps("net").port().to_string());
    let file = folder.join("rsyslog.conf");
    std::fs::write(&file, configuration).unwrap();
    Running::start(Command::new(program).args(["-n", "-iNONE", "-f"]).arg(&file))
}

fn refused(ledger: &serde_json::Value) -> u64 {
    sum(&ledger["sources"], "refused_connections")
}

/// Everything arrives, and is acknowledged: rsyslogd has nothing left to send when it ends.
#[track_caller]
fn all_arrives(agent: Agent, sender: Running) {
    let synced = |ledger: &serde_json::Value| sum(&ledger["sinks"], "synced_events");
    agent.wait("all is synced", |ledger| synced(ledger) == COUNT as u64);
    sender.finish();
    let ended = agent.stop().well();
    let events = ended.lines("out.log");
    assert_texts(&events, &texts(COUNT));
    assert!(events.iter().all(|event| event.starts_with("<166>")), "{:?}", events[0]);
}

#[test]
fn omrelp_by_both_libraries() {
    let Some(program) = rsyslogd() else { return };
    for library in ["gnutls", "openssl"] {
        let papers = Papers::new();
        let agent = start(&papers, "");
        // With gnutls, librelp without a certificate of its own offers anonymous ciphers alone.
        let tls = if library == "gnutls" { tls_by("sender") } else { TLS.to_owned() };
        let sender = sender(&program, &papers, &agent, library, &tls);
        all_arrives(agent, sender);
    }
}

#[test]
fn only_welcome_senders_get_in() {
    let Some(program) = rsyslogd() else { return };
    for library in ["gnutls", "openssl"] {
        let papers = Papers::new();
        papers.issue(&papers.authority, "neighbour", &["one.elsewhere"]);
        let agent = start(&papers, MUTUAL);
        // By another authority; by ours, but nobody we know; without any.
        for tls in [tls_by("stranger"), tls_by("neighbour"), TLS.to_owned()] {
            let before = refused(&agent.ledger());
            let unwelcome = sender(&program, &papers, &agent, library, &tls);
            agent.wait(&format!("refused: {tls}"), |ledger| refused(ledger) > before);
            drop(unwelcome);
        }
        agent.wait_told("its certificate is by no authority that is trusted here");
        let ledger = agent.ledger();
        assert_eq!(sum(&ledger["sources"], "received_events"), 0, "{}", agent.log());
        assert_eq!(written(&ledger), 0);
        let sender = sender(&program, &papers, &agent, library, &tls_by("sender"));
        all_arrives(agent, sender);
    }
}

#[test]
fn blast_over_both() {
    let papers = Papers::new();
    let agent = start(&papers, MUTUAL);
    let mut blast = flumen();
    blast.arg("blast").arg(format!("relps://{}", agent.relps("net"))).args(["--count", "3000"]);
    blast.arg("--ca").arg(papers.path("ca.pem"));
    let refused = blast.output().unwrap();
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("it wants a certificate of ours"), "{errors}");
    blast.arg("--cert").arg(papers.path("sender.pem")).arg("--key").arg(papers.path("sender.key"));
    let said = run(&mut blast);
    assert!(said.starts_with("sent 3000 events") && !said.contains("note"), "{said}");
    let ledger = agent.ledger();
    assert_eq!(sum(&ledger["sinks"], "synced_events"), 3000, "{ledger:#}");
}

/// A sender that expects somebody else behind this port gives nothing away; one that speaks plain
/// text is told apart from it.
#[test]
fn senders_that_refuse_us_or_speak_plain_text() {
    let Some(program) = rsyslogd() else { return };
    for library in ["gnutls", "openssl"] {
        let papers = Papers::new();
        let agent = start(&papers, "");
        let hung_up = |ledger: &serde_json::Value| {
            // With TLS 1.3 a sender may look at us when for us all is well.
            refused(ledger) + sum(&ledger["sources"], "errors")
        };
        for tls in [
            tls_by("sender").replace("=\"localhost", "=\"other.example"),
            tls_by("sender").replace("ca.pem", "stranger.pem"),
            r#"tls="off""#.to_owned(),
        ] {
            let before = hung_up(&agent.ledger());
            let sender = sender(&program, &papers, &agent, library, &tls);
            agent.wait(&format!("hung up: {tls}"), |ledger| hung_up(ledger) > before);
            drop(sender);
        }
        let ledger = agent.ledger();
        assert_eq!(sum(&ledger["sources"], "received_events"), 0, "{ledger:#}");
        agent.wait_told("it sends plain text, not TLS");
    }
}
