//! One target: its connection from the first try to the last word, and the batch it is sending.
//!
//! ```text
//!   Rest ─▶ Away ─▶ (Asking) ─▶ Connecting ─▶ (Agreeing) ─▶ (Settling) ─▶ Up ─▶ Leaving ─▶ Rest
//!             ▲──────────────────── failed, backoff ──────────────────────┘
//! ```
//! Nothing blocks: names are looked up by a helper, connecting and writing say when they would.

mod arrive;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use mio::Registry;
use mio::net::{TcpStream, UdpSocket};

use super::datagram::{self, DatagramWriter};
use super::frame::Framer;
use super::load::{Load, Place as Letters, Why};
use super::relp::RelpWriter;
use super::renewal::Current;
use super::stream::{self, Conduit, StreamWriter};
use super::target::{Place, Target};
use crate::channel::Channel;
use crate::memory::gate::exempt;
use crate::runtime::helper::Desk;
use crate::sink::backoff::Backoff;
use crate::telemetry::{SinkCounters, Watch};
use crate::time::{Mono, Now};

/// What a peer may still take to say that it has read everything.
const LAST_WORD: Duration = Duration::from_secs(2);

/// After dead letters could not be written.
const RETRY: Duration = Duration::from_millis(200);

/// While stopping nobody is stayed away from for longer.
const HURRY: Duration = Duration::from_millis(500);

/// A name to look up, for which link.
pub(super) type Question = (usize, String);
pub(super) type Answer = (usize, io::Result<Vec<SocketAddr>>);

/// What all links of a worker work with.
pub(super) struct Kit<'a> {
    pub(super) now: Now,
    pub(super) framer: &'a mut Framer,
    pub(super) registry: &'a Registry,
    pub(super) desk: Option<&'a Desk<Question, Answer>>,
    pub(super) counters: &'a SinkCounters,
    pub(super) channel: &'a dyn Channel,
    pub(super) limits: Limits,
    /// For targets that speak TLS.
    pub(super) tls: Option<&'a Current>,
    /// Somebody else can take what this one cannot.
    pub(super) covered: bool,
    /// Where what is refused goes.
    pub(super) place: Letters<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    /// A peer that takes nothing for so long is left.
    pub(super) write: Duration,
}

pub(super) struct Link {
    index: usize,
    pub(super) target: Target,
    state: State,
    writer: Writer,
    load: Option<Load>,
    backoff: Backoff,
    /// Between two attempts of what it refuses.
    patience: Backoff,
    watch: Watch,
    addresses: Vec<SocketAddr>,
    /// Which address is next.
    turn: usize,
    /// Failed since it last worked.
    failed: bool,
    /// It may have something to read; it takes bytes.
    readable: bool,
    writable: bool,
    /// When the peer last took something, or had nothing to take.
    moved_at: Mono,
    /// A datagram socket that is full tells nothing, and who refuses something may soon take it.
    later: Option<Mono>,
}

enum State {
    Rest,
    Away {
        until: Mono,
    },
    Asking,
    Connecting {
        socket: TcpStream,
        since: Mono,
    },
    /// On how to talk: TLS, RELP.
    Agreeing {
        conduit: Box<dyn Conduit>,
        since: Mono,
    },
    /// Agreed, and the peer may yet refuse us: nothing is sent before `until`.
    Settling {
        conduit: Box<dyn Conduit>,
        until: Mono,
    },
    Up {
        wire: Wire,
        since: Mono,
    },
    Leaving {
        conduit: Box<dyn Conduit>,
        until: Mono,
    },
}

enum Wire {
    Stream(Box<dyn Conduit>),
    Datagrams(UdpSocket),
}

pub(super) enum Writer {
    Stream(StreamWriter),
    Relp(RelpWriter),
    Datagrams(DatagramWriter),
}

impl Link {
    pub(super) fn new(
        index: usize,
        target: Target,
        writer: Writer,
        backoff: Backoff,
        watch: Watch,
    ) -> Self {
        let addresses = match &target.place {
            Place::Address(address) => vec![*address],
            Place::Name(_) => Vec::new(),
        };
        Self {
            index,
            target,
            state: State::Rest,
            writer,
            load: None,
            patience: backoff.clone(),
            backoff,
            watch,
            addresses,
            turn: 0,
            failed: false,
            readable: false,
            writable: false,
            moved_at: Mono::MAX,
            later: None,
        }
    }

