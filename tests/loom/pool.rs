//! A page has one owner or only readers, whoever takes and gives.

#![expect(unsafe_code, reason = "loom's cells hand out raw pointers")]

use std::collections::BTreeMap;
use std::sync::Arc;

use flumen::event::Page;
use flumen::limits::BATCH_BYTES_MIN;
use flumen::memory::{Lease, Pool};
use loom::cell::UnsafeCell;
use loom::thread;

use crate::model;

/// For each page a cell in which loom notices two at once, or one not ordered behind the other.
struct Shadows(BTreeMap<usize, UnsafeCell<u32>>);

// SAFETY: that this holds is what the models check.
unsafe impl Sync for Shadows {}
// SAFETY: as above.
unsafe impl Send for Shadows {}

fn place(page: &Page) -> usize {
    page.used().as_ptr() as usize
}

impl Shadows {
    fn of(pool: &Arc<Pool>) -> Arc<Self> {
        let all: Vec<Lease> = std::iter::from_fn(|| pool.take()).collect();
        Arc::new(Self(all.iter().map(|page| (place(page), UnsafeCell::new(0))).collect()))
    }

    fn write(&self, page: &Page) {
        // SAFETY: loom panics when somebody else is at it.
        self.0[&place(page)].with_mut(|count| unsafe { *count += 1 });
    }

    fn read(&self, page: &Page) -> u32 {
        // SAFETY: loom panics when somebody writes.
        self.0[&place(page)].with(|count| unsafe { *count })
    }
}

/// One takes a page; another takes both and gives the first back: with a head that carried no tag
/// the first would take the second page as well (ABA).
#[test]
fn an_index_that_left_and_came_back_is_noticed() {
    model(|| {
        let pool = Pool::new(2, BATCH_BYTES_MIN);
        let shadows = Shadows::of(&pool);
        let (others, other_shadows) = (pool.clone(), shadows.clone());
        let other = thread::spawn(move || {
            let first = others.take();
            let second = others.take();
            drop(first);
            second.iter().for_each(|page| other_shadows.write(page));
            second.is_some()
        });
        let first = pool.take();
        let second = pool.take();
        for page in first.iter().chain(&second) {
            shadows.write(page);
        }
        other.join().unwrap();
        drop((first, second));
        assert_eq!(pool.free(), 2);
        let all: Vec<Lease> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(all.len(), 2);
    });
}

#[test]
fn three_take_and_give_two_pages() {
    model(|| {
        let pool = Pool::new(2, BATCH_BYTES_MIN);
        let shadows = Shadows::of(&pool);
        let work = |pool: Arc<Pool>, shadows: Arc<Shadows>| {
            let page = pool.take();
            page.iter().for_each(|page| shadows.write(page));
        };
        let others = [0, 1].map(|_| {
            let (pool, shadows) = (pool.clone(), shadows.clone());
            thread::spawn(move || work(pool, shadows))
        });
        work(pool.clone(), shadows);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(pool.free(), 2);
    });
}

/// Two channels read a sealed page and drop it; whoever fills it next comes after both.
#[test]
fn the_last_hold_sends_a_page_home_after_all_reading() {
    model(|| {
        let pool = Pool::new(1, BATCH_BYTES_MIN);
        let shadows = Shadows::of(&pool);
        let page = pool.take().unwrap();
        shadows.write(&page);
        let filled = shadows.read(&page);
        let shared = page.seal();
        let readers = [shared.clone(), shared].map(|hold| {
            let shadows = shadows.clone();
            thread::spawn(move || {
                assert_eq!(shadows.read(&hold), filled);
                drop(hold);
            })
        });
        let page = loop {
            match pool.take() {
                Some(page) => break page,
                None => thread::yield_now(),
            }
        };
        shadows.write(&page);
        drop(page);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert_eq!(pool.free(), 1);
    });
}

/// A page that comes home and leaves at once never counts as less than none at home.
#[test]
fn pages_at_home_are_counted_before_they_leave() {
    model(|| {
        let pool = Pool::new(1, BATCH_BYTES_MIN);
        let page = pool.take();
        let others = pool.clone();
        let other = thread::spawn(move || {
            let page = others.take();
            assert!(others.free() <= others.pages());
            drop(page);
        });
        drop(page);
        other.join().unwrap();
        assert_eq!(pool.free(), 1);
    });
}
