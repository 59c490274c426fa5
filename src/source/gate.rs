//! A listener of one worker: accepting, and what to do when that is not possible.
//!
//! - `connections_max` reached: nobody is accepted until somebody leaves; newcomers wait in the
//!   kernel's backlog.
//! - Out of descriptors: one is kept in reserve. It is given up to accept the newcomer and close it
//!   at once, so that neither does the peer hang nor the listener report readiness for ever.
//! - Any other failure of `accept` concerns one connection, or is tried again a little later: it
//!   neither ends the listener nor spins.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::link::{Link, Listener};
use super::protocol::Speech;
use crate::telemetry::incident::Watch;
use crate::time::{Mono, Now};

/// After a refused accept, the listener is left alone for so long.
const RETRY: Duration = Duration::from_millis(100);

/// Connections accepted in one visit, until others have their turn.
const ACCEPTS_PER_VISIT: usize = 64;

/// Open connections of a source, all its threads together.
#[derive(Debug)]
pub struct Places {
    taken: AtomicUsize,
    max: usize,
}

impl Places {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max })
    }

    pub fn max(&self) -> usize {
        self.max
    }

    fn take(&self) -> bool {
        // Relaxed: a number; nothing else hangs on it.
        let below = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).is_ok()
    }

    /// A connection was closed, or never came to be.
    pub fn give(&self) {
        let before = self.taken.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a place was given back that nobody had");
    }
}

/// What a visit at the gate brought.
pub enum Entry {
    /// A connection; its place is taken.
    Came(Link, Option<SocketAddr>),
    /// Nobody is waiting.
    Nobody,
    /// Somebody may be waiting; ask again then.
    Later(Mono),
}

pub struct Gate {
    listener: Listener,
    pub listener_id: u16,
    /// What its connections speak.
    pub speech: Speech,
    /// Each connection takes one.
    pub places: Arc<Places>,
    /// A descriptor to give up when there are no more.
    reserve: Option<OwnedFd>,
    full: Watch,
    failing: Watch,
    /// Connections refused for want of descriptors.
    refused: u64,
}

impl Gate {
    pub fn new(
        listener: Listener,
        listener_id: u16,
        speech: Speech,
        places: Arc<Places>,
        [full, failing]: [Watch; 2],
    ) -> io::Result<Self> {
        let reserve = Some(listener.as_fd().try_clone_to_owned()?);
        Ok(Self { listener, listener_id, speech, places, reserve, full, failing, refused: 0 })
    }

    pub fn listener_mut(&mut self) -> &mut Listener {
        &mut self.listener
    }

    /// How many a visit may ask for.
    pub const fn bound() -> usize {
        ACCEPTS_PER_VISIT
    }

    /// The next connection.
    pub fn accept(&mut self, now: Now) -> Entry {
        if !self.places.take() {
            if !self.has_waiting() {
                self.full.recovered(now);
                return Entry::Nobody;
            }
            let max = self.places.max();
            self.full.fault(now, &format!("all {max} connections (connections_max) are taken"));
            return Entry::Later(now.mono.after(RETRY));
        }
        loop {
            match self.listener.accept() {
                Ok((link, peer)) => {
                    self.failing.recovered(now);
                    return Entry::Came(link, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.places.give();
                    self.full.recovered(now);
                    return Entry::Nobody;
                }
                // The peer was gone before we came: the next one may be there.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) if is_out_of_descriptors(&error) => match self.refuse(now, &error) {
                    Some(true) => {}
                    Some(false) => {
                        self.places.give();
                        return Entry::Nobody;
                    }
                    None => return self.fail(now, &error),
                },
                Err(error) => return self.fail(now, &error),
            }
        }
    }

    /// Whether somebody waits in the backlog.
    fn has_waiting(&self) -> bool {
        let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    fn fail(&mut self, now: Now, error: &io::Error) -> Entry {
        self.failing.fault(now, &format!("cannot accept connections: {error}"));
        self.places.give();
        Entry::Later(now.mono.after(RETRY))
    }

    /// Accepts with the reserve descriptor and hangs up. Without a free descriptor the kernel does
    /// not even say whether somebody waits: `Some(false)` is nobody. `None`: it did not help.
    fn refuse(&mut self, now: Now, error: &io::Error) -> Option<bool> {
        drop(self.reserve.take()?);
        let accepted = self.listener.accept().map(drop);
        self.reserve = self.listener.as_fd().try_clone_to_owned().ok();
        match accepted {
            Ok(()) => {
                self.refused += 1;
                let refused = self.refused;
                let remedy = "raise LimitNOFILE or `ulimit -n`";
                self.failing
                    .fault(now, &format!("{error}: {refused} connections refused: {remedy}"));
                Some(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(false),
            Err(_) => None,
        }
    }

    /// Gets the reserve back once descriptors are free again: called when one of ours was closed.
    pub fn replenish(&mut self) {
        if self.reserve.is_none() {
            self.reserve = self.listener.as_fd().try_clone_to_owned().ok();
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    // accept(2): errors already pending on the new socket are passed as an error of accept.
    let code = error.raw_os_error();
    let network = [
        libc::ECONNABORTED,
        libc::EINTR,
        libc::EPROTO,
        libc::ENETDOWN,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
        libc::EPERM,
        libc::ECONNRESET,
        libc::ETIMEDOUT,
    ];
    code.is_some_and(|code| network.contains(&code))
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
