//! A tree of very many small files, finished ones, open, torn, empty, of other programs, all of one
//! hour: each command reads it with few descriptors and little memory, and tells every fault once.
//! `scripts/many-files` makes it a hundred thousand of them.

use crate::grep::{Place, segment, suffix};
use flumen::codec::Codec;
use std::collections::HashMap;
use std::fs::{File, read_to_string};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CODECS: [Codec; 3] = [Codec::Zstd, Codec::Gzip, Codec::Lz4];
/// Files of a folder.
const FOLDER: usize = 1000;
/// Far fewer than there are files with overlapping times.
const DESCRIPTORS: usize = 400;
/// Of a file its name, its first time and its few blocks are known at once; nothing else may grow.
const PEAK_BYTES: u64 = 80 << 20;
const PEAK_BYTES_OF_A_FILE: u64 = 1 << 10;

fn files() -> usize {
    let told = std::env::var("FLUMEN_FILES").ok().map(|text| text.parse().expect("a number"));
    told.unwrap_or(1500)
}

fn line(file: usize, number: usize) -> String {
    format!("<14>Oct 11 22:14:15 web{} app: file {file} line {number} end\n", file % 7)
}

/// What a file is, what must be found in it, and whether it is a fault.
fn file(number: usize) -> (String, Vec<u8>, usize, bool) {
    let codec = CODECS[number % 3];
    let texts = [0, 3].map(|from| (from..from + 3).map(|n| line(number, n)).collect::<String>());
    let of_ours = |sealed| segment(codec, &texts, (number % 2) as i64, sealed);
    let name = |more: &str| format!("{number:06}.log{}{more}", suffix(codec));
    match number % 20 {
        0..=11 => (name(""), of_ours(true).bytes, 6, false),
        12 | 13 => (name(".open"), of_ours(false).bytes, 6, false),
        14 => {
            let mut bytes = of_ours(false).bytes;
            bytes.truncate(bytes.len() - 5);
            (name(".open"), bytes, 3, false)
        }
        15 => {
            let mut bytes = of_ours(false).bytes;
            bytes.truncate(bytes.len() - 5);
            (name(""), bytes, 3, true)
        }
        16 => (name(""), Vec::new(), 0, false),
        17 => (format!("{number:06}.log"), texts.concat().into_bytes(), 6, false),
        18 => {
            let stock = zstd::encode_all(texts.concat().as_bytes(), 1).unwrap();
            (format!("{number:06}.log.zst"), stock, 6, false)
        }
        _ => (name(""), format!("no log but {number}").repeat(9).into_bytes(), 0, true),
    }
}

struct Ran {
    code: Option<i32>,
    out: String,
    faults: usize,
}

/// The most descriptors and bytes that a process was seen to have.
fn watch(child: &mut Child) -> (Option<i32>, usize, u64) {
    let (mut descriptors, mut peak) = (0, 0);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code(), descriptors, peak);
        }
        let own = format!("/proc/{}", child.id());
        let open = std::fs::read_dir(format!("{own}/fd")).map_or(0, Iterator::count);
        descriptors = descriptors.max(open);
        let status = read_to_string(format!("{own}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim_end_matches("kB").trim().parse().ok());
        peak = peak.max(kibibytes.unwrap_or(0_u64) << 10);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command with few descriptors over the tree.
fn run(place: &Place, words: &[&str]) -> Ran {
    let [out, err] = ["out", "err"].map(|name| place.dir.path().join(name));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_flumen")).args(words).arg("tree");
    command.current_dir(place.dir.path()).stdin(Stdio::null());
    command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let began = Instant::now();
    let (code, descriptors, peak) = watch(&mut command.spawn().unwrap());
    let took = began.elapsed();
    let (out, err) = (read_to_string(out).unwrap(), read_to_string(err).unwrap());
    println!(
        "{words:?}: {} files in {:.2} s, {} MiB, {descriptors} descriptors",
        files(),
        took.as_secs_f64(),
        peak >> 20
    );
    assert!(!err.contains("panicked"), "{err}");
    let bound = PEAK_BYTES + PEAK_BYTES_OF_A_FILE * files() as u64;
    assert!(peak < bound, "{words:?}: {peak} bytes resident");
    Ran { code, out, faults: err.lines().count() }
}

/// How often each line was found; a line that nobody wrote is shown.
fn found(out: &str, expected: &HashMap<String, usize>) -> usize {
    let mut seen = vec![0_u8; expected.len()];
    for line in out.lines() {
        let Some(at) = expected.get(line) else { panic!("nobody wrote {line:?}") };
        seen[*at] += 1;
    }
    assert_eq!(seen.iter().filter(|times| **times > 1).count(), 0, "lines that came twice");
    seen.iter().filter(|times| **times == 1).count()
}

#[test]
fn a_tree_of_many_small_files_is_read() {
    let place = Place::new();
    let (mut expected, mut faults, mut events) = (HashMap::new(), 0, 0);
    for number in 0..files() {
        let (name, bytes, lines, fault) = file(number);
        let folder = place.dir.path().join(format!("tree/{:03}", number / FOLDER));
        std::fs::create_dir_all(&folder).unwrap();
        File::create(folder.join(name)).unwrap().write_all(&bytes).unwrap();
        for n in 0..lines {
            expected.insert(line(number, n).trim_end().to_owned(), events);
            events += 1;
        }
        faults += usize::from(fault);
    }

    let all = run(&place, &["grep", ""]);
    assert_eq!((all.code, all.faults), (Some(2), faults), "grep");
    assert_eq!(found(&all.out, &expected), events);
    let count = run(&place, &["grep", "-c", "line 2 "]);
    let full = (0..files()).filter(|number| file(*number).2 > 2).count();
    assert_eq!((count.code, count.out), (Some(2), format!("{full}\n")));
    let none = run(&place, &["grep", "-F", "nowhere"]);
    assert_eq!((none.code, none.out.as_str(), none.faults), (Some(2), "", faults));

    // Which tells also where a file in progress ends for now.
    let cat = run(&place, &["cat"]);
    let growing = (0..files()).filter(|number| number % 20 == 14).count();
    assert_eq!((cat.code, cat.faults), (Some(1), faults + growing), "cat");
    assert_eq!(found(&cat.out, &expected), events);

    let stats = run(&place, &["stats", "--json"]);
    assert_eq!((stats.code, stats.faults), (Some(1), faults), "stats");
    let value: serde_json::Value = serde_json::from_str(&stats.out).unwrap();
    assert_eq!(value["events"], events);
    assert_eq!(value["hosts"].as_array().unwrap().len(), 7);

    let verify = run(&place, &["verify", "--json"]);
    assert_eq!(verify.code, Some(1), "verify");
    let value: serde_json::Value = serde_json::from_str(&verify.out).unwrap();
    assert_eq!(
        (&value["events"], value["bad"].as_array().unwrap().len()),
        (&events.into(), faults)
    );
}
