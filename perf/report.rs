//! What is written down: `machine.txt`, `raw.json`, `summary.md`, and the table in README.md.

use crate::figures::{Figures, Key};
use crate::kept;
use crate::machine::Description;
use crate::measure::{self, Bench};
use crate::turns::Results;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// `perf/results/<date>-<machine>`.
pub(crate) fn folder() -> PathBuf {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let date = jiff::Zoned::now().strftime("%Y-%m-%d");
    PathBuf::from(format!("perf/results/{date}-{host}"))
}

pub(crate) fn write(
    folder: &Path,
    machine: &Description,
    bench: &Bench,
    results: &[Results],
) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut text = String::new();
    for (name, value) in machine {
        let _ = writeln!(text, "{name}: {value}");
    }
    let command: Vec<String> = std::env::args().skip(1).collect();
    let _ = writeln!(text, "command: perf/run {}", command.join(" "));
    std::fs::write(folder.join("machine.txt"), &text)?;
    let raw = json!({
        "machine": machine.iter().map(|(name, value)| (*name, value)).collect::<Vec<_>>(),
        "command": command,
        "events": bench.events,
        "udp_highest_rate_of_the_limit": bench.highest_rate,
        "cases": results.iter().map(case).collect::<Vec<_>>(),
    });
    let raw = serde_json::to_string_pretty(&raw).map_err(io::Error::other)?;
    std::fs::write(folder.join("raw.json"), raw)?;
    std::fs::write(folder.join("commands.md"), commands(bench, results)?)?;
    std::fs::write(folder.join("summary.md"), summary(machine, bench, results))
}

/// How everybody was started: command lines and configurations, the folder of a run being DIR.
fn commands(bench: &Bench, results: &[Results]) -> io::Result<String> {
    let mut out = String::from("# Commands and configurations\n");
    for one in results {
        for party in one.case.parties.iter().filter(|party| one.runs(party.name).is_some()) {
            let dir = tempfile::tempdir()?;
            let place = measure::place(bench, one.case, dir.path())?;
            let command = party.command(&place)?;
            let program = Path::new(command.get_program()).file_name().unwrap_or_default();
            let mut text = program.to_string_lossy().into_owned();
            for argument in command.get_args() {
                let _ = write!(text, " {}", argument.to_string_lossy());
            }
            text.push('\n');
            for file in kept::files(dir.path())?.iter().filter(|file| !file.ends_with("stdout")) {
                let _ = write!(text, "\n{}", std::fs::read_to_string(file)?);
            }
            let text = without_folder(&text)?;
            let text = text.replace(&dir.path().display().to_string(), "DIR");
            let text = text.replace(&bench.text.display().to_string(), "TEXT");
            let archive = place.archive.display().to_string();
            let text = text.replace(&archive, "ARCHIVE");
            let _ = write!(out, "\n## {}: {}\n\n```\n{text}```\n", one.case.name, party.name);
        }
    }
    Ok(out)
}

/// Programs that lie beside us, by their names: where that is, is this machine's business.
fn without_folder(text: &str) -> io::Result<String> {
    let own = std::env::current_exe()?;
    let folder = own.parent().unwrap_or_else(|| Path::new("")).display();
    Ok(text.replace(&format!("{folder}/../"), "").replace(&format!("{folder}/"), ""))
}

