//! Sleep for workers that wait on rings only (sources wait in epoll instead).

use std::sync::Arc;
use std::time::Duration;

use crossbeam::sync::{Parker as Park, Unparker};

use crate::ring::Wake;
use crate::time::{Mono, Now};

pub struct Parker {
    park: Park,
    waker: Arc<Unpark>,
}

struct Unpark(Unparker);

impl Wake for Unpark {
    fn wake(&self) {
        self.0.unpark();
    }
}

impl Default for Parker {
    fn default() -> Self {
        let park = Park::new();
        let waker = Arc::new(Unpark(park.unparker().clone()));
        Self { park, waker }
    }
}

impl Parker {
    /// Sleeps until woken or `until`; a wake that came before ends it at once.
    pub fn sleep(&self, now: Now, until: Mono) {
        let timeout = until.since(now.mono);
        if timeout < Duration::from_secs(3600) {
            self.park.park_timeout(timeout);
        } else {
            self.park.park();
        }
    }

    pub fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }
}
