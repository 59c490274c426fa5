//! Reading back: the events of a block that is decoded, and of a whole file.

mod text;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flumen::archive::{BlockView, Reader};
use flumen::codec::Codec;
use flumen::storage::OsDisk;
use std::hint::black_box;

const BLOCK_BYTES: usize = 1 << 20;
const LINE_BYTES: usize = 190;

fn read(criterion: &mut Criterion) {
    let text = text::lines(BLOCK_BYTES, LINE_BYTES);
    let events = text.len() / (LINE_BYTES + 1);
    let dir = tempfile::tempdir().expect("a directory");
    // A stream of nobody's: what is read has no header to go by.
    let path = dir.path().join("lines.zst");
    let mut stored = Vec::new();
    Codec::Zstd.compressor(1).compress(&text, &mut stored).expect("a block compresses");
    std::fs::write(&path, &stored).expect("written");
    let whole_file = || {
        let mut reader = Reader::open(&OsDisk, &path).expect("it is there");
        let mut count = 0;
        while let Some(block) = reader.next_block().expect("it decodes") {
            count += block.events().filter(|event| !black_box(event.text()).is_empty()).count();
        }
        count
    };
    assert_eq!(whole_file(), events);

    let mut group = criterion.benchmark_group("archive");
    group.throughput(Throughput::Elements(events as u64));
    group.bench_function("walk_190", |bencher| {
        bencher.iter(|| BlockView::whole(black_box(&text), None, None).events().count());
    });
    group.bench_function("stream_zstd_190", |bencher| bencher.iter(whole_file));
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
