//! What configurations of many tests have in common, so that each test shows what is its own.

/// Syslog over both transports into one zstd file, `{dir}/out.log.zst`.
pub(crate) const SYSLOG_TO_FILE: &str = r#"
[agent]
memory = "64MiB"
admin  = "127.0.0.1:0"
cores  = "none"

[sources.net]
type    = "syslog"
listen  = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]
channel = "main"

[channels.main]
type = "memory"

[sinks.archive]
type    = "file"
channel = "main"
path    = "{dir}/out.log"
codec   = "zstd"
block   = { age = "50ms" }
"#;

/// The agent's section with so much memory, and with these rows; with 64 MiB and none it stands in
/// front of every configuration that says nothing of the agent.
pub(crate) fn agent(memory: &str, rows: &str) -> String {
    format!("[agent]\nmemory = \"{memory}\"\nadmin  = \"127.0.0.1:0\"\ncores  = \"none\"\n{rows}\n")
}

const MAIN: &str = "[channels.main]\ntype = \"memory\"\n";

/// Lines over TCP, for the channel `main`.
pub(crate) const LINES: &str = r#"
[sources.net]
type    = "tcp"
listen  = "tcp://127.0.0.1:0"
channel = "main"
"#;

/// Messages over RELP for the channel `main`, whose sender is told when they are synced.
pub(crate) const RELP_SYNCED: &str = r#"
[sources.relp]
type    = "syslog"
listen  = "relp://127.0.0.1:0"
ack     = "synced"
channel = "main"
"#;

/// The channel `main`, which makes senders wait, and a pipe behind it.
pub(crate) const TO_PIPE: &str = r#"
[channels.main]
type      = "memory"
when_full = "wait"

[sinks.pipe]
type    = "stdout"
channel = "main"
"#;

/// These sources, whose channel is `main`, into one plain file, `{dir}/all.log`.
pub(crate) fn to_plain_file(sources: &str) -> String {
    [&agent("128MiB", ""), sources, MAIN, &plain_sink("all")].concat()
}

/// Lines over TCP into the channel `main`.
pub(crate) fn lines_in() -> String {
    [LINES, MAIN].concat()
}

/// A sink of the channel `main`, into the plain file `{dir}/NAME.log`.
pub(crate) fn plain_sink(name: &str) -> String {
    let sink = r#"
[sinks.{name}]
type    = "file"
channel = "main"
path    = "{dir}/{name}.log"
codec   = "none"
block   = { age = "20ms" }
"#;
    sink.replace("{name}", name)
}
