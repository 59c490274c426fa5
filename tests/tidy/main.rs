//! The house rules as a test over the source text: who may know whom, where the world may be
//! touched, how long a thing may be. What a reviewer said twice becomes a rule here.
//!
//! Each rule is a function from a file to its findings, with two tests beside it: one over the
//! whole tree, one over a small bad snippet, so that a rule cannot quietly stop seeing.
//!
//! - [`text`]: what the rules read: Rust text with comments and strings blanked, and its paths
//! - [`layers`]: the table of rooms and the arrows between them
//! - [`places`]: files, sockets, threads, clocks, printing, `unsafe`: each only where it belongs
//! - [`shape`]: lengths, heads, and words that may not be left behind
//! - [`tree`]: dead files, the top level, paths of somebody's machine
//! - [`dependencies`]: features that the union over the crate graph must not switch on

mod dependencies;
mod layers;
mod places;
mod shape;
mod text;
mod tree;

use std::fmt;

/// One breach: where, what, and what would be right.
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    remedy: {}", self.path, self.line, self.what, self.remedy)
    }
}

/// Fails with every finding at once: a rule that shows one breach a run is no help.
#[track_caller]
pub(crate) fn none(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} found\n{}\n", lines.len(), lines.join("\n"));
}

/// The self-tests' question: which lines of a snippet does a rule object to?
pub(crate) fn lines(findings: &[Finding]) -> Vec<usize> {
    findings.iter().map(|finding| finding.line).collect()
}
