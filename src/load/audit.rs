//! The audit: what of a run stands in the files, event by event.
//!
//! Every event of every file is read, its checksum checked, and its bit set. So afterwards
//!
//! ```text
//!   sent = found + lost           events of the manifest, each once
//!   events read = found + unanswered + duplicated + corrupted + foreign + unsent
//! ```
//!
//! A corrupted event is not found: its number cannot be trusted, and it counts as lost as well.
//! Order is that of a stream within a series of files (`x.log.zst`, `x.log.1.zst`, …): a number
//! below one that stands before it. UDP may be reordered on its way, so only TCP's counts against
//! the run. Memory: one bit an event.

use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

use super::Manifest;
use crate::archive::{self, ArchiveError, Ending};
use crate::syslog::stamp::{self, Reading, Stamp};
use crate::time::Wall;

/// What the audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    pub sent: u64,
    /// Different events of the manifest that are there, whole.
    pub found: u64,
    pub lost: u64,
    /// Copies beyond the first.
    pub duplicated: u64,
    /// Of TCP streams.
    pub reordered: u64,
    /// Of UDP streams: reported, no failure.
    pub reordered_udp: u64,
    pub corrupted: u64,
    /// Different events that were sent over RELP and not acknowledged, and are there: no failure.
    pub unanswered: u64,
    /// Whole events of this run that the manifest does not know.
    pub unsent: u64,
    /// Events of other runs, or of nobody.
    pub foreign: u64,
    pub files: u64,
    pub bytes: u64,
    /// Blocks, or ends of files, that could not be read.
    pub unreadable: u64,
    /// Receive time minus the time at which an event was due, where the files keep receive times.
    pub latency: Option<Latency>,
    /// The first gaps, for whoever goes looking.
    pub gaps: Vec<Gap>,
}

/// Nanoseconds. Without per-event times an event's receive time is its block's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Latency {
    pub events: u64,
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// The first run of missing events of a stream, and how many it misses altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    pub stream: u32,
    pub lost: u64,
    pub first: u64,
    pub length: u64,
}

/// How far an audit is.
#[derive(Clone, Copy, Debug)]
pub struct AuditProgress {
    pub files: u64,
    pub files_all: u64,
    pub events: u64,
}

/// Streams with losses that are named.
const GAPS_MAX: usize = 10;
/// A quarter of an hour: what is later counts as that.
const LATENCY_NS_MAX: u64 = 900_000_000_000;

/// Audits the files at `paths` (directories are walked).
pub fn run(manifest: &Manifest, paths: &[PathBuf]) -> Result<Verdict, ArchiveError> {
    run_with(manifest, paths, &mut |_| ())
}

/// As [`run`]; calls `progress` once a block.
pub fn run_with(
    manifest: &Manifest,
    paths: &[PathBuf],
    progress: &mut dyn FnMut(&AuditProgress),
) -> Result<Verdict, ArchiveError> {
    let mut files: Vec<(PathBuf, u32, PathBuf)> = archive::segments(paths)?
        .into_iter()
        .map(|file| {
            let (series, number) = archive::series(&file);
            (series, number, file)
        })
        .collect();
    files.sort();
    files.dedup();
    let mut auditor = Auditor::new(manifest);
    let mut last: Option<&Path> = None;
    for (series, _, file) in &files {
        if last != Some(series) {
            auditor.begin_series();
            last = Some(series);
        }
        auditor.read(file, files.len() as u64, progress)?;
    }
    Ok(auditor.conclude())
}

/// Takes events in the order in which they stand.
pub struct Auditor {
    run: u32,
    streams: Vec<Track>,
    /// Numbers the series, so that no track need be reset.
    series: u32,
    latency: Histogram<u64>,
    timed: u64,
    events: u64,
    verdict: Verdict,
}

/// One stream's bits.
#[derive(Clone, Default)]
struct Track {
    tcp: bool,
    sent: u64,
    /// Sent or not: who knows.
    unanswered: u64,
    found: u64,
    seen: Vec<u64>,
    series: u32,
    highest: u64,
}

