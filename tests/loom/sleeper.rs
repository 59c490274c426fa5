//! A parker that loom sees: a wake before the sleep ends it at once.

use std::sync::Arc;

use flumen::ring::Wake;
use loom::sync::{Condvar, Mutex};

pub(crate) struct Sleeper {
    woken: Mutex<bool>,
    bed: Condvar,
}

impl Sleeper {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { woken: Mutex::new(false), bed: Condvar::new() })
    }

    pub(crate) fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.bed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

impl Wake for Sleeper {
    fn wake(&self) {
        *self.woken.lock().unwrap() = true;
        self.bed.notify_one();
    }
}
