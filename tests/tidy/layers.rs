//! Who may know whom. A new arrow is a line in this table and a dated line in
//! `src/manual/decisions.md`; any other `crate::X` fails.

use crate::text::{CodePath, Source};
use crate::{Finding, lines, none, tree};
use std::collections::BTreeMap;

/// One room, and the rooms it may name; every room may also name [`EVERYWHERE`].
struct Layer {
    room: &'static str,
    may: &'static str,
}

/// Plain values and façades: known to all, knowing nobody.
const EVERYWHERE: &[&str] = &["limits", "sync", "time"];

/// Bottom to top: a room knows only rooms above its own line.
#[rustfmt::skip]
const LAYERS: &[Layer] = &[
    // The ground: values, façades, syscalls, the ring.
    Layer { room: "limits",      may: "" },
    Layer { room: "time",        may: "" },
    Layer { room: "sync",        may: "" },
    Layer { room: "sys",         may: "" },
    Layer { room: "ring",        may: "" },
    // What walks, and what counts it; protocols without I/O.
    Layer { room: "wire",        may: "" },
    Layer { room: "event",       may: "sys" },
    Layer { room: "syslog",      may: "" },
    Layer { room: "config",      may: "" },
    Layer { room: "telemetry",   may: "" },
    Layer { room: "manual",      may: "" },
    // What it walks in, and what makes it walk.
    Layer { room: "memory",      may: "event ring" },
    Layer { room: "runtime",     may: "ring sys telemetry" },
    // The spine.
    Layer { room: "interceptor", may: "config event syslog" },
    Layer { room: "codec",       may: "config event syslog" },
    Layer { room: "storage",     may: "event sys telemetry" },
    Layer { room: "channel",     may: "codec config event memory ring runtime storage telemetry" },
    Layer { room: "source",      may: "channel codec config event interceptor memory ring \
                                       runtime storage sys syslog telemetry wire" },
    Layer { room: "sink",        may: "channel codec config event memory ring runtime \
                                       storage sys syslog telemetry wire" },
    // Who reads back, who drives, who assembles, who shows.
    Layer { room: "archive",     may: "codec event runtime storage syslog wire" },
    Layer { room: "load",        may: "archive event runtime sys syslog telemetry wire" },
    Layer { room: "topology",    may: "archive channel codec config event interceptor load \
                                       memory ring runtime sink source storage sys syslog \
                                       telemetry wire" },
    Layer { room: "admin",       may: "runtime telemetry topology wire" },
    Layer { room: "cli",         may: "admin archive channel codec config event interceptor load \
                                       manual memory ring runtime sink source storage sys syslog \
                                       telemetry topology wire" },
    Layer { room: "main",        may: "cli memory" },
];

impl Layer {
    fn rooms(&self) -> impl Iterator<Item = &'static str> {
        self.may.split_whitespace()
    }

    fn may(&self, to: &str) -> bool {
        self.rooms().any(|room| room == to)
    }
}

/// Arrows that only test code may draw: (room, room it tests itself against).
const TEST_ARROWS: &[(&str, &str)] = &[];

/// Arrows that close a circle, each with its reason in `src/manual/decisions.md`.
const CYCLES_ALLOWED: &[(&str, &str)] = &[];

/// Rooms that may know both source and sink: whoever assembles, nobody who carries.
const ASSEMBLERS: &[&str] = &["cli", "topology"];

/// Where encoding and files come together; everywhere else they are strangers.
const CODEC_MEETS_STORAGE: &[&str] = &[
    "src/archive/",
    "src/channel/file",
    "src/cli/",
    "src/sink/rolling_file",
    "src/source/spooldir",
    "src/topology/",
];

/// A door whose parts come through rows of a registry. Parts do not know each other; every other
/// file behind the door is shared mechanics.
struct Registry {
    door: &'static [&'static str],
    /// The file with the rows: whoever it names as `part::KIND` is a part.
    rows: &'static str,
}

const REGISTRIES: &[Registry] = &[
    Registry { door: &["source"], rows: "src/source/mod.rs" },
    Registry { door: &["channel"], rows: "src/channel/registry.rs" },
    Registry { door: &["sink"], rows: "src/sink/mod.rs" },
    Registry { door: &["codec", "compressors"], rows: "src/codec/mod.rs" },
];

impl Registry {
    fn parts(&self, sources: &[Source]) -> Vec<String> {
        let rows = sources.iter().find(|source| source.path == self.rows);
        let paths = rows.map(Source::paths).unwrap_or_default();
        let row = |path: CodePath| match &path.segments[..] {
            [.., part, kind] if kind == "KIND" => Some(part.clone()),
            _ => None,
        };
        paths.into_iter().filter_map(row).collect()
    }
}

fn layer(room: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.room == room)
}

fn may(from: &str, to: &str, test: bool) -> bool {
    from == to
        || (EVERYWHERE.contains(&to) && from != "main")
        || layer(from).is_some_and(|layer| layer.may(to))
        || (test && TEST_ARROWS.contains(&(from, to)))
}

