//! `flumen audit`: what of a run stands in the files.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::output::{complain, finish, tell};
use crate::load::audit::{self, AuditProgress, Latency};
use crate::load::{Manifest, Verdict};

/// Proves from the files what became of the events of a blast
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    flumen audit --manifest run.json /var/log/flumen\n  \
    flumen audit --manifest run.json /var/log/flumen --allow-loss 1000 --json\n\n\
    Reads any codec and any encoder. Exits 0 only if no event is missing, doubled,\n\
    corrupted or, on TCP, out of order. A corrupted event counts as lost, too. Latency is\n\
    from the time an event was due to the last receive time of its block.")]
pub struct AuditArgs {
    /// What `flumen blast --manifest` wrote
    #[arg(long, value_name = "FILE")]
    pub manifest: PathBuf,
    /// Files, or directories to walk
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// So many lost events are no failure: for UDP
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub allow_loss: u64,
}

/// Events between two progress lines: about a second's worth.
const LINE_EVENTS: u64 = 10_000_000;

pub fn run(args: &AuditArgs) -> ExitCode {
    let manifest = std::fs::read(&args.manifest).map_err(|error| error.to_string());
    let manifest = manifest
        .and_then(|text| Manifest::from_json(&text).map_err(|error| error.to_string()))
        .map_err(|error| tell("audit", format_args!("{}: {error}", args.manifest.display())));
    let Ok(manifest) = manifest else { return ExitCode::from(2) };
    let mut shown = 0;
    let terminal = io::stderr().is_terminal();
    let verdict = audit::run_with(&manifest, &args.paths, &mut |now| {
        if terminal && now.events >= shown + LINE_EVENTS {
            shown = now.events;
            show(now);
        }
    });
    if shown > 0 {
        complain("\r\x1b[K");
    }
    match verdict {
        Ok(verdict) => finish("audit", conclude(args, &verdict)),
        Err(error) => {
            tell("audit", error);
            ExitCode::FAILURE
        }
    }
}

fn show(now: &AuditProgress) {
    let AuditProgress { files, files_all, events } = now;
    complain(&format!("\r\x1b[K{events} events, file {} of {files_all}", files + 1));
}

fn conclude(args: &AuditArgs, verdict: &Verdict) -> io::Result<ExitCode> {
    let passes = verdict.passes(args.allow_loss);
    let text = if args.json { json(verdict, passes)? } else { text(verdict, passes) };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn json(verdict: &Verdict, passes: bool) -> io::Result<String> {
    #[derive(serde::Serialize)]
    struct Whole<'a> {
        passes: bool,
        #[serde(flatten)]
        verdict: &'a Verdict,
    }
    let mut text = serde_json::to_string(&Whole { passes, verdict })?;
    text.push('\n');
    Ok(text)
}

fn text(verdict: &Verdict, passes: bool) -> String {
    let mut text = String::new();
    let mut row = |name: &str, count: u64| text.push_str(&format!("{name:<11}{count:>14}\n"));
    row("sent", verdict.sent);
    row("found", verdict.found);
    row("lost", verdict.lost);
    row("duplicated", verdict.duplicated);
    row("reordered", verdict.reordered);
    row("corrupted", verdict.corrupted);
    for (name, count) in [
        ("of UDP", verdict.reordered_udp),
        ("unanswered", verdict.unanswered),
        ("unsent", verdict.unsent),
        ("foreign", verdict.foreign),
        ("unreadable", verdict.unreadable),
    ] {
        if count > 0 {
            row(if name == "of UDP" { "UDP order" } else { name }, count);
        }
    }
    match &verdict.latency {
        Some(latency) => text.push_str(&latency_text(latency)),
        None => text.push_str("latency    unknown: these files keep no receive times\n"),
    }
    for gap in &verdict.gaps {
        let last = gap.first + gap.length - 1;
        text.push_str(&format!(
            "stream {}: {} lost, first {} to {last}\n",
            gap.stream, gap.lost, gap.first
        ));
    }
    let verdict = if passes { "passed" } else { "FAILED" };
    text.push_str(&format!("verdict    {verdict}\n"));
    text
}

fn latency_text(latency: &Latency) -> String {
    let ms = |ns: u64| ns as f64 / 1e6;
    format!(
        "latency    p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms\n",
        ms(latency.p50),
        ms(latency.p99),
        ms(latency.p999),
        ms(latency.max)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::audit::Gap;

    fn sample() -> Verdict {
        let gaps = vec![Gap { stream: 3, lost: 2, first: 10, length: 2 }];
        let latency = Latency { events: 8, p50: 1_500_000, p99: 2_000_000, p999: 0, max: 3 };
        let latency = Some(latency);
        Verdict { sent: 10, found: 8, lost: 2, latency, gaps, ..Verdict::default() }
    }

    #[test]
    fn text_says_what_json_says() {
        let text = text(&sample(), false);
        for line in
            ["sent                   10", "lost                    2", "p50 1.500 ms, p99 2.000"]
        {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.contains("stream 3: 2 lost, first 10 to 11\n"), "{text}");
        assert!(text.ends_with("FAILED\n") && !text.contains("unsent"), "{text}");
        let json = json(&sample(), false).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["passes"], false);
        assert_eq!((&value["sent"], &value["latency"]["p50"]), (&10.into(), &1_500_000.into()));
    }
}
