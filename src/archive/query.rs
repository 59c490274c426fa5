//! Which events of a block are wanted: those the pattern matches, or does not, that a host sent,
//! with a severity. Candidates are found in the whole block at once; a line is parsed only when it
//! is one, and only when host or severity are asked for.

use std::borrow::Cow;

use super::pattern::{Pattern, Reading};
use super::{BlockView, EventView};
use crate::codec::Encoding;
use crate::storage::tokens::Word;
use crate::syslog::parse::{Expect, Fields, parse, pri_of};
use crate::time::Wall;

/// What is asked of archives.
#[derive(Clone, Debug)]
pub struct Query {
    pub pattern: Pattern,
    /// Events the pattern does not match.
    pub invert: bool,
    /// Of one of these hosts, in either case of letters; empty: of any.
    pub hosts: Vec<String>,
    /// One bit a severity; None: any, or none.
    pub severities: Option<u8>,
    pub range: TimeRange,
    /// Finds lines that may be of the hosts when the pattern does not choose.
    hosts_pattern: Option<Pattern>,
}

/// From `since`, before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub since: Wall,
    pub until: Wall,
}

/// Where an event's line lies in the bytes of its block, without its LF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl TimeRange {
    pub const ALL: Self = Self { since: Wall::MIN, until: Wall::MAX };

    /// Whether a block of these first and last times may hold an event outside the range.
    pub fn cuts(&self, first: Wall, last: Wall) -> bool {
        !(self.holds(first) && self.holds(last))
    }

    pub fn holds(&self, at: Wall) -> bool {
        at >= self.since && (at < self.until || self.until == Wall::MAX)
    }

    /// Whether a block of these first and last times may hold an event of the range.
    pub fn meets(&self, first: Wall, last: Wall) -> bool {
        last >= self.since && (first < self.until || self.until == Wall::MAX)
    }
}

impl Query {
    pub fn new(pattern: Pattern) -> Self {
        let range = TimeRange::ALL;
        let (hosts, hosts_pattern) = (Vec::new(), None);
        Self { pattern, invert: false, hosts, severities: None, range, hosts_pattern }
    }

    pub fn of_hosts(mut self, hosts: Vec<String>) -> Self {
        let reading = Reading { fixed: true, ignore_case: true, word: false };
        let any = Pattern::new(&hosts.join("\n"), reading);
        self.hosts_pattern = any.ok().filter(|_| !hosts.is_empty());
        self.hosts = hosts;
        self
    }

    /// Words of which a block must hold all of one list to have an event that is wanted.
    pub fn needs(&self) -> &[Vec<Word>] {
        if self.invert { &[] } else { self.pattern.needs() }
    }

    /// Puts the lines that are wanted into `spans`, in order.
    pub fn select(&self, block: &BlockView<'_>, spans: &mut Vec<Span>) {
        self.find(block, spans);
        if block.times.is_some_and(|(first, last)| self.range.cuts(first, last)) {
            let mut numbers = Numbers::default();
            let text = block.whole_lines();
            spans.retain(|span| {
                let received = block.received(numbers.of(text, span.start));
                received.is_none_or(|received| self.range.holds(received.at))
            });
        }
    }

    fn find(&self, block: &BlockView<'_>, spans: &mut Vec<Span>) {
        spans.clear();
        if block.has_records() {
            return self.select_records(block, spans);
        }
        let text = block.whole_lines();
        let checked = !self.hosts.is_empty() || self.severities.is_some();
        let wanted = |span: Span| {
            let line = &text[span.start..span.end];
            !checked || self.is_of(EventView::of_line(line, block.encoding, None))
        };
        if self.invert {
            let mut from = 0;
            for hit in lines_with(&self.pattern, text) {
                lines(text, from, hit.start, |span| wanted(span).then(|| spans.push(span)));
                from = (hit.end + 1).min(text.len());
            }
            lines(text, from, text.len(), |span| wanted(span).then(|| spans.push(span)));
            return;
        }
        // A host's name stands in its lines; with a pattern the rarer of the two is not known.
        let finder = match &self.hosts_pattern {
            Some(hosts) if self.pattern.is_everything() => hosts,
            _ => &self.pattern,
        };
        spans.extend(lines_with(finder, text).filter(|span| wanted(*span)));
    }

