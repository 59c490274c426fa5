//! Files by what messages say: `%{host}` and its kin, real sockets, and senders who mean harm.

use crate::harness::{Agent, SYSLOG_TO_FILE, sum};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;

/// Plain files by this path below `{dir}/logs`.
fn start(path: &str, more: &str) -> Agent {
    let text = SYSLOG_TO_FILE
        .replace("{dir}/out.log\"", &format!("{{dir}}/logs/{path}\"\n{more}"))
        .replace(r#""zstd""#, r#""none""#)
        .replace("listen  =", "zone = \"UTC\"\nlisten  =");
    Agent::start(&text)
}

/// Every file below a folder, by its path there.
fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

fn send(agent: &Agent, messages: &[&str]) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for message in messages {
        socket.send_to(message.as_bytes(), agent.udp("net")).unwrap();
    }
}

#[test]
fn a_file_a_host_over_both_transports() {
    let agent = start("%{host}/%{app}.log", "");
    let old = "<13>Oct 11 22:14:15 web01 su[7]: old";
    let new = "<165>1 2003-10-11T22:14:15.003Z web01 su 9 ID47 - new";
    let other = "<13>Oct 11 22:14:15 db su: other";
    let odd = "no header at all, just some text";
    send(&agent, &[old, other, odd]);
    agent.wait_for(3);
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    stream.write_all(format!("{new}\n{odd}\n{} {other}", other.len()).as_bytes()).unwrap();
    let ledger = agent.wait_for(6);
    let source = &ledger["sources"][0];
    assert_eq!(source["marked_events"]["unparsed"], 2);
    assert_eq!(source["unparsed_events"]["no_header"], 2);
    assert_eq!(sum(&ledger["sources"], "received_events"), 6);
    let ended = agent.stop().well();
    let found = files(&ended.dir.path().join("logs"));
    let expected = [
        ("127.0.0.1/unknown.log", format!("{odd}\n{odd}\n")),
        ("db/su.log", format!("{other}\n{other}\n")),
        ("web01/su.log", format!("{old}\n{new}\n")),
    ];
    assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text)).into());
}

/// Facility, severity and structured data; the elements' id has an `@` and the value escapes.
#[test]
fn a_file_by_facility_severity_and_structured_data() {
    let agent = start("%{facility}.%{severity}-%{sd:origin@1:site}.log", "");
    let one = r#"<165>1 2003-10-11T22:14:15.003Z h a - - [origin@1 site="zür\"ich"] one"#;
    let two = r#"<165>1 2003-10-11T22:14:15.003Z h a - - [other@1 site="bern"] two"#;
    send(&agent, &[one, two, "three"]);
    agent.wait_for(3);
    let ended = agent.stop().well();
    let found = files(&ended.dir.path().join("logs"));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let expected =
        ["local4.notice-unknown.log", "local4.notice-zür\"ich.log", "unknown.unknown-unknown.log"];
    assert_eq!(names, expected);
}

/// Whatever they call themselves, they write below `logs`, and every message is there.
#[test]
fn hostile_names_stay_in_their_tree() {
    let agent = start("%{host}/x-%{app}.log", "");
    let long = "h".repeat(250);
    let hosts = [
        "../../../etc",
        "..",
        ".",
        "/etc/passwd",
        "..%2f..",
        "-rf",
        ".ssh",
        "a/../../b",
        "x.open",
        long.as_str(),
        "\u{202e}txt.exe",
        "\\\\server\\share",
    ];
    let message = |host: &&str| format!("<13>1 2003-10-11T22:14:15Z {host} ../{host} - - - text");
    let messages: Vec<String> = hosts.iter().map(message).collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    send(&agent, &messages);
    agent.wait_for(hosts.len() as u64);
    let ended = agent.stop().well();
    let root = ended.dir.path();
    let beside: Vec<_> =
        std::fs::read_dir(root).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(beside.iter().all(|name| name == "logs" || name == "flumen.toml"), "{beside:?}");
    let found = files(&root.join("logs"));
    let lines: usize = found.values().map(|text| text.lines().count()).sum();
    assert_eq!(lines, hosts.len(), "{found:#?}");
    for name in found.keys() {
        let depth = name.matches('/').count();
        assert!(depth == 1 && !name.starts_with(['.', '-']) && !name.contains("/."), "{name}");
    }
}

#[test]
fn a_path_by_the_time_of_the_message() {
    let agent = start("%Y-%m-%d.log", "time = \"message\"\nzone = \"UTC\"");
    let old = "<13>1 2003-10-11T23:59:59.9Z h a - - - old";
    let zoned = "<13>1 2003-10-11T23:59:59-02:00 h a - - - the day after, in UTC";
    let again = "<13>1 2003-10-11T00:00:00Z h a - - - again";
    send(&agent, &[old, zoned, again]);
    agent.wait_for(3);
    let ended = agent.stop().well();
    let found = files(&ended.dir.path().join("logs"));
    let expected =
        [("2003-10-11.log", format!("{old}\n{again}\n")), ("2003-10-12.log", format!("{zoned}\n"))];
    assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text)).into());
}

