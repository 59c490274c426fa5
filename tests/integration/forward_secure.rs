//! Sending on to rsyslogd over RELP and TLS, and to syslog-ng over TLS: every message arrives once,
//! in order and byte by byte; who is not whom we expect, or does not want us, gets nothing.

use crate::forward::{at_sinks, sender, syslog_ng};
use crate::harness::{Agent, place, until, written};
use crate::papers::Papers;
use crate::peers::{Running, rsyslogd};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

const COUNT: usize = 2000;

/// Messages of all sorts: UTF-8 and what is none, control bytes, blanks at the end, long ones.
fn messages() -> Vec<Vec<u8>> {
    let odd: [&[u8]; 8] = [
        "Gr\u{fc}\u{df}e \u{2014} \u{1f600}".as_bytes(),
        b"\xff\xfe no UTF-8 \x80",
        b"blanks at the end   ",
        b"a\ttab, \x1b[31mcolour\x07, and\nanother line",
        b"100% #012 \\n %s \"quoted\"",
        b"[sd@1 a=\"b\"] 12 <13>counted",
        &[b'x'; 7000],
        b"",
    ];
    let message = |n: usize| {
        let mut message = format!("<166>Oct 11 22:14:15 somehost app[42]: {n:05} ").into_bytes();
        message.extend_from_slice(odd[n % odd.len()]);
        message
    };
    (0..COUNT).map(message).collect()
}

/// Gives the messages to an agent, with their lengths in front.
fn give(agent: &Agent, messages: &[Vec<u8>]) {
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    for message in messages {
        write!(stream, "{} ", message.len()).unwrap();
        stream.write_all(message).unwrap();
    }
}

/// All are written, and stand in the peer's file once, in order and unchanged, each with a `\n`.
#[track_caller]
fn all_arrive(options: &str, out: &Path, peer: Running) {
    let agent = sender(options);
    let messages = messages();
    give(&agent, &messages);
    let ledger = agent.wait_for(COUNT as u64);
    assert_eq!(written(&ledger), COUNT as u64, "{options}: {ledger:#}");
    let mut expected = messages.join(&b'\n');
    expected.push(b'\n');
    let read = || std::fs::read(out).unwrap_or_default();
    let arrived = until(|| read().len() >= expected.len());
    agent.stop().well();
    peer.finish();
    let got = read();
    let differ = expected.iter().zip(&got).position(|(expected, got)| expected != got);
    let at = differ.unwrap_or_else(|| expected.len().min(got.len()));
    let near = |bytes: &[u8]| {
        let end = bytes.len().min(at + 80);
        bytes[at.saturating_sub(80).min(end)..end].escape_ascii().to_string()
    };
    let shown = format!("at byte {at}: {}\nexpected: {}", near(&got), near(&expected));
    assert!(arrived && got == expected, "{options}: {} bytes arrived\n{shown}", got.len());
}

/// Nothing is counted as written, the sink says why, and nothing arrives.
#[track_caller]
fn nothing_arrives(options: &str, out: &Path, why: &str) {
    let agent = sender(options);
    give(&agent, &messages()[..100]);
    let ledger = agent.wait("failing", |ledger| at_sinks(ledger, "errors") > 1);
    let told = agent.wait_ready(503);
    assert!(told.contains(why) && !told.contains("refused (os"), "{options}: {told}");
    assert_eq!(written(&ledger), 0, "{options}: {ledger:#}");
    assert_eq!(std::fs::read(out).unwrap_or_default(), b"", "{options}");
}

// ── rsyslogd ──

const RSYSLOG: &str = r#"
global(workDirectory="{dir}" net.enableDNS="off" parser.escapeControlCharactersOnReceive="off"
       DefaultNetstreamDriverCAFile="{dir}/ca.pem"
       DefaultNetstreamDriverCertFile="{dir}/server.pem"
       DefaultNetstreamDriverKeyFile="{dir}/server.key")
template(name="raw" type="string" string="%rawmsg%\n")
{input}
action(type="omfile" file="{dir}/out" template="raw")
"#;

