//! `flumen verify`, `stats` and `tail` over files as they lie about, and while an agent writes.

use crate::commands::{flumen, kept, said};
use crate::grep::{Place, segment, suffix};
use crate::harness::{Agent, SYSLOG_TO_FILE, paths, until};
use crate::numbered::line;
use flumen::codec::Codec;
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Stdio;

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("<34>Oct 11 22:14:15 web{n} su: first\nsecond of {n}\n")).collect()
}

/// Each byte of a file in turn is damaged: it is told, and where.
#[test]
fn verify_names_every_damaged_block() {
    let place = Place::new();
    for codec in [Codec::Zstd, Codec::Gzip, Codec::Lz4] {
        let file = segment(codec, &texts(3), 0, true);
        let name = format!("x.log{}", suffix(codec));
        place.put(&name, &file.bytes);
        let well = said(place.flumen(&["verify", &name]));
        assert_eq!((well.code, well.err.as_str()), (Some(0), ""));
        assert!(well.out.starts_with("1 files, 3 blocks, 6 events, "), "{}", well.out);
        assert!(well.out.ends_with(": all is well\n"), "{}", well.out);
        // Of zstd's seek table only the frame around it is ours to check.
        let end = file.blocks[2].end_offset() as usize;
        for at in (0..end).step_by(5) {
            let mut damaged = file.bytes.clone();
            damaged[at] ^= 0x10;
            place.put(&name, &damaged);
            let bad = said(place.flumen(&["verify", &name]));
            let block = file.blocks.iter().position(|it| it.end_offset() > at as u64).unwrap();
            assert_eq!(bad.code, Some(1), "{name} at {at}: {}", bad.out);
            let first = format!("{name}: block {block} at byte {}: ", file.blocks[block].offset);
            assert!(bad.out.starts_with(&first), "{name} at {at}: {}", bad.out);
            assert!(bad.out.contains("2 blocks, 4 events") && bad.out.contains("1 place is bad"));
        }
    }
    let json = said(place.flumen(&["verify", ".", "--json"])).out;
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value["files"], value["bad"].as_array().unwrap().len()), (&3.into(), 3));
    assert_eq!(value["bad"][0]["block"], 2);
}

/// As grep does: what is whole behind a destroyed header is written, the place is named.
#[test]
fn cat_goes_on_behind_a_destroyed_header() {
    let place = Place::new();
    for (codec, at) in [(Codec::Zstd, 0), (Codec::Gzip, 1), (Codec::Lz4, 1)] {
        let file = segment(codec, &texts(3), 0, false);
        let name = format!("x.log{}.open", suffix(codec));
        let mut damaged = file.bytes.clone();
        damaged[file.blocks[at].offset as usize + 40] ^= 0x10;
        place.put(&name, &damaged);
        let bad = said(place.flumen(&["cat", &name]));
        let expected: String = (0..3).filter(|n| *n != at).map(|n| texts(3)[n].clone()).collect();
        assert_eq!((bad.code, bad.out), (Some(1), expected), "{name}");
        let named = format!("bytes at byte {} are left out", file.blocks[at].offset);
        assert!(bad.err.contains(&named), "{name}: {}", bad.err);
    }
}

#[test]
fn verify_reads_files_of_others_and_torn_ones() {
    let place = Place::new();
    let whole = segment(Codec::Zstd, &texts(3), 0, false).bytes;
    place.put("open.log.zst.open", &whole[..whole.len() - 5]);
    assert_eq!(said(place.flumen(&["verify", "open.log.zst.open"])).code, Some(0));
    place.put("cut.log.zst", &whole[..whole.len() - 5]);
    let cut = said(place.flumen(&["verify", "cut.log.zst"]));
    assert!(cut.code == Some(1) && cut.out.contains("cut short"), "{}", cut.out);
    place.put("text.log", b"one\ntwo\n");
    let text = said(place.flumen(&["verify", "text.log"]));
    assert_eq!(
        (text.code, text.out.contains(" 2 events, 8 bytes")),
        (Some(0), true),
        "{}",
        text.out
    );
    let stock = zstd::encode_all(&b"one\ntwo\n"[..], 1).unwrap();
    place.put("stock.log.zst", &stock[..stock.len() - 1]);
    assert_eq!(said(place.flumen(&["verify", "stock.log.zst"])).code, Some(1));
    assert_eq!(said(place.flumen(&["verify", "missing"])).code, Some(1));
    for name in ["raw.log.zst", "raw.log.gz", "raw.log.lz4"] {
        assert_eq!(said(flumen("verify").arg(kept(name))).code, Some(0), "{name}");
    }
}

