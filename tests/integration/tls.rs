//! TLS with real senders: openssl s_client, rsyslogd by both drivers, syslog-ng, our own generator.

use crate::forward::syslog_ng;
use crate::harness::{Agent, SYSLOG_TO_FILE, flumen, sum};
use crate::papers::{Papers, authority};
use crate::peers::{Running, assert_texts, peer, rsyslogd, run, texts, write_lines};
use std::io::Write;
use std::process::{Child, Command, Stdio};

const COUNT: usize = 500;

impl Papers {
    /// An agent with a `tls://` listener; its folder, the certificates in it, stays ours.
    fn agent(&self, more: &str) -> Agent {
        self.agent_with(more, |configuration| configuration)
    }

    /// The same with a configuration that is changed.
    fn agent_with(&self, more: &str, change: impl FnOnce(String) -> String) -> Agent {
        let here = self.dir.path().display();
        let tls = format!(
            "[sources.net.tls]\ncertificate = '{here}/server.pem'\nkey = '{here}/server.key'\n{}\n",
            more.replace("{here}", &here.to_string())
        );
        let configuration = SYSLOG_TO_FILE
            .replace(r#""udp://127.0.0.1:0", "#, r#""tls://127.0.0.1:0", "#)
            .replace("64MiB", "128MiB")
            .replace("[channels.main]", &format!("{tls}\n[channels.main]"));
        Agent::start(&change(configuration))
    }

    /// `openssl s_client` that sends what is written to it.
    fn openssl(&self, agent: &Agent, flags: &[&str], own: Option<&str>) -> Option<Child> {
        let mut command = Command::new(peer("openssl")?);
        command.args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-connect"]);
        command.arg(agent.tls("net").to_string()).arg("-CAfile").arg(self.path("ca.pem"));
        if let Some(own) = own {
            command.arg("-cert").arg(self.path(&format!("{own}.pem")));
            command.arg("-key").arg(self.path(&format!("{own}.key")));
        }
        let child = command.args(flags).stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
        Some(child.expect("openssl starts"))
    }
}

/// Writes and closes; how it ended.
fn give(mut child: Child, texts: &[String]) -> bool {
    let mut stdin = child.stdin.take().expect("piped");
    // Whoever was refused has gone.
    let _ = stdin.write_all((texts.join("\n") + "\n").as_bytes());
    drop(stdin);
    child.wait().expect("it ends").success()
}

const MUTUAL: &str = "clients = 'required'\nclient_ca = '{here}/ca.pem'\npeers = ['*.example']";

#[test]
fn openssl_sends_in_both_versions() {
    let papers = Papers::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let agent = papers.agent("");
        let Some(child) = papers.openssl(&agent, &[version], None) else { return };
        assert!(give(child, &texts(COUNT)), "{version}: {}", agent.log());
        agent.wait_for(COUNT as u64);
        assert_texts(&agent.stop().well().lines("out.log.zst"), &texts(COUNT));
    }
}

#[test]
fn only_welcome_senders_get_in_and_the_others_are_told_and_counted() {
    let papers = Papers::new();
    let agent = papers.agent(&format!("{MUTUAL}\nversions = '1.3'"));
    let refused = |ledger: &serde_json::Value| sum(&ledger["sources"], "refused_connections");
    let tries = [(None, &[][..]), (Some("stranger"), &[]), (Some("sender"), &["-tls1_2"])];
    for (count, (own, flags)) in (1..).zip(tries) {
        let Some(child) = papers.openssl(&agent, flags, own) else { return };
        give(child, &texts(1));
        agent.wait("a refused connection", |ledger| refused(ledger) == count);
    }
    let Some(child) = papers.openssl(&agent, &[], Some("sender")) else { return };
    assert!(give(child, &texts(COUNT)), "{}", agent.log());
    let ledger = agent.wait_for(COUNT as u64);
    assert_eq!(refused(&ledger), 3);
    let (_, metrics) = agent.page("/metrics");
    assert!(metrics.contains("flumen_refused_connections_total"), "{metrics}");
    let ended = agent.stop().well();
    assert_texts(&ended.lines("out.log.zst"), &texts(COUNT));
    assert!(ended.log.contains("it shows no certificate, which is required"), "{}", ended.log);
    assert!(ended.log.contains("TLS with 127.0.0.1:"), "{}", ended.log);
}

#[test]
fn a_new_certificate_is_shown_to_newcomers_and_nobody_is_cut_off() {
    let papers = Papers::new();
    let agent = papers.agent("");
    let Some(mut old) = papers.openssl(&agent, &[], None) else { return };
    let stdin = old.stdin.as_mut().expect("piped");
    stdin.write_all(b"before\n").unwrap();
    agent.wait_for(1);
    // By another authority, which only newcomers trust.
    let other = authority();
    std::fs::write(papers.path("ca.pem"), other.pem()).unwrap();
    papers.issue(&other, "server", &["127.0.0.1"]);
    agent.wait_told("new files are in effect");
    let child = papers.openssl(&agent, &[], None).expect("it was there before");
    assert!(give(child, &["newcomer".to_owned()]), "{}", agent.log());
    agent.wait_for(2);
    assert!(give(old, &["after".to_owned()]));
    agent.wait_for(3);
    let events = agent.stop().well().lines("out.log.zst");
    assert_eq!(events, ["before", "newcomer", "after"]);
}