/// `src/sink/null.rs` is in room `sink`, `src/time.rs` in `time`; `src/lib.rs` is in none.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let room = inside.split('/').next()?.trim_end_matches(".rs");
    (room != "lib").then_some(room)
}

/// The module path of a file: `src/sink/mod.rs` is `[sink]`, `src/sink/null.rs` `[sink, null]`.
fn module(path: &str) -> Vec<&str> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    inside.split('/').filter(|&name| name != "mod").collect()
}

/// A path from the crate's root, without `crate`, when it is one of ours.
fn from_root<'a>(path: &str, segments: &'a [String]) -> Option<Vec<&'a str>> {
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = module(path);
    match names[0] {
        "crate" => Some(names[1..].to_vec()),
        "flumen" if path == "src/main.rs" => Some(names[1..].to_vec()),
        "super" => {
            let ups = names.iter().take_while(|&&name| name == "super").count();
            (ups >= own.len()).then(|| names[ups..].to_vec())
        }
        _ => None,
    }
}

/// Arrows that the table does not hold.
fn check_arrows(source: &Source) -> Vec<Finding> {
    let Some(from) = room(&source.path) else { return Vec::new() };
    let mut findings = Vec::new();
    for path in source.paths() {
        let Some(names) = from_root(&source.path, &path.segments) else { continue };
        let Some(&to) = names.first() else { continue };
        // One `super` more than the depth also reaches the file's own items from `mod tests`.
        if path.segments[0] == "super" && layer(to).is_none() {
            continue;
        }
        if may(from, to, source.is_test(path.at)) {
            continue;
        }
        findings.push(Finding {
            path: source.path.clone(),
            line: source.line(path.at),
            what: format!("`{from}` may not know `{}`", path.segments.join("::")),
            remedy: format!(
                "move the code to a room that may know `{to}`, hand the thing in as an argument, \
                 or argue for a new arrow in tests/tidy/layers.rs"
            ),
        });
    }
    findings
}

/// Encoding and files may meet only where blocks become segments.
fn check_codec_meets_storage(source: &Source) -> Vec<Finding> {
    if CODEC_MEETS_STORAGE.iter().any(|start| source.path.starts_with(start)) {
        return Vec::new();
    }
    let paths = source.paths();
    let first = |room: &str| {
        paths.iter().find(|path| {
            !source.is_test(path.at)
                && from_root(&source.path, &path.segments)
                    .is_some_and(|names| names.first() == Some(&room))
        })
    };
    let (Some(codec), Some(storage)) = (first("codec"), first("storage")) else {
        return Vec::new();
    };
    vec![Finding {
        path: source.path.clone(),
        line: source.line(codec.at.max(storage.at)),
        what: "codec and storage are joined here".to_owned(),
        remedy: format!("join them in one of {CODEC_MEETS_STORAGE:?}"),
    }]
}

/// Registered parts of one room that import each other.
fn check_parts(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for registry in REGISTRIES {
        let parts = registry.parts(sources);
        for source in sources.iter().filter(|source| source.path.starts_with("src/")) {
            let own = module(&source.path);
            let part = own.get(registry.door.len()).copied().unwrap_or_default();
            if !own.starts_with(registry.door) || !parts.iter().any(|known| known == part) {
                continue;
            }
            for path in source.paths().iter().filter(|path| !source.is_test(path.at)) {
                let Some(other) = named_part(&path.segments, &own, registry.door) else { continue };
                if other != part && parts.iter().any(|known| known == other) {
                    findings.push(Finding {
                        path: source.path.clone(),
                        line: source.line(path.at),
                        what: format!("part `{part}` imports part `{other}`"),
                        remedy: "move what both need to a file of the room that is no part"
                            .to_owned(),
                    });
                }
            }
        }
    }
    findings
}

/// What stands behind the door in a path from the root, or in one that climbs to the door.
fn named_part<'a>(segments: &'a [String], own: &[&str], door: &[&str]) -> Option<&'a str> {
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    let ups = names.iter().take_while(|&&name| name == "super").count();
    let climbs = ups > 0 && own.len() - door.len() == ups;
    let from_root = names[0] == "crate" && names[1..].starts_with(door);
    let at = if climbs { ups } else { 1 + door.len() };
    if climbs || from_root { names.get(at).copied() } else { None }
}

/// Circles in the table: room names that can be reached from themselves.
fn circles(layers: &[Layer], allowed: &[(&str, &str)]) -> Vec<String> {
    let arrows: BTreeMap<&str, Vec<&str>> = layers
        .iter()
        .map(|layer| {
            (layer.room, layer.rooms().filter(|&to| !allowed.contains(&(layer.room, to))).collect())
        })
        .collect();
    let reaches_itself = |start: &str| {
        let mut seen = Vec::new();
        let mut next: Vec<&str> = arrows[start].clone();
        while let Some(room) = next.pop() {
            if room == start {
                return true;
            }
            if !seen.contains(&room) {
                seen.push(room);
                next.extend(arrows.get(room).into_iter().flatten());
            }
        }
        false
    };
    arrows.keys().filter(|room| reaches_itself(room)).map(ToString::to_string).collect()
}

