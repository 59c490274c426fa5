//! Sources and sinks that do what a test wants, chosen by type in the configuration.
//!
//! They share a `Board` by the name of the test (`test = "…"`): what was produced, what came out,
//! and the latch that a hanging sink waits at.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::channel::CHANNELS;
use crate::config::{OptionDoc, Section};
use crate::event::{EventHead, Marks, Origin, Page};
use crate::memory::MemoryLine;
use crate::ring::Wake;
use crate::runtime::Worker;
use crate::runtime::parker::Parker;
use crate::sink::runner::{BatchSink, SinkRunner};
use crate::sink::{self, SinkContext, SinkKind, SinkPlan};
use crate::source::{self, Received, Source, SourceContext, SourceKind, SourcePlan};
use crate::time::{Mono, Now};
use crate::topology::Parts;

pub(super) const PARTS: Parts = Parts { sources: SOURCES, channels: CHANNELS, sinks: SINKS };

const SOURCES: &[SourceKind] = &[SourceKind {
    name: "count",
    aliases: &[],
    summary: "numbers, one an event",
    options: &[
        TEST,
        OptionDoc { name: "threads", default: Some("1"), doc: "each produces all" },
        OptionDoc { name: "events", default: Some("0"), doc: "numbers a thread produces" },
        OptionDoc { name: "then", default: Some("end"), doc: "end, stay or panic" },
        OptionDoc { name: "stop", default: Some("at_once"), doc: "at_once, or after the rest" },
        OptionDoc { name: "listen", default: Some(""), doc: "said, never bound" },
        OptionDoc { name: "event_max", default: Some("1KiB"), doc: "the longest event" },
        OptionDoc { name: "page_min", default: Some("4KiB"), doc: "the smallest page" },
    ],
    plan: plan_source,
}];

const SINKS: &[SinkKind] = &[
    SinkKind {
        name: "collect",
        aliases: &["gather"],
        summary: "remembers the numbers",
        options: &[
            TEST,
            OptionDoc { name: "threads", default: Some("1"), doc: "threads" },
            OptionDoc { name: "does", default: Some("write"), doc: "write, or how it fails" },
            OptionDoc { name: "path", default: Some(""), doc: "said, never opened" },
        ],
        plan: plan_sink,
    },
    crate::sink::rolling_file::KIND,
];

const TEST: OptionDoc = OptionDoc { name: "test", default: Some(""), doc: "whose board" };

/// What a test and its parts share.
#[derive(Default)]
pub(super) struct Board {
    pub(super) produced: AtomicU64,
    pub(super) collected: Mutex<Vec<u64>>,
    opened: Mutex<bool>,
    latch: Condvar,
}

static BOARDS: Mutex<Option<HashMap<String, Arc<Board>>>> = Mutex::new(None);

pub(super) fn board(test: &str) -> Arc<Board> {
    let mut boards = BOARDS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(boards.get_or_insert_default().entry(test.to_owned()).or_default())
}

impl Board {
    /// Lets go whoever hangs.
    pub(super) fn open(&self) {
        *self.opened.lock().expect("no test panics here") = true;
        self.latch.notify_all();
    }

    fn hang(&self) {
        let opened = self.opened.lock().expect("no test panics here");
        drop(self.latch.wait_while(opened, |opened| !*opened).expect("as above"));
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    End,
    Stay,
    Panic,
}

struct CountPlan {
    board: Arc<Board>,
    threads: usize,
    events: u64,
    then: Then,
    rest: bool,
    listen: Vec<String>,
    event_max: usize,
    page_min: usize,
}

struct Count {
    board: Arc<Board>,
    next: u64,
    events: u64,
    then: Then,
    rest: bool,
    stopped: bool,
    parker: Parker,
}

fn plan_source(section: &Section) -> Box<dyn SourcePlan> {
    let then = [("end", Then::End), ("stay", Then::Stay), ("panic", Then::Panic)];
    Box::new(CountPlan {
        board: board(&section.text("test")),
        threads: section.integer("threads", 1..=32) as usize,
        events: section.integer("events", 0..=i64::MAX) as u64,
        then: section.choice("then", &then),
        rest: section.choice("stop", &[("at_once", false), ("after_the_rest", true)]),
        listen: section.texts("listen").into_iter().map(|text| text.value).collect(),
        event_max: section.size_in("event_max", 64..=256 << 10) as usize,
        page_min: section.size_in("page_min", 64..=1 << 20) as usize,
    })
}

impl SourcePlan for CountPlan {
    fn threads(&self) -> usize {
        self.threads
    }

    fn listeners(&self) -> Vec<String> {
        self.listen.clone()
    }

