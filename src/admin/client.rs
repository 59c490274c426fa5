//! One connection to the endpoint: requests one after the other, each answered whole before the
//! next is looked at.
//!
//! ```text
//!   Open ──request──▶ Open (keep-alive)
//!     └──last answer, or a refusal──▶ Closing ──all sent──▶ Lingering ──its FIN, or 1 s──▶ gone
//! ```
//!
//! Lingering: closing a socket with unread bytes sends a reset, which may overtake the answer; so
//! the write side is shut first and what still comes is read and thrown away.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use http::Method;
use mio::net::TcpStream;

use super::pages::{self, Board, Site};
use crate::limits::HTTP_HEAD_BYTES_MAX;
use crate::time::Mono;
use crate::wire::http::{Answer, Body, Head, Manner, keeps_open, read_head, write_answer};

/// From a request's first byte to its last, and for an answer to make any progress.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Between requests: above the usual scrape intervals, so that a scraper keeps its connection.
pub(super) const IDLE: Duration = Duration::from_secs(75);
const LINGER: Duration = Duration::from_secs(1);
/// Steps of one duty cycle, so that a client that pipelines for ever has neighbours.
const STEPS_MAX: usize = 16;

pub(super) struct Client {
    pub(super) stream: TcpStream,
    /// Edge-triggered readiness: latches that only WouldBlock clears.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// What was read and is no request yet; bounded by `HTTP_HEAD_BYTES_MAX`.
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    state: State,
    finished: bool,
    pub(super) deadline: Mono,
    /// When a byte last came or went.
    pub(super) active: Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closing,
    Lingering,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Moved,
    Stuck,
    Gone,
}

/// What became of a client in one duty cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It may have more to do at once.
    Busy,
    /// It waits for its peer, until its deadline.
    Waits,
    Gone,
}

impl Client {
    pub(super) fn new(stream: TcpStream, now: Mono) -> Self {
        Self {
            stream,
            readable: true,
            writable: true,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            state: State::Open,
            finished: false,
            deadline: now.after(PATIENCE),
            active: now,
        }
    }

    /// Whether an answer is on its way; a stop waits a moment for it.
    pub(super) fn is_answering(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Does what can be done without waiting.
    pub(super) fn work(&mut self, now: Mono, site: Site, board: &Board) -> After {
        if now >= self.deadline && !self.expire(now) {
            return After::Gone;
        }
        for _ in 0..STEPS_MAX {
            let step = match self.state {
                _ if self.is_answering() => self.send(now),
                State::Open => self.receive(now, site, board),
                State::Closing => self.hang_up(now),
                State::Lingering => self.discard(),
            };
            match step {
                Step::Moved => {}
                Step::Stuck => return After::Waits,
                Step::Gone => return After::Gone,
            }
        }
        After::Busy
    }

    /// The peer was too slow. A half-sent request is told so; true when that is still to be sent.
    fn expire(&mut self, now: Mono) -> bool {
        let waits_for_request = self.state == State::Open && !self.is_answering();
        if waits_for_request && !self.input.is_empty() {
            self.refuse(&Answer::text(408, "408: the request took too long\n"), now);
            return true;
        }
        false
    }

    fn refuse(&mut self, answer: &Answer, now: Mono) {
        self.input.clear();
        self.answer(answer, Manner { head_only: false, keep_open: false }, now);
    }

    fn answer(&mut self, answer: &Answer, manner: Manner, now: Mono) {
        write_answer(answer, manner, &mut self.output);
        self.deadline = now.after(PATIENCE);
        if !manner.keep_open {
            self.state = State::Closing;
        }
    }

    /// Answers the request at the front of `input`, or reads more of it.
    fn receive(&mut self, now: Mono, site: Site, board: &Board) -> Step {
        let head = if self.input.is_empty() { Head::Partial } else { read_head(&self.input) };
        match head {
            Head::Whole { request, body, used } => {
                self.input.drain(..used);
                // Bodies are not read here, so nothing behind one can be found.
                let keep_open =
                    keeps_open(&request) && matches!(body, Body::None | Body::Length(0));
                let head_only = request.method() == Method::HEAD;
                let answer = pages::answer(site, &request, board);
                self.answer(&answer, Manner { head_only, keep_open }, now);
                Step::Moved
            }
            Head::Refused(refusal) => {
                self.refuse(&refusal.into(), now);
                Step::Moved
            }
            Head::Partial if self.finished => Step::Gone,
            Head::Partial => self.read(now),
        }
    }

    fn read(&mut self, now: Mono) -> Step {
        if !self.readable {
            return Step::Stuck;
        }
        let begun = self.input.len();
        // A partial head is shorter than the limit, so there is room for a byte at least.
        self.input.resize(HTTP_HEAD_BYTES_MAX, 0);
        let read = self.stream.read(&mut self.input[begun..]);
        self.input.truncate(begun + read.as_ref().map_or(0, |count| *count));
        match read {
            Ok(0) => self.finished = true,
            Ok(_) => {
                self.active = now;
                if begun == 0 {
                    self.deadline = now.after(PATIENCE);
                }
            }
            Err(error) => return self.stopped_reading(error.kind()),
        }
        Step::Moved
    }

    fn stopped_reading(&mut self, kind: ErrorKind) -> Step {
        match kind {
            ErrorKind::WouldBlock => {
                self.readable = false;
                Step::Stuck
            }
            ErrorKind::Interrupted => Step::Moved,
            _ => Step::Gone,
        }
    }

    fn send(&mut self, now: Mono) -> Step {
        if !self.writable {
            return Step::Stuck;
        }
        match self.stream.write(&self.output[self.sent..]) {
            Ok(count) => {
                self.sent += count;
                self.active = now;
                self.deadline = now.after(PATIENCE);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                return Step::Stuck;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Step::Gone,
        }
        if self.sent == self.output.len() {
            // An idle connection keeps no buffer: an exposition may be large.
            self.output = Vec::new();
            self.sent = 0;
            let next = if self.input.is_empty() { IDLE } else { PATIENCE };
            self.deadline = now.after(next);
        }
        Step::Moved
    }

    fn hang_up(&mut self, now: Mono) -> Step {
        if self.finished || self.stream.shutdown(Shutdown::Write).is_err() {
            return Step::Gone;
        }
        self.state = State::Lingering;
        self.deadline = now.after(LINGER);
        Step::Moved
    }

    fn discard(&mut self) -> Step {
        if !self.readable {
            return Step::Stuck;
        }
        let mut waste = [0; 4096];
        match self.stream.read(&mut waste) {
            Ok(0) => Step::Gone,
            Ok(_) => Step::Moved,
            Err(error) => self.stopped_reading(error.kind()),
        }
    }
}
