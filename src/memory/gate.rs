//! Counts allocations after start, by thread, so that a test can prove that steady state has none;
//! and the bytes they hold, so that another can prove what the sum says of a part.
//!
//! The gate wraps an allocator. It costs a thread-local increment a call and nothing a batch,
//! because a batch allocates nothing. Named exemptions (open and roll, accept and close, error
//! paths) run inside `exempt`, which books their allocations on another counter.

#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait; every call is passed on as it is")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    static COUNTED: Cell<u64> = const { Cell::new(0) };
    static EXEMPTED: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// An allocator that counts what its thread allocates.
#[derive(Debug, Default)]
pub struct Gated<A>(pub A);

/// Allocations of one thread since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    pub counted: u64,
    pub exempted: u64,
}

/// This thread's allocations so far.
pub fn allocations() -> Allocations {
    Allocations { counted: COUNTED.get(), exempted: EXEMPTED.get() }
}

/// Bytes that this thread has allocated and not given back; less than none, when it gives back what
/// others have allocated.
pub fn held_bytes() -> i64 {
    HELD.get()
}

/// Runs a part that may allocate after start: opening, rolling, accepting, failing.
pub fn exempt<T>(work: impl FnOnce() -> T) -> T {
    DEPTH.set(DEPTH.get() + 1);
    let result = work();
    DEPTH.set(DEPTH.get() - 1);
    result
}

fn hold(bytes: usize, less: usize) {
    let change = bytes as i64 - less as i64;
    let _ = HELD.try_with(|held| held.set(held.get() + change));
}

fn count() {
    // try_with: an allocation may come while the thread's locals are being destroyed.
    let exempt = DEPTH.try_with(Cell::get).unwrap_or(0) > 0;
    let counter = if exempt { &EXEMPTED } else { &COUNTED };
    let _ = counter.try_with(|counter| counter.set(counter.get() + 1));
}

// SAFETY: every call goes to the wrapped allocator with the caller's own arguments.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Gated<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size(), 0);
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(0, layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size(), 0);
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        hold(size, layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}