impl Auditor {
    pub fn new(manifest: &Manifest) -> Self {
        let streams = manifest.streams.iter().map(|record| record.stream as usize + 1).max();
        let mut tracks = vec![Track::default(); streams.unwrap_or(0)];
        for record in &manifest.streams {
            let track = &mut tracks[record.stream as usize];
            (track.tcp, track.sent) = (record.transport.is_stream(), record.sent);
            track.unanswered = record.unanswered;
        }
        let latency = Histogram::new_with_max(LATENCY_NS_MAX, 3).expect("a valid range");
        let verdict = Verdict { sent: manifest.sent(), ..Verdict::default() };
        let (series, timed, events) = (1, 0, 0);
        Self { run: manifest.run, streams: tracks, series, latency, timed, events, verdict }
    }

    /// What follows is not ordered against what was before.
    pub fn begin_series(&mut self) {
        self.series += 1;
    }

    /// One event as it was received, and when at the latest.
    pub fn event(&mut self, text: &[u8], received: Option<Wall>) {
        self.events += 1;
        match stamp::read(text) {
            Reading::Whole(stamp) if stamp.run == self.run => self.ours(stamp, received),
            Reading::Whole(_) | Reading::Foreign => self.verdict.foreign += 1,
            Reading::Corrupted => self.verdict.corrupted += 1,
        }
    }

    fn ours(&mut self, stamp: Stamp, received: Option<Wall>) {
        let track = self.streams.get_mut(stamp.stream as usize);
        let known = |track: &&mut Track| stamp.sequence < track.sent + track.unanswered;
        let Some(track) = track.filter(known) else {
            self.verdict.unsent += 1;
            return;
        };
        if !track.set(stamp.sequence) {
            self.verdict.duplicated += 1;
            return;
        }
        if stamp.sequence >= track.sent {
            track.found -= 1;
            self.verdict.unanswered += 1;
        }
        if track.series == self.series && stamp.sequence < track.highest {
            let count = &mut self.verdict;
            *(if track.tcp { &mut count.reordered } else { &mut count.reordered_udp }) += 1;
        } else {
            (track.series, track.highest) = (self.series, stamp.sequence);
        }
        if let Some(received) = received {
            // Before it was due: clocks of two machines, or a step.
            let ns = u64::try_from(received.0.saturating_sub(stamp.at.0)).unwrap_or(0);
            self.latency.saturating_record(ns);
            self.timed += 1;
        }
    }

    fn read(
        &mut self,
        file: &Path,
        files_all: u64,
        progress: &mut dyn FnMut(&AuditProgress),
    ) -> Result<(), ArchiveError> {
        let mut reader = archive::open(file)?;
        while let Some(block) = reader.next_block()? {
            for event in block.events() {
                let received = event.block_times.map(|(_, last)| last);
                let received = event.own.map(|own| own.at).or(received);
                self.event(&event.text(), received);
            }
            let files = self.verdict.files;
            progress(&AuditProgress { files, files_all, events: self.events });
        }
        let summary = reader.into_summary();
        let torn = matches!(summary.ending, Ending::Torn { .. } | Ending::StreamTorn { .. });
        self.verdict.files += 1;
        self.verdict.bytes += summary.raw_bytes;
        self.verdict.unreadable += summary.damaged_blocks + u64::from(torn);
        Ok(())
    }

    pub fn conclude(mut self) -> Verdict {
        self.verdict.found = self.streams.iter().map(|track| track.found).sum();
        self.verdict.lost = self.verdict.sent - self.verdict.found;
        let gaps = self.streams.iter().enumerate().filter_map(|(stream, track)| track.gap(stream));
        self.verdict.gaps = gaps.take(GAPS_MAX).collect();
        self.verdict.latency = (self.timed > 0).then(|| Latency {
            events: self.timed,
            p50: self.latency.value_at_quantile(0.5),
            p99: self.latency.value_at_quantile(0.99),
            p999: self.latency.value_at_quantile(0.999),
            max: self.latency.max(),
        });
        self.verdict
    }
}

