//! What an event costs between read(2) and the channel: framed in place, or taken out of a request.

mod requests;
mod text;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flumen::event::{HeaderMap, Origin, Page};
use flumen::source::framing::{Rules, Stage, frame};
use flumen::source::http::bodies::{Shape, Staged};
use flumen::source::text::holds_control;
use flumen::time::Wall;
use flumen::wire::memcached::{Heard, Session};
use std::hint::black_box;

const LINE_BYTES: usize = 190;
/// What one read brings into an empty page of 1 MiB.
const READ_BYTES: usize = 100 << 10;

/// Frames `bytes`, which stand at the front of the page already.
fn framed(page: &mut Page, bytes: usize, rules: &Rules) -> u32 {
    page.clear(1);
    let origin = page.push_origin(Origin::LOCAL).expect("an empty page");
    let (text, mut records) = page.frame(bytes as u32, Wall(1), origin);
    let partial = frame(text, 0, 0, Stage::Start, rules, &mut records).partial;
    let sums = records.finish();
    page.settle(sums, Wall(1), partial as u32);
    page.event_count()
}

fn framing(criterion: &mut Criterion) {
    let lines = text::lines(READ_BYTES, LINE_BYTES);
    let counted: Vec<u8> = lines
        .chunks_exact(LINE_BYTES + 1)
        .flat_map(|line| {
            let message = [b"<13>", &line[..LINE_BYTES - 4]].concat();
            [format!("{LINE_BYTES} ").as_bytes(), &message].concat()
        })
        .collect();
    let crlf: Vec<u8> = lines
        .chunks_exact(LINE_BYTES + 1)
        .flat_map(|line| [&line[..LINE_BYTES - 1], b"\r\n"].concat())
        .collect();
    let tcp = Rules { counted: false, zipped: false, event_bytes_max: 64 << 10, want_pri: false };
    let syslog = Rules { counted: true, ..tcp };
    let pri = Rules { want_pri: true, ..syslog };
    let mut group = criterion.benchmark_group("source");
    let cases = [
        ("lines_190", &lines, &tcp),
        ("lines_190_syslog", &lines, &syslog),
        ("lines_190_pri", &lines, &pri),
        ("crlf_190", &crlf, &tcp),
        ("counted_190", &counted, &syslog),
    ];
    for (name, text, rules) in cases {
        let mut page = Page::new(1 << 20);
        page.clear(1);
        page.spare_mut()[..text.len()].copy_from_slice(text);
        let events = framed(&mut page, text.len(), rules);
        assert!(events as usize >= text.len() / (LINE_BYTES + 5), "{name}: {events}");
        group.throughput(Throughput::Elements(u64::from(events)));
        group.bench_function(name, |bencher| {
            bencher.iter(|| framed(black_box(&mut page), text.len(), rules));
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("control_190", |bencher| {
        bencher.iter(|| holds_control(black_box(&lines[..LINE_BYTES])));
    });
    group.finish();
}

/// Events of a request's body, a copy of which is taken apart.
fn staged(body: &[u8], shape: Shape) -> u64 {
    let staged = Staged::read(body.to_vec(), shape, HeaderMap::NONE);
    let (mut staged, mut events) = (staged.expect("a good body"), 0);
    while let Some(piece) = staged.show(64 << 10) {
        black_box(piece);
        staged.took();
        events += 1;
    }
    events
}

fn stored(mut text: &[u8], session: &mut Session) -> u64 {
    let mut events = 0;
    while let (used, Heard::Store(store)) = session.hear(text) {
        black_box(store);
        text = &text[used..];
        events += 1;
    }
    events
}

fn requests(criterion: &mut Criterion) {
    let lines = text::lines(READ_BYTES, LINE_BYTES);
    let (list, stores) = (requests::list(&lines), requests::stores(&lines));
    let events = (lines.len() / (LINE_BYTES + 1)) as u64;
    let mut group = criterion.benchmark_group("source");
    group.throughput(Throughput::Elements(events));
    for (name, body, shape) in
        [("http_lines_190", &lines, Shape::Lines), ("http_json_190", &list, Shape::Json)]
    {
        assert_eq!(staged(body, shape), events, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| staged(black_box(body), shape)));
    }
    let mut session = Session::new(64 << 10);
    assert_eq!(stored(&stores, &mut session), events);
    group.bench_function("memcached_190", |bencher| {
        bencher.iter(|| stored(black_box(&stores), &mut session));
    });
    group.finish();
}

criterion_group!(benches, framing, requests);
criterion_main!(benches);
