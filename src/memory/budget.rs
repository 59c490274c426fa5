//! The memory sum: one line for each place memory can be, printed by `check`.

/// What one part needs, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLine {
    /// The part, `sources.net`.
    pub part: String,
    /// What for: "64 datagram slots × 2 threads".
    pub what: String,
    pub bytes: u64,
}

/// The lines beside the pool, and what they leave for it.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    lines: Vec<MemoryLine>,
}

impl MemoryLine {
    pub fn new(part: impl Into<String>, what: impl Into<String>, bytes: u64) -> Self {
        Self { part: part.into(), what: what.into(), bytes }
    }
}

impl Budget {
    pub fn add(&mut self, line: MemoryLine) {
        self.lines.push(line);
    }

    pub fn lines(&self) -> &[MemoryLine] {
        &self.lines
    }

    pub fn bytes(&self) -> u64 {
        self.lines.iter().map(|line| line.bytes).sum()
    }
}
