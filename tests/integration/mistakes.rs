//! Configurations that cannot be: `check` and `run` say each mistake with its place and what would
//! be right, all at once, exit with 2, and touch nothing. The exact words of many more are in
//! `tests/conformance/config/bad`.

use crate::commands::{Said, flumen, said};
use crate::harness::paths;
use tempfile::TempDir;

const SOURCE: &str = "[sources.in]\ntype = 'tcp'\nlisten = 'tcp://127.0.0.1:0'\n";
const SINK: &str = "[sinks.out]\ntype = 'file'\npath = '{dir}/logs/out.log'\n";

/// What `check` and `run` say of a file with these bytes, which must be the same.
#[track_caller]
fn judged(text: impl AsRef<[u8]>) -> Said {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().to_str().unwrap();
    let text = match std::str::from_utf8(text.as_ref()) {
        Ok(text) => text.replace("{dir}", folder).into_bytes(),
        Err(_) => text.as_ref().to_vec(),
    };
    std::fs::write(dir.path().join("flumen.toml"), text).unwrap();
    let mut checked = said(flumen("check flumen.toml").current_dir(dir.path()));
    let run = said(flumen("run flumen.toml").current_dir(dir.path()));
    assert_eq!((run.code, &run.out, &run.err), (checked.code, &checked.out, &checked.err));
    assert_eq!(paths(dir.path(), ""), [dir.path().join("flumen.toml")], "it left something behind");
    checked.err = checked.err.replace(folder, "{dir}");
    checked
}

/// A mistake: its text, and what must be said of it: place, what is wrong, what would be right.
#[track_caller]
fn refused(text: impl AsRef<[u8]>, wanted: &[&str]) {
    let said = judged(text);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{}", said.err);
    let mut rest = said.err.as_str();
    for words in wanted {
        let at = rest.find(words).unwrap_or_else(|| panic!("no {words:?} in\n{}", said.err));
        rest = &rest[at + words.len()..];
    }
    assert!(said.err.contains("= help: "), "{}", said.err);
    let errors = said.err.lines().filter(|line| line.starts_with("error: ")).count();
    let counted = format!("flumen.toml: {errors} error{}", if errors == 1 { "" } else { "s" });
    assert_eq!(said.err.lines().last(), Some(counted.as_str()));
}

#[test]
fn an_unknown_key() {
    let text = format!("[agent]\nmemroy = '64MiB'\n{SOURCE}{SINK}");
    let place = "flumen.toml:2:1";
    refused(&text, &["unknown key `memroy` in [agent]", place, "^^^^^^", "mean `memory`?"]);
    let text = format!("{SOURCE}{SINK}kodec = 'zstd'\n");
    refused(text, &["unknown key `kodec` in [sinks.out]", "flumen.toml:7:1", "mean `codec`?"]);
}

#[test]
fn a_value_of_the_wrong_type() {
    let text = format!("[agent]\nmemory = true\n{SOURCE}threads = '2'\n{SINK}roll = '1h'\n");
    let wanted = [
        "expected a size, found a boolean",
        "flumen.toml:2:10",
        "`threads`: expected an integer, found a string",
        "flumen.toml:6:11",
        "`roll`: expected a table, found a string",
        "flumen.toml:10:8",
        "write `roll = { bytes",
    ];
    refused(text, &wanted);
}

#[test]
fn a_unit_that_is_none() {
    let text = format!("[agent]\nmemory = '64MeB'\ndrain = '20x'\n{SOURCE}{SINK}sync = '1'\n");
    let wanted = [
        "unknown unit `MeB`",
        "flumen.toml:2:10",
        "KiB, MiB, GiB",
        "unknown unit `x`",
        "flumen.toml:3:9",
        "d, h, m, s, ms",
        "flumen.toml:10:8",
        "\"1s\"",
    ];
    refused(text, &wanted);
}

#[test]
fn numbers_below_nothing() {
    let text = format!("[agent]\nmemory = -5\ndrain = '-1s'\n{SOURCE}threads = -1\n{SINK}");
    let wanted = [
        "-5 is not a size",
        "flumen.toml:2:10",
        "\"-1s\" is not a time",
        "flumen.toml:3:9",
        "`threads`: -1 is below 1",
        "flumen.toml:7:11",
        "from 1 to 32",
    ];
    refused(text, &wanted);
}

#[test]
fn a_channel_that_nobody_reads() {
    let text = format!(
        "{SOURCE}channels = ['a', 'b']\n[channels.a]\ntype = 'memory'\n[channels.b]\n\
         type = 'memory'\n{SINK}channel = 'a'\n"
    );
    let remedy = "name it in a sink: `channel = \"b\"`";
    refused(text, &["nobody reads the channel `b`", "flumen.toml:7:1", remedy]);
}

#[test]
fn two_sinks_on_one_path() {
    let text = format!(
        "{SOURCE}channels = ['a', 'b']\n[channels.a]\ntype = 'memory'\n[channels.b]\n\
         type = 'memory'\n{SINK}channel = 'a'\n{}channel = 'b'\n",
        SINK.replace("sinks.out", "sinks.more")
    );
    let what = "sinks.out and sinks.more both write to {dir}/logs/out.log";
    refused(text, &[what, "flumen.toml:15:8", "give one of them another place"]);
}

