//! Interceptors, each alone over a page of lines of 190 bytes.

mod copied;
mod text;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flumen::config::Section;
use flumen::event::Page;
use flumen::interceptor::{Bench, CHAIN, ChainPlan, Draft, Tools};
use std::hint::black_box;

const PAGE_BYTES: usize = 1 << 20;
const LINE_BYTES: usize = 190;

fn chains(criterion: &mut Criterion) {
    let mut page = Page::new(PAGE_BYTES);
    copied::fill(&mut page, &text::lines(PAGE_BYTES / 2, LINE_BYTES), LINE_BYTES);
    let mut group = criterion.benchmark_group("interceptor");
    group.throughput(Throughput::Elements(u64::from(page.event_count())));
    for (name, table) in [
        ("timestamp_190", "type = 'timestamp'"),
        ("static_190", "type = 'static', key = 'datacenter', value = 'NYC'"),
        ("regex_filter_190", "type = 'regex_filter', regex = 'took [0-9]{4} ms'"),
        (
            "search_replace_190",
            "type = 'search_replace', search_pattern = 'host[0-9]+', replace_string = 'host'",
        ),
    ] {
        let section = Section::parse(&format!("interceptors = [{{ {table} }}]"), &[CHAIN]);
        let plan = ChainPlan::plan(&section);
        assert!(section.diagnostics().lines().is_empty(), "{:?}", section.diagnostics().lines());
        let (mut chain, mut desk) = (plan.build(&Tools::default()), Bench::default());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut pass = |event| chain.pass(&mut Draft::new(&event, &mut desk, PAGE_BYTES));
                page.events().filter(|event| black_box(pass(*event))).count()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, chains);
criterion_main!(benches);
