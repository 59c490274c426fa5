//! Any bytes may stand in a properties file of Flume's. As a test, the examples that are planned
//! elsewhere, hostile files and mutations of both are read and planned, the same ones each time; as
//! a target of libFuzzer, it chooses:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run properties --fuzz-dir tests/fuzz`.

#![cfg_attr(fuzzing, no_main)]

use flumen::config::{Around, Config, Diagnostics};
use flumen::topology::{Machine, Parts, plan, report};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// Panics when a promise is broken: whatever stands there is planned or told, all that is told has
/// its line, and what is planned means the same as TOML.
fn check(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("f.properties");
    std::fs::write(&path, bytes).expect("written");
    let around = Around::fixed(&[("port", "5140")], &[("HOME", "/home/joe"), ("ZONE", "east")]);
    let config = match Config::load(&path, &around) {
        Ok(config) => config,
        Err(told) => {
            assert!(std::str::from_utf8(bytes).is_err(), "it can be read");
            return has_lines(&told, bytes);
        }
    };
    let planned = plans(&config);
    has_lines(config.diagnostics(), bytes);
    if !config.diagnostics().has_errors() {
        let toml = config.to_toml();
        let again = Config::parse(&toml);
        let planned_again = plans(&again);
        assert!(!again.diagnostics().has_errors(), "{toml}\n{}", again.diagnostics().render(false));
        assert_eq!(planned_again, planned, "{toml}");
    }
}

fn plans(config: &Config) -> Vec<String> {
    let machine = Machine { cores: vec![0, 1] };
    let agents = config.agent_names();
    let agents = agents.iter().filter_map(|name| config.agent(Some(name)));
    let plans = agents.filter_map(|agent| plan(&agent, &Parts::default(), &machine));
    plans.map(|plan| report::text(&plan)).collect()
}

/// Every problem of the report is followed by a place that is in the file.
fn has_lines(told: &Diagnostics, bytes: &[u8]) {
    let report = told.render(false);
    let severity = |line: &str| {
        ["error: ", "warning: ", "note: "].iter().any(|severity| line.starts_with(severity))
    };
    let places = report.lines().filter(|line| line.trim_start().starts_with("--> "));
    let place = |line: &str| {
        let mut numbers = line.rsplitn(3, ':').map(|number| number.parse::<usize>().ok());
        numbers.next().flatten().zip(numbers.next().flatten())
    };
    // Java has three ends of lines; of these CR LF is one, and here any counts.
    let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    let mut count = 0;
    for line in places {
        let place = place(line);
        let there = place.is_some_and(|(column, line)| column > 0 && (1..=lines).contains(&line));
        assert!(there, "{line} of {lines} lines:\n{report}");
        count += 1;
    }
    let problems = report.lines().filter(|line| severity(line)).count();
    assert_eq!(problems, count, "{report}");
}

#[cfg(not(fuzzing))]
mod replay {
    use super::check;
    use crate::replay::{self, files, mutations};

    const PIECES: [&[u8]; 28] = [
        b"=",
        b":",
        b" ",
        b"\n",
        b"\r",
        b"\\",
        b"\\\n",
        b"\\u0",
        b"\\ud83d",
        b"#",
        b".",
        b"..",
        b"${",
        b"}",
        b"${a.sources}",
        b"${env:HOME}",
        b"${x['y']}",
        b"\0",
        b"\xff",
        b"\xe2\x80\xa8",
        b"-1",
        b"9223372036854775808",
        b"$1",
        b"(",
        b"a1.sources.r1.",
        b".type",
        b"interceptors",
        b"%",
    ];

    fn corpus() -> Vec<Vec<u8>> {
        let mut corpus = replay::corpus("tests/fuzz/properties", 7);
        let examples = files("tests/conformance/flume").into_iter();
        let examples = examples.filter(|file| file.extension().is_some_and(|it| it == "conf"));
        corpus.extend(examples.map(|file| std::fs::read(file).expect("it is there")));
        corpus
    }

    #[test]
    fn properties_keep_every_promise() {
        corpus().iter().for_each(|file| check(file));
    }

    #[test]
    fn mutated_properties_keep_every_promise() {
        mutations(&corpus(), &PIECES, 0xD1B5_4A32_D192_ED03, 1000, check);
    }
}
