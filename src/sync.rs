//! The std | loom façade: what the ring's sleep and wake, its turnstile and the pool's stack are
//! built from.
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

/// A lock that is only ever tried, never waited for.
#[cfg(not(loom))]
pub struct Gate<T>(Mutex<T>);

#[cfg(not(loom))]
impl<T> Gate<T> {
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// None while somebody has it, and for ever once somebody panicked in it.
    pub fn try_enter(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// Loom lets nobody run between the last step under its own lock and the unlocking, so nobody would
/// ever come too early. Here leaving is a step.
#[cfg(loom)]
pub struct Gate<T> {
    taken: AtomicBool,
    value: std::sync::Mutex<T>,
}

/// Fields are dropped in this order.
#[cfg(loom)]
pub struct Entered<'a, T> {
    value: std::sync::MutexGuard<'a, T>,
    _leaving: Leaving<'a>,
}

#[cfg(loom)]
struct Leaving<'a>(&'a AtomicBool);

#[cfg(loom)]
impl<T> Gate<T> {
    pub fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: std::sync::Mutex::new(value) }
    }

    pub fn try_enter(&self) -> Option<Entered<'_, T>> {
        self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        let value = self.value.try_lock().ok()?;
        Some(Entered { value, _leaving: Leaving(&self.taken) })
    }
}

#[cfg(loom)]
impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(loom)]
impl<T> std::ops::Deref for Entered<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(loom)]
impl<T> std::ops::DerefMut for Entered<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