#[test]
fn stats_count_by_host_severity_and_hour() {
    let place = Place::new();
    place.put("a.log.zst", &segment(Codec::Zstd, &texts(70), 0, true).bytes);
    place.put("b.log", b"<14>Oct 11 22:14:15 web0 su: text\n");
    let json = said(place.flumen(&["stats", ".", "--json"]));
    assert_eq!((json.code, json.err.as_str()), (Some(0), ""));
    let value: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&value["events"], &value["without_host"]), (&141.into(), &70.into()));
    assert_eq!(
        (&value["hosts"][0]["host"], &value["hosts"][0]["events"]),
        (&"web0".into(), &2.into())
    );
    let hours = value["hours"].as_array().unwrap();
    let shown: Vec<_> = hours.iter().map(|hour| (&hour["hour"], &hour["events"])).collect();
    let named = |hour: &'static str| Value::from(hour);
    assert_eq!(
        shown,
        [
            (&Value::Null, &1.into()),
            (&named("2026-11-21T10:00:00Z"), &120.into()),
            (&named("2026-11-21T11:00:00Z"), &20.into()),
        ]
    );
    let table = said(place.flumen(&["stats", ".", "--hosts", "2"])).out;
    assert!(table.starts_with("141 events, ") && table.contains("and 68 more"), "{table}");
    assert!(!table.contains('█'), "no bars where there is no terminal");
    let since =
        said(place.flumen(&["stats", "a.log.zst", "--since", "2026-11-21T11:00:00Z", "--json"]));
    assert!(since.out.starts_with("{\"blocks\":10,"), "{}", since.out);
    assert_eq!(said(place.flumen(&["stats", "a.log.zst", "--since", "never"])).code, Some(2));
}

#[test]
fn tail_is_the_end_of_everything() {
    let place = Place::new();
    for codec in [Codec::Zstd, Codec::Gzip, Codec::Lz4] {
        place.put(
            &format!("{codec}/a.log{}", suffix(codec)),
            &segment(codec, &texts(4), 3, true).bytes,
        );
        place.put(
            &format!("{codec}/b.log{}.open", suffix(codec)),
            &segment(codec, &texts(3), 0, false).bytes,
        );
        place.put(&format!("{codec}/plain.log"), b"p1\np2\np3");
        let all = said(place.flumen(&["grep", "", &codec.to_string()])).out;
        let lines: Vec<&str> = all.lines().collect();
        assert_eq!(lines.len(), 3 + 14);
        for count in [0, 1, 3, 10, 14, 15, 17, 100] {
            let found = said(place.flumen(&["tail", "-n", &count.to_string(), &codec.to_string()]));
            let expected = &lines[lines.len().saturating_sub(count)..];
            assert_eq!(found.out.lines().collect::<Vec<_>>(), expected, "{codec} {count}");
            assert_eq!((found.code, found.err.as_str()), (Some(0), ""));
        }
    }
    let json = said(place.flumen(&["tail", "-n", "1", "zstd", "--json"])).out;
    assert!(json.contains("\"message\":\"second of 3\""), "{json}");
    place.put("numbered/x.log", b"1\n2\n");
    place.put("numbered/x.log.1", b"3\n4\n");
    place.put("numbered/x.log.10.open", b"7\nhalf");
    place.put("numbered/x.log.2", b"5\n6\n");
    assert_eq!(said(place.flumen(&["tail", "-n", "4", "numbered"])).out, "4\n5\n6\n7\n");
    assert_eq!(said(place.flumen(&["tail", "-"])).code, Some(2));
    assert_eq!(said(place.flumen(&["tail", "missing"])).code, Some(1));
}

/// The last events, then every new one once, through rolls.
#[test]
fn tail_follows_from_the_end() {
    for codec in ["zstd", "none"] {
        let configuration = SYSLOG_TO_FILE.replace(r#""zstd""#, &format!("{codec:?}"));
        let agent = Agent::start(&configuration.replace("{dir}/out.log", "{dir}/logs/out.log"));
        let logs = agent.dir.path().join("logs");
        let send = |numbers: std::ops::Range<u64>| {
            let end = numbers.end;
            let lines: String = numbers.map(|number| line(0, number) + "\n").collect();
            TcpStream::connect(agent.tcp("net")).unwrap().write_all(lines.as_bytes()).unwrap();
            agent.wait_for(end);
        };
        send(0..100);
        agent.signal(Signal::USR1);
        assert!(until(|| paths(&logs, ".open").is_empty()));
        send(100..200);
        let count = || said(flumen("grep -c").arg("").arg(&logs)).out;
        assert!(until(|| count() == "200\n"));
        let mut command = flumen("tail -f -n 5");
        let mut child = command.arg(&logs).stdout(Stdio::piped()).spawn().unwrap();
        let mut found = BufReader::new(child.stdout.take().unwrap()).lines();
        for number in 195..200 {
            assert_eq!(found.next().unwrap().unwrap(), line(0, number), "{codec}");
        }
        send(200..300);
        agent.signal(Signal::USR1);
        assert!(until(|| paths(&logs, ".open").is_empty()));
        send(300..400);
        for number in 200..400 {
            assert_eq!(found.next().unwrap().unwrap(), line(0, number), "{codec}");
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
