//! Every codec of the registry at its default level, block by block: the limit of the TCP path; and
//! the encoders in front of them, event by event.

mod copied;
mod text;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flumen::codec::COMPRESSORS;
use flumen::codec::encoders::{Encoder, Json, Raw};
use flumen::event::Page;
use std::hint::black_box;

const BLOCK_BYTES: usize = 1 << 20;
const LINE_BYTES: usize = 190;

fn blocks(criterion: &mut Criterion) {
    let block = text::lines(BLOCK_BYTES, LINE_BYTES);
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(block.len() as u64));
    for kind in COMPRESSORS {
        let mut compressor = kind.codec.compressor(kind.level_default);
        let mut frame = Vec::with_capacity(compressor.bound(block.len()));
        compressor.compress(&block, &mut frame).expect("a block compresses");
        group.bench_function(format!("{}/compress", kind.name), |bencher| {
            let mut out = Vec::with_capacity(compressor.bound(block.len()));
            bencher.iter(|| {
                out.clear();
                compressor.compress(black_box(&block), &mut out)
            });
        });
        let mut decompressor = kind.codec.decompressor();
        group.bench_function(format!("{}/decompress", kind.name), |bencher| {
            let out = || Vec::with_capacity(block.len());
            let decode = |mut out: Vec<u8>| {
                let outcome = decompressor.decompress(black_box(&frame), block.len(), &mut out);
                (outcome, out)
            };
            bencher.iter_batched(out, decode, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// Lines that were put into the page by copying, so that each is looked at.
fn events(criterion: &mut Criterion) {
    let mut page = Page::new(BLOCK_BYTES);
    copied::fill(&mut page, &text::lines(BLOCK_BYTES / 2, LINE_BYTES), LINE_BYTES);
    let mut group = criterion.benchmark_group("codec/encode");
    group.throughput(Throughput::Elements(u64::from(page.event_count())));
    let encoders: [(&str, &dyn Encoder); 2] = [("raw_190", &Raw::default()), ("json_190", &Json)];
    for (name, encoder) in encoders {
        let mut out = Vec::with_capacity(encoder.bound_page(&page));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                encoder.encode_events(black_box(&page), 0..page.event_count(), &mut out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, blocks, events);
criterion_main!(benches);
