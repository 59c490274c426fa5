//! `stdin`: lines from standard input: a pipe, a terminal or a file. Its end is the source's end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::carry::Carries;
use super::connection::{Desk, Stream, Visit, page_bytes_min};
use super::framing::{Cut, Rules};
use super::input::Input;
use super::multiline::{self, Multiline};
use super::network::EVENT_MAX;
use super::{BuildError, Built, Received, Source, SourceContext, SourceKind, SourcePlan};
use crate::config::OptionDoc;
use crate::event::{HeaderMap, Names, Origin, Page};
use crate::limits;
use crate::memory::MemoryLine;
use crate::ring::Wake;
use crate::telemetry::SourceCounters;
use crate::time::{Mono, Now};

pub(super) const KIND: SourceKind = SourceKind {
    name: "stdin",
    aliases: &[],
    summary: "lines from standard input, until it ends",
    options: OPTIONS,
    plan: |section| {
        let events = limits::EVENT_BYTES_MIN as u64..=limits::EVENT_BYTES_MAX as u64;
        Box::new(Plan {
            event_bytes_max: section.size_in("event_max", events) as usize,
            multiline: Multiline::plan(section).map(Arc::new),
        })
    },
};

const OPTIONS: &[OptionDoc] = &[EVENT_MAX, multiline::MULTILINE];

/// Bytes of one `receive`, a quarter of a batch: then the clock is read again.
const VISIT_BYTES: usize = 256 << 10;

struct Plan {
    event_bytes_max: usize,
    multiline: Option<Arc<Multiline>>,
}

impl Plan {
    /// The longest frame that may wait for its rest.
    fn frame_bytes_max(&self) -> usize {
        match self.multiline {
            None => self.event_bytes_max,
            Some(_) => multiline::frame_bytes_max(self.event_bytes_max),
        }
    }
}

impl SourcePlan for Plan {
    fn threads(&self) -> usize {
        1
    }

    fn listeners(&self) -> Vec<String> {
        Vec::new()
    }

    fn memory(&self, name: &str) -> Vec<MemoryLine> {
        let bytes = Carries::budget(self.frame_bytes_max(), 0) as u64;
        vec![MemoryLine::new(format!("sources.{name}"), "an unfinished line", bytes)]
    }

    fn event_bytes_max(&self) -> usize {
        self.event_bytes_max
    }

    fn page_bytes_min(&self) -> usize {
        page_bytes_min(self.frame_bytes_max())
    }

    fn is_patient(&self) -> bool {
        true
    }

    fn build(&self, context: &SourceContext) -> Result<Built, BuildError> {
        assert!(self.page_bytes_min() <= context.page_bytes, "the plan sizes the pages");
        let failed = |error: io::Error| BuildError {
            what: format!("sources.{} cannot read standard input: {error}", context.name),
            remedy: "give it one: `… | flumen run` or `flumen run … < file`".to_owned(),
        };
        let input = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        let rules = Rules {
            zipped: false,
            counted: false,
            event_bytes_max: self.event_bytes_max,
            want_pri: context.want_pri,
        };
        let mut stdin =
            Stdin::new(input, rules, Arc::clone(&context.counters[0])).map_err(failed)?;
        if let Some(multiline) = &self.multiline {
            stdin.stream = Stream::joined(multiline);
            stdin.carries = Carries::new(self.frame_bytes_max(), 0);
        }
        Ok(Built { sources: vec![Box::new(stdin)], bound: Vec::new() })
    }
}

struct Stdin {
    input: Input,
    stream: Stream,
    carries: Carries,
    rules: Rules,
    counters: Arc<SourceCounters>,
    /// After `stop`: bytes that had come by then.
    allowance: Option<usize>,
    finished: bool,
    /// When something came last.
    heard: Mono,
}

impl Stdin {
    fn new(input: OwnedFd, rules: Rules, counters: Arc<SourceCounters>) -> io::Result<Self> {
        Ok(Self {
            input: Input::new(input)?,
            stream: Stream::default(),
            carries: Carries::new(rules.event_bytes_max, 0),
            rules,
            counters,
            allowance: None,
            finished: false,
            heard: Mono(0),
        })
    }

    /// When lines that wait to be joined have waited for long enough.
    fn ripe(&self) -> Mono {
        self.stream.patience().map_or(Mono::MAX, |age| self.heard.after(age))
    }
}