/// Whoever may name itself in a certificate does not leave the tree by it, either.
#[test]
fn each_certificate_has_its_file() {
    let papers = Papers::new();
    papers.issue(&papers.authority, "odd", &["../../up/../.x \"y\""]);
    let rules = "clients = 'required'\nclient_ca = '{here}/ca.pem'";
    let agent = papers.agent_with(rules, |configuration| {
        let encoder = "encoder = { template = \"%{tls_name} %{message}\" }";
        configuration.replace("out.log\"", &format!("%{{tls_name}}.log\"\n{encoder}"))
    });
    for (own, text) in [("sender", "of one"), ("odd", "of another")] {
        let Some(child) = papers.openssl(&agent, &[], Some(own)) else { return };
        assert!(give(child, &[text.to_owned()]), "{}", agent.log());
    }
    agent.wait_for(2);
    let ended = agent.stop().well();
    assert_eq!(ended.lines("one.example.log.zst"), ["one.example of one"]);
    assert_eq!(ended.lines("_._.._up_.._.x_\"y\".log.zst"), ["../../up/../.x \"y\" of another"]);
}

const RSYSLOG: &str = r#"
global(workDirectory="{dir}" net.enableDNS="off"
       DefaultNetstreamDriverCAFile="{dir}/ca.pem"
       DefaultNetstreamDriverCertFile="{dir}/sender.pem"
       DefaultNetstreamDriverKeyFile="{dir}/sender.key")
module(load="imfile")
input(type="imfile" File="{dir}/texts" Tag="flumen-test:" Severity="info" Facility="local4")
action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp"
       TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"
       StreamDriver="{driver}" StreamDriverMode="1" StreamDriverAuthMode="x509/name"
       StreamDriverPermittedPeers="localhost")
"#;

#[test]
fn rsyslog_by_both_drivers() {
    let Some(program) = rsyslogd() else { return };
    for driver in ["gtls", "ossl"] {
        let papers = Papers::new();
        let agent = papers.agent(MUTUAL);
        write_lines(&papers.path("texts"), &texts(COUNT));
        let configuration = RSYSLOG
            .replace("{driver}", driver)
            .replace("{dir}", papers.dir.path().to_str().unwrap())
            .replace("{port}", &agent.tls("net").port().to_string());
        let file = papers.path("rsyslog.conf");
        std::fs::write(&file, configuration).unwrap();
        let sender = Running::start(Command::new(&program).args(["-n", "-iNONE", "-f"]).arg(&file));
        agent.wait_for(COUNT as u64);
        sender.finish();
        let events = agent.stop().well().lines("out.log.zst");
        assert_texts(&events, &texts(COUNT));
        assert!(events.iter().all(|event| event.starts_with("<166>1 ")), "{:?}", events[0]);
    }
}

const SYSLOG_NG: &str = r#"@version: 3.38
options { stats-freq(0); use-dns(no); };
source s { file("{dir}/texts" follow-freq(1) flags(no-parse)); };
destination d { syslog("127.0.0.1" port({port}) transport("tls")
    tls(ca-file("{dir}/ca.pem") cert-file("{dir}/sender.pem") key-file("{dir}/sender.key"))); };
log { source(s); destination(d); };
"#;

#[test]
fn syslog_ng_with_tls() {
    let Some(program) = syslog_ng() else { return };
    let papers = Papers::new();
    let agent = papers.agent(MUTUAL);
    write_lines(&papers.path("texts"), &texts(COUNT));
    let configuration = SYSLOG_NG
        .replace("{dir}", papers.dir.path().to_str().unwrap())
        .replace("{port}", &agent.tls("net").port().to_string());
    let file = papers.path("syslog-ng.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new(program);
    command.args(["-F", "--no-caps"]).arg("-f").arg(&file);
    for (flag, name) in [("-R", "persist"), ("-c", "control"), ("-p", "pid")] {
        command.arg(flag).arg(papers.path(name));
    }
    let sender = Running::start(&mut command);
    agent.wait_for(COUNT as u64);
    sender.finish();
    assert_texts(&agent.stop().well().lines("out.log.zst"), &texts(COUNT));
}

#[test]
fn blast_sends_over_tls_and_the_audit_finds_everything() {
    let papers = Papers::new();
    let agent = papers.agent(MUTUAL);
    let manifest = papers.path("manifest.json");
    let blast = |ca: &str, own: &str| {
        let mut command = flumen();
        command.arg("blast").arg(format!("tls://{}", agent.tls("net")));
        command.args(["--count", "20k", "--connections", "3"]).arg("--manifest").arg(&manifest);
        command.arg("--ca").arg(papers.path(ca));
        command.arg("--cert").arg(papers.path(&format!("{own}.pem")));
        command.arg("--key").arg(papers.path(&format!("{own}.key")));
        command
    };
    // The receiver looks at our certificate when for us all is agreed.
    for (ca, own, why) in [
        ("stranger.pem", "sender", "no authority that is trusted"),
        ("ca.pem", "stranger", "the peer refuses"),
    ] {
        let output = blast(ca, own).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(why), "{errors}");
        assert!(!manifest.exists(), "it would look like a run's");
    }
    run(&mut blast("ca.pem", "sender"));
    agent.wait_for(20_000);
    let ended = agent.stop().well();
    run(flumen().args(["audit", "--manifest"]).arg(&manifest).arg(ended.dir.path()));
}
