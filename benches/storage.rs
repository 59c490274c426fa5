//! What a block of a mebibyte costs beside its compressing, and what a scan of a file costs.

mod text;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flumen::codec::Codec;
use flumen::storage::ReadAt;
use flumen::storage::block::{BlockFacts, crc32c, seal_block, stamp};
use flumen::storage::container::Container;
use flumen::storage::segment::{Check, scan};
use flumen::time::Wall;
use std::convert::Infallible;
use std::hint::black_box;
use std::io;

const BLOCK_BYTES: usize = 1 << 20;
const BLOCKS: u64 = 64;

/// A file in memory.
struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

fn storage(criterion: &mut Criterion) {
    let text = text::lines(BLOCK_BYTES, 190);
    let mut frame = Vec::new();
    Codec::Zstd.compressor(1).compress(&text, &mut frame).expect("a block compresses");
    let facts = BlockFacts {
        container: Container::Zstd,
        encoder: 0,
        event_count: 5_000,
        time_min: Wall(1),
        time_max: Wall(2),
    };
    let seal = |out: &mut Vec<u8>| {
        let ready = |_: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(&frame);
            Ok::<(), Infallible>(())
        };
        let Ok(()) = seal_block(out, &facts, black_box(&text), ready);
    };
    let mut file = Vec::new();
    for sequence in 0..BLOCKS {
        let at = file.len();
        seal(&mut file);
        stamp(facts.container, &mut file[at..], 7, sequence);
    }
    let file = Bytes(file);
    assert_eq!(scan(&file, Check::Stored).expect("in memory").blocks.len() as u64, BLOCKS);

    let mut group = criterion.benchmark_group("storage");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("checksum", |bencher| bencher.iter(|| crc32c(black_box(&text))));
    let mut block = Vec::with_capacity(2 * BLOCK_BYTES);
    group.bench_function("seal_block", |bencher| {
        bencher.iter(|| {
            block.clear();
            seal(&mut block);
        });
    });
    group.throughput(Throughput::Elements(BLOCKS));
    for (name, check) in [("scan_headers", Check::Headers), ("scan_stored", Check::Stored)] {
        group.bench_function(name, |bencher| bencher.iter(|| scan(black_box(&file), check)));
    }
    group.finish();
}

criterion_group!(benches, storage);
criterion_main!(benches);
