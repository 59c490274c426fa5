//! The hot functions, so many rounds each, for counting their instructions: counts repeat where
//! seconds do not. `scripts/instructions` runs this under valgrind, at this commit and its parent.
//!
//! ```text
//!   instructions --list             names, and events a round
//!   instructions NAME ROUNDS        does it so often
//!   instructions                    everything once: nothing here can rot
//! ```
//!
//! The instructions of a round are the difference of two runs, so what happens before the first
//! round (text, tables, lazy set-up) does not count.

mod requests;
mod text;

use flumen::codec::Codec;
use flumen::codec::encoders::{Encoder, Json, Raw};
use flumen::config::Section;
use flumen::event::{EventHead, HeaderMap, Marks, Origin, Page, Since};
use flumen::interceptor::{FILTERS, Filters};
use flumen::memory::Pool;
use flumen::ring::Ring;
use flumen::source::framing::{Rules, Stage, frame};
use flumen::source::http::bodies::{Shape as BodyShape, Staged};
use flumen::source::text::holds_control;
use flumen::storage::block::crc32c;
use flumen::syslog::compose::{Composer, Shape};
use flumen::syslog::parse::{Expect, Fields, parse};
use flumen::syslog::stamp::{self, Stamp};
use flumen::time::Wall;
use flumen::wire::memcached::{Heard, Session};
use std::hint::black_box;

const LINE_BYTES: usize = 190;
/// What one read brings.
const READ_BYTES: usize = 100 << 10;
const PAGE_BYTES: usize = 1 << 20;

/// One row: events a round, and what builds a round.
struct Work {
    name: &'static str,
    events: usize,
    build: fn() -> Box<dyn FnMut()>,
}

const READ_EVENTS: usize = READ_BYTES / (LINE_BYTES + 1);
const PAGE_EVENTS: usize = PAGE_BYTES / (LINE_BYTES + 1);
const LINES: Rules =
    Rules { counted: false, zipped: false, event_bytes_max: 64 << 10, want_pri: false };

const WORKS: &[Work] = &[
    Work { name: "frame_lines", events: READ_EVENTS, build: || framing(lines(READ_BYTES), LINES) },
    Work {
        name: "frame_syslog_pri",
        events: READ_EVENTS,
        build: || framing(lines(READ_BYTES), Rules { counted: true, want_pri: true, ..LINES }),
    },
    Work {
        name: "frame_counted",
        events: READ_EVENTS,
        build: || framing(counted(), Rules { counted: true, ..LINES }),
    },
    Work { name: "append_datagrams", events: READ_EVENTS, build: appending },
    Work { name: "holds_control", events: READ_EVENTS, build: looking_for_control },
    Work {
        name: "http_lines",
        events: READ_EVENTS,
        build: || staging(lines(READ_BYTES), BodyShape::Lines),
    },
    Work {
        name: "http_json",
        events: READ_EVENTS,
        build: || staging(requests::list(&lines(READ_BYTES)), BodyShape::Json),
    },
    Work { name: "memcached_stores", events: READ_EVENTS, build: storing },
    Work { name: "encode_raw_by_event", events: READ_EVENTS, build: || encoding(Raw::default()) },
    Work { name: "encode_json", events: READ_EVENTS, build: || encoding(Json) },
    Work { name: "filter_severity", events: READ_EVENTS, build: filtering },
    Work { name: "travel", events: 1, build: travelling },
    Work { name: "checksum", events: PAGE_EVENTS, build: summing },
    Work { name: "zstd", events: PAGE_EVENTS, build: || packing(Codec::Zstd) },
    Work { name: "lz4", events: PAGE_EVENTS, build: || packing(Codec::Lz4) },
    Work { name: "gzip", events: PAGE_EVENTS, build: || packing(Codec::Gzip) },
    Work { name: "compose", events: 1, build: composing },
    Work { name: "read_stamp", events: 1, build: reading_a_stamp },
    Work { name: "parse_rfc3164", events: 1, build: || parsing(RFC3164) },
    Work { name: "parse_rfc5424", events: 1, build: || parsing(RFC5424) },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--list"] => WORKS.iter().for_each(|work| println!("{} {}", work.name, work.events)),
        [name, rounds] if !name.starts_with('-') => {
            let work = WORKS.iter().find(|work| work.name == name).expect("a name of the list");
            let rounds: u32 = rounds.parse().expect("a number of rounds");
            let mut round = (work.build)();
            (0..rounds).for_each(|_| round());
        }
        // As cargo runs benches: `--bench`, and for tests `--test`.
        _ => WORKS.iter().for_each(|work| (work.build)()()),
    }
}

fn lines(bytes: usize) -> Vec<u8> {
    text::lines(bytes, LINE_BYTES)
}

fn counted() -> Vec<u8> {
    let frame = |line: &[u8]| {
        let message = [b"<13>", &line[..LINE_BYTES - 4]].concat();
        [format!("{LINE_BYTES} ").as_bytes(), &message].concat()
    };
    lines(READ_BYTES).chunks_exact(LINE_BYTES + 1).flat_map(frame).collect()
}

fn framing(text: Vec<u8>, rules: Rules) -> Box<dyn FnMut()> {
    let mut page = Page::new(PAGE_BYTES);
    page.clear(1);
    page.spare_mut()[..text.len()].copy_from_slice(&text);
    Box::new(move || {
        page.clear(1);
        let origin = page.push_origin(Origin::LOCAL).expect("an empty page");
        let (text, mut records) = page.frame(text.len() as u32, Wall(1), origin);
        let partial = frame(text, 0, 0, Stage::Start, &rules, &mut records).partial;
        let sums = records.finish();
        page.settle(sums, Wall(1), partial as u32);
        black_box(page.event_count());
    })
}