impl Source for Stdin {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        if self.finished {
            return Received { finished: true, ..Received::default() };
        }
        if !page.accepts_time(now.wall) {
            return Received { full: true, more: true, finished: false };
        }
        let ripe = now.mono >= self.ripe() && self.input.waiting_bytes() == 0;
        let input = &self.input;
        let mut left = self.allowance.unwrap_or(usize::MAX);
        let (carries, rules) = (&mut self.carries, &self.rules);
        let mut desk = Desk {
            page,
            carries,
            rules,
            at: now.wall,
            names: Names::NONE,
            labels: &HeaderMap::NONE,
            counter: None,
        };
        if ripe && !self.stream.end_group(&mut desk, Origin::LOCAL) {
            return Received { full: true, more: true, finished: false };
        }
        let heard = &mut self.heard;
        let visit = self.stream.visit(&mut desk, Origin::LOCAL, VISIT_BYTES, |into| {
            if left == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let longest = into.len().min(left);
            let count = input.read(&mut into[..longest])?;
            left -= count;
            *heard = now.mono;
            Ok(count)
        });
        let stopping = self.allowance.is_some();
        self.allowance = self.allowance.map(|_| left);
        match visit {
            Visit::Ended => self.finished = true,
            Visit::Failed(ref error) => {
                tracing::warn!("standard input: {error}");
                self.counters.errors.add(1);
                self.finished = true;
            }
            Visit::Drained if stopping => {
                self.finished = self.stream.flush(&mut desk, Origin::LOCAL, Cut::End);
                return Received { full: !self.finished, more: false, finished: self.finished };
            }
            Visit::Drained | Visit::Bound | Visit::Full | Visit::Starved => {}
        }
        let full = matches!(visit, Visit::Full);
        Received { full, more: full || matches!(visit, Visit::Bound), finished: self.finished }
    }

    fn wait(&mut self, now: Now, until: Mono, open: bool) {
        self.input.wait(now, if open { until.min(self.ripe()) } else { until }, open);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.input.waker()
    }

    fn stop(&mut self, _now: Now) {
        // What stands in a pipe has been sent. Of a file, nobody waits for the rest.
        let there = self.input.waiting_bytes().min(limits::PIPE_BYTES_MAX);
        self.allowance.get_or_insert_with(|| usize::try_from(there).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;
    use std::io::{Seek, Write};
    use std::time::Duration;

    const RULES: Rules =
        Rules { counted: false, zipped: false, event_bytes_max: 1000, want_pri: false };
    const NOW: Now = Now { mono: Mono(0), wall: Wall(0) };

    fn piped() -> (io::PipeWriter, Stdin) {
        let (reader, writer) = io::pipe().unwrap();
        (writer, Stdin::new(reader.into(), RULES, Arc::default()).unwrap())
    }

    fn texts(page: &Page) -> Vec<&[u8]> {
        page.events().map(|event| event.bytes).collect()
    }

    #[test]
    fn a_pipe_is_read_as_it_comes_and_its_end_is_the_end() {
        let (mut writer, mut stdin) = piped();
        let mut page = Page::new(64 << 10);
        assert_eq!(stdin.receive(&mut page, NOW), Received::default());
        writer.write_all(b"one\ntw").unwrap();
        stdin.wait(NOW, Mono::MAX, true);
        assert_eq!(stdin.receive(&mut page, NOW), Received::default());
        writer.write_all(b"o\nthree").unwrap();
        drop(writer);
        stdin.wait(NOW, Mono::MAX, true);
        assert!(stdin.receive(&mut page, NOW).finished);
        assert!(stdin.receive(&mut page, NOW).finished);
        assert_eq!(texts(&page), [&b"one"[..], b"two", b"three"]);
        assert_eq!(page.contiguous(), Some(&b"one\ntwo\nthree\n"[..]));
    }

    #[test]
    fn a_file_fills_page_after_page_and_ends() {
        let mut file = tempfile::tempfile().unwrap();
        let lines: Vec<u8> = (0..50_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        file.write_all(&lines).unwrap();
        file.rewind().unwrap();
        let mut stdin = Stdin::new(file.into(), RULES, Arc::default()).unwrap();
        let mut read = Vec::new();
        for serial in 1.. {
            let mut page = Page::new(64 << 10);
            page.clear(serial);
            let received = loop {
                let received = stdin.receive(&mut page, NOW);
                if received.full || received.finished {
                    break received;
                }
                assert!(received.more);
            };
            read.extend_from_slice(page.contiguous().unwrap());
            if received.finished {
                break;
            }
        }
        assert!(read == lines);
    }

    #[test]
    fn a_ring_ends_a_wait_and_a_stop_reads_what_is_in_the_pipe() {
        let (mut writer, mut stdin) = piped();
        let mut page = Page::new(64 << 10);
        stdin.waker().wake();
        stdin.wait(NOW, Mono::MAX, true);
        stdin.waker().wake();
        stdin.wait(NOW, Mono::MAX, false);
        // The rings are used up: this one ends by its time, though bytes are there.
        writer.write_all(b"before\nhalf").unwrap();
        stdin.wait(NOW, NOW.mono.after(Duration::from_millis(1)), false);
        stdin.stop(NOW);
        writer.write_all(b"after\n").unwrap();
        assert!(stdin.receive(&mut page, NOW).finished);
        assert_eq!(texts(&page), [&b"before"[..], b"half"]);
    }

    #[test]
    fn joined_lines_end_by_age_and_with_the_input() {
        let (mut writer, mut stdin) = piped();
        let section =
            crate::config::Section::parse("multiline = { start = '^>', age = '5s' }", OPTIONS);
        let multiline = Multiline::plan(&section).unwrap();
        stdin.stream = Stream::joined(&Arc::new(multiline));
        stdin.carries = Carries::new(multiline::frame_bytes_max(1000), 0);
        let mut page = Page::new(64 << 10);
        let later = |seconds: u64| Now { mono: Mono(seconds * 1_000_000_000), wall: Wall(0) };
        writer.write_all(b"> one\ntwo\n> three\nfour\n").unwrap();
        stdin.receive(&mut page, later(1));
        assert_eq!(texts(&page), ["> one\ntwo".as_bytes()]);
        assert_eq!(stdin.ripe(), later(6).mono);
        // Longer ago, but the rest stands in the pipe.
        writer.write_all(b"five\n").unwrap();
        stdin.receive(&mut page, later(7));
        stdin.receive(&mut page, later(11));
        assert_eq!((page.event_count(), stdin.ripe()), (1, later(12).mono));
        stdin.receive(&mut page, later(12));
        assert_eq!(texts(&page)[1], b"> three\nfour\nfive");
        writer.write_all(b"> six\nseven").unwrap();
        drop(writer);
        assert!(stdin.receive(&mut page, later(13)).finished);
        assert_eq!(texts(&page)[2], b"> six\nseven");
    }

    #[test]
    fn the_rows_are_what_is_asked_for() {
        crate::config::check_docs(OPTIONS, "", |section| {
            (KIND.plan)(section);
        });
    }
}
