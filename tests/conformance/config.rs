//! Every configuration in `config/bad` is refused with exactly the text beside it, every one in
//! `config/good` is planned as the text beside it says, on a machine of four cores.
//!
//! After a change that is meant: `BLESS=1 cargo test --test conformance`, then read the difference.

use std::path::{Path, PathBuf};
use std::process::Command;

use flumen::config::Config;
use flumen::topology::{Machine, Parts, plan, report};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/config").join(name)
}

/// The diagnostics of a configuration, and the plans of its agents.
fn judge(text: &str) -> (String, Vec<String>) {
    let config = Config::parse(text);
    let names = config.agent_names();
    let agents: Vec<_> = match names.len() {
        0 => vec![config.agent(None)],
        _ => names.iter().map(|name| config.agent(Some(name))).collect(),
    };
    let machine = Machine { cores: vec![0, 1, 2, 3] };
    let plans = agents.iter().flatten();
    let plans = plans.filter_map(|agent| plan(agent, &Parts::default(), &machine));
    let reports = plans.map(|plan| report::text(&plan)).collect();
    (config.diagnostics().render(false), reports)
}

/// Compares, or writes when blessing; returns what is wrong.
pub(crate) fn compare(file: &Path, found: &str) -> Option<String> {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, found).expect("the expectation can be written");
        return None;
    }
    let wanted = std::fs::read_to_string(file).unwrap_or_default();
    (wanted != found).then(|| format!("{}\nwanted:\n{wanted}\nfound:\n{found}", file.display()))
}

fn over(name: &str, judge: impl Fn(&Path, &str) -> Option<String>) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{} configurations found", files.len());
    let judged = files.iter().filter_map(|file| {
        let text = std::fs::read_to_string(file).expect("readable");
        judge(file, &text)
    });
    let wrong: Vec<String> = judged.collect();
    assert!(wrong.is_empty(), "{} differ\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn bad_configurations_are_refused_with_every_reason() {
    over("bad", |file, text| {
        let (told, plans) = judge(text);
        assert!(plans.is_empty() || text.contains("[agents."), "{} has a plan", file.display());
        assert!(told.contains("error"), "{}: {told}", file.display());
        compare(&file.with_extension("txt"), &told)
    });
}

#[test]
fn good_configurations_are_planned() {
    over("good", |file, text| {
        let (told, plans) = judge(text);
        assert!(!told.contains("error"), "{}: {told}", file.display());
        compare(&file.with_extension("txt"), &(told + &plans.join("\n")))
    });
}

/// The plan's own words are a configuration: what `check` says can be run, and means the same.
#[test]
fn the_settings_that_are_shown_mean_the_same() {
    over("good", |file, text| {
        let (_, plans) = judge(text);
        let [shown] = plans.as_slice() else { return None };
        let (flow, settings) = shown.split_once("\nsettings\n").expect("it is there");
        if flow.contains("implied") {
            return None;
        }
        let (told, again) = judge(settings);
        let same = again.first().and_then(|again| again.split_once("\nsettings\n"));
        let same = same.is_some_and(|(again, _)| again == flow);
        (!same).then(|| format!("{}:\n{settings}\n{told}", file.display()))
    });
}

#[test]
fn check_exits_with_two_and_touches_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("logs/out.log");
    let good = format!(
        "[sources.in]\ntype = 'stdin'\n[sinks.out]\ntype = 'file'\npath = '{}'\n",
        path.display()
    );
    let run = |text: &str| {
        let file = dir.path().join("flumen.toml");
        std::fs::write(&file, text).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_flumen")).arg("check").arg(&file).output();
        let output = output.expect("the binary starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = run(&good);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("agent flumen: 2 worker threads"), "{out}");
    assert!(!path.parent().expect("a folder").exists());
    let (code, out, err) = run(&good.replace("stdin", "stdn"));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("did you mean `stdin`?") && err.ends_with("1 error\n"), "{err}");
}
