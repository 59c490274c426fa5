//! An event on its way through the chain: its text and headers as they are so far.
//!
//! Nothing is copied before something changes, and the buffers are used again for the next event.

use crate::config::{OptionDoc, Section};
use crate::event::headers::Oversized;
use crate::event::parsed::body_at;
use crate::event::{Event, Form, HeaderMap};
use crate::syslog::parse::{Expect, Fields, Format, parse};
use crate::time::Wall;

/// What a chain works with, event after event.
#[derive(Debug, Default)]
pub struct Bench {
    text: Vec<u8>,
    /// What a rewriting writes to, before it is the text.
    next: Vec<u8>,
    headers: HeaderMap,
    scratch: Vec<u8>,
}

pub struct Draft<'a> {
    event: &'a Event<'a>,
    bench: &'a mut Bench,
    text_bytes_max: usize,
    changes: Changes,
}

/// What of an event stands on the bench in place of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    rewritten: bool,
    headed: bool,
    cut: bool,
    /// Where the rewritten text's body begins; none when that must be found out.
    body_at: Option<usize>,
}

/// How much of an event's text an interceptor looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Of {
    #[default]
    Text,
    /// What stands behind the host name of a syslog message.
    Body,
}

pub(super) const OF: OptionDoc = OptionDoc {
    name: "of",
    default: Some("text"),
    doc: "where it looks: text, all of it; body, of a syslog message behind the host name",
};

impl Of {
    pub(super) fn read(section: &Section) -> Self {
        section.choice(OF.name, &[("text", Self::Text), ("body", Self::Body)])
    }

    pub(super) fn wanted(self) -> Fields {
        match self {
            Self::Text => Fields::NONE,
            Self::Body => Fields::PRI.union(Fields::HOSTNAME).union(Fields::APP_NAME),
        }
    }
}

impl<'a> Draft<'a> {
    /// `text_bytes_max`: what a rewritten text is cut to.
    pub fn new(event: &'a Event<'a>, bench: &'a mut Bench, text_bytes_max: usize) -> Self {
        Self { event, bench, text_bytes_max, changes: Changes::default() }
    }

    /// The draft of an event that went through the chain already; nothing was drafted since.
    pub fn again(event: &'a Event<'a>, bench: &'a mut Bench, changes: Changes) -> Self {
        Self { event, bench, text_bytes_max: usize::MAX, changes }
    }

    /// What `again` needs.
    pub fn changes(&self) -> Changes {
        self.changes
    }

    /// The event as it came.
    pub fn event(&self) -> &'a Event<'a> {
        self.event
    }

    /// When it was received.
    pub fn at(&self) -> Wall {
        self.event.at
    }

    pub fn text(&self) -> &[u8] {
        if self.changes.rewritten { &self.bench.text } else { self.event.bytes }
    }

    /// Something was too long and is not all there.
    pub fn is_cut(&self) -> bool {
        self.changes.cut
    }

    pub fn is_rewritten(&self) -> bool {
        self.changes.rewritten
    }

    /// Its headers, when they were changed.
    pub fn changed_headers(&self) -> Option<&HeaderMap> {
        self.changes.headed.then_some(&self.bench.headers)
    }

    // ── headers ──

    /// A header that was set; not what the message says.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        if self.changes.headed {
            self.bench.headers.get(name.as_bytes())
        } else {
            self.event.headers().get(name)
        }
    }

    /// Appends the header, set or said by the message under Flume's name; false: there is none.
    pub fn append_header(&self, name: &str, out: &mut Vec<u8>) -> bool {
        match self.header(name) {
            Some(value) => {
                out.extend_from_slice(value);
                true
            }
            None => self.event.append_told(name, out),
        }
    }

    /// Bytes that its headers take.
    pub fn header_bytes(&self) -> usize {
        match self.changed_headers() {
            Some(headers) => headers.bytes(),
            None => self.event.headers().bytes(),
        }
    }

    /// Whether it has the header, set or said by the message under Flume's name.
    pub fn has_header(&mut self, name: &str) -> bool {
        self.bench.scratch.clear();
        self.header(name).is_some() || self.event.append_header(name, &mut self.bench.scratch)
    }

    /// What is longer than headers may be is not set, and the event is marked as cut.
    pub fn set_header(&mut self, name: &str, value: &[u8]) {
        self.load();
        if let Err(Oversized) = self.bench.headers.set(name.as_bytes(), value) {
            self.changes.cut = true;
        }
    }

    /// Keeps the headers of which it says so.
    pub fn retain_headers(&mut self, keep: impl FnMut(&[u8], &[u8]) -> bool) {
        if self.changes.headed || self.event.has_headers() {
            self.load();
            self.bench.headers.retain(keep);
        }
    }

    fn load(&mut self) {
        if !self.changes.headed {
            self.bench.headers.copy_from(&self.event.headers());
            self.changes.headed = true;
        }
    }

    // ── text ──

    /// What an interceptor looks at.
    pub(super) fn part(&self, of: Of) -> &[u8] {
        &self.text()[self.start(of)..]
    }

    fn start(&self, of: Of) -> usize {
        let parsed = self.event.parsed();
        match (of, self.changes.rewritten, self.changes.body_at) {
            (Of::Text, ..) => 0,
            (Of::Body, false, _) => parsed.body_at(),
            (Of::Body, true, Some(at)) => at,
            // Only what was a message is looked through again.
            (Of::Body, true, None) if matches!(parsed.form(), Form::Rfc3164 | Form::Rfc5424) => {
                let text = self.text();
                let message = parse(text, Expect::Auto, Of::Body.wanted());
                let form = match message.format {
                    Format::Rfc3164 => Form::Rfc3164,
                    Format::Rfc5424 => Form::Rfc5424,
                    Format::Unparsed => Form::Unparsed,
                };
                body_at(text, form, message.hostname, message.app_name)
            }
            (Of::Body, true, None) => 0,
        }
    }

    /// `write` appends the new text to a buffer; false: it stays as it is.
    pub fn rewrite(&mut self, write: impl FnOnce(&[u8], &mut Vec<u8>) -> bool) {
        self.rewrite_part(Of::Text, write);
    }

    /// The same for a part of it; what stands in front stays.
    pub(super) fn rewrite_part(&mut self, of: Of, write: impl FnOnce(&[u8], &mut Vec<u8>) -> bool) {
        let start = self.start(of);
        let mut next = std::mem::take(&mut self.bench.next);
        next.clear();
        let (front, part) = self.text().split_at(start);
        next.extend_from_slice(front);
        if write(part, &mut next) {
            self.changes.cut |= next.len() > self.text_bytes_max;
            next.truncate(self.text_bytes_max.max(start));
            std::mem::swap(&mut self.bench.text, &mut next);
            self.changes.rewritten = true;
            self.changes.body_at = (of == Of::Body).then_some(start);
        }
        self.bench.next = next;
    }
}