    /// Datagrams are not lines: each is searched by itself, and each has a time of its own.
    fn select_records(&self, block: &BlockView<'_>, spans: &mut Vec<Span>) {
        let checked = !self.hosts.is_empty() || self.severities.is_some();
        spans.extend(block.record_spans().filter_map(|(span, event)| {
            let here = self.pattern.is_everything() || self.pattern.place(event.line, 0).is_some();
            let in_time = event.own.is_none_or(|own| self.range.meets(own.at, own.at));
            let wanted = here != self.invert && in_time && (!checked || self.is_of(event));
            wanted.then_some(span)
        }));
    }

    fn is_of(&self, event: EventView<'_>) -> bool {
        if let Some(severities) = self.severities
            && severity(&event).is_none_or(|severity| severities >> severity & 1 == 0)
        {
            return false;
        }
        if self.hosts.is_empty() {
            return true;
        }
        host(&event).is_some_and(|host| {
            self.hosts.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(&host))
        })
    }
}

/// Numbers of lines, asked for in the order of the lines.
#[derive(Default)]
pub struct Numbers {
    at: usize,
    number: u32,
}

impl Numbers {
    /// Of the line that begins at `start`.
    pub fn of(&mut self, text: &[u8], start: usize) -> u32 {
        self.number += memchr::memchr_iter(b'\n', &text[self.at..start]).count() as u32;
        self.at = start;
        self.number
    }
}

/// The lines that match, in order.
fn lines_with<'a>(pattern: &'a Pattern, text: &'a [u8]) -> impl Iterator<Item = Span> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        if from >= text.len() {
            return None;
        }
        let place = pattern.place(text, from).filter(|place| *place < text.len())?;
        let start = memchr::memrchr(b'\n', &text[from..place]).map_or(from, |at| from + at + 1);
        let end = memchr::memchr(b'\n', &text[place..]).map_or(text.len(), |at| place + at);
        from = end + 1;
        Some(Span { start, end })
    })
}

/// Every line of `text[from..to]`, both being ends of lines.
fn lines(text: &[u8], mut from: usize, to: usize, mut each: impl FnMut(Span) -> Option<()>) {
    while from < to {
        let end = memchr::memchr(b'\n', &text[from..to]).map_or(to, |at| from + at);
        let _ = each(Span { start: from, end });
        from = end + 1;
    }
}

/// The host that a stored line names, or None. A datagram without a syslog header is its sender's.
pub fn host<'a>(event: &EventView<'a>) -> Option<Cow<'a, [u8]>> {
    if let Some(own) = &event.own
        && pri_of(event.line).is_none()
    {
        return own.peer.map(|peer| Cow::Owned(peer.ip().to_string().into_bytes()));
    }
    if let Some(host) = event.headers.and_then(|headers| headers.get("host")) {
        return Some(Cow::Borrowed(host));
    }
    if event.encoding == Some(Encoding::Json) {
        return event.fields().0.host.map(|host| match host {
            Cow::Borrowed(host) => Cow::Borrowed(host.as_bytes()),
            Cow::Owned(host) => Cow::Owned(host.into_bytes()),
        });
    }
    parse(event.line, Expect::Auto, Fields::HOSTNAME).hostname.map(Cow::Borrowed)
}

