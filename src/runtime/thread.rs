//! Threads: the only place that spawns them. Named, pinned where asked, one worker each.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{Builder, JoinHandle};

use super::clock::Clock;
use super::{Progress, Worker};
use crate::ring::Wake;

/// The kernel keeps 15 bytes of a thread's name.
const THREAD_NAME_BYTES: usize = 15;

/// What a post is asked to do; it only grows.
const WORK: u8 = 0;
const CLOSE: u8 = 1;
const ABANDON: u8 = 2;

/// One worker on its thread.
pub struct Post {
    name: String,
    order: Arc<AtomicU8>,
    waker: Arc<dyn Wake>,
    thread: JoinHandle<Result<(), String>>,
}

/// The cores this process may use, in order; empty when the system does not say.
pub fn cores() -> Vec<usize> {
    let mut ids: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    ids.sort_unstable();
    ids
}

/// Starts a thread that is no worker: admin, signals, progress.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(short(name)).spawn(work)
}

impl Post {
    /// Starts `worker` on a thread of its own, pinned to `core`.
    pub fn start(
        mut worker: Box<dyn Worker>,
        core: Option<usize>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let name = worker.name().to_owned();
        let waker = worker.waker();
        let order = Arc::new(AtomicU8::new(WORK));
        let ordered = Arc::clone(&order);
        let label = name.clone();
        let thread = Builder::new().name(short(&name)).spawn(move || {
            if let Some(core) = core
                && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
            {
                tracing::warn!("{label}: cannot be pinned to core {core}; it runs unpinned");
            }
            let run = AssertUnwindSafe(|| drive(worker.as_mut(), clock.as_ref(), &ordered));
            catch_unwind(run).map_err(|panic| describe(panic.as_ref()))
        })?;
        Ok(Self { name, order, waker, thread })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks the worker to drain and end.
    pub fn close(&self) {
        self.give(CLOSE);
    }

    /// Drops the worker after the piece of work it is at, with whatever it holds.
    pub fn abandon(&self) {
        self.give(ABANDON);
    }

    /// Ends a wait, so that the worker looks around.
    pub fn wake(&self) {
        self.waker.wake();
    }

    fn give(&self, order: u8) {
        // Release: pairs with the Acquire in `drive`; the wake is sticky, so it is not lost.
        self.order.fetch_max(order, Ordering::Release);
        self.waker.wake();
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread; the error is the panic's text.
    pub fn join(self) -> Result<(), String> {
        self.thread.join().unwrap_or_else(|panic| Err(describe(panic.as_ref())))
    }
}

/// The duty cycle: the one endless loop.
fn drive(worker: &mut dyn Worker, clock: &dyn Clock, order: &AtomicU8) {
    let mut closed = false;
    loop {
        let now = clock.now();
        match order.load(Ordering::Acquire) {
            ABANDON => return,
            CLOSE if !closed => {
                worker.close(now);
                closed = true;
            }
            _ => {}
        }
        match worker.work(now) {
            Progress::Worked => {}
            Progress::Idle { until } => worker.wait(now, until),
            Progress::Done => return,
        }
    }
}

fn short(name: &str) -> String {
    name.chars().take(THREAD_NAME_BYTES).collect()
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::SystemClock;
    use crate::runtime::parker::Parker;
    use crate::time::{Mono, Now};

    struct Sleeper {
        parker: Parker,
        closing: bool,
        fail: bool,
    }

    impl Worker for Sleeper {
        fn name(&self) -> &str {
            "a worker with a long name"
        }
        fn work(&mut self, _now: Now) -> Progress {
            assert!(!self.fail, "as planned");
            if self.closing { Progress::Done } else { Progress::IDLE }
        }
        fn wait(&mut self, now: Now, until: Mono) {
            self.parker.sleep(now, until);
        }
        fn close(&mut self, _now: Now) {
            self.closing = true;
        }
        fn waker(&self) -> Arc<dyn Wake> {
            self.parker.waker()
        }
    }

    fn start(fail: bool) -> Post {
        let worker = Sleeper { parker: Parker::default(), closing: false, fail };
        let core = cores().first().copied();
        Post::start(Box::new(worker), core, Arc::new(SystemClock::default())).expect("a thread")
    }

    #[test]
    fn close_ends_a_sleeping_worker() {
        let post = start(false);
        post.close();
        assert_eq!(post.join(), Ok(()));
    }

    #[test]
    fn an_abandoned_worker_ends_without_draining() {
        let post = start(false);
        post.abandon();
        post.close();
        assert_eq!(post.join(), Ok(()));
    }

    #[test]
    fn a_panic_is_told_with_its_text() {
        assert_eq!(start(true).join(), Err("as planned".to_owned()));
    }
}
