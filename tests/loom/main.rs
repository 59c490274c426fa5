//! Every interleaving of what threads share without a lock: sleep and wake, the pool's stack,
//! credit, receipts, leases. Compiled only under `--cfg loom`; an empty program otherwise.
//!
//! ```text
//!   RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --test loom
//! ```
//! Each model runs with three preemptions at most, which bounds the time and finds what we know to
//! look for: a fence taken out of `Bell`, the tag out of the pool's head, or the order out of the
//! last hold's count each fail here. A sleeper nobody wakes is a deadlock, which loom reports.

#[cfg(loom)]
mod bell;
#[cfg(loom)]
mod pool;
#[cfg(loom)]
mod receipt;
#[cfg(loom)]
mod sleeper;
#[cfg(loom)]
mod turnstile;
#[cfg(loom)]
mod valve;

#[cfg(loom)]
const PREEMPTIONS_MAX: usize = 3;

#[cfg(loom)]
fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS_MAX));
    builder.check(check);
}
