//! The tree as a whole: dead files, the top level, and what only exists on somebody's machine.

use crate::text::Source;
use crate::{Finding, lines, none};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What may stand beside `src/`; dotfiles too.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "perf",
    "scripts",
    "src",
    "tests",
];

/// Folders under the root of somebody's file system. Split, or this file would fail.
const MACHINE_FOLDERS: &[&str] = &[concat!("ro", "ot"), concat!("wo", "rk"), concat!("tmp", "/w")];

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file that is or could be committed, relative, sorted. Without git (an unpacked
/// archive) the folders are walked, dotfiles and build output left out.
pub(crate) fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files = match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        _ => walk(&root(), ""),
    };
    files.retain(|file| root().join(file).is_file());
    files.sort();
    files
}

fn walk(folder: &Path, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if name.starts_with('.') || path == "target" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path(), &format!("{path}/")));
        } else {
            found.push(path);
        }
    }
    found
}

/// All Rust of the repository, with files that only tests compile marked as such.
pub(crate) fn rust_sources() -> Vec<Source> {
    let files = files();
    let rust = files.iter().filter(|file| file.ends_with(".rs"));
    let mut sources: Vec<Source> = rust.map(|file| Source::read(&root(), file)).collect();
    let mut test_files = BTreeSet::new();
    for source in &sources {
        test_files.extend(modules(source).into_iter().filter(|m| m.test).flat_map(|m| m.files));
    }
    for source in &mut sources {
        if test_files.contains(&source.path) {
            source.mark_as_test();
        }
    }
    sources
}

/// A `mod name;` line: the files it may stand for.
struct Module {
    files: Vec<String>,
    test: bool,
}

fn modules(source: &Source) -> Vec<Module> {
    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let stem = source.path[folder.len() + 1..].trim_end_matches(".rs");
    let own = if ["mod", "lib", "main"].contains(&stem) || is_root(&source.path) {
        folder.to_owned()
    } else {
        format!("{folder}/{stem}")
    };
    let mut modules = Vec::new();
    for at in source.find("mod") {
        let rest = &source.code[at + 3..];
        let name = rest.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next();
        let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
        if !rest.trim_start()[name.len()..].trim_start().starts_with(';') {
            continue;
        }
        let mut files = vec![format!("{own}/{name}.rs"), format!("{own}/{name}/mod.rs")];
        files.extend(path_attribute(source, at).map(|path| format!("{folder}/{path}")));
        modules.push(Module { files, test: source.is_test(at) });
    }
    modules
}

/// The `#[path = "…"]` on the line before a `mod`.
fn path_attribute(source: &Source, at: usize) -> Option<String> {
    let before = source.raw[..at].lines().rev().take(2).find(|line| line.contains("#[path"))?;
    before.split('"').nth(1).map(str::to_owned)
}

fn manifest() -> String {
    std::fs::read_to_string(root().join("Cargo.toml")).unwrap()
}

/// Files that Cargo starts from.
fn is_root(path: &str) -> bool {
    let manifest = manifest();
    let bench = path.strip_prefix("benches/").and_then(|name| name.strip_suffix(".rs"));
    ["src/lib.rs", "src/main.rs"].contains(&path)
        || manifest.contains(&format!("path = \"{path}\""))
        || bench.is_some_and(|name| manifest.contains(&format!("[[bench]]\nname = \"{name}\"")))
}

/// Rust files that no `mod` line reaches: they look alive and are not compiled.
fn check_dead(sources: &[Source], is_root: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut alive: Vec<&Source> = sources.iter().filter(|s| is_root(&s.path)).collect();
    let mut reached: BTreeSet<&str> = alive.iter().map(|s| s.path.as_str()).collect();
    while let Some(source) = alive.pop() {
        for file in modules(source).into_iter().flat_map(|module| module.files) {
            let Some(next) = sources.iter().find(|s| s.path == file) else { continue };
            if reached.insert(&next.path) {
                alive.push(next);
            }
        }
    }
    let dead = sources.iter().filter(|source| !reached.contains(source.path.as_str()));
    dead.map(|source| Finding {
        path: source.path.clone(),
        line: 1,
        what: "no `mod` reaches this file, and Cargo.toml does not name it".to_owned(),
        remedy: "declare it, or take it out".to_owned(),
    })
    .collect()
}

fn check_top_level(files: &[String]) -> Vec<Finding> {
    let top: BTreeSet<&str> = files.iter().filter_map(|file| file.split('/').next()).collect();
    let extra = top.iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(*name));
    extra
        .map(|name| Finding {
            path: (*name).to_owned(),
            line: 1,
            what: "does not belong at the top level".to_owned(),
            remedy: format!("put it under one of {TOP_LEVEL:?}"),
        })
        .collect()
}

