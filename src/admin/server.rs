//! The endpoint as a worker: one thread, one poll, every client without blocking.
//!
//! Not a pool of blocking threads: four silent clients would occupy it and a scrape would wait
//! for their time-out. Here a client costs a slot, a silent one is closed when its patience ends,
//! and at `ADMIN_CONNECTIONS_MAX` the one that has been silent longest makes room: a new client,
//! who may be the operator, always gets in.
//!
//! Closing: accepting stops at once, answers on their way get 100 ms, then `Done`.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use super::address::Bound;
use super::client::{After, Client};
use super::pages::{Board, Site};
use crate::limits::ADMIN_CONNECTIONS_MAX;
use crate::runtime::{Progress, Wake, Worker};
use crate::time::{Mono, Now};

const WAKER: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);
/// Accepted in one duty cycle.
const ACCEPTS_MAX: usize = 32;
/// After running out of descriptors: the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const CLOSE_PATIENCE: Duration = Duration::from_millis(100);

pub struct Server {
    name: String,
    site: Site,
    board: Board,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    /// `None` once closed.
    listener: Option<TcpListener>,
    /// When to accept again; `MAX` until the poll says so.
    accept_at: Mono,
    /// A slot's index is its client's token.
    clients: Vec<Option<Client>>,
    close_by: Mono,
}

struct Waker(mio::Waker);

impl Wake for Waker {
    fn wake(&self) {
        // An eventfd refuses only when its counter is full, and then the sleeper wakes anyway.
        let _ = self.0.wake();
    }
}

impl Server {
    /// `name` is the thread's: `admin`.
    pub fn new(name: &str, bound: Bound, site: Site, board: Board) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker(mio::Waker::new(poll.registry(), WAKER)?));
        let mut listener = bound.listener;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            name: name.to_owned(),
            site,
            board,
            poll,
            events: Events::with_capacity(ADMIN_CONNECTIONS_MAX + 2),
            waker,
            listener: Some(listener),
            accept_at: Mono(0),
            clients: Vec::new(),
            close_by: Mono::MAX,
        })
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter().flatten()
    }

    /// True when there may be more to accept at once.
    fn accept(&mut self, now: Mono) -> bool {
        if now < self.accept_at {
            return false;
        }
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = &self.listener else { return false };
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accept_at = Mono::MAX;
                    return false;
                }
                // The client went away before we looked, or a signal came.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                // Out of descriptors or memory: the edge is gone, so look again by time.
                Err(_) => {
                    self.accept_at = now.after(ACCEPT_PAUSE);
                    return false;
                }
            }
        }
        true
    }

    fn admit(&mut self, mut stream: mio::net::TcpStream, now: Mono) {
        let index = self.free_slot();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(index), interest).is_ok() {
            self.clients[index] = Some(Client::new(stream, now));
        }
    }

    /// A slot without a client: a free one, a new one, or that of the longest silent client.
    fn free_slot(&mut self) -> usize {
        if let Some(index) = self.clients.iter().position(Option::is_none) {
            return index;
        }
        if self.clients.len() < ADMIN_CONNECTIONS_MAX {
            self.clients.push(None);
            return self.clients.len() - 1;
        }
        let silence = |index: &usize| self.clients[*index].as_ref().map(|client| client.active);
        let index = (0..self.clients.len()).min_by_key(silence).expect("the limit is not zero");
        // Dropping the socket takes it out of the poll as well.
        self.clients[index] = None;
        index
    }

    /// True when some client has more to do at once.
    fn serve(&mut self, now: Mono) -> bool {
        let mut busy = false;
        for slot in &mut self.clients {
            let Some(client) = slot else { continue };
            match client.work(now, self.site, &self.board) {
                After::Busy => busy = true,
                After::Waits => {}
                After::Gone => *slot = None,
            }
        }
        busy
    }

    fn next_deadline(&self) -> Mono {
        let clients = self.clients().map(|client| client.deadline).min().unwrap_or(Mono::MAX);
        clients.min(self.accept_at).min(self.close_by)
    }
}

impl Worker for Server {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        let more = self.accept(now.mono);
        let busy = self.serve(now.mono);
        let over = now.mono >= self.close_by || !self.clients().any(Client::is_answering);
        if self.listener.is_none() && over {
            self.clients.clear();
            return Progress::Done;
        }
        if more || busy { Progress::Worked } else { Progress::Idle { until: self.next_deadline() } }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let timeout = (until != Mono::MAX).then(|| until.since(now.mono));
        if self.poll.poll(&mut self.events, timeout).is_err() {
            // Interrupted: the caller works once more and comes back.
            return;
        }
        for event in &self.events {
            match event.token() {
                WAKER => {}
                LISTENER => self.accept_at = Mono(0),
                // A slot may have changed hands since: a latch too many costs one WouldBlock.
                Token(index) => {
                    if let Some(Some(client)) = self.clients.get_mut(index) {
                        client.readable |= event.is_readable() || event.is_read_closed();
                        client.writable |= event.is_writable() || event.is_write_closed();
                    }
                }
            }
        }
    }

    fn close(&mut self, now: Now) {
        self.listener = None;
        self.accept_at = Mono::MAX;
        self.close_by = now.mono.after(CLOSE_PATIENCE);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
