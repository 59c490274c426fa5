//! Between a source and the page it fills: events go through the chain of interceptors.
//!
//! A source with interceptors that change events reads into a page of its own, and what comes out
//! of the chain is copied from there: one copy an event, behind which the page is as compact, and
//! mostly as contiguous, as if it had been read so. When the page that is filled has no more room
//! the rest waits here, and the source is not read before it is through.

use super::parsing::Parser;
use super::{Received, Source};
use crate::event::{Copying, Event, Full, Marks, Page, Removed, Shape};
use crate::interceptor::{Bench, Chain, Changes, Draft, Filters};
use crate::limits::usize_of;
use crate::memory::Lease;
use crate::time::Now;

/// What a source with interceptors, or with a choice of channels, reads into.
pub struct Staging {
    page: Lease,
    /// Reads what the chain wants to know of messages, before it changes them.
    parser: Option<Parser>,
    chain: Chain,
    bench: Bench,
    text_bytes_max: usize,
    /// Of the page, those that are through.
    through: u32,
    /// Of the next, which has been through the chain and found no room.
    passed: Option<Changes>,
    received: Received,
    /// Number of the filling.
    serial: u64,
}

/// What became of events on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    pub received: Received,
    pub filtered: Removed,
    /// Too large for any page, which no plan allows.
    pub refused: Removed,
    /// No channel is theirs.
    pub unrouted: Removed,
}

/// What became of one that passed the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Done,
    /// There is no room for it now.
    NoRoom,
    Refused,
    Unrouted,
}

/// Serials of these pages are none that a pool gives.
const SERIALS: u64 = 1 << 63;

impl Staging {
    pub fn new(page: Lease, chain: Chain, text_bytes_max: usize) -> Self {
        Self {
            page,
            parser: None,
            chain,
            bench: Bench::default(),
            text_bytes_max,
            through: 0,
            passed: None,
            received: Received::default(),
            serial: SERIALS,
        }
    }

    pub fn with_parser(self, parser: Option<Parser>) -> Self {
        Self { parser, ..self }
    }

    /// Events that were read and are not through.
    pub fn waiting(&self) -> u32 {
        self.page.event_count() - self.through
    }

    /// Reads again; nothing waits any more.
    pub(super) fn fill(&mut self, source: &mut dyn Source, now: Now) {
        self.serial += 1;
        self.page.clear(self.serial);
        self.through = 0;
        self.page.keep_fields(self.parser.as_ref().map_or(Shape::Bare, Parser::shape));
        self.received = source.receive(&mut self.page, now);
        if let Some(parser) = &mut self.parser {
            parser.read(&mut self.page);
        }
    }

    /// Puts what waits, until there is no more or no room.
    pub(super) fn pass(
        &mut self,
        filters: &Filters,
        mut put: impl FnMut(&Event<'_>, &Draft<'_>) -> Put,
    ) -> Passage {
        let mut passage = Passage::default();
        for mut event in self.page.events().skip(usize_of(self.through)) {
            if self.parser.is_some() {
                // Found out again in the page that is filled.
                event.marks = event.marks.without(Marks::UNPARSED);
            }
            // A chain that counts is asked about each event once.
            let again = self.passed.take();
            let mut draft = match again {
                Some(changes) => Draft::again(&event, &mut self.bench, changes),
                None => Draft::new(&event, &mut self.bench, self.text_bytes_max),
            };
            let passes = again.is_some() || filters.pass(&event) && self.chain.pass(&mut draft);
            let removed = match passes.then(|| put(&event, &draft)) {
                Some(Put::NoRoom) => {
                    self.passed = Some(draft.changes());
                    break;
                }
                Some(Put::Done) => None,
                Some(Put::Refused) => Some(&mut passage.refused),
                Some(Put::Unrouted) => Some(&mut passage.unrouted),
                None => Some(&mut passage.filtered),
            };
            if let Some(removed) = removed {
                removed.events += 1;
                removed.bytes += event.bytes.len() as u64;
            }
            self.through += 1;
        }
        passage.received = match self.waiting() {
            0 => Received {
                full: false,
                more: self.received.more || self.received.full,
                ..self.received
            },
            _ => Received { full: true, more: true, finished: false },
        };
        passage
    }
}

/// A source whose interceptors change events, and the one page that it fills.
pub struct Intercepting {
    staging: Staging,
    copying: Copying,
    /// Headers are stored: somebody reads them.
    keeps_headers: bool,
}

impl Intercepting {
    pub fn new(staging: Staging, keeps_headers: bool) -> Self {
        Self { staging, copying: Copying::default(), keeps_headers }
    }

    pub fn waiting(&self) -> u32 {
        self.staging.waiting()
    }

    /// What came last passes into `out`, as far as there is room; when nothing waits, more is read.
    pub fn receive(
        &mut self,
        source: &mut dyn Source,
        filters: &Filters,
        out: &mut Page,
        now: Now,
    ) -> Passage {
        let Self { staging, copying, keeps_headers } = self;
        if staging.waiting() == 0 {
            staging.fill(source, now);
            copying.turn();
        }
        staging.pass(filters, |event, draft| {
            match copy(copying, event, draft, *keeps_headers, out) {
                Ok(()) => Put::Done,
                Err(Full) if out.is_empty() => Put::Refused,
                Err(Full) => Put::NoRoom,
            }
        })
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 && byte != b'\t' || byte == 0x7f
}

/// Copies the event as the draft has it; without headers, when nobody reads them.
pub(super) fn copy(
    copying: &mut Copying,
    event: &Event<'_>,
    draft: &Draft<'_>,
    keeps_headers: bool,
    out: &mut Page,
) -> Result<(), Full> {
    let mut event = *event;
    if draft.is_cut() {
        event.marks = event.marks.with(Marks::TRUNCATED);
    }
    if draft.is_rewritten() && draft.text().iter().any(|byte| is_control(*byte)) {
        // Nobody forges a line through a replacement.
        event.marks = event.marks.with(Marks::CONTROL);
    }
    match draft.changed_headers() {
        _ if !keeps_headers => {
            event.beside = event.beside.without_headers();
            copying.rewrite(&event, draft.text(), out)
        }
        Some(headers) => copying.write(&event, draft.text(), headers, out),
        None => copying.rewrite(&event, draft.text(), out),
    }
}

#[cfg(test)]
mod tests;
