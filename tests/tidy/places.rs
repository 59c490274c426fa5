//! Where the world may be touched. Files, sockets, processes, threads, clocks and the terminal
//! each have one or few places, so that the simulator can stand in for all of them, and so that
//! a reader knows where to look.

use crate::text::{Source, is_word};
use crate::{Finding, lines, none, tree};

/// One restricted thing.
struct Place {
    what: &'static str,
    /// How forbidden paths begin (`std::fs`), or, with a `$`, are in full.
    paths: &'static [&'static str],
    /// What forbidden paths hold, wherever it was imported from (`Instant::now`).
    tails: &'static [&'static str],
    /// Text in the code, whole words: macros, methods, keywords.
    words: &'static [&'static str],
    /// Paths that begin as a forbidden one and are plain values.
    values: &'static [&'static str],
    /// Files or folders, relative to `src/`.
    only: &'static [&'static str],
    remedy: &'static str,
}

const PLACES: &[Place] = &[
    Place {
        what: "files",
        paths: &["std::fs", "std::os::unix::fs", "rustix::fs", "libc::open"],
        tails: &[],
        words: &[],
        values: &[],
        only: &["storage/os_disk", "config/", "cli/", "sys"],
        remedy: "go through storage::Disk: the simulator has no other way to see the write",
    },
    Place {
        what: "sockets",
        paths: &["std::net", "std::os::unix::net", "mio::net", "socket2", "rustix::net"],
        tails: &["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "UnixDatagram"],
        words: &[],
        values: &[
            "std::net::AddrParseError",
            "std::net::IpAddr",
            "std::net::Ipv4Addr",
            "std::net::Ipv6Addr",
            "std::net::SocketAddr",
            "std::net::SocketAddrV4",
            "std::net::SocketAddrV6",
        ],
        only: &["source/", "sink/", "admin/", "load/", "sys"],
        remedy: "take addresses as values, leave sockets to source, sink, admin, load and sys",
    },
    Place {
        what: "processes",
        paths: &["std::process", "libc::fork", "libc::_exit"],
        tails: &["Command::new"],
        words: &[],
        values: &["std::process::id"],
        only: &["cli/", "main.rs", "runtime/shutdown", "runtime/command", "source/child"],
        remedy: "return the outcome; cli turns it into an exit code, source/child runs programs",
    },
    Place {
        what: "threads",
        // `use std::thread` alone would hide what is behind `thread::` from this rule.
        paths: &[
            "std::thread::spawn",
            "std::thread::Builder",
            "std::thread::scope",
            "std::thread$",
            "std::thread::self",
            "crossbeam::thread",
            "crossbeam::scope",
        ],
        tails: &[],
        words: &[],
        values: &["crate::runtime::thread"],
        only: &["runtime/thread"],
        remedy: "make it a Worker and let runtime::thread run it pinned and named",
    },
    Place {
        what: "clocks",
        paths: &["libc::clock_gettime", "rustix::time"],
        tails: &["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"],
        words: &[".elapsed()"],
        values: &[],
        only: &["runtime/clock"],
        remedy: "take `now: Now` as an argument; runtime::clock reads it once a duty cycle",
    },
    Place {
        what: "printing",
        paths: &[],
        tails: &[],
        words: &["println!", "eprintln!", "print!", "eprint!"],
        values: &[],
        only: &["cli/", "telemetry/log"],
        remedy: "return text or log it: only cli and telemetry/log talk to the terminal",
    },
    Place {
        what: "unsafe",
        paths: &[],
        tails: &[],
        words: &["unsafe"],
        values: &[],
        only: &["sys", "sync.rs", "memory/"],
        remedy: "find a safe way, or name the file here together with the bench that earned it",
    },
];

fn begins(segments: &[String], path: &str) -> bool {
    if let Some(whole) = path.strip_suffix('$') {
        return segments.join("::") == whole;
    }
    let names: Vec<&str> = path.split("::").collect();
    segments.len() >= names.len() && segments.iter().zip(&names).all(|(a, b)| a == b)
}

fn holds(segments: &[String], tail: &str) -> bool {
    let names: Vec<&str> = tail.split("::").collect();
    segments.windows(names.len()).any(|window| window.iter().zip(&names).all(|(a, b)| a == b))
}

fn check(source: &Source, place: &Place) -> Vec<Finding> {
    let Some(inside) = source.path.strip_prefix("src/") else { return Vec::new() };
    if place.only.iter().any(|only| inside.starts_with(only)) {
        return Vec::new();
    }
    let mut at: Vec<usize> = Vec::new();
    for path in source.paths() {
        let forbidden = place.paths.iter().any(|start| begins(&path.segments, start))
            || place.tails.iter().any(|tail| holds(&path.segments, tail));
        if forbidden && !place.values.iter().any(|value| begins(&path.segments, value)) {
            at.push(path.at);
        }
    }
    at.extend(place.words.iter().flat_map(|word| source.find(word)));
    at.retain(|&at| !source.is_test(at));
    at.sort_unstable();
    at.iter().map(|&at| finding(source, place, at)).collect()
}

fn finding(source: &Source, place: &Place, at: usize) -> Finding {
    let text: String = source.code[at..]
        .chars()
        .take_while(|&c| c.is_ascii() && (is_word(c as u8) || ":!.()".contains(c)))
        .collect();
    Finding {
        path: source.path.clone(),
        line: source.line(at),
        what: format!("{}: `{text}` outside src/{{{}}}", place.what, place.only.join(", ")),
        remedy: place.remedy.to_owned(),
    }
}

#[test]
fn the_world_is_touched_only_where_it_may_be() {
    let sources = tree::rust_sources();
    let findings: Vec<Finding> = sources
        .iter()
        .flat_map(|source| PLACES.iter().flat_map(|place| check(source, place)))
        .collect();
    none(&findings);
}

/// For each restricted thing: a snippet, the lines that must be found.
#[test]
fn self_test_each_place() {
    let bad: &[(&str, &str, &[usize])] = &[
        ("files", "use std::{fs, io};\nlet a = std::fs::read(b);\nuse std::io;\n", &[1, 2]),
        ("sockets", "use std::net::SocketAddr;\nuse std::net::{IpAddr, TcpStream};\n", &[2]),
        ("sockets", "fn a(b: &socket2::Socket, c: mio::net::UdpSocket) {}\n", &[1, 1]),
        ("processes", "use std::process::Command;\nlet p = std::process::id();\n", &[1]),
        (
            "threads",
            "std::thread::spawn(f);\nuse std::{io, thread};\nstd::thread::park();\n",
            &[1, 2],
        ),
        ("clocks", "let a = Instant::now();\nlet b = a.elapsed();\nlet c = now.mono;\n", &[1, 2]),
        ("printing", "println!();\nlet a = \"println!\";\n// print!\neprint!();\n", &[1, 4]),
        ("unsafe", "#![deny(unsafe_code)]\nunsafe { a() };\nunsafe impl Send for X {}\n", &[2, 3]),
    ];
    for (what, snippet, expected) in bad {
        let place = PLACES.iter().find(|place| place.what == *what).expect("a known place");
        let found = check(&Source::new("src/event/page.rs", snippet), place);
        assert_eq!(&lines(&found), expected, "{what}: {snippet}");
        let allowed = format!("src/{}x.rs", place.only[0]);
        assert!(check(&Source::new(&allowed, snippet), place).is_empty(), "{what} in {allowed}");
        let test = format!("#[cfg(test)]\nmod tests {{\n{}\n}}\n", snippet.replace("#![", "// "));
        assert!(check(&Source::new("src/event/page.rs", &test), place).is_empty(), "{what}");
    }
    for place in PLACES {
        assert!(bad.iter().any(|row| row.0 == place.what), "{} has no self-test", place.what);
    }
}
