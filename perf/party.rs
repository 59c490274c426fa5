//! Who is measured: the agent, a limit program, or a peer, each with the configuration that its own
//! guide recommends for this work. The peers' configurations lie in `perf/peers/`.

use crate::requests::Dialect;
use crate::send::Stream;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    /// Gets one event in so many: a run of a slow one would take minutes.
    pub(crate) share: u64,
    /// Gets so many times the events: a run of a fast one would be over before it has synced much.
    pub(crate) times: u64,
    /// Other connections than the case's.
    pub(crate) stream: Option<Stream>,
    /// In another way than the case's.
    pub(crate) dialect: Option<Dialect>,
    /// Connections that are open and silent.
    pub(crate) idle: usize,
    /// Compressing threads of the agent, and their level.
    pub(crate) sink_threads: u32,
    pub(crate) level: &'static str,
    /// Messages that may wait for their answer, and who sends them, where there are answers.
    pub(crate) window: u32,
    pub(crate) sender: Sender,
    /// So many hosts are talking, and each has its own file; none: one file.
    pub(crate) hosts: Option<u32>,
    /// Through a channel on the disk instead of one in memory.
    pub(crate) durable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Flumen,
    /// The input of the limit program, and `--gro` or nothing.
    Limit(&'static str, &'static str),
    Rsyslog,
    SyslogNg,
    /// OpenTelemetry Collector.
    Otelcol,
    /// The lines of the source in its properties.
    Flume(&'static str),
    /// The agent, given Flume's properties.
    FlumenForFlume(&'static str),
    /// A command of the shell that searches the archive: `{flumen}`, `{limit}`, `{archive}`.
    Shell(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Blast,
    /// rsyslogd, with librelp's window.
    Omrelp,
}

/// What a configuration has to know of a run.
pub(crate) struct Place<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) port: u16,
    /// Of the next hop.
    pub(crate) next: u16,
    /// `zstd lz4 gzip none` to a file, `null`, `stdout`, or `syslog` to the next hop.
    pub(crate) sink: &'a str,
    /// `tcp`, `tls`, `relp`, `http`, `memcached` or `udp`.
    pub(crate) transport: &'a str,
    /// More lines of `[agent]` and of the source, for the agent.
    pub(crate) agent: &'a str,
    pub(crate) source: &'a str,
    pub(crate) text: &'a Path,
    /// What is searched.
    pub(crate) archive: &'a Path,
    pub(crate) events: u64,
}

pub(crate) const fn party(name: &'static str, program: Program) -> Party {
    Party {
        name,
        program,
        share: 1,
        times: 1,
        stream: None,
        dialect: None,
        idle: 0,
        sink_threads: 1,
        level: "1",
        window: 0,
        sender: Sender::Blast,
        hosts: None,
        durable: false,
    }
}

impl Party {
    pub(crate) const fn sink_threads(mut self, threads: u32) -> Self {
        self.sink_threads = threads;
        self
    }

    pub(crate) const fn level(mut self, level: &'static str) -> Self {
        self.level = level;
        self
    }

    pub(crate) const fn share(mut self, share: u64) -> Self {
        self.share = share;
        self
    }

    pub(crate) const fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Of a run, when most get so many.
    pub(crate) const fn events(&self, of_most: u64) -> u64 {
        of_most * self.times / self.share
    }

    pub(crate) const fn stream(mut self, stream: Stream) -> Self {
        self.stream = Some(stream);
        self
    }

    pub(crate) const fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    pub(crate) const fn idle(mut self, connections: usize) -> Self {
        self.idle = connections;
        self
    }

    pub(crate) const fn window(mut self, window: u32) -> Self {
        self.window = window;
        self
    }

    pub(crate) const fn sender(mut self, sender: Sender) -> Self {
        self.sender = sender;
        self
    }

    pub(crate) const fn hosts(mut self, hosts: u32) -> Self {
        self.hosts = Some(hosts);
        self
    }

