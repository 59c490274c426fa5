//! For tests: a source that reads files in a folder of its own, stepped by hand. The test pushes
//! the clock on and answers the slips.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::config::Section;
use crate::event::{Event, Page};
use crate::memory::ReceiptSlip;
use crate::source::network::tests::context;
use crate::source::{Received, SOURCES, Source};
use crate::telemetry::{Incidents, SourceCounters};
use crate::time::{Mono, Now, Wall};

/// A type of source that reads files.
pub(in crate::source) trait Reads {
    const TYPE: &'static str;
    /// Where in the folder it saves how far it is.
    const SAVED: &'static str;

    /// Its section for files in this folder.
    fn section(dir: &Path) -> String;
}

pub(in crate::source) struct FileRig<R> {
    pub(in crate::source) dir: TempDir,
    pub(in crate::source) source: Option<Box<dyn Source>>,
    pub(in crate::source) texts: Vec<String>,
    /// Of each event, its headers.
    pub(in crate::source) headers: Vec<String>,
    pub(in crate::source) slips: Vec<ReceiptSlip>,
    /// Batches are confirmed as soon as they are offered.
    pub(in crate::source) confirms: bool,
    /// In milliseconds.
    pub(in crate::source) at: u64,
    pub(in crate::source) incidents: Arc<Incidents>,
    pub(in crate::source) counters: Arc<SourceCounters>,
    pub(in crate::source) page: Page,
    serial: u64,
    more: &'static str,
    reads: PhantomData<R>,
}

impl<R: Reads> FileRig<R> {
    /// Started, with these options more.
    pub(in crate::source) fn new(more: &'static str) -> Self {
        let mut page = Page::new(1 << 20);
        page.clear(1);
        let mut rig = Self {
            dir: TempDir::new().unwrap(),
            source: None,
            texts: Vec::new(),
            headers: Vec::new(),
            slips: Vec::new(),
            confirms: true,
            at: 1_000_000,
            incidents: Incidents::new(),
            counters: Arc::default(),
            page,
            serial: 1,
            more,
            reads: PhantomData,
        };
        rig.start();
        rig
    }

    pub(in crate::source) fn start(&mut self) {
        let kind = SOURCES.iter().find(|row| row.name == R::TYPE).unwrap();
        let body = format!("{}\n{}", R::section(self.dir.path()), self.more);
        let section = Section::parse(&body, kind.options);
        let plan = (kind.plan)(&section);
        section.finish();
        assert_eq!(section.diagnostics().lines(), [""; 0]);
        let mut context = context(vec![Arc::clone(&self.counters)], Arc::clone(&self.incidents));
        context.want_headers = true;
        self.source = Some(plan.build(&context).unwrap().sources.remove(0));
    }

    pub(in crate::source) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(in crate::source) fn now(&self) -> Now {
        Now { mono: Mono(self.at * 1_000_000), wall: Wall(1) }
    }

    /// One turn. What was read is offered when it is time for it, or (`all`) in any case.
    pub(in crate::source) fn turn(&mut self, all: bool) -> Received {
        let now = self.now();
        let source = self.source.as_mut().unwrap();
        source.settle(now);
        let received = source.receive(&mut self.page, now);
        if all || received.full || source.wanted().is_some() {
            self.slips.extend(source.slip());
            for event in self.page.events() {
                self.texts.push(String::from_utf8_lossy(event.bytes).into_owned());
                self.headers.push(headers(&event));
            }
            self.serial += 1;
            self.page.clear(self.serial);
        }
        if self.confirms {
            self.slips.drain(..).for_each(ReceiptSlip::confirm);
        }
        source.settle(now);
        received
    }

    /// As after kill -9: nothing is said or saved any more.
    pub(in crate::source) fn kill(&mut self) {
        let path = self.path(R::SAVED);
        let saved = std::fs::read(&path).unwrap_or_default();
        self.source = None;
        self.slips.clear();
        self.serial += 1;
        self.page.clear(self.serial);
        std::fs::write(&path, saved).unwrap();
        self.start();
    }

    pub(in crate::source) fn told(&self) -> String {
        format!("{:?}", self.incidents.list())
    }
}

fn headers(event: &Event<'_>) -> String {
    let text = String::from_utf8_lossy;
    let pair = |(name, value)| format!("{}={}", text(name), text(value));
    event.headers().iter().map(pair).collect::<Vec<_>>().join(" ")
}