/// Fills a page with datagrams: the copying way in.
fn fill(page: &mut Page, lines: &[u8]) {
    page.clear(1);
    let origin = page.push_origin(Origin::LOCAL).expect("an empty page");
    let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::default() };
    for line in lines.chunks_exact(LINE_BYTES + 1) {
        page.append_event(&line[..LINE_BYTES], head).expect("a tenth of a page");
    }
}

fn appending() -> Box<dyn FnMut()> {
    let (lines, mut page) = (lines(READ_BYTES), Page::new(PAGE_BYTES));
    Box::new(move || fill(&mut page, black_box(&lines)))
}

/// A request's body, a copy of it each round, taken apart event by event.
fn staging(body: Vec<u8>, shape: BodyShape) -> Box<dyn FnMut()> {
    Box::new(move || {
        let staged = Staged::read(black_box(&body).clone(), shape, HeaderMap::NONE);
        let (mut staged, mut events) = (staged.expect("a good body"), 0);
        while staged.show(usize::MAX >> 1).is_some() {
            staged.took();
            events += 1;
        }
        assert_eq!(black_box(events), READ_EVENTS);
    })
}

fn storing() -> Box<dyn FnMut()> {
    let (text, mut session) = (requests::stores(&lines(READ_BYTES)), Session::new(64 << 10));
    Box::new(move || {
        let (mut rest, mut events) = (black_box(&text[..]), 0);
        while let (used, Heard::Store(store)) = session.hear(rest) {
            black_box(store);
            rest = &rest[used..];
            events += 1;
        }
        assert_eq!(black_box(events), READ_EVENTS);
    })
}

/// A page of which nothing is refused.
fn filtering() -> Box<dyn FnMut()> {
    let text = "filters = [{ drop = { severity = 'emerg' } }]";
    let filters = Filters::plan(&Section::parse(text, &[FILTERS]));
    let mut page = Page::new(PAGE_BYTES);
    fill(&mut page, &counted_as_lines());
    Box::new(move || {
        let removed = page.retain(&Since::START, |event| filters.pass(event));
        assert_eq!(black_box(removed).events, 0);
    })
}

/// Lines that begin with a PRI.
fn counted_as_lines() -> Vec<u8> {
    let line = |line: &[u8]| [b"<13>", &line[..LINE_BYTES - 4], b"\n"].concat();
    lines(READ_BYTES).chunks_exact(LINE_BYTES + 1).flat_map(line).collect()
}

fn looking_for_control() -> Box<dyn FnMut()> {
    let lines = lines(READ_BYTES);
    Box::new(move || {
        for line in lines.chunks_exact(LINE_BYTES + 1) {
            black_box(holds_control(black_box(&line[..LINE_BYTES])));
        }
    })
}

fn encoding(encoder: impl Encoder + 'static) -> Box<dyn FnMut()> {
    let mut page = Page::new(PAGE_BYTES);
    fill(&mut page, &lines(READ_BYTES));
    let mut out = Vec::with_capacity(encoder.bound_page(&page));
    Box::new(move || {
        out.clear();
        encoder.encode_events(&page, 0..page.event_count(), &mut out);
        black_box(&out);
    })
}

/// From the pool through a ring and home.
fn travelling() -> Box<dyn FnMut()> {
    let (pool, ring) = (Pool::new(8, 64 << 10), Ring::new(8));
    Box::new(move || {
        let lease = pool.take().expect("all pages are at home");
        ring.offer(lease.seal());
        drop(ring.poll());
    })
}

fn summing() -> Box<dyn FnMut()> {
    let lines = lines(PAGE_BYTES);
    Box::new(move || {
        black_box(crc32c(black_box(&lines)));
    })
}

fn packing(codec: Codec) -> Box<dyn FnMut()> {
    let lines = lines(PAGE_BYTES);
    let mut compressor = codec.compressor(1);
    let mut out = Vec::with_capacity(compressor.bound(lines.len()));
    Box::new(move || {
        out.clear();
        compressor.compress(black_box(&lines), &mut out).expect("a block compresses");
    })
}

fn composing() -> Box<dyn FnMut()> {
    let mut composer = Composer::new(Shape::default());
    let mut out = vec![0; composer.room_bytes()];
    let mut sequence = 0;
    Box::new(move || {
        sequence += 1;
        let stamp = Stamp { run: 7, stream: 3, sequence, at: Wall(1_795_231_188_000_000_000) };
        black_box(composer.compose(stamp, &mut out));
    })
}

fn reading_a_stamp() -> Box<dyn FnMut()> {
    let mut composer = Composer::new(Shape::default());
    let mut out = vec![0; composer.room_bytes()];
    let stamp = Stamp { run: 7, stream: 3, sequence: 11, at: Wall(1_795_231_188_000_000_000) };
    let length = composer.compose(stamp, &mut out);
    Box::new(move || {
        black_box(stamp::read(black_box(&out[..length])));
    })
}

const RFC3164: &str = "<38>Oct 11 22:14:15 web-017 sshd[41231]: Accepted publickey for deploy";
const RFC5424: &str = "<38>1 2026-10-11T22:14:15.003123Z web-017 sshd 41231 AUTH \
    [origin@32473 ip=\"192.0.2.17\" port=\"50022\"][meta sequenceId=\"4711\"] Accepted";

fn parsing(message: &'static str) -> Box<dyn FnMut()> {
    Box::new(move || {
        black_box(parse(black_box(message.as_bytes()), Expect::Auto, Fields::ALL));
    })
}
