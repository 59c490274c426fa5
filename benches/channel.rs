//! What a channel costs: a batch of lines of 190 bytes put in and taken out by a sink that forgets.

mod text;
mod way;

use criterion::{Criterion, criterion_group, criterion_main};

fn channels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("channel");
    for (name, channel) in [
        ("memory_190", ("memory", "")),
        ("file_190", ("file", "path = 'DIR'\ncapacity = '256MiB'")),
        ("spill_190", ("spill", "path = 'DIR'\ncapacity = '256MiB'")),
    ] {
        way::bench(&mut group, name, channel, ("null", ""));
    }
    group.finish();
}

criterion_group!(benches, channels);
criterion_main!(benches);
