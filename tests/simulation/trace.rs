//! What happened, in short: the last lines for people, a hash of all of them to compare two runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

const LINES_KEPT: usize = 60;

#[derive(Default)]
struct Story {
    hash: u64,
    count: u64,
    last: VecDeque<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Story>>);

impl Trace {
    pub(crate) fn say(&self, line: impl Into<String>) {
        let line = line.into();
        let mut story = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        story.hash = line.bytes().fold(story.hash, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        story.count += 1;
        if story.last.len() == LINES_KEPT {
            story.last.pop_front();
        }
        if std::env::var_os("FLUMEN_TRACE").is_some() {
            eprintln!("{line}");
        }
        story.last.push_back(line);
    }

    /// Lines said, and the hash over all of them.
    pub(crate) fn digest(&self) -> (u64, u64) {
        let story = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (story.count, story.hash)
    }

    pub(crate) fn last_lines(&self) -> String {
        let story = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        story.last.iter().map(|line| format!("  {line}\n")).collect()
    }
}
