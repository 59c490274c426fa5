//! What a sink costs: batches of lines of 190 bytes into rolling files, each codec, from the batch
//! that is offered to the bytes that are appended.

mod text;
mod way;

use criterion::{Criterion, criterion_group, criterion_main};
use flumen::codec::COMPRESSORS;

fn files(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sink");
    for kind in COMPRESSORS {
        let options = format!(
            "path = 'DIR/out.log'\ncodec = '{}'\nroll = {{ bytes = '64MiB' }}\n\
             keep = {{ bytes = '256MiB' }}",
            kind.name
        );
        let name = format!("file_{}_190", kind.name);
        way::bench(&mut group, &name, ("memory", ""), ("file", &options));
    }
    group.finish();
}

criterion_group!(benches, files);
criterion_main!(benches);