#[test]
fn rooms_know_only_whom_the_table_names() {
    none(&tree::rust_sources().iter().flat_map(check_arrows).collect::<Vec<_>>());
}

#[test]
fn codec_meets_storage_in_few_places() {
    none(&tree::rust_sources().iter().flat_map(check_codec_meets_storage).collect::<Vec<_>>());
}

#[test]
fn parts_of_a_room_do_not_know_each_other() {
    let sources = tree::rust_sources();
    for registry in REGISTRIES {
        assert!(!registry.parts(&sources).is_empty(), "{}: no `part::KIND`", registry.rows);
    }
    none(&check_parts(&sources));
}

#[test]
fn every_room_stands_in_the_table() {
    for file in tree::files().iter().filter(|file| file.ends_with(".rs")) {
        if let Some(room) = room(file) {
            assert!(layer(room).is_some(), "{file}: room `{room}` is missing in LAYERS");
        }
    }
}

/// The table is written bottom to top, so that reading it once is enough.
#[test]
fn the_table_points_upwards_only() {
    let position = |room| LAYERS.iter().position(|layer| layer.room == room);
    for layer in LAYERS {
        for target in layer.rooms() {
            let allowed = CYCLES_ALLOWED.contains(&(layer.room, target));
            assert!(
                allowed || position(target) < position(layer.room),
                "`{}` names `{target}`, which stands below it",
                layer.room
            );
        }
    }
}

#[test]
fn the_table_has_no_circles_and_names_only_rooms() {
    assert_eq!(circles(LAYERS, CYCLES_ALLOWED), Vec::<String>::new());
    for target in LAYERS.iter().flat_map(Layer::rooms) {
        assert!(layer(target).is_some(), "`{target}` is no room");
    }
}

#[test]
fn source_and_sink_never_meet() {
    for layer in LAYERS.iter().filter(|layer| !ASSEMBLERS.contains(&layer.room)) {
        let knows = |room| layer.room == room || layer.may(room);
        assert!(!(knows("source") && knows("sink")), "`{}` knows both", layer.room);
    }
}

#[test]
fn self_test_arrows() {
    let bad = "use crate::sink::Sink;\nuse crate::{event::Page, codec};\nfn f() {\n    \
               crate::load::run();\n    super::super::sink::x();\n}\n";
    let found = check_arrows(&Source::new("src/source/udp.rs", bad));
    assert_eq!(lines(&found), vec![1, 4, 5]);
    let main = Source::new("src/main.rs", "use flumen::cli;\nuse flumen::sink;\n");
    assert_eq!(lines(&check_arrows(&main)), vec![2]);
    let fine = "use crate::time::Now;\n#[cfg(test)]\nmod tests { use super::super::Trait; }\n";
    assert!(check_arrows(&Source::new("src/event/page.rs", fine)).is_empty());
    let glob = Source::new("src/event/page.rs", "use crate::*;\n");
    assert_eq!(lines(&check_arrows(&glob)), vec![1]);
}

#[test]
fn self_test_codec_meets_storage() {
    let bad = "use crate::codec::zstd;\nuse crate::storage::Disk;\n";
    assert_eq!(lines(&check_codec_meets_storage(&Source::new("src/sink/null.rs", bad))), [2]);
    assert!(check_codec_meets_storage(&Source::new("src/archive/cat.rs", bad)).is_empty());
}

#[test]
fn self_test_parts() {
    let sources = [
        Source::new("src/sink/mod.rs", "const S: &[K] = &[null::KIND, file::KIND];\nuse file::X;"),
        Source::new("src/sink/null.rs", "use super::file::X;\nuse super::runner::Y;\n"),
        Source::new("src/sink/file/mod.rs", "use crate::sink::{Sink, null::X};\nuse super::Sink;"),
        Source::new("src/sink/file/deep.rs", "use super::name;\nuse super::super::null::X;\n"),
        Source::new("src/sink/runner.rs", "use super::null::X;\n"),
        Source::new("src/codec/mod.rs", "const S: &[K] = &[a::KIND, b::KIND];\n"),
        Source::new("src/codec/compressors/a.rs", "use super::b::X;\nuse crate::codec::b;\n"),
    ];
    let found = check_parts(&sources);
    let found: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.line)).collect();
    let expected = [
        ("src/sink/null.rs", 1),
        ("src/sink/file/mod.rs", 1),
        ("src/sink/file/deep.rs", 2),
        ("src/codec/compressors/a.rs", 1),
    ];
    assert_eq!(found, expected);
}

#[test]
fn self_test_circles() {
    let layers = [
        Layer { room: "a", may: "b" },
        Layer { room: "b", may: "c" },
        Layer { room: "c", may: "a" },
        Layer { room: "d", may: "a" },
    ];
    assert_eq!(circles(&layers, &[]), ["a", "b", "c"]);
    assert_eq!(circles(&layers, &[("c", "a")]), Vec::<String>::new());
}