    pub(crate) const fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// It, and not a peer: what it loses is our fault.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.program, Program::Flumen | Program::FlumenForFlume(_) | Program::Limit(..))
    }

    /// What is missing on this machine to start it, if something is.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        let variable = match self.program {
            _ if self.is_ours() && self.sender == Sender::Blast => return None,
            _ if self.is_ours() => "FLUMEN_RSYSLOGD",
            Program::Rsyslog => "FLUMEN_RSYSLOGD",
            Program::Shell(command) => return missing_tool(command),
            Program::SyslogNg => "FLUMEN_SYSLOG_NG",
            Program::Otelcol => "FLUMEN_OTELCOL",
            _ => "FLUMEN_FLUME",
        };
        env::var_os(variable).is_none().then_some(variable)
    }

    /// Writes its configuration into the place, and says how it is started. Its files go to `out`
    /// there, its standard output to `stdout`.
    pub(crate) fn command(&self, place: &Place<'_>) -> io::Result<Command> {
        let out = place.dir.join("out");
        std::fs::create_dir_all(&out)?;
        if place.transport == "tls" {
            papers(place)?;
        }
        let mut command = match self.program {
            Program::Flumen => {
                let mut command = Command::new(flumen()?);
                command.arg("run").arg(write(place, "flumen.toml", &agent(place, self))?);
                command
            }
            Program::Limit(input, option) => limit(place, self, input, option)?,
            Program::Shell(words) => {
                let mut command = Command::new("sh");
                let words = words
                    .replace("{flumen}", &flumen()?.display().to_string())
                    .replace("{limit}", &beside("limit")?.display().to_string())
                    .replace("{archive}", &place.archive.display().to_string());
                command.arg("-c").arg(words);
                command
            }
            Program::Rsyslog => rsyslog(place)?,
            Program::SyslogNg => {
                let text = fill(place, include_str!("peers/syslog-ng.conf"));
                let mut command = Command::new(path("FLUMEN_SYSLOG_NG")?);
                let file = |name: &str| place.dir.join(name);
                command.args(["--foreground", "--no-caps", "--worker-threads=2"]);
                command.arg("-f").arg(write(place, "syslog-ng.conf", &text)?);
                command.arg("-p").arg(file("pid")).arg("-c").arg(file("ctl"));
                command.arg("-R").arg(file("persist"));
                command
            }
            Program::Otelcol => {
                let text = fill(place, include_str!("peers/otelcol.yaml"));
                let mut command = Command::new(path("FLUMEN_OTELCOL")?);
                command.arg("--config").arg(write(place, "otelcol.yaml", &text)?);
                command
            }
            Program::Flume(source) => {
                let mut command = Command::new(path("FLUMEN_FLUME")?);
                command.args(["--name", "perf", "--no-reload-conf", "--conf-file"]);
                command.arg(properties(place, self, source)?);
                command
            }
            Program::FlumenForFlume(source) => {
                let mut command = Command::new(flumen()?);
                command.arg("run").arg(properties(place, self, source)?);
                command
            }
        };
        command.stdout(std::fs::File::create(place.dir.join("stdout"))?);
        if place.sink == "stdout" {
            command.stdout(Stdio::piped());
        }
        Ok(command)
    }
}

/// The first tool of a pipeline that is not on the search path.
fn missing_tool(command: &'static str) -> Option<&'static str> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let there = |tool: &str| env::split_paths(&folders).any(|folder| folder.join(tool).is_file());
    // Between blanks: an expression may have one, too.
    let tools = command.split(" | ").filter_map(|part| part.split_whitespace().next());
    tools.filter(|tool| !tool.starts_with('{')).find(|tool| !there(tool))
}

fn rsyslog(place: &Place<'_>) -> io::Result<Command> {
    let template = match place.transport {
        _ if place.sink == "syslog" => include_str!("peers/rsyslog-forward.conf"),
        "relp" => include_str!("peers/rsyslog-relp.conf"),
        "udp" => include_str!("peers/rsyslog-udp.conf"),
        _ => include_str!("peers/rsyslog-tcp.conf"),
    };
    let level = if place.sink == "none" { "0" } else { "1" };
    let text = fill(place, template).replace("{level}", level);
    let mut command = Command::new(path("FLUMEN_RSYSLOGD")?);
    command.arg("-n").arg("-i").arg(place.dir.join("pid"));
    command.arg("-f").arg(write(place, "rsyslog.conf", &text)?);
    Ok(command)
}

fn agent(place: &Place<'_>, party: &Party) -> String {
    let Party { sink_threads, level, hosts, .. } = *party;
    let (port, transport) = (place.port, place.transport);
    let (kind, tls) = match transport {
        "tls" => {
            let dir = place.dir.display();
            (
                "tcp",
                format!("tls = {{ certificate = '{dir}/papers.pem', key = '{dir}/papers.key' }}"),
            )
        }
        other => (other, String::new()),
    };
    let name = if hosts.is_some() { "%{host}.log" } else { "out.log" };
    let out = place.dir.join("out").join(name);
    let scheme = if transport == "memcached" { "tcp" } else { transport };
    let kind = if hosts.is_some() || transport == "relp" { "syslog" } else { kind };
    let memory = crate::cases::MEMORY_MIB;
    let sink = match place.sink {
        "null" | "stdout" => format!("type = \"{}\"\n", place.sink),
        "syslog" => format!("type = \"syslog\"\ntargets = 'tcp://127.0.0.1:{}'\n", place.next),
        codec => {
            let (codec, encoder) = match codec {
                "datagram" => ("zstd", "encoder = \"datagram\"\n"),
                codec => (codec, ""),
            };
            let level = match codec {
                "zstd" | "gzip" => format!("level = {level}\n"),
                _ => String::new(),
            };
            let path = out.display();
            format!(
                "type = \"file\"\npath = \"{path}\"\ncodec = \"{codec}\"\n{encoder}{level}\
                 sync = \"1s\"\nthreads = {sink_threads}\n"
            )
        }
    };
    let channel = if party.durable {
        let dir = place.dir.display();
        format!("[channels.main]\ntype = \"file\"\npath = \"{dir}/channel\"\nsync = \"10ms\"\n")
    } else {
        String::new()
    };
    format!(
        "[agent]\nname = \"perf\"\nadmin = \"off\"\nmemory = \"{memory}MiB\"\n{}\n\
         [sources.net]\ntype = \"{kind}\"\n\
         listen = [\"{scheme}://127.0.0.1:{port}\"]\n{}\n{tls}\n{channel}\
         [sinks.archive]\n{sink}",
        place.agent, place.source,
    )
}

