//! Work on many threads, results in the order of the work.
//!
//! ```text
//!   jobs ──┬── thread 0 ──┐
//!          ├── thread 1 ──┼── results, job by job ──▶ who asked
//!          └── …          ┘
//! ```
//! A foreman takes jobs from their iterator, no more of them than are handed out soon: memory is a
//! few results a thread. A job may give many results; above a few it waits for its turn. Who asked
//! may stop at any time, and then all end after the result they are at.

use std::io;

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::runtime::thread::{cores, spawn};

/// Results of one job that may wait.
const RESULTS_WAITING: usize = 3;
/// Jobs begun and not yet handed out, a thread.
const JOBS_AHEAD: usize = 4;

enum Step<T> {
    Result(T),
    /// Nothing comes any more: a thread that died says nothing.
    Done,
}

/// Where a job puts its results.
pub struct Out<T>(Sender<Step<T>>);

impl<T> Out<T> {
    /// False: nobody wants any more.
    pub fn put(&self, result: T) -> bool {
        self.0.send(Step::Result(result)).is_ok()
    }
}

/// The results, in order.
pub struct InOrder<T> {
    jobs: Receiver<Receiver<Step<T>>>,
    now: Option<Receiver<Step<T>>>,
}

/// As many threads as there are cores for this process.
pub fn threads_default() -> usize {
    cores().len().max(1)
}

/// Starts `threads` threads, each with a worker of its own, on jobs in their order.
pub fn in_order<J, T, W>(
    threads: usize,
    jobs: impl Iterator<Item = J> + Send + 'static,
    mut worker: impl FnMut() -> W,
) -> io::Result<InOrder<T>>
where
    J: Send + 'static,
    T: Send + 'static,
    W: FnMut(J, &Out<T>) + Send + 'static,
{
    // As many as may be announced: small jobs are then taken without waiting for the foreman.
    let (to_threads, from_foreman) = bounded::<(J, Out<T>)>(threads * JOBS_AHEAD);
    let (announce, announced) = bounded(threads * JOBS_AHEAD);
    for number in 0..threads {
        let jobs = from_foreman.clone();
        let mut work = worker();
        spawn(&format!("archive.{number}"), move || {
            for (job, out) in &jobs {
                work(job, &out);
                if out.0.send(Step::Done).is_err() {
                    return;
                }
            }
        })?;
    }
    drop(from_foreman);
    spawn("archive.foreman", move || {
        for job in jobs {
            let (results, job_results) = bounded(RESULTS_WAITING);
            // The order is announced first: the job that is waited for is always one begun.
            if announce.send(job_results).is_err() || to_threads.send((job, Out(results))).is_err()
            {
                return;
            }
        }
    })?;
    Ok(InOrder { jobs: announced, now: None })
}

impl<T> Iterator for InOrder<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            let now = match &self.now {
                Some(now) => now,
                None => self.now.insert(self.jobs.recv().ok()?),
            };
            match now.recv().expect("a thread ends no job without saying so") {
                Step::Result(result) => return Some(result),
                Step::Done => self.now = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_the_order_of_jobs_whoever_is_faster() {
        for threads in [1, 2, 7] {
            let jobs = (0..500_usize).rev();
            let results = in_order(threads, jobs.clone(), || {
                |job: usize, out: &Out<(usize, usize)>| {
                    for part in 0..job % 20 {
                        assert!(out.put((job, part)));
                    }
                }
            });
            let expected = jobs.flat_map(|job| (0..job % 20).map(move |part| (job, part)));
            assert!(results.unwrap().eq(expected));
        }
    }

    #[test]
    fn little_is_begun_that_is_not_asked_for() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let jobs = (0..10_000).inspect(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let mut results = in_order(2, jobs, || {
            |job, out: &Out<i32>| {
                out.put(job);
            }
        })
        .unwrap();
        assert_eq!((results.next(), results.next()), (Some(0), Some(1)));
        drop(results);
        assert!(begun.load(Ordering::SeqCst) < 30);
    }

    #[test]
    #[should_panic(expected = "ends no job without saying so")]
    fn a_thread_that_dies_is_noticed() {
        let worker = || |job: u32, _: &Out<u32>| assert!(job < 3, "as planned");
        in_order(2, 0..10, worker).unwrap().for_each(drop);
    }
}
