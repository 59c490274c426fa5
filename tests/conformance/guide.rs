//! The examples of Flume's user guide, by section (`guide.txt`): what has all its parts here is
//! planned, means the same as TOML, and says no more than stands under it; what has not is refused
//! where its line is. Keys are the guide's; what an example leaves out is added behind it.
//!
//! ```text
//! # Section: what the example is about
//! a1.sources.r1.type = netcat
//!     2:1: note: what is said of the line
//! ```
//! After a change that is meant: `BLESS=1 cargo test --test conformance`, then read the difference.

use std::path::Path;

use flumen::config::{Around, Config};

use crate::config::compare;
use crate::flume::plans;

/// What runs by itself; lines of an example take the place of those with the same key.
const REST: &str = "\
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = seq
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
a1.sinks.k1.type = null
a1.sinks.k1.channel = c1
";

fn completed(example: &str) -> String {
    let given = |wanted: &str| {
        let mut pairs = example.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(key, _)| key.trim() == wanted).map(|(_, value)| value)
    };
    // Who is not in the example's own list is not described.
    let listed = |part: &str| {
        let mut words = part.splitn(4, '.');
        let list = format!("{}.{}", words.next().unwrap_or(""), words.next().unwrap_or(""));
        let names =
            |name| given(&list).is_none_or(|own| own.split_whitespace().any(|it| it == name));
        words.next().is_none_or(names)
    };
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let left_out = |line: &&str| given(&key(line)).is_none() && listed(&key(line));
    let rest: Vec<&str> = REST.lines().filter(left_out).collect();
    format!("{example}\n{}\n", rest.join("\n"))
}

fn told(example: &str) -> Vec<String> {
    let variables =
        [("HOME", "/home/flume"), ("NC_PORT", "44444"), ("my_keystore_password", "secret")];
    let around = Around::fixed(&[], &variables);
    let config = Config::parse_flume(&completed(example), &around);
    let planned = plans(&config);
    if !config.diagnostics().has_errors() {
        assert!(!planned.is_empty(), "{example}");
        let toml = config.to_toml();
        let again = Config::parse(&toml);
        let planned_again = plans(&again);
        let again_told = again.diagnostics().render(false);
        assert!(!again.diagnostics().has_errors(), "{example}\n{toml}\n{again_told}");
        assert_eq!(planned_again, planned, "{toml}");
    }
    // What there is grows: it is not of the guide.
    let short = |line: &String| line.split(" (there is ").next().unwrap_or_default().to_owned();
    config.diagnostics().lines().iter().map(short).collect()
}

#[test]
fn every_example_runs_or_is_refused_where_it_stands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/guide.txt");
    let text = std::fs::read_to_string(&path).expect("it is there");
    let (mut found, mut runs, mut refused) = (Vec::new(), 0, 0);
    for case in text.trim_end().split("\n\n") {
        let lines: Vec<&str> = case.lines().filter(|line| !line.starts_with("    ")).collect();
        let example = lines.join("\n");
        let told = told(&example);
        let harmless = |line: &String| line.contains(": note: ") || line.contains(": warning: ");
        match told.iter().all(harmless) {
            true => runs += 1,
            false => refused += 1,
        }
        let told: String = told.iter().map(|line| format!("\n    {line}")).collect();
        found.push(format!("{example}{told}"));
    }
    let wrong = compare(&path, &format!("{}\n", found.join("\n\n")));
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
    assert!(runs >= 30 && refused >= 20, "{runs} run, {refused} are refused");
}