const RELP: &str = r#"module(load="imrelp")
input(type="imrelp" address="{address}" port="{port}")"#;

const RELPS: &str = r#"module(load="imrelp" tls.tlsLib="{library}")
input(type="imrelp" address="{address}" port="{port}" tls="on" tls.caCert="{dir}/ca.pem"
      tls.myCert="{dir}/server.pem" tls.myPrivKey="{dir}/server.key"
      tls.authMode="name" tls.permittedPeer=["one.example"])"#;

const TLS: &str = r#"module(load="imtcp" StreamDriver.Name="{driver}" StreamDriver.Mode="1"
       StreamDriver.AuthMode="x509/name" PermittedPeer=["one.example"])
input(type="imtcp" address="{address}" port="{port}")"#;

/// Whom we believe and who we are.
const OURS: &str = "tls = { ca = '{dir}/ca.pem', certificate = '{dir}/sender.pem', \
                    key = '{dir}/sender.key' }";

/// Papers whose server is vouched for at this address, and with this input an rsyslogd there.
fn start(program: &Path, at: &str, input: &str) -> (Papers, Running) {
    let papers = Papers::new();
    let (address, port) = at.split_once(':').unwrap();
    papers.issue(&papers.authority, "server", &[address, "localhost"]);
    let text = RSYSLOG
        .replace("{input}", input)
        .replace("{dir}", papers.dir.path().to_str().unwrap())
        .replace("{address}", address)
        .replace("{port}", port);
    let file = papers.path("rsyslog.conf");
    std::fs::write(&file, text).unwrap();
    let peer = Running::start(Command::new(program).args(["-n", "-iNONE", "-f"]).arg(&file));
    // Otherwise a refusal might be the kernel's.
    assert!(until(|| TcpStream::connect(at).is_ok()), "nobody listens at {at}");
    (papers, peer)
}

fn options(papers: &Papers, target: &str, tls: &str) -> String {
    let text = format!("targets = '{target}'\n{tls}");
    text.replace("{dir}", papers.dir.path().to_str().unwrap())
}

#[test]
fn relp_to_imrelp() {
    let Some(program) = rsyslogd() else { return };
    let at = place(31);
    let (papers, peer) = start(&program, &at, RELP);
    let options = options(&papers, &format!("relp://{at}"), "window = 50");
    all_arrive(&options, &papers.path("out"), peer);
}

#[test]
fn relps_to_imrelp_by_both_libraries() {
    let Some(program) = rsyslogd() else { return };
    for (host, library) in [(32, "gnutls"), (33, "openssl")] {
        let at = place(host);
        let (papers, peer) = start(&program, &at, &RELPS.replace("{library}", library));
        let options = options(&papers, &format!("relps://{at}"), OURS);
        all_arrive(&options, &papers.path("out"), peer);
    }
}

#[test]
fn tls_to_imtcp_by_both_drivers() {
    let Some(program) = rsyslogd() else { return };
    for (host, driver) in [(34, "gtls"), (44, "ossl")] {
        let at = place(host);
        let (papers, peer) = start(&program, &at, &TLS.replace("{driver}", driver));
        let tls = format!("framing = 'octet'\n{OURS}");
        all_arrive(&options(&papers, &format!("tls://{at}"), &tls), &papers.path("out"), peer);
    }
}

/// A receiver that is somebody else, and one that does not want us: nothing is sent, or nothing of
/// it counts as delivered.
#[test]
fn where_one_side_refuses_the_other_nothing_is_delivered() {
    let Some(program) = rsyslogd() else { return };
    for (host, library) in [(35, "gnutls"), (36, "openssl")] {
        let at = place(host);
        let (papers, peer) = start(&program, &at, &RELPS.replace("{library}", library));
        let target = format!("relps://{at}");
        let out = papers.path("out");
        for (tls, why) in [
            (OURS.replace("/ca.pem", "/stranger.pem"), "no authority that is trusted here"),
            (OURS.replace("tls = {", "tls = { peers = ['other.example'],"), "of `localhost`, whom"),
            (OURS.replace("/sender.", "/stranger."), "relps://"),
            (OURS.replace("/sender.", "/server."), "relps://"),
            ("tls = { ca = '{dir}/ca.pem' }".to_owned(), "relps://"),
        ] {
            nothing_arrives(&options(&papers, &target, &tls), &out, why);
        }
        all_arrive(&options(&papers, &target, OURS), &out, peer);
    }
}

