//! The page: what an event costs on its way in by copy, and to whoever walks over a sealed page.

mod copied;
mod text;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flumen::config::Section;
use flumen::event::{Page, Since};
use flumen::interceptor::{FILTERS, Filters};
use std::hint::black_box;

const PAGE_BYTES: usize = 1 << 20;
const LINE_BYTES: usize = 190;

fn page(criterion: &mut Criterion) {
    let lines = text::lines(PAGE_BYTES, LINE_BYTES);
    let mut page = Page::new(PAGE_BYTES);
    copied::fill(&mut page, &lines, LINE_BYTES);
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(u64::from(page.event_count())));
    group.bench_function("append_190", |bencher| {
        let mut page = Page::new(PAGE_BYTES);
        bencher.iter(|| copied::fill(&mut page, black_box(&lines), LINE_BYTES));
    });
    group.bench_function("walk_190", |bencher| {
        bencher.iter(|| page.events().map(|event| black_box(event.bytes).len()).sum::<usize>());
    });
    let filters =
        |text: &str| Filters::plan(&Section::parse(&format!("filters = [{text}]"), &[FILTERS]));
    for (name, text) in [
        ("filter_severity_190", "{ drop = { severity = 'emerg' } }"),
        ("filter_text_190", "{ drop = { text = 'no such text' } }"),
        ("filter_host_190", "{ drop = { host = 'nobody' } }"),
    ] {
        let filters = filters(text);
        group.bench_function(name, |bencher| {
            bencher.iter(|| page.retain(&Since::START, |event| filters.pass(event)));
        });
    }
    group.finish();
}

criterion_group!(benches, page);
criterion_main!(benches);
