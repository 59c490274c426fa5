//! rsyslogd forwarding a file to us with omfwd: UDP, TCP by lines, TCP by octet counts.

use crate::harness::{Agent, SYSLOG_TO_FILE, sum, written};
use crate::peers::{Running, assert_texts, peer, rsyslogd, texts, write_lines};
use std::process::Command;

const COUNT: usize = 500;

/// rsyslogd reads `{dir}/texts` and forwards each line.
const FORWARD: &str = r#"
global(workDirectory="{dir}" net.enableDNS="off")
module(load="imfile")
input(type="imfile" File="{dir}/texts" Tag="flumen-test:" Severity="info" Facility="local4")
action(type="omfwd" target="127.0.0.1" port="{port}" template="{template}" {protocol})
"#;

/// Starts an agent and an rsyslogd that forwards `texts` to it, waits for all of them, stops both.
fn through_rsyslog(protocol: &str, template: &str) -> Option<(Vec<String>, Vec<String>)> {
    through_rsyslog_to(SYSLOG_TO_FILE, protocol, template)
}

/// The same to an agent of another configuration.
fn through_rsyslog_to(
    configuration: &str,
    protocol: &str,
    template: &str,
) -> Option<(Vec<String>, Vec<String>)> {
    forward(configuration, protocol, template, texts(COUNT))
}

/// The same with these texts.
fn forward(
    configuration: &str,
    protocol: &str,
    template: &str,
    texts: Vec<String>,
) -> Option<(Vec<String>, Vec<String>)> {
    let rsyslogd = rsyslogd()?;
    peer("zstd")?;
    let agent = Agent::start(configuration);
    let udp = protocol.contains("udp");
    let to = if udp { agent.udp("net") } else { agent.tcp("net") };
    let folder = agent.dir.path().join("rsyslog");
    std::fs::create_dir(&folder).expect("a folder");
    write_lines(&folder.join("texts"), &texts);
    let configuration = FORWARD
        .replace("{dir}", folder.to_str().expect("UTF-8"))
        .replace("{port}", &to.port().to_string())
        .replace("{template}", template)
        .replace("{protocol}", protocol);
    let file = folder.join("rsyslog.conf");
    std::fs::write(&file, configuration).expect("written");
    let sender = Running::start(Command::new(rsyslogd).args(["-n", "-iNONE", "-f"]).arg(&file));
    let ledger = agent.wait_for(texts.len() as u64);
    // A datagram the kernel had no room for is not in the file, but it is counted.
    assert_eq!(sum(&ledger["sources"], "received_events"), written(&ledger));
    sender.finish();
    let ended = agent.stop().well();
    Some((ended.lines("out.log.zst"), texts))
}

#[test]
fn omfwd_udp() {
    let protocol = r#"protocol="udp""#;
    let Some((events, texts)) = through_rsyslog(protocol, "RSYSLOG_TraditionalForwardFormat")
    else {
        return;
    };
    assert_texts(&events, &texts);
    assert!(events.iter().all(|event| event.starts_with("<166>")), "{:?}", events[0]);
}

#[test]
fn omfwd_tcp_lines() {
    let protocol = r#"protocol="tcp" TCP_Framing="traditional""#;
    let Some((events, texts)) = through_rsyslog(protocol, "RSYSLOG_ForwardFormat") else { return };
    assert_texts(&events, &texts);
    assert!(events.iter().all(|event| event.starts_with("<166>")), "{:?}", events[0]);
}

#[test]
fn omfwd_compressed_streams() {
    let row = "compression = { mode = \"stream:always\", connections_max = 10 }\nlisten  =";
    let configuration = SYSLOG_TO_FILE.replacen("listen  =", row, 1);
    for framing in ["traditional", "octet-counted"] {
        let protocol =
            format!(r#"protocol="tcp" TCP_Framing="{framing}" compression.mode="stream:always""#);
        let template = "RSYSLOG_ForwardFormat";
        let through = through_rsyslog_to(&configuration, &protocol, template);
        let Some((events, texts)) = through else { return };
        assert_texts(&events, &texts);
        assert!(events.iter().all(|event| event.starts_with("<166>")), "{:?}", events[0]);
    }
}

/// What does not become shorter by it comes as it is: both kinds stand side by side.
#[test]
fn omfwd_messages_compressed_one_by_one() {
    let row = "compression = { mode = \"single\", connections_max = 20 }\nlisten  =";
    let configuration = SYSLOG_TO_FILE.replacen("listen  =", row, 1);
    let long = |text: String| [text.clone(), text.repeat(20)].join(" ");
    let texts: Vec<String> =
        texts(COUNT).into_iter().flat_map(|it| [it.clone(), long(it)]).collect();
    for (transport, template) in [
        (r#"protocol="udp""#, "RSYSLOG_TraditionalForwardFormat"),
        (r#"protocol="tcp" TCP_Framing="octet-counted""#, "RSYSLOG_SyslogProtocol23Format"),
        // A compressed message is counted here, too, and stands between lines.
        (r#"protocol="tcp" TCP_Framing="traditional""#, "RSYSLOG_ForwardFormat"),
    ] {
        let protocol = format!(r#"{transport} ziplevel="9" compression.mode="single""#);
        let through = forward(&configuration, &protocol, template, texts.clone());
        let Some((events, texts)) = through else { return };
        assert_texts(&events, &texts);
        assert!(events.iter().all(|event| event.starts_with("<166>")), "{:?}", events[0]);
    }
    // They did come compressed: without being told so, nobody can read them.
    let protocol = r#"protocol="udp" ziplevel="9" compression.mode="single""#;
    let template = "RSYSLOG_TraditionalForwardFormat";
    let severity = "codec   = \"zstd\"\nencoder = { template = \"%{severity}\" }";
    let configuration = SYSLOG_TO_FILE.replacen("codec   = \"zstd\"", severity, 1);
    let Some((events, _)) = forward(&configuration, protocol, template, texts) else { return };
    assert_eq!(events.iter().filter(|severity| *severity == "info").count(), COUNT);
}

#[test]
fn omfwd_tcp_octet_counts() {
    let protocol = r#"protocol="tcp" TCP_Framing="octet-counted""#;
    let template = "RSYSLOG_SyslogProtocol23Format";
    let Some((events, texts)) = through_rsyslog(protocol, template) else { return };
    assert_texts(&events, &texts);
    assert!(events.iter().all(|event| event.starts_with("<166>1 ")), "{:?}", events[0]);
}