#[test]
fn memory_too_small_for_the_plan() {
    let text = format!("[agent]\nmemory = '4MiB'\n{SOURCE}{SINK}");
    let wanted =
        ["`agent.memory` is 4MiB, and this plan needs ", "flumen.toml:2:10", "least sum is"];
    refused(&text, &wanted);
    // What it says would do does, and a mebibyte less does not.
    let said = judged(&text).err;
    let (_, rest) = said.split_once("this plan needs ").unwrap();
    let least: u64 = rest.split_once("MiB").unwrap().0.parse().unwrap();
    let dir = TempDir::new().unwrap();
    for (mebibytes, code) in [(least - 1, 2), (least, 0)] {
        let text = text.replace("'4MiB'", &format!("'{mebibytes}MiB'"));
        std::fs::write(dir.path().join("flumen.toml"), text).unwrap();
        let checked = crate::commands::said(flumen("check flumen.toml").current_dir(dir.path()));
        assert_eq!(checked.code, Some(code), "{mebibytes} MiB: {}", checked.err);
    }
}

#[test]
fn nothing_to_do() {
    refused("", &["describes no agent", "flumen.toml:1:1", "`[sources.NAME]` and `[sinks.NAME]`"]);
    refused(SINK, &["no source: nothing would ever arrive", "flumen.toml:1:1", "`[sources.NAME]`"]);
    refused(SOURCE, &["no sink: nothing would ever leave", "flumen.toml:1:1", "`[sinks.NAME]`"]);
}

#[test]
fn one_listener_twice() {
    let listen = "['tcp://127.0.0.1:5514', 'tcp://127.0.0.1:5514']";
    let text = format!("[sources.in]\ntype = 'tcp'\nlisten = {listen}\n{SINK}");
    refused(text, &["tcp://127.0.0.1:5514 stands here twice", "flumen.toml:3:35", "leave one out"]);
    let text = format!(
        "[sources.a]\ntype = 'tcp'\nlisten = 'tcp://127.0.0.1:5514'\nchannel = 'c'\n[sources.b]\n\
         type = 'syslog'\nlisten = 'tcp://0.0.0.0:5514'\nchannel = 'c'\n\
         [channels.c]\ntype = 'memory'\n{SINK}channel = 'c'\n"
    );
    let what = "sources.a and sources.b want the same port";
    refused(text, &[what, "flumen.toml:7:10", "taken here", "choose another port or address"]);
}

#[test]
fn what_is_no_toml() {
    refused("[agent\nname = 'x'\n", &["this header is not closed", "flumen.toml:1:7", "`[name]`"]);
    let text = format!("[agent]\nmemory =\n{SOURCE}{SINK}codec = zstd\n");
    let wanted =
        ["a value is missing", "flumen.toml:2:9", "`zstd` is not in quotes", "flumen.toml:9:9"];
    refused(text, &wanted);
    let wanted = ["the byte 0xFF is not UTF-8", "flumen.toml:2:9", "save the file as UTF-8"];
    refused(b"[agent]\nname = '\xff\xfe'\n", &wanted);
}

#[test]
fn what_is_no_file() {
    let dir = TempDir::new().unwrap();
    for (name, what, remedy) in [
        ("missing.toml", "No such file or directory", "name a file that this user may read"),
        (".", "there is no *.toml in this directory", "name a configuration file, or a directory"),
        ("missing/flumen.toml", "No such file or directory", "name a file that this user may read"),
    ] {
        for command in ["check", "run"] {
            let said = said(flumen(command).arg(name).current_dir(dir.path()));
            assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{command} {name}");
            for words in [what, remedy, &format!("--> {name}"), &format!("{name}: 1 error")] {
                assert!(said.err.contains(words), "no {words:?} in\n{}", said.err);
            }
        }
    }
}

/// One of each in one file: all are told, in the order of their places.
#[test]
fn all_mistakes_at_once() {
    let text = "[agent]\nmemroy = '64MiB'\ndrain = '20x'\nadmin = 'nowhere'\n\
        [sources.in]\ntype = 'tcp'\nlisten = ['tcp://127.0.0.1:99999', 'tcp://127.0.0.1:5514']\n\
        threads = -1\nchannel = 'a'\n\
        [sources.again]\ntype = 'tpc'\nlisten = 'tcp://127.0.0.1:5514'\nchannel = 'nowhere'\n\
        [channels.a]\ntype = 'memory'\n[channels.b]\ntype = 'memory'\n\
        [sinks.out]\ntype = 'file'\ncodec = 'zip'\npath = 5\nchannel = 'a'\n";
    let lines = ["2:1", "3:9", "4:9", "7:11", "8:11", "11:8", "13:11", "16:1", "20:9", "21:8"];
    let places = lines.map(|place| format!("flumen.toml:{place}\n"));
    refused(text, &places.each_ref().map(String::as_str));
}
