//! Features are a union over the whole crate graph: one dependency can switch a backend for all.
//! These guards ask Cargo, offline, what was really chosen.

use crate::tree::root;
use std::process::Command;

/// `cargo tree` over the graph that ships (no dev-dependencies).
fn cargo_tree(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The lines `name vX.Y.Z feature,feature` of every crate that ships.
fn shipped() -> Vec<String> {
    let tree = cargo_tree(&["--format", "{p} |{f}"]);
    tree.lines().map(str::to_owned).collect()
}

fn features<'a>(shipped: &'a [String], name: &str) -> Vec<&'a str> {
    let start = format!("{name} v");
    let line = shipped.iter().find(|line| line.starts_with(&start)).expect("the crate ships");
    let list = line.rsplit_once('|').expect("the format has a bar").1;
    list.trim_end_matches(" (*)").split(',').collect()
}

fn ships(shipped: &[String], name: &str) -> bool {
    shipped.iter().any(|line| line.starts_with(&format!("{name} v")))
}

/// Any C zlib anywhere in the graph wins over zlib-rs, silently.
#[test]
fn gzip_is_zlib_rs() {
    let shipped = shipped();
    let flate2 = features(&shipped, "flate2");
    assert!(flate2.contains(&"zlib-rs"), "{flate2:?}");
    for backend in ["any_c_zlib", "zlib", "zlib-ng", "zlib-ng-compat", "cloudflare_zlib"] {
        assert!(!flate2.contains(&backend), "flate2 got {backend}: {flate2:?}");
    }
    for c_zlib in ["libz-sys", "libz-ng-sys", "cloudflare-zlib-sys"] {
        assert!(!ships(&shipped, c_zlib), "{c_zlib} is in the graph");
    }
}

/// The safe paths of lz4_flex cost a fifth of its speed; its checked decoder is what we want.
#[test]
fn lz4_is_the_fast_one() {
    let shipped = shipped();
    let lz4 = features(&shipped, "lz4_flex");
    assert!(lz4.contains(&"checked-decode"), "{lz4:?}");
    assert!(!lz4.contains(&"safe-encode") && !lz4.contains(&"safe-decode"), "{lz4:?}");
}

/// Workers are threads with a duty cycle; an async runtime in the graph is an accident.
#[test]
fn no_async_runtime_ships() {
    let shipped = shipped();
    for runtime in ["tokio", "async-std", "smol", "async-executor"] {
        assert!(!ships(&shipped, runtime), "{runtime} is in the graph");
    }
}

/// One public registry, so that anybody's `cargo build --locked` finds the same bytes.
#[test]
fn the_lock_file_names_one_registry() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let source = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    for line in lock.lines().filter(|line| line.starts_with("source = ")) {
        assert_eq!(line, source);
    }
}

/// Every dependency has its reason, dated, in the manual.
#[test]
fn every_dependency_has_its_line() {
    let manifest: String = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let decisions =
        std::fs::read_to_string(root().join("src/manual/decisions.md")).expect("decisions.md");
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| inside) {
            assert!(decisions.contains(&format!("`{name}`")), "`{name}` has no line there");
        }
    }
}

#[test]
fn self_test_features_are_read() {
    let shipped = ["a v1.0.0 |std,fast (*)".to_owned(), "b v2.0.0 |".to_owned()];
    assert_eq!(features(&shipped, "a"), ["std", "fast"]);
    assert!(ships(&shipped, "b") && !ships(&shipped, "c"));
}
