//! On what, and with which versions: figures without these are hearsay.

use std::fs;
use std::process::Command;

/// Names and values, in the order they are written down.
pub(crate) type Description = Vec<(&'static str, String)>;

pub(crate) fn describe() -> Description {
    let uname = rustix::system::uname();
    let kernel =
        format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy());
    let mut lines = vec![
        ("processor", processor()),
        ("cores", std::thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("memory", first_of("/proc/meminfo", "MemTotal:")),
        ("kernel", kernel),
        ("net.core.rmem_max", read("/proc/sys/net/core/rmem_max")),
        ("load before the report", read("/proc/loadavg")),
        ("commit", said("git", &["describe", "--always", "--dirty"])),
        ("rustc", said("rustc", &["--version"])),
    ];
    let peers = [
        ("rsyslog", "FLUMEN_RSYSLOGD", "-v"),
        ("syslog-ng", "FLUMEN_SYSLOG_NG", "--version"),
        ("Apache Flume", "FLUMEN_FLUME", "--version"),
        ("OpenTelemetry Collector", "FLUMEN_OTELCOL", "--version"),
    ];
    for (name, variable, option) in peers {
        if let Some(program) = std::env::var_os(variable) {
            lines.push((name, said(&program.to_string_lossy(), &[option])));
        }
    }
    lines
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": "))
        .map_or_else(String::new, |(_, name)| name.to_owned())
}

fn first_of(path: &str, start: &str) -> String {
    let text = read(path);
    let line = text.lines().find_map(|line| line.strip_prefix(start));
    line.map_or_else(String::new, |rest| rest.trim().to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The first line a program prints.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map_or_else(
        |error| error.to_string(),
        |it| String::from_utf8_lossy(&it.stdout).into_owned(),
    );
    text.lines().next().unwrap_or_default().trim().to_owned()
}
