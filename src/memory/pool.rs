//! The pool: a fixed number of pages and a lock-free stack of those at home.
//!
//! A page has one owner while it is filled (`Lease`); `seal` turns it into something several
//! channels hold (`Shared`), counted in the page's own cell, so sharing allocates nothing. Whoever
//! drops the last hold sends the page home.
//!
//! Threading: any thread takes and gives. The stack is Treiber's, over indices; the head carries a
//! tag that grows with every change, so an index that left and came back is noticed (ABA).

#![expect(unsafe_code, reason = "one owner or many readers of a page, proven by the hold count")]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use crate::event::Page;
use crate::limits;
use crate::ring::Bell;
use crate::sync::{Arc, AtomicU32, AtomicU64, Ordering};

const NONE: u32 = u32::MAX;

pub struct Pool {
    cells: Box<[Cell]>,
    /// Low half: index of the page last come home, or NONE; high half: the tag.
    head: AtomicU64,
    free: AtomicU32,
    serial: AtomicU64,
    bell: Bell,
}

struct Cell {
    page: UnsafeCell<Page>,
    /// The page below this one in the stack of those at home.
    below: AtomicU32,
    /// Holds on the page while it is shared.
    holds: AtomicU32,
}

// SAFETY: a page is reached through a `Lease`, of which there is one per cell (its index was popped
// from the stack), or through `Shared`s, which only read. The change from one to the other and back
// is ordered by `holds` (Release/Acquire) and by the stack's head.
unsafe impl Sync for Pool {}
// SAFETY: nothing in a pool is bound to a thread.
unsafe impl Send for Pool {}

/// The one owner of a page that is being filled.
pub struct Lease {
    pool: Arc<Pool>,
    index: u32,
}

/// A hold on a sealed page: read only; dropping the last one sends the page home.
pub struct Shared {
    pool: Arc<Pool>,
    index: u32,
}

impl Pool {
    pub fn new(pages: usize, page_bytes: usize) -> Arc<Self> {
        let cells: Box<[Cell]> = (0..pages)
            .map(|_| Cell {
                page: UnsafeCell::new(Page::new(page_bytes)),
                below: AtomicU32::new(NONE),
                holds: AtomicU32::new(0),
            })
            .collect();
        let pool = Arc::new(Self {
            cells,
            head: AtomicU64::new(u64::from(NONE)),
            free: AtomicU32::new(0),
            serial: AtomicU64::new(1),
            bell: Bell::default(),
        });
        (0..limits::u32_of(pages)).rev().for_each(|index| pool.push(index));
        pool
    }

    /// The page that came home last, emptied.
    pub fn take(self: &Arc<Self>) -> Option<Lease> {
        let index = self.pop()?;
        let mut lease = Lease { pool: Arc::clone(self), index };
        lease.clear(self.serial.fetch_add(1, Ordering::Relaxed));
        Some(lease)
    }

    /// Pages at home: a snapshot.
    pub fn free(&self) -> u32 {
        self.free.load(Ordering::Relaxed)
    }

    pub fn pages(&self) -> u32 {
        limits::u32_of(self.cells.len())
    }

    /// Rung when a page comes home; sources that found the pool empty take seats here.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    fn push(&self, index: u32) {
        // Counted before it can be popped: `free` is never less than what is there, nor below 0.
        self.free.fetch_add(1, Ordering::Relaxed);
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            self.cells[limits::usize_of(index)].below.store(head as u32, Ordering::Relaxed);
            let next = ((head >> 32) + 1) << 32 | u64::from(index);
            // Release: the page's bytes and `below` before the index can be popped.
            match self.head.compare_exchange_weak(head, next, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
    }

    fn pop(&self) -> Option<u32> {
        // Acquire: pairs with the Release in `push`.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let index = head as u32;
            if index == NONE {
                return None;
            }
            let below = self.cells[limits::usize_of(index)].below.load(Ordering::Relaxed);
            let next = ((head >> 32) + 1) << 32 | u64::from(below);
            match self.head.compare_exchange_weak(head, next, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => {
                    self.free.fetch_sub(1, Ordering::Relaxed);
                    return Some(index);
                }
                Err(now) => head = now,
            }
        }
    }

    fn come_home(&self, index: u32) {
        self.push(index);
        self.bell.ring();
    }

    fn cell(&self, index: u32) -> &Cell {
        &self.cells[limits::usize_of(index)]
    }
}