/// The severity that a stored line names: by its PRI, or by the field of that name.
pub fn severity(event: &EventView<'_>) -> Option<u8> {
    if let Some(said) = event.headers.and_then(|headers| headers.get("Severity")) {
        let severity = std::str::from_utf8(said).ok().and_then(|text| text.parse().ok());
        return severity.filter(|severity| *severity < 8);
    }
    if event.encoding == Some(Encoding::Json) {
        return event.fields().0.severity.filter(|severity| *severity < 8);
    }
    pri_of(event.line).map(|pri| pri & 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::datagram::Record;

    fn selected(query: &Query, text: &str, encoding: Encoding) -> Vec<String> {
        let view = BlockView::whole(text.as_bytes(), Some(encoding), None);
        let mut spans = vec![Span { start: 7, end: 9 }];
        query.select(&view, &mut spans);
        spans.iter().map(|span| text[span.start..span.end].to_owned()).collect()
    }

    fn query(pattern: &str) -> Query {
        Query::new(Pattern::new(pattern, Reading::default()).unwrap())
    }

    const RAW: &str = "<34>Oct 11 22:14:15 web01 su: failed\n\
                       <38>Oct 11 22:14:15 web02 su: failed for web01\n\
                       <14>1 2003-10-11T22:14:15Z WEB01 app - - - fine\nno header\n";

    #[test]
    fn pattern_host_and_severity_must_all_hold() {
        let raw = |query: &Query| selected(query, RAW, Encoding::Raw).len();
        assert_eq!(raw(&query("failed")), 2);
        assert_eq!(raw(&query("")), 4);
        let web01 = |pattern| query(pattern).of_hosts(vec!["web01".into()]);
        assert_eq!(raw(&web01("")), 2);
        assert_eq!(raw(&web01("failed")), 1);
        assert_eq!(raw(&query("").of_hosts(vec!["web01".into(), "web02".into()])), 3);
        let worse = |query| Query { severities: Some(0b111), ..query };
        assert_eq!(raw(&worse(query(""))), 1);
        assert_eq!(raw(&worse(query("").of_hosts(vec!["web02".into()]))), 0);
        let invert = |query| Query { invert: true, ..query };
        assert_eq!(selected(&invert(query("failed")), RAW, Encoding::Raw)[1], "no header");
        assert_eq!(raw(&invert(query(""))), 0);
        assert_eq!(raw(&invert(web01("failed"))), 1);
        assert_eq!(selected(&invert(query("x")), "a\nb", Encoding::Raw), ["a", "b"]);
        assert_eq!(selected(&query("b"), "a\nb", Encoding::Raw), ["b"]);
    }

    #[test]
    fn of_json_the_fields_are_asked() {
        let text = "{\"host.name\":\"web01\",\"log.syslog.severity.code\":3,\"message\":\"m\"}\n\
                    {\"host.name\":\"db\",\"message\":\"from web01\"}\nnot json, web01\n";
        let of = query("").of_hosts(vec!["Web01".into()]);
        assert_eq!(selected(&of, text, Encoding::Json).len(), 1);
        let severe = Query { severities: Some(1 << 3), ..query("m") };
        assert_eq!(selected(&severe, text, Encoding::Json).len(), 1);
    }

    #[test]
    fn datagrams_are_searched_one_by_one_and_are_of_their_sender() {
        let mut bytes = Vec::new();
        let texts: [&[u8]; 4] =
            [b"\0\x05flow\n", b"", b"<34>Oct 11 22:14:15 web01 su: x", b"\nend"];
        for (index, bytes_of) in texts.iter().enumerate() {
            let peer = Some(format!("192.0.2.{index}:9").parse().unwrap());
            let at = Wall(10 * index as i64);
            let record = Record { at, peer, local: None, truncated: false, bytes: bytes_of };
            record.write(&mut bytes);
        }
        let view = BlockView::whole(&bytes, Some(Encoding::Datagram), None);
        let selected = |query: &Query| {
            let mut spans = Vec::new();
            query.select(&view, &mut spans);
            let own = |event: EventView<'_>| event.own.map_or(-1, |own| own.at.0);
            view.picked(&spans).map(own).collect::<Vec<_>>()
        };
        assert_eq!(selected(&query("")), [0, 10, 20, 30]);
        assert_eq!(selected(&query("flow")), [0]);
        assert_eq!(selected(&Query { invert: true, ..query("flow") }), [10, 20, 30]);
        assert_eq!(selected(&query("").of_hosts(vec!["192.0.2.3".into()])), [30]);
        assert_eq!(selected(&query("").of_hosts(vec!["web01".into()])), [20]);
        assert_eq!(selected(&Query { severities: Some(1 << 2), ..query("") }), [20]);
        let range = TimeRange { since: Wall(10), until: Wall(30) };
        assert_eq!(selected(&Query { range, ..query("") }), [10, 20]);
    }

    #[test]
    fn a_range_meets_blocks_that_may_hold_an_event_of_it() {
        let range = TimeRange { since: Wall(10), until: Wall(20) };
        for (first, last, meets) in [(0, 9, false), (0, 10, true), (19, 30, true), (20, 30, false)]
        {
            assert_eq!(range.meets(Wall(first), Wall(last)), meets, "{first} {last}");
        }
        assert!(TimeRange::ALL.meets(Wall::MAX, Wall::MAX));
    }
}