/// What `json` and a template write of real messages, and that `cat` reads it.
#[test]
fn encoders_write_what_messages_say() {
    let message = "<165>1 2003-10-11T22:14:15.003Z web01 su 9 ID47 [a@1 b=\"c\"] hello";
    let text = SYSLOG_TO_FILE.replace("block   =", "encoder = \"json\"\nblock   =");
    let agent = Agent::start(&text);
    send(&agent, &[message, "odd"]);
    agent.wait_for(2);
    let ended = agent.stop().well();
    let objects: Vec<serde_json::Value> =
        ended.lines("out.log.zst").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[0]["@timestamp"], "2003-10-11T22:14:15.003000000Z");
    assert_eq!(objects[0]["host.name"], "web01");
    assert_eq!(objects[0]["log.syslog.structured_data"]["a@1"]["b"], "c");
    assert_eq!((&objects[0]["message"], &objects[1]["message"]), (&"hello".into(), &"odd".into()));
    assert_eq!(objects[1]["tags"][0], "unparsed");
    let cat = Command::new(env!("CARGO_BIN_EXE_flumen"))
        .args(["cat", "--json"])
        .arg(ended.dir.path().join("out.log.zst"))
        .output()
        .unwrap();
    let shown = String::from_utf8(cat.stdout).unwrap();
    for (shown, object) in shown.lines().zip(&objects) {
        let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
        assert_eq!(shown["message"], object["message"]);
        assert_eq!(
            (&shown["time"], &shown["time_of"]),
            (&object["event.created"], &"event".into())
        );
        assert_eq!(shown["peer"], object["log.source.address"]);
    }
    assert_eq!(shown.lines().count(), 2);

    let template = "encoder = { template = '%{host} %{app}[%{proc_id}] %{message}' }";
    let agent = start("out.log", template);
    send(&agent, &[message, "odd\nline"]);
    agent.wait_for(2);
    let ended = agent.stop().well();
    let found = files(&ended.dir.path().join("logs"));
    assert_eq!(found["out.log"], "web01 su[9] hello\n127.0.0.1 -[-] odd#012line\n");
}

/// Bits of the mode, and a command that sees each finished file under its finished name.
#[test]
fn files_have_their_mode_and_a_command_sees_each() {
    use std::os::unix::fs::PermissionsExt;
    let owner = rustix::process::getuid().as_raw();
    let agent = start(
        "%{host}.log",
        &format!(
            "mode = '0604'\nowner = '{owner}'\n\
             on_seal = ['/bin/sh', '-c', 'wc -l < \"$1\" >> {{dir}}/seen', 'sh']"
        ),
    );
    send(&agent, &["<13>Oct 11 22:14:15 web su: one", "<13>Oct 11 22:14:15 db su: two"]);
    agent.wait_for(2);
    let root = agent.dir.path().join("logs");
    let modes = |root: &Path| {
        let files = std::fs::read_dir(root).unwrap().map(|file| file.unwrap().metadata().unwrap());
        files.map(|file| file.permissions().mode() & 0o7777).collect::<Vec<_>>()
    };
    assert_eq!(modes(&root), [0o604; 2], "while they are written");
    let ended = agent.stop().well();
    assert_eq!(modes(&root), [0o604; 2], "finished");
    assert_eq!(std::fs::read_to_string(ended.dir.path().join("seen")).unwrap(), "1\n1\n");
}

/// Thousands of files are finished together: one by one each would wait for the disk twice, and a
/// stop would outlast its time.
#[test]
fn thousands_of_hosts_are_finished_within_the_time_of_a_stop() {
    const HOSTS: usize = 5000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let open_files = limit.map_or(HOSTS as u64, |most| most.saturating_sub(200)).min(8000);
    let text = SYSLOG_TO_FILE
        .replace(
            "{dir}/out.log\"",
            &format!("{{dir}}/logs/%{{host}}.log\"\nopen_files = {open_files}"),
        )
        .replace("[agent]", "[agent]\ndrain = \"12s\"");
    let agent = Agent::start(&text);
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    let lines: String = (0..HOSTS)
        .map(|host| format!("<13>1 2003-10-11T22:14:15Z host{host} a - - - text of {host}\n"))
        .collect();
    stream.write_all(lines.as_bytes()).unwrap();
    agent.wait_for(HOSTS as u64);
    let ended = agent.stop().well();
    let found = std::fs::read_dir(ended.dir.path().join("logs")).unwrap();
    let mut names: Vec<_> =
        found.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<_> = (0..HOSTS).map(|host| format!("host{host}.log.zst")).collect();
    expected.sort();
    assert!(names == expected, "{} files", names.len());
}

/// One file and one link: what has its name is told before anything is received.
#[test]
fn a_link_whose_name_is_taken_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display();
    let file = dir.path().join("flumen.toml");
    std::fs::write(
        &file,
        format!(
            "[agent]\nadmin = 'off'\n[sources.in]\ntype = 'stdin'\n[sinks.out]\ntype = 'file'\n\
             path = '{root}/%Y.log'\ncurrent = '{root}/now'\n"
        ),
    )
    .unwrap();
    std::fs::write(dir.path().join("now"), "mine").unwrap();
    let run = || {
        let mut command = crate::harness::flumen();
        command.arg("run").arg(&file).stdin(std::process::Stdio::null()).output().unwrap()
    };
    let refused = run();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("now is there and no symbolic link"), "{said}");
    assert_eq!(std::fs::read_to_string(dir.path().join("now")).unwrap(), "mine");
    std::fs::remove_file(dir.path().join("now")).unwrap();
    assert!(run().status.success());
}
