//! The std | loom façade: what the ring's sleep and wake and the pool's stack are built from.
//!
//! `Arc` is std's under loom, too: loom's can neither hold a `dyn Wake` made by coercion nor be the
//! `self` of a method, and counting references is not what is checked.

pub use std::sync::Arc;
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::{Mutex, MutexGuard};
