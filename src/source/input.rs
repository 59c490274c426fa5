//! One descriptor that is read: a pipe, a terminal, a device, a file; and a bell beside it.
//!
//! It may be shared with a shell (standard input is), so it is never set non-blocking here; instead
//! poll is asked before every read, after which a read does not block. A regular file is always
//! ready.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::ring::Wake;
use crate::time::{Mono, Now};

pub struct Input {
    /// None: for now there is nothing to read.
    descriptor: Option<OwnedFd>,
    bell: Arc<Bell>,
}

struct Bell(OwnedFd);

impl Wake for Bell {
    fn wake(&self) {
        // It fails only when the count is full, and then the reader has been woken for long.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Input {
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        Self::listening(Some(descriptor))
    }

    /// The same where there may be nothing to read, ever.
    pub fn listening(descriptor: Option<OwnedFd>) -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { descriptor, bell: Arc::new(Bell(bell)) })
    }

    /// From now on this is read.
    pub fn replace(&mut self, descriptor: Option<OwnedFd>) {
        self.descriptor = descriptor;
    }

    /// Never blocks; 0 is the end.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match &self.descriptor {
            Some(descriptor) if is_ready(descriptor)? => Ok(rustix::io::read(descriptor, into)?),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Bytes that have come and are not read; of a file, those behind its position.
    pub fn waiting_bytes(&self) -> u64 {
        let asked = self.descriptor.as_ref().map(rustix::io::ioctl_fionread);
        asked.and_then(Result::ok).unwrap_or(0)
    }

    /// Sleeps until `until`, a ring, or, when `open`, until something may be read.
    pub fn wait(&self, now: Now, until: Mono, open: bool) {
        self.wait_beside(None, now, until, open);
    }

    /// The same, and until `beside` may be read too. Says whether it was a ring.
    pub fn wait_beside(&self, beside: Option<&OwnedFd>, now: Now, until: Mono, open: bool) -> bool {
        let left = until.since(now.mono);
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let timeout = (until != Mono::MAX).then_some(&timeout);
        let watch = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let bell = self.bell.0.as_fd();
        // The bell stands for whatever is not there.
        let input = self.descriptor.as_ref();
        let input = input.filter(|_| open).map_or(bell, AsFd::as_fd);
        let beside = beside.filter(|_| open).map_or(bell, AsFd::as_fd);
        let mut fds = [watch(bell), watch(input), watch(beside)];
        // Interrupted is as good as woken: the caller looks and comes back.
        let _ = poll(&mut fds, timeout);
        rustix::io::read(&self.bell.0, &mut [0_u8; 8]).is_ok()
    }

    /// What is read, for whoever knows more of it than that.
    pub fn descriptor(&self) -> Option<&OwnedFd> {
        self.descriptor.as_ref()
    }

    pub fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.bell) as Arc<dyn Wake>
    }
}

/// Whether a read will not block: bytes, the end, or an error are there.
pub fn is_ready(input: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(input, PollFlags::IN)];
    Ok(poll(&mut fds, Some(&Timespec::default()))? > 0)
}