/// Apache Flume's channels, as its guide advises for throughput; its file channel syncs for every
/// transaction.
const FLUME_MEMORY: &str = "type = memory\nperf.channels.main.capacity = 200000";
const FLUME_DURABLE: &str = "type = file\nperf.channels.main.checkpointDir = {dir}/checkpoint\n\
                             perf.channels.main.dataDirs = {dir}/channel\n\
                             perf.channels.main.capacity = 1000000";

/// The file that Flume and the agent read alike.
fn properties(place: &Place<'_>, party: &Party, source: &str) -> io::Result<PathBuf> {
    let template = include_str!("peers/flume.properties");
    let channel = if party.durable { FLUME_DURABLE } else { FLUME_MEMORY };
    let text = template.replace("{source}", source).replace("{channel}", channel);
    write(place, "flume.properties", &fill(place, &text))
}

fn limit(place: &Place<'_>, party: &Party, input: &str, option: &str) -> io::Result<Command> {
    let output = match place.sink {
        "null" => "count",
        "datagram" => "zstd",
        codec => codec,
    };
    let mut command = Command::new(beside("limit")?);
    command.args([input, output, "--listen", &place.port.to_string()]);
    command.arg("--file").arg(place.dir.join("out/out.log"));
    if matches!(input, "memory" | "sync") {
        let events = party.events(place.events);
        command.args(["--events", &events.to_string(), "--text"]).arg(place.text);
        command.args(["--window", &party.window.to_string()]);
    }
    if input == "tls" {
        command.arg("--certificate").arg(place.dir.join("papers.pem"));
        command.arg("--key").arg(place.dir.join("papers.key"));
    }
    if !option.is_empty() {
        command.arg(option);
    }
    Ok(command)
}

/// rsyslogd as a sender: each line of `file` to the place's port, acknowledged.
pub(crate) fn omrelp(place: &Place<'_>, file: &Path) -> io::Result<Command> {
    let text = fill(place, include_str!("peers/rsyslog-omrelp.conf"));
    let text = text.replace("{file}", &file.display().to_string());
    let mut command = Command::new(path("FLUMEN_RSYSLOGD")?);
    command.arg("-n").arg("-i").arg(place.dir.join("sender.pid"));
    command.arg("-f").arg(write(place, "sender.conf", &text)?);
    Ok(command)
}

/// A certificate that nobody vouches for, and its key: the sender takes any.
fn papers(place: &Place<'_>) -> io::Result<()> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.map_err(io::Error::other)?;
    write(place, "papers.pem", &made.cert.pem())?;
    write(place, "papers.key", &made.signing_key.serialize_pem())?;
    Ok(())
}

fn fill(place: &Place<'_>, template: &str) -> String {
    template
        .replace("{dir}", &place.dir.display().to_string())
        .replace("{port}", &place.port.to_string())
        .replace("{next}", &place.next.to_string())
        .replace("{receive_buffer}", &crate::cases::RECEIVE_BUFFER_BYTES.to_string())
}

fn write(place: &Place<'_>, name: &str, text: &str) -> io::Result<PathBuf> {
    let path = place.dir.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

fn path(variable: &str) -> io::Result<PathBuf> {
    let found = env::var_os(variable).map(PathBuf::from);
    found.ok_or_else(|| io::Error::other(format!("{variable} is not set")))
}

/// The agent as it ships: `perf/run` has built it beside the examples.
pub(crate) fn flumen() -> io::Result<PathBuf> {
    beside("../flumen")
}

fn beside(name: &str) -> io::Result<PathBuf> {
    let own = env::current_exe()?;
    let found = own.parent().map(|folder| folder.join(name)).filter(|path| path.exists());
    found.ok_or_else(|| io::Error::other(format!("{name} is not built: start it by perf/run")))
}
