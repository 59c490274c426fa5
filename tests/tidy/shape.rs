//! How long a thing may be, how a file begins, and what may not be left behind.

use crate::text::{Source, find_word, line_of, matching};
use crate::{Finding, lines, none, tree};

const LINE_COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Words that fail in code, and whether test code may use them.
struct Banned {
    word: &'static str,
    in_tests: bool,
    remedy: &'static str,
}

const BANNED: &[Banned] = &[
    Banned { word: "todo!", in_tests: false, remedy: "do it, or open an issue" },
    Banned { word: "unimplemented!", in_tests: false, remedy: "do it, or refuse it by name" },
    Banned { word: "dbg!", in_tests: false, remedy: "take it out" },
    Banned { word: "#[ignore", in_tests: false, remedy: "mend the test or take it out" },
    Banned {
        word: ".unwrap()",
        in_tests: true,
        remedy: "the world fails: return it; we fail: `expect` with the invariant that holds",
    },
    Banned {
        word: "#![allow",
        in_tests: false,
        remedy: "#[expect(lint, reason = \"…\")] on the smallest item",
    },
    Banned {
        word: "#[allow",
        in_tests: false,
        remedy: "#[expect(lint, reason = \"…\")] on the smallest item",
    },
];

/// Words that fail anywhere in the text, comments too. Split, or this file would fail.
const MARKS: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

fn finding(source: &Source, line: usize, what: String, remedy: &str) -> Finding {
    Finding { path: source.path.clone(), line, what, remedy: remedy.to_owned() }
}

fn check_lengths(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.raw.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            let what = format!("{columns} columns");
            findings.push(finding(source, index + 1, what, "at most 100: break the line"));
        }
    }
    let count = source.raw.lines().count();
    if count > FILE_LINES_MAX {
        let what = format!("{count} lines");
        findings.push(finding(source, count, what, "at most 600: this is two ideas, split it"));
    }
    findings
}

fn check_functions(source: &Source) -> Vec<Finding> {
    let bytes = source.code.as_bytes();
    let mut findings = Vec::new();
    for at in source.find("fn") {
        let Some(open) = body(bytes, at) else { continue };
        let (first, last) = (source.line(at), source.line(matching(bytes, open)));
        let count = last - first + 1;
        if count > FUNCTION_LINES_MAX {
            let what = format!("a function of {count} lines");
            findings.push(finding(source, first, what, "at most 70, a screen: split it"));
        }
    }
    findings
}

/// The brace that opens a function's body; none for `fn` types and trait methods without one.
fn body(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => return Some(at),
            b'(' | b'[' => at = matching(bytes, at) + 1,
            // `fn(A) -> B` as a type ends at whatever its surroundings end with.
            b';' | b',' | b')' | b']' | b'}' | b'=' => return None,
            _ => at += 1,
        }
    }
    None
}

fn check_head(source: &Source) -> Vec<Finding> {
    if source.raw.starts_with("//!") {
        return Vec::new();
    }
    let remedy = "say what the file is, promises and refuses in `//!` lines at the top";
    vec![finding(source, 1, "the file has no `//!` head".to_owned(), remedy)]
}

fn check_words(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for banned in BANNED {
        for at in source.find(banned.word) {
            if !(banned.in_tests && source.is_test(at)) {
                let what = format!("`{}`", banned.word);
                findings.push(finding(source, source.line(at), what, banned.remedy));
            }
        }
    }
    for mark in MARKS {
        for at in find_word(&source.raw, mark) {
            let what = format!("`{mark}` left behind");
            findings.push(finding(
                source,
                line_of(&source.raw, at),
                what,
                "do it, or open an issue",
            ));
        }
    }
    findings
}

fn over_the_tree(check: fn(&Source) -> Vec<Finding>) {
    let sources = tree::rust_sources();
    assert!(sources.len() > 5, "the walk found {} files: it does not see the tree", sources.len());
    none(&sources.iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn lines_and_files_fit() {
    over_the_tree(check_lengths);
}

#[test]
fn functions_fit_a_screen() {
    over_the_tree(check_functions);
}

#[test]
fn files_say_what_they_are() {
    over_the_tree(check_head);
}

#[test]
fn nothing_is_left_behind() {
    over_the_tree(check_words);
}

#[test]
fn self_test_lengths() {
    let fits = format!("{}\n", "ü".repeat(100));
    assert!(check_lengths(&Source::new("src/a.rs", &fits)).is_empty());
    let bad = format!("{fits}{}\n", "u".repeat(101));
    assert_eq!(lines(&check_lengths(&Source::new("src/a.rs", &bad))), [2]);
    let long = "x\n".repeat(601);
    assert_eq!(lines(&check_lengths(&Source::new("src/a.rs", &long))), [601]);
}

#[test]
fn self_test_functions() {
    let function =
        |lines: usize| format!("\nfn a(b: [u8; 2]) -> X {{\n{}}}\n", "b;\n".repeat(lines));
    assert!(check_functions(&Source::new("src/a.rs", &function(68))).is_empty());
    assert_eq!(lines(&check_functions(&Source::new("src/a.rs", &function(69)))), [2]);
    let types = format!(
        "struct A {{ a: fn(B) -> C, }}\ntrait D {{ fn e(); }}\nmod x {{{}}}\n",
        "\n".repeat(99)
    );
    assert!(check_functions(&Source::new("src/a.rs", &types)).is_empty());
}

#[test]
fn self_test_head() {
    assert_eq!(lines(&check_head(&Source::new("src/a.rs", "use a;\n//! late\n"))), [1]);
    assert!(check_head(&Source::new("src/a.rs", "//! A thing.\n")).is_empty());
}

#[test]
fn self_test_words() {
    let bad = format!(
        "fn a() {{ todo!() }}\nb.unwrap();\nunimplemented!();\ndbg!(c);\n#[ignore]\n// {} d\n\
         #[allow(dead_code)]\n",
        MARKS[0]
    );
    let mut found = lines(&check_words(&Source::new("src/a.rs", &bad)));
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3, 4, 5, 6, 7]);
    let test = "#[cfg(test)]\nmod tests { fn a() { b.unwrap(); } }\n";
    assert!(check_words(&Source::new("src/a.rs", test)).is_empty());
    assert!(check_words(&Source::new("tests/a.rs", "a.unwrap();\n")).is_empty());
    assert_eq!(lines(&check_words(&Source::new("tests/a.rs", "dbg!(a);\n"))), [1]);
}