impl Track {
    /// Sets the bit of an event; false when it was set before.
    fn set(&mut self, sequence: u64) -> bool {
        let (word, bit) = ((sequence / 64) as usize, 1u64 << (sequence % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let fresh = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        self.found += u64::from(fresh);
        fresh
    }

    fn has(&self, sequence: u64) -> bool {
        let word = self.seen.get((sequence / 64) as usize).copied().unwrap_or(0);
        word >> (sequence % 64) & 1 == 1
    }

    fn gap(&self, stream: usize) -> Option<Gap> {
        if self.found == self.sent {
            return None;
        }
        let full = self.seen.iter().take_while(|word| **word == u64::MAX).count() as u64 * 64;
        let first = (full..self.sent).find(|sequence| !self.has(*sequence))?;
        let end = (first..self.sent).find(|sequence| self.has(*sequence)).unwrap_or(self.sent);
        let lost = self.sent - self.found;
        Some(Gap { stream: stream as u32, lost, first, length: end - first })
    }
}

impl Verdict {
    /// Nothing is missing but `allow_loss` events, nothing doubled, damaged or out of order.
    pub fn passes(&self, allow_loss: u64) -> bool {
        let clean = [self.duplicated, self.reordered, self.corrupted, self.unsent];
        self.lost <= allow_loss && clean.iter().all(|count| *count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::StreamRecord;
    use crate::load::Transport;
    use crate::load::manifest::VERSION;
    use crate::syslog::compose::{Composer, Shape};

    fn manifest(streams: &[(Transport, u64)]) -> Manifest {
        let record = |(stream, &(transport, sent)): (usize, &(Transport, u64))| StreamRecord {
            stream: stream as u32,
            target: String::new(),
            transport,
            sent,
            bytes: 0,
            first: None,
            last: None,
            cut: false,
            unanswered: 0,
            refused: 0,
            error: None,
        };
        Manifest {
            version: VERSION,
            run: 7,
            format: "rfc3164".to_owned(),
            framing: "newline".to_owned(),
            seed: 1,
            size: 190,
            hosts: 100,
            streams: streams.iter().enumerate().map(record).collect(),
        }
    }

    /// Lines of (stream, sequence).
    fn lines(run: u32, events: &[(u32, u64)]) -> Vec<Vec<u8>> {
        let mut composer = Composer::new(Shape::default());
        let mut out = vec![0; composer.room_bytes()];
        let mut line = |&(stream, sequence): &(u32, u64)| {
            let stamp = Stamp { run, stream, sequence, at: Wall(1000) };
            let length = composer.compose(stamp, &mut out);
            out[..length].to_vec()
        };
        events.iter().map(&mut line).collect()
    }

    fn file(dir: &tempfile::TempDir, name: &str, lines: &[Vec<u8>]) {
        let mut text = lines.join(&b'\n');
        text.push(b'\n');
        std::fs::write(dir.path().join(name), text).unwrap();
    }

    fn audit(manifest: &Manifest, dir: &tempfile::TempDir) -> Verdict {
        run(manifest, &[dir.path().to_owned()]).unwrap()
    }

    fn series(stream: u32, range: std::ops::Range<u64>) -> Vec<(u32, u64)> {
        range.map(|sequence| (stream, sequence)).collect()
    }

    #[test]
    fn a_whole_run_passes() {
        let manifest = manifest(&[(Transport::Tcp, 200), (Transport::Udp, 100)]);
        let dir = tempfile::tempdir().unwrap();
        file(&dir, "x.log", &lines(7, &series(0, 0..100)));
        file(&dir, "x.log.2", &lines(7, &series(1, 0..100)));
        file(&dir, "x.log.10", &lines(7, &series(0, 100..200)));
        let verdict = audit(&manifest, &dir);
        let files = (verdict.files, verdict.bytes > 50_000);
        assert_eq!(files, (3, true));
        let expected = Verdict { sent: 300, found: 300, files: 3, ..Verdict::default() };
        assert_eq!(Verdict { bytes: 0, ..verdict.clone() }, expected);
        assert!(verdict.passes(0));
    }

    #[test]
    fn every_fault_is_counted_exactly() {
        let manifest = manifest(&[(Transport::Tcp, 100), (Transport::Udp, 100)]);
        let mut events = series(0, 0..100);
        events.remove(30);
        events.drain(70..73);
        events.swap(10, 11);
        events.push((0, 5));
        events.push((0, 5));
        events.push((0, 100));
        events.push((2, 0));
        let mut udp = series(1, 0..100);
        udp.swap(50, 52);
        events.extend(udp);
        let mut text = lines(7, &events);
        text[20][60] ^= 1;
        text.extend(lines(8, &series(0, 0..4)));
        text.push(b"hello".to_vec());
        let dir = tempfile::tempdir().unwrap();
        file(&dir, "x.log", &text);
        let verdict = audit(&manifest, &dir);
        let gap = Gap { stream: 0, lost: 5, first: 20, length: 1 };
        let expected = Verdict {
            sent: 200,
            found: 195,
            lost: 5,
            duplicated: 2,
            reordered: 1,
            reordered_udp: 2,
            corrupted: 1,
            unsent: 2,
            foreign: 5,
            files: 1,
            bytes: verdict.bytes,
            gaps: vec![gap],
            ..Verdict::default()
        };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn only_the_loss_that_is_allowed_passes() {
        let manifest = manifest(&[(Transport::Udp, 100)]);
        let dir = tempfile::tempdir().unwrap();
        file(&dir, "x.log", &lines(7, &series(0, 3..100)));
        let verdict = audit(&manifest, &dir);
        assert_eq!(verdict.gaps, [Gap { stream: 0, lost: 3, first: 0, length: 3 }]);
        assert!(verdict.passes(3) && !verdict.passes(2));
        for fault in [
            Verdict { duplicated: 1, ..Verdict::default() },
            Verdict { reordered: 1, ..Verdict::default() },
            Verdict { corrupted: 1, ..Verdict::default() },
            Verdict { unsent: 1, ..Verdict::default() },
        ] {
            assert!(!fault.passes(u64::MAX), "{fault:?}");
        }
        let harmless = Verdict { foreign: 1, reordered_udp: 1, ..Verdict::default() };
        assert!(harmless.passes(0));
    }

    #[test]
    fn order_is_that_of_numbers_within_a_series_and_not_between_two() {
        let manifest = manifest(&[(Transport::Tcp, 30)]);
        let dir = tempfile::tempdir().unwrap();
        file(&dir, "a.log.2", &lines(7, &series(0, 10..15)));
        file(&dir, "a.log.10", &lines(7, &series(0, 15..20)));
        file(&dir, "b.log", &lines(7, &series(0, 0..10)));
        file(&dir, "b.log.1", &lines(7, &series(0, 20..30)));
        let names = ["a.log.10", "b.log.1", "a.log.2", "b.log"];
        let mut paths: Vec<_> = names.iter().map(|name| dir.path().join(name)).collect();
        assert!(run(&manifest, &paths).unwrap().passes(0));
        paths.push(dir.path().to_owned());
        assert!(run(&manifest, &paths).unwrap().passes(0), "a file named twice is read once");
    }

    #[test]
    fn latency_is_from_due_to_received() {
        let mut auditor = Auditor::new(&manifest(&[(Transport::Tcp, 1000)]));
        for (number, line) in lines(7, &series(0, 0..1000)).iter().enumerate() {
            auditor.event(line, Some(Wall(1000 + 1000 * (number as i64 + 1))));
        }
        let latency = auditor.conclude().latency.unwrap();
        assert_eq!(latency.events, 1000);
        for (value, expected) in [
            (latency.p50, 500_000),
            (latency.p99, 990_000),
            (latency.p999, 999_000),
            (latency.max, 1_000_000),
        ] {
            let error = (value as f64 / f64::from(expected) - 1.0).abs();
            assert!(error < 0.002, "{value} is not about {expected}");
        }
    }
}