/// `gtls` agrees with everybody, in either version, and hangs up on whom it does not want. `ossl`
/// does not always look at names (seen with 8.2302), so it is only shown what it must refuse.
#[test]
fn where_imtcp_refuses_us_nothing_is_delivered() {
    let Some(program) = rsyslogd() else { return };
    for (host, driver, unwelcome) in [(42, "gtls", &["one.other"][..]), (45, "ossl", &[])] {
        let at = place(host);
        let (papers, peer) = start(&program, &at, &TLS.replace("{driver}", driver));
        nobody_else_delivers(&papers, &at, unwelcome);
        peer.finish();
    }
}

/// Nothing of whoever is not vouched for, has one of these names or no certificate is delivered;
/// ours is.
#[track_caller]
fn nobody_else_delivers(papers: &Papers, at: &str, unwelcome: &[&str]) {
    let out = papers.path("out");
    for name in unwelcome {
        papers.issue(&papers.authority, name, &[name]);
    }
    let others = unwelcome.iter().map(|name| OURS.replace("/sender.", &format!("/{name}.")));
    let stranger = OURS.replace("/sender.", "/stranger.");
    let nobody = "tls = { ca = '{dir}/ca.pem' }".to_owned();
    for tls in others.chain([stranger, nobody]) {
        for version in ["1.2", "1.3"] {
            let tls = tls.replace("tls = {", &format!("tls = {{ versions = ['{version}'],"));
            let options = options(papers, &format!("tls://{at}"), &tls);
            nothing_arrives(&format!("framing = 'octet'\n{options}"), &out, "tls://");
        }
    }
}

// ── syslog-ng ──

const SYSLOG_NG: &str = r#"@version: 3.38
options { stats-freq(0); use-dns(no); keep-hostname(yes); log-msg-size(65536); };
source net { syslog(ip("{address}") port({port}) transport("tls") flags(no-parse)
    tls(ca-file("{dir}/ca.pem") cert-file("{dir}/server.pem") key-file("{dir}/server.key")
        peer-verify(required-trusted))); };
destination out { file("{dir}/out" template("${MSG}\n")); };
log { source(net); destination(out); };
"#;

fn start_syslog_ng(program: &Path, at: &str) -> (Papers, Running) {
    let papers = Papers::new();
    let (address, port) = at.split_once(':').unwrap();
    papers.issue(&papers.authority, "server", &[address]);
    let text = SYSLOG_NG
        .replace("{dir}", papers.dir.path().to_str().unwrap())
        .replace("{address}", address)
        .replace("{port}", port);
    let file = papers.path("syslog-ng.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(program);
    command.args(["-F", "--no-caps"]).arg("-f").arg(&file);
    for (flag, name) in [("-R", "persist"), ("-c", "control"), ("-p", "pid")] {
        command.arg(flag).arg(papers.path(name));
    }
    let peer = Running::start(&mut command);
    assert!(until(|| TcpStream::connect(at).is_ok()), "nobody listens at {at}");
    (papers, peer)
}

#[test]
fn tls_to_syslog_ng() {
    let Some(program) = syslog_ng() else { return };
    let at = place(37);
    let (papers, peer) = start_syslog_ng(&program, &at);
    let tls = format!("framing = 'octet'\n{OURS}");
    all_arrive(&options(&papers, &format!("tls://{at}"), &tls), &papers.path("out"), peer);
}

#[test]
fn where_syslog_ng_refuses_us_nothing_is_delivered() {
    let Some(program) = syslog_ng() else { return };
    let at = place(43);
    let (papers, peer) = start_syslog_ng(&program, &at);
    nobody_else_delivers(&papers, &at, &[]);
    peer.finish();
}