impl Lease {
    /// Ends the filling: one hold, from which more are cloned.
    pub fn seal(self) -> Shared {
        let this = std::mem::ManuallyDrop::new(self);
        let (pool, index) = (Arc::clone(&this.pool), this.index);
        // SAFETY: `this` is never used or dropped again, so its Arc is released once, here.
        unsafe { std::ptr::drop_in_place(std::ptr::from_ref(&this.pool).cast_mut()) }
        // Relaxed: whoever gets the Shared gets it through a ring, which orders.
        pool.cell(index).holds.store(1, Ordering::Relaxed);
        Shared { pool, index }
    }
}

impl Deref for Lease {
    type Target = Page;

    fn deref(&self) -> &Page {
        // SAFETY: a lease is the only way to its cell.
        unsafe { &*self.pool.cell(self.index).page.get() }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Page {
        // SAFETY: a lease is the only way to its cell, and we hold it mutably.
        unsafe { &mut *self.pool.cell(self.index).page.get() }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.come_home(self.index);
    }
}

impl Shared {
    /// The page to write in again, if nobody else holds it.
    pub fn unseal(self) -> Result<Lease, Self> {
        // Acquire: pairs with the Release of the holds that were dropped; all their reads are over.
        // Nobody but a holder can make another, and the one there is is ours.
        if self.pool.cell(self.index).holds.load(Ordering::Acquire) != 1 {
            return Err(self);
        }
        let this = std::mem::ManuallyDrop::new(self);
        let (pool, index) = (Arc::clone(&this.pool), this.index);
        // SAFETY: `this` is never used or dropped again, so its Arc is released once, here.
        unsafe { std::ptr::drop_in_place(std::ptr::from_ref(&this.pool).cast_mut()) }
        Ok(Lease { pool, index })
    }
}

impl Clone for Shared {
    fn clone(&self) -> Self {
        self.pool.cell(self.index).holds.fetch_add(1, Ordering::Relaxed);
        Self { pool: Arc::clone(&self.pool), index: self.index }
    }
}

impl Deref for Shared {
    type Target = Page;

    fn deref(&self) -> &Page {
        // SAFETY: while holds exist the cell is only read.
        unsafe { &*self.pool.cell(self.index).page.get() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Release: our reads before the page goes; Acquire: all others' reads before we give it.
        if self.pool.cell(self.index).holds.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pool.come_home(self.index);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::event::{EventHead, Marks, Origin};
    use crate::time::Wall;

    fn pool(pages: usize) -> Arc<Pool> {
        Pool::new(pages, limits::BATCH_BYTES_MIN)
    }

    #[test]
    fn last_home_first_out() {
        let pool = pool(3);
        let mut first = pool.take().expect("three at home");
        let serial = first.serial();
        let origin = first.push_origin(Origin::LOCAL).expect("room");
        let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
        first.append_event(b"one", head).expect("room");
        let address = first.used().as_ptr();
        drop(first);
        let again = pool.take().expect("home");
        assert_eq!(again.used().as_ptr(), address);
        assert!(again.is_empty() && again.serial() > serial);
    }

    #[test]
    fn a_shared_page_comes_home_with_its_last_hold() {
        let pool = pool(1);
        let shared = pool.take().expect("home").seal();
        let holds = vec![shared.clone(), shared.clone(), shared];
        for hold in holds {
            assert!(pool.take().is_none());
            drop(hold);
        }
        assert_eq!(pool.free(), 1);
        assert!(pool.take().is_some());
    }

    #[test]
    fn many_threads_never_share_a_page() {
        let pool = pool(3);
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let pool = &pool;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let Some(mut lease) = pool.take() else { continue };
                        lease.spare_mut()[..64].fill(thread);
                        assert!(lease.spare_mut()[..64].iter().all(|byte| *byte == thread));
                        if thread % 2 == 0 {
                            let shared = lease.seal();
                            drop(shared.clone());
                        }
                    }
                });
            }
        });
        assert_eq!(pool.free(), 3);
        let all: Vec<Lease> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(all.len(), 3);
    }
}