fn case(results: &Results) -> Value {
    let runs = |runs: &[Figures]| -> Vec<Value> {
        let one = |run: &Figures| {
            let pairs = run.iter().map(|(key, value)| (key.name().to_owned(), json!(value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        runs.iter().map(one).collect()
    };
    let parties =
        results.parties.iter().map(|(name, all)| json!({ "name": name, "runs": runs(all) }));
    json!({ "name": results.case.name, "parties": parties.collect::<Vec<_>>() })
}

fn summary(machine: &Description, bench: &Bench, results: &[Results]) -> String {
    let mut out = String::from("# Measured\n\n");
    for (name, value) in machine {
        let _ = writeln!(out, "- {name}: {value}");
    }
    let _ = writeln!(
        out,
        "- {} events a run (slow parties: a share of them, fast ones more); medians, and in \
         brackets the least and the most\n- CPU is user + system of the receiver's whole life, \
         start and drain included; steady CPU is that between two rests, after the warm-up",
        bench.events
    );
    if let Some(rate) = bench.highest_rate {
        let _ = writeln!(out, "- the UDP limit program held {rate:.0} datagrams a second");
    }
    for one in results {
        let _ = write!(out, "\n## {}\n\n{}.\n\n{}", one.case.name, one.case.what, table(one));
        for (name, needs) in &one.skipped {
            let _ = writeln!(out, "\n{name} was not there: it needs {needs}.");
        }
        let verdicts = one.verdicts();
        if !verdicts.is_empty() {
            out.push('\n');
        }
        for verdict in verdicts {
            let mark = if verdict.reached { "reached" } else { "MISSED" };
            let _ = writeln!(out, "- {mark}: {}", verdict.text);
        }
    }
    out
}

/// A row a party, a column a figure that some party has.
fn table(results: &Results) -> String {
    let has = |key: &Key| {
        results.parties.iter().any(|(_, runs)| runs.iter().any(|r| r.contains_key(key)))
    };
    let keys: Vec<Key> = Key::ALL.into_iter().filter(has).collect();
    let mut out = String::from("| |");
    for key in &keys {
        let _ = write!(out, " {} |", key.title());
    }
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(keys.len()));
    out.push('\n');
    for (name, _) in &results.parties {
        let _ = write!(out, "| {} |", in_a_cell(name));
        for key in &keys {
            let cell = results.spread(name, *key).map_or_else(String::new, |spread| {
                let (least, most) = (key.show(spread.least), key.show(spread.most));
                let median = key.show(spread.median);
                if least == most { median } else { format!("{median} ({least}–{most})") }
            });
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
    out
}

/// A bar in a name is no end of a cell.
fn in_a_cell(name: &str) -> String {
    name.replace('|', "\\|")
}

/// Every goal in a line, for the terminal.
pub(crate) fn verdicts(results: &[Results]) -> String {
    let mut lines = Vec::new();
    for one in results {
        for verdict in one.verdicts() {
            let mark = if verdict.reached { "reached" } else { "MISSED " };
            lines.push(format!("{mark} {:18} {}", one.case.name, verdict.text));
        }
    }
    lines.join("\n")
}

const BEGIN: &str = "<!-- measured: begin (perf/run --readme writes this) -->\n";
const END: &str = "<!-- measured: end -->\n";

/// What README.md shows; all of them stand in the folder of results.
const SHOWN: &[&str] = &[
    "tcp_to_zstd",
    "tcp_to_lz4",
    "tcp_to_gzip",
    "tcp_to_none",
    "tls_to_null",
    "relp_to_zstd",
    "durable_tcp_to_zstd",
    "many_tcp_to_zstd",
    "small_tcp_to_zstd",
    "tcp_to_zstd_by_host",
    "udp_to_zstd",
    "udp_gro_to_zstd",
    "syslogtcp_to_file_roll",
    "multiport_to_file_roll",
    "netcat_to_file_roll",
    "zstd_to_grep",
];

/// Puts a row for each of those between README.md's two marks.
pub(crate) fn refresh_readme(machine: &Description, results: &[Results]) -> io::Result<()> {
    let path = Path::new("README.md");
    let text = std::fs::read_to_string(path)?;
    let parts =
        text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.ok_or_else(|| io::Error::other("README.md has lost its marks"))?;
    std::fs::write(path, format!("{head}{BEGIN}{}{END}{tail}", readme(machine, results)))
}

fn readme(machine: &Description, results: &[Results]) -> String {
    let value = |name: &str| machine.iter().find(|line| line.0 == name).map_or("", |line| &line.1);
    let mut out = format!(
        "`perf/run`, {}, {} cores, {}: medians of {} turns, CPU between two rests.\n\n\
         | case | M events/s | CPU µs/event | ratio | CPU µs/event of others |\n\
         |---|---|---|---|---|\n",
        value("processor"),
        value("cores"),
        jiff::Zoned::now().strftime("%Y-%m-%d"),
        results.iter().flat_map(|one| &one.parties).map(|one| one.1.len()).max().unwrap_or(0),
    );
    for one in results.iter().filter(|one| SHOWN.contains(&one.case.name)) {
        let show = |name: &str, key: Key| {
            one.spread(name, key).map_or_else(String::new, |it| key.show(it.median))
        };
        let processor = |name: &str| match show(name, Key::Steady) {
            none if none.is_empty() => show(name, Key::Processor),
            steady => steady,
        };
        let Some(((agent, _), others)) = one.parties.split_first() else { continue };
        let cost = |(name, _): &(&str, Vec<Figures>)| format!("{name} {}", processor(name));
        let others: Vec<String> = others.iter().map(cost).collect();
        let _ = writeln!(
            out,
            "| `{}`: {} | {} | {} | {} | {} |",
            one.case.name,
            one.case.what,
            show(agent, Key::Rate),
            processor(agent),
            show(agent, Key::Ratio),
            in_a_cell(&others.join(", "))
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_its_marks() {
        let readme = include_str!("../README.md");
        assert!(readme.split_once(BEGIN).is_some_and(|(_, rest)| rest.contains(END)));
    }

    #[test]
    fn what_the_readme_shows_is_measured() {
        let is_case = |shown: &&str| crate::cases::CASES.iter().any(|case| case.name == *shown);
        assert!(SHOWN.iter().all(is_case));
    }
}
