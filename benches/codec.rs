//! Every codec of the registry at its default level, block by block: the limit of the TCP path.

mod text;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flumen::codec::COMPRESSORS;
use std::hint::black_box;

const BLOCK_BYTES: usize = 1 << 20;

fn blocks(criterion: &mut Criterion) {
    let block = text::lines(BLOCK_BYTES, 190);
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

criterion_group!(benches, blocks);
criterion_main!(benches);