    fn memory(&self, name: &str) -> Vec<MemoryLine> {
        vec![MemoryLine::new(format!("sources.{name}"), "numbers", 1 << 20)]
    }

    fn event_bytes_max(&self) -> usize {
        self.event_max
    }

    fn page_bytes_min(&self) -> usize {
        self.page_min
    }

    fn is_patient(&self) -> bool {
        true
    }

    fn build(&self, _context: &SourceContext) -> Result<source::Built, source::BuildError> {
        if self.listen.iter().any(|listen| listen.contains("taken")) {
            let what = format!("cannot listen on {}", self.listen[0]);
            return Err(source::BuildError { what, remedy: "choose another port".to_owned() });
        }
        let source = |_| {
            Box::new(Count {
                board: Arc::clone(&self.board),
                next: 0,
                events: self.events,
                then: self.then,
                rest: self.rest,
                stopped: false,
                parker: Parker::default(),
            }) as Box<dyn Source>
        };
        let sources = (0..self.threads).map(source).collect();
        Ok(source::Built { sources, bound: Vec::new() })
    }
}

impl Source for Count {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        let mut full = false;
        if !self.stopped || self.rest {
            let origin = page.push_origin(Origin::LOCAL);
            let Ok(origin) = origin else { return Received { full: true, ..Received::default() } };
            let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
            while self.next < self.events && !full {
                full = page.append_event(self.next.to_string().as_bytes(), head).is_err();
                if !full {
                    self.next += 1;
                    self.board.produced.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let through = self.next == self.events || self.stopped && !self.rest;
        // A page is counted after `receive`: the panic comes one call later.
        assert!(!(through && self.then == Then::Panic && page.is_empty()), "as the test wants");
        if through && self.then == Then::Panic {
            return Received { more: true, ..Received::default() };
        }
        Received {
            full,
            more: false,
            finished: through && (self.stopped || self.then == Then::End),
        }
    }

    fn wait(&mut self, now: Now, until: Mono, _open: bool) {
        self.parker.sleep(now, until);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }

    fn stop(&mut self, _now: Now) {
        self.stopped = true;
    }
}

#[derive(Clone, Copy)]
enum Does {
    Write,
    /// Every write fails, as on a full disk.
    Fail,
    /// The reader is gone.
    End,
    Panic,
    /// The write never returns.
    Hang,
}

struct CollectPlan {
    board: Arc<Board>,
    threads: usize,
    does: Does,
    path: Option<String>,
}

struct Collect {
    board: Arc<Board>,
    does: Does,
}

fn plan_sink(section: &Section) -> Box<dyn SinkPlan> {
    let does = [
        ("write", Does::Write),
        ("fail", Does::Fail),
        ("end", Does::End),
        ("panic", Does::Panic),
        ("hang", Does::Hang),
    ];
    Box::new(CollectPlan {
        board: board(&section.text("test")),
        threads: section.integer("threads", 1..=32) as usize,
        does: section.choice("does", &does),
        path: section.optional_text("path"),
    })
}

impl SinkPlan for CollectPlan {
    fn threads(&self) -> usize {
        self.threads
    }

    fn memory(&self, name: &str, event_bytes_max: usize) -> Vec<MemoryLine> {
        let what = format!("numbers up to {event_bytes_max} bytes");
        vec![MemoryLine::new(format!("sinks.{name}"), what, 512 << 10)]
    }

    fn batch_age(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn place(&self) -> Option<String> {
        self.path.clone()
    }

    fn build(&self, context: &SinkContext) -> Result<sink::Built, sink::BuildError> {
        if self.path.as_deref() == Some("/nowhere") {
            let what = format!("sinks.{} cannot write in /nowhere", context.name);
            return Err(sink::BuildError { what, remedy: "name another directory".to_owned() });
        }
        let worker = |thread| {
            let sink = Collect { board: Arc::clone(&self.board), does: self.does };
            Box::new(SinkRunner::new(context, thread, sink)) as Box<dyn Worker>
        };
        let workers = (0..self.threads).map(worker).collect();
        Ok(sink::Built { workers, helpers: Vec::new(), notes: Vec::new() })
    }
}

impl BatchSink for Collect {
    fn write(&mut self, page: &Page) -> io::Result<u64> {
        match self.does {
            Does::Write => {}
            Does::Fail => return Err(io::Error::from(io::ErrorKind::StorageFull)),
            Does::End => return Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            Does::Panic => panic!("as the test wants"),
            Does::Hang => self.board.hang(),
        }
        let number =
            |bytes: &[u8]| str::from_utf8(bytes).ok().and_then(|text| text.parse::<u64>().ok());
        let mut collected = self.board.collected.lock().expect("no test panics here");
        collected.extend(page.events().map(|it| number(it.bytes).expect("a number")));
        Ok(0)
    }
}