fn check_machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let names_machine = |line: &str| {
        MACHINE_FOLDERS.iter().any(|folder| {
            let inside = format!("/{folder}/");
            line.match_indices(&inside).any(|(at, _)| {
                let before = line[..at].bytes().next_back();
                !before.is_some_and(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            })
        })
    };
    let bad = text.lines().enumerate().filter(|(_, line)| names_machine(line));
    bad.map(|(index, line)| Finding {
        path: path.to_owned(),
        line: index + 1,
        what: format!("names a path of one machine: {}", line.trim()),
        remedy: "take a relative path, an environment variable, or an invented one".to_owned(),
    })
    .collect()
}

/// Scripts stop at the first thing that goes wrong, and say at the top what they are.
fn check_script(path: &str, text: &str) -> Vec<Finding> {
    let mut rows = text.lines();
    let first = rows.next() == Some("#!/usr/bin/env bash");
    let head = rows.next().is_some_and(|row| row.starts_with("# "));
    let strict = text.lines().any(|row| row == "set -euo pipefail");
    let rules = [
        (first, "begins with #!/usr/bin/env bash"),
        (head, "says on its second line what it is"),
        (strict, "sets -euo pipefail"),
    ];
    let broken = rules.iter().filter(|(kept, _)| !kept);
    broken
        .map(|(_, rule)| Finding {
            path: path.to_owned(),
            line: 1,
            what: "a script out of order".to_owned(),
            remedy: format!("a script {rule}"),
        })
        .collect()
}

#[test]
fn scripts_are_strict() {
    let files = files();
    let bash = files.iter().filter(|file| {
        let stem = file.rsplit('/').next().unwrap_or(file);
        (file.starts_with("scripts/") || file.starts_with(".ci/")) && !stem.contains('.')
    });
    let read = |file: &String| std::fs::read_to_string(root().join(file)).unwrap();
    let findings: Vec<Finding> = bash.flat_map(|file| check_script(file, &read(file))).collect();
    none(&findings);
}

#[test]
fn every_file_is_reached() {
    none(&check_dead(&rust_sources(), is_root));
}

#[test]
fn the_top_level_is_fixed() {
    none(&check_top_level(&files()));
}

#[test]
fn nothing_names_a_machine() {
    let mut findings = Vec::new();
    for file in files() {
        // Bytes that are no text (kept segments, corpora) name nothing.
        if let Ok(text) = std::fs::read_to_string(root().join(&file)) {
            findings.extend(check_machine_paths(&file, &text));
        }
    }
    none(&findings);
}

#[test]
fn self_test_dead_files() {
    let tree = [
        Source::new("src/lib.rs", "pub mod a;\nmod inline { }\n#[cfg(test)]\nmod tested;\n"),
        Source::new("src/a/mod.rs", "mod b; // mod e;\n"),
        Source::new("src/a/b.rs", "mod c;\n#[path = \"other.rs\"]\nmod d;\n"),
        Source::new("src/a/b/c.rs", ""),
        Source::new("src/a/other.rs", ""),
        Source::new("src/a/e.rs", ""),
        Source::new("src/tested.rs", ""),
    ];
    let dead = check_dead(&tree, |path| path == "src/lib.rs");
    assert_eq!(dead.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["src/a/e.rs"]);
    assert!(modules(&tree[0]).iter().any(|module| module.test));
}

#[test]
fn self_test_top_level() {
    let files = ["src/lib.rs", ".ci/run", "notes.txt", "docs/x.md"].map(String::from);
    let found = check_top_level(&files);
    assert_eq!(found.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["docs", "notes.txt"]);
}

#[test]
fn self_test_scripts() {
    let good = "#!/usr/bin/env bash\n# a: does b.\nset -euo pipefail\n";
    assert!(check_script("scripts/a", good).is_empty());
    assert_eq!(check_script("scripts/a", "#!/bin/sh\nset -e\n").len(), 3);
}

#[test]
fn self_test_machine_paths() {
    for folder in MACHINE_FOLDERS {
        let bad = format!("fine\nlet a = \"/{folder}/x\";\n");
        assert_eq!(lines(&check_machine_paths("a.rs", &bad)), [2]);
        let fine = format!("target/{folder}/x net{folder}/ /{folder}s/\n");
        assert!(check_machine_paths("a.rs", &fine).is_empty());
    }
}

#[test]
fn self_test_walk_agrees_with_git() {
    let walked = walk(&root(), "");
    for file in files().iter().filter(|file| !file.split('/').any(|part| part.starts_with('.'))) {
        assert!(walked.contains(file), "{file}");
    }
}