    // ── what the worker asks ──

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// It has failed, and nobody knows yet whether it works again.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.load.is_some()
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.state, State::Leaving { .. })
    }

    /// When it wants to be looked at if nothing happens before.
    pub(super) fn look_at(&self, limits: Limits) -> Mono {
        match &self.state {
            State::Rest | State::Asking => Mono::MAX,
            State::Away { until }
            | State::Settling { until, .. }
            | State::Leaving { until, .. } => *until,
            State::Connecting { since, .. } | State::Agreeing { since, .. } => {
                since.after(limits.connect)
            }
            State::Up { .. } if self.load.is_some() => {
                self.moved_at.after(limits.write).min(self.later.unwrap_or(Mono::MAX))
            }
            State::Up { .. } => Mono::MAX,
        }
    }

    // ── what happens to it ──

    pub(super) fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    pub(super) fn answer(&mut self, found: io::Result<Vec<SocketAddr>>, kit: &Kit<'_>) {
        if !matches!(self.state, State::Asking) {
            return;
        }
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                self.addresses = addresses;
                self.connect(kit);
            }
            Ok(_) => self.fail(&io::Error::other("the name has no address"), kit),
            Err(error) => self.fail(&error, kit),
        }
    }

    pub(super) fn take(&mut self, load: Load, kit: &mut Kit<'_>) {
        if let Writer::Stream(writer) = &mut self.writer {
            writer.start(&load, kit.framer);
        }
        self.load = Some(load);
        self.moved_at = kit.now.mono;
        self.later = None;
        self.patience.worked_for(Duration::MAX);
        // The peer may have hung up while there was nothing to send: better seen before than after.
        self.readable = true;
    }

    /// A batch that another one must send.
    pub(super) fn give_up(&mut self) -> Option<Load> {
        if self.is_up() { None } else { self.load.take() }
    }

    /// Everything that time or the kernel brings. True: something has changed.
    pub(super) fn tick(&mut self, wanted: bool, kit: &Kit<'_>) -> bool {
        let now = kit.now.mono;
        match &mut self.state {
            State::Rest if wanted => self.begin(kit),
            State::Away { until } if wanted && *until <= now => {
                kit.counters.retries.add(1);
                self.begin(kit);
            }
            State::Connecting { since, .. } => {
                let late = now >= since.after(kit.limits.connect);
                return self.finish_connecting(late, kit);
            }
            State::Agreeing { since, .. } => {
                let late = now >= since.after(kit.limits.connect);
                return self.agree(late, kit);
            }
            State::Settling { .. } => return self.settle(kit),
            State::Up { .. } if !wanted && self.load.is_none() => self.leave(kit),
            State::Up { .. } => return self.hear(kit),
            State::Leaving { conduit, until } => {
                let said = match &mut self.writer {
                    Writer::Relp(writer) => writer.is_over(conduit.as_mut()),
                    _ => !matches!(drain(conduit.as_mut()), Ok(true)),
                };
                let over = said || *until <= now;
                if over {
                    self.state = State::Rest;
                }
                return over;
            }
            _ => return false,
        }
        true
    }

    /// Sends of its batch what is taken now. True: all of it, and it can have another.
    pub(super) fn send(&mut self, kit: &mut Kit<'_>) -> bool {
        let now = kit.now;
        if self.later.is_some_and(|until| until > now.mono) || self.hear(kit) {
            return false;
        }
        let (Some(load), State::Up { wire, .. }) = (&mut self.load, &mut self.state) else {
            return false;
        };
        if !self.writable {
            return false;
        }
        let moved = |load: &Load| (load.taken, load.tally.sent_bytes, load.settled());
        let before = moved(load);
        let sent = match (&mut self.writer, wire) {
            _ if load.is_sent() => Ok(datagram::Sent::All),
            (Writer::Stream(writer), Wire::Stream(conduit)) => {
                let sent = writer.write(load, kit.framer, conduit.as_mut());
                sent.map(|sent| match sent {
                    stream::Sent::All => datagram::Sent::All,
                    stream::Sent::Blocked => datagram::Sent::Blocked,
                })
            }
            (Writer::Relp(writer), Wire::Stream(conduit)) => {
                let sent = writer.write(load, kit.framer, conduit.as_mut());
                sent.map(|sent| match sent {
                    stream::Sent::All => datagram::Sent::All,
                    stream::Sent::Blocked => datagram::Sent::Blocked,
                })
            }
            (Writer::Datagrams(writer), Wire::Datagrams(socket)) => {
                writer.write(load, kit.framer, socket, now)
            }
            _ => unreachable!("a writer and its wire are of one kind"),
        };
        if before != moved(load) {
            self.moved_at = now.mono;
        }
        self.later = None;
        match sent {
            Ok(datagram::Sent::All) => {
                return self.finish(kit);
            }
            Ok(datagram::Sent::Blocked) => self.writable = false,
            Ok(datagram::Sent::Later(until)) => self.later = Some(until),
            Err(error) => self.fail(&error, kit),
        }
        false
    }

    /// The peer has its batch: counts it, unless what it refused cannot be set aside yet.
    fn finish(&mut self, kit: &mut Kit<'_>) -> bool {
        let now = kit.now;
        let mut load = self.load.take().expect("it was just sent");
        if let Some(why) = load.try_again(kit.place.attempts) {
            self.pause(load, why, kit);
            return false;
        }
        if load.is_asked_on(kit.channel) {
            if let Some(load) = load.hand_on(&kit.place, kit.channel, kit.counters, now) {
                // The other sinks work, and bring a page home.
                (self.load, self.later) = (Some(load), Some(now.mono.after(RETRY)));
                self.moved_at = now.mono;
                return false;
            }
            self.works(now);
            return true;
        }
        if let Err(error) = load.set_aside(&kit.place, now) {
            kit.counters.errors.add(1);
            exempt(|| self.watch.blocked(now, &error.to_string()));
            (self.load, self.later) = (Some(load), Some(now.mono.after(RETRY)));
            // It is not the peer that we wait for.
            self.moved_at = now.mono;
            return false;
        }
        load.finish(kit.counters, kit.channel, now);
        self.works(now);
        true
    }

    /// What it refused of its batch is sent once more, after a while.
    fn pause(&mut self, load: Load, why: Why, kit: &mut Kit<'_>) {
        kit.counters.errors.add(1);
        kit.counters.retries.add(1);
        exempt(|| self.watch.fault(kit.now, &format!("{why}: what it refused is sent again")));
        if let Writer::Stream(writer) = &mut self.writer {
            writer.start(&load, kit.framer);
        }
        let until = self.patience.until(kit.now);
        (self.load, self.later) = (Some(load), Some(until));
        // It is not the peer that we wait for.
        self.moved_at = until;
    }

    /// The agent stops: nobody is waited for any longer than needed.
    pub(super) fn hurry(&mut self, now: Now) {
        self.backoff.hurry(HURRY);
        self.patience.hurry(HURRY);
        self.later = self.later.map(|until| until.min(now.mono.after(HURRY)));
        if let State::Away { until } = &mut self.state {
            *until = (*until).min(now.mono.after(HURRY));
        }
    }

    /// Says goodbye: nothing more will be sent.
    pub(super) fn leave(&mut self, kit: &Kit<'_>) {
        let state = std::mem::replace(&mut self.state, State::Rest);
        let State::Up { wire: Wire::Stream(mut conduit), .. } = state else { return };
        let said = match &mut self.writer {
            Writer::Relp(writer) => writer.close(conduit.as_mut()),
            _ => conduit.finish(),
        };
        if said.is_ok() {
            self.state = State::Leaving { conduit, until: kit.now.mono.after(LAST_WORD) };
        }
    }

    // ── its states ──

    /// Reads what the peer says, for nothing but its end.
    fn hear(&mut self, kit: &Kit<'_>) -> bool {
        let State::Up { wire: Wire::Stream(conduit), .. } = &mut self.state else { return false };
        let silent = kit.now.mono >= self.moved_at.after(kit.limits.write);
        let outcome = if self.load.is_some() && silent {
            let what = "it takes nothing any more (write_timeout)";
            Err(io::Error::new(ErrorKind::TimedOut, what))
        } else if std::mem::take(&mut self.readable) {
            match &mut self.writer {
                Writer::Relp(_) if self.load.is_some() && self.later.is_none() => {
                    // Answers make room in the window.
                    self.writable = true;
                    Ok(())
                }
                Writer::Relp(writer) => writer.rest(conduit.as_mut()),
                _ => drain(conduit.as_mut()).and_then(|open| match open {
                    true => Ok(()),
                    false => Err(io::Error::other("it has closed the connection")),
                }),
            }
        } else {
            Ok(())
        };
        let Err(error) = outcome else { return false };
        self.fail(&error, kit);
        true
    }

    fn works(&mut self, now: Now) {
        if let Writer::Datagrams(writer) = &self.writer
            && writer.is_on_trial()
        {
            return;
        }
        self.failed = false;
        self.watch.recovered(now);
    }

    fn fail(&mut self, error: &io::Error, kit: &Kit<'_>) {
        let now = kit.now;
        kit.counters.errors.add(1);
        if let State::Up { since, .. } = self.state {
            self.backoff.worked_for(now.mono.since(since));
        }
        self.failed = true;
        // What came as a datagram or did not is known; what of a stream arrived is not.
        match (&self.writer, &mut self.load) {
            (_, None) => {}
            (Writer::Datagrams(_), Some(load)) => load.settle_taken(),
            (_, Some(load)) => load.start_again(),
        }
        let told = exempt(|| error.to_string());
        if kit.covered {
            self.watch.fault(now, &told);
        } else {
            self.watch.blocked(now, &told);
        }
        self.state = State::Away { until: self.backoff.until(now) };
    }
}

/// Reads all there is; false at its end.
fn drain(conduit: &mut dyn Conduit) -> io::Result<bool> {
    let mut bytes = [0; 512];
    loop {
        match conduit.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}
