//! The load generator's own cost: it must never be what limits a measurement.
//!
//! `cargo bench --bench load`: one message composed (goal: below 80 ns at 190 bytes), one stamp
//! read and checked.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flumen::syslog::compose::{Composer, Format, Shape};
use flumen::syslog::stamp::{self, Reading, Stamp};
use flumen::time::Wall;

const START: i64 = 1_795_231_188_000_000_000;

fn compose(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compose");
    for (name, format) in Format::ALL {
        let mut composer = Composer::new(Shape { format, ..Shape::default() });
        let mut out = vec![0; composer.room_bytes()];
        let mut sequence = 0;
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                sequence += 1;
                let at = Wall(START + sequence as i64 * 1000);
                composer.compose(Stamp { run: 7, stream: 3, sequence, at }, black_box(&mut out))
            });
        });
    }
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let mut composer = Composer::new(Shape::default());
    let mut out = vec![0; composer.room_bytes()];
    let stamp = Stamp { run: 7, stream: 3, sequence: 11, at: Wall(START) };
    let length = composer.compose(stamp, &mut out);
    criterion.bench_function("read_stamp", |bencher| {
        bencher.iter(|| {
            assert!(matches!(stamp::read(black_box(&out[..length])), Reading::Whole(_)));
        });
    });
}

criterion_group!(benches, compose, read);
criterion_main!(benches);
