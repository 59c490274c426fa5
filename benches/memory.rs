//! What a batch pays to travel: taken from the pool, sealed, through a ring, and home again.
//! Divided by some thousand events a batch, this must be nothing.

use criterion::{Criterion, criterion_group, criterion_main};
use flumen::memory::Pool;
use flumen::ring::Ring;

fn travel(criterion: &mut Criterion) {
    let pool = Pool::new(8, 1 << 20);
    let ring = Ring::new(8);
    criterion.bench_function("memory/take_seal_offer_poll_give", |bencher| {
        bencher.iter(|| {
            let lease = pool.take().expect("all pages are at home");
            ring.offer(lease.seal());
            drop(ring.poll());
        });
    });
}

criterion_group!(benches, travel);
criterion_main!(benches);
