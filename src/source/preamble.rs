//! `proxy_protocol`: connections that begin with a PROXY header, and what becomes of those that do
//! not begin with a good one.
//!
//! The header comes before everything else, also before TLS. It is looked at in the socket's buffer
//! and then taken from it, byte for byte, so that whoever reads next finds what follows it.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;

use super::complaints::Complaints;
use super::listen::{Listen, Where};
use crate::config::{OptionDoc, Section};
use crate::event::Origin;
use crate::telemetry::SourceCounters;
use crate::telemetry::incident::Watch;
use crate::time::Now;
use crate::wire::proxy::{Header, Spoken};

pub const PROXY_PROTOCOL: OptionDoc = OptionDoc {
    name: "proxy_protocol",
    default: Some("off"),
    doc: "on: connections begin with a PROXY header (v1 or v2) that says who is the peer",
};

/// A header takes a proxy one packet; the standard asks for three seconds at least, so that a lost
/// one can be sent again.
pub const PROXY_TIMEOUT: OptionDoc = OptionDoc {
    name: "proxy_timeout",
    default: Some("10s"),
    doc: "a connection whose PROXY header has not come by then is closed",
};

/// Most headers are whole after one look.
const LOOK_BYTES: usize = 256;

/// How much is shown of what is no header.
const SHOWN_BYTES: usize = 40;

/// Reads the rows: by when a header must have come, where there is one. It is about what comes over
/// TCP.
pub fn plan(section: &Section, listens: &[Listen]) -> Option<Duration> {
    let on = section.choice("proxy_protocol", &[("off", false), ("on", true)]);
    let heard =
        |listen: &Listen| listen.transport.has_streams() && listen.transport.at != Where::Path;
    if on && !listens.is_empty() && !listens.iter().any(heard) {
        let what = "nothing listens for connections over TCP";
        section.warn("proxy_protocol", what, "add \"tcp://0.0.0.0:5514\" to `listen`");
    }
    let times = Duration::from_millis(100)..=Duration::from_secs(600);
    let timeout = section.duration_in("proxy_timeout", times);
    if !on && section.explicit("proxy_timeout") {
        let what = "`proxy_timeout` has no effect: no connection begins with a PROXY header";
        section.warn("proxy_timeout", what, "add `proxy_protocol = \"on\"`, or leave it out");
    }
    on.then_some(timeout)
}

/// A connection of which it is not known yet whom it is for.
#[derive(Debug, Default)]
pub struct Preamble {
    header: Header,
}

/// What a look at the socket brought.
#[derive(Debug)]
pub enum Heard {
    /// Not all of it is there.
    More,
    /// The peer; none: the one of the socket.
    Peer(Option<SocketAddr>),
    /// The connection was tried and closed, as load balancers do.
    Nothing,
    /// Why there is no good header.
    Fault(Kind, String),
}

/// Each is told once in a while, however often it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes that are no header.
    Bad,
    /// It ended, or failed, within its header.
    Cut,
    /// Not in time.
    Late,
}

impl Preamble {
    /// What it takes, for the memory sum.
    pub const BYTES: usize = size_of::<Self>();

    /// Takes what is there of the header.
    pub fn hear(&mut self, socket: &mut TcpStream) -> Heard {
        let mut bytes = [0; LOOK_BYTES];
        loop {
            let count = match socket.peek(&mut bytes) {
                Ok(0) => return self.cut("it closed the connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::More,
                Err(error) => return self.cut(&error.to_string()),
            };
            let (taken, spoken) = match self.header.hear(&bytes[..count]) {
                Ok(heard) => heard,
                Err(fault) => {
                    let shown = bytes[..count.min(SHOWN_BYTES)].escape_ascii();
                    return Heard::Fault(Kind::Bad, format!("{fault} (\"{shown}\")"));
                }
            };
            if let Err(error) = socket.read_exact(&mut bytes[..taken]) {
                return self.cut(&error.to_string());
            }
            match spoken {
                Some(Spoken::For(peer)) => return Heard::Peer(Some(peer)),
                Some(Spoken::Itself) => return Heard::Peer(None),
                None => {}
            }
        }
    }

    fn cut(&self, why: &str) -> Heard {
        if !self.header.has_begun() {
            return Heard::Nothing;
        }
        Heard::Fault(Kind::Cut, format!("its PROXY header is cut off: {why}"))
    }
}

/// One worker's: whether there are headers, and each failure told and counted.
pub struct Preambles {
    timeout: Option<Duration>,
    complaints: Complaints<3>,
}

impl Preambles {
    /// `timeout`: none where there are no headers.
    pub fn new(timeout: Option<Duration>, watch: Watch) -> Self {
        Self { timeout, complaints: Complaints::new(watch) }
    }

    /// What a new connection has to say first.
    pub fn begin(&self) -> Option<Box<Preamble>> {
        self.timeout.map(|_| Box::default())
    }

    /// A header must have come by then.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// A connection is closed for want of a good header.
    pub fn refuse(
        &mut self,
        kind: Kind,
        origin: Origin,
        what: &str,
        counters: &SourceCounters,
        now: Now,
    ) {
        counters.errors.add(1);
        counters.refused_connections.add(1);
        let who = origin.peer.map_or_else(|| "a sender".to_owned(), |peer| peer.to_string());
        let remedy = "have its proxy send one (HAProxy: send-proxy-v2), or let whoever has none \
                      send to a source without `proxy_protocol`";
        self.complaints.tell(kind as usize, now, format!("{who} is refused: {what}: {remedy}"));
    }

    /// No header came in time.
    pub fn late(&mut self, origin: Origin, counters: &SourceCounters, now: Now) {
        let timeout = self.timeout.unwrap_or_default();
        let what = format!("no whole PROXY header came within {timeout:?} (proxy_timeout)");
        self.refuse(Kind::Late, origin, &what, counters, now);
    }

    pub fn tick(&mut self, now: Now) {
        self.complaints.tick(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_read_and_warned_of_where_it_has_no_effect() {
        for (on, listen, told) in [
            ("on", "tcp://127.0.0.1:0", None),
            ("off", "unix:///run/x", None),
            ("on", "udp://127.0.0.1:0", Some("nothing listens for connections over TCP")),
            ("on", "unix:///run/x", Some("nothing listens for connections over TCP")),
            ("on", "fd://passed", None),
            ("yes", "tcp://127.0.0.1:0", Some("yes")),
            ("on'\nproxy_timeout = '3s", "tcp://127.0.0.1:0", None),
            ("on'\nproxy_timeout = '1ms", "tcp://127.0.0.1:0", Some("1ms is below 100ms")),
            ("on'\nproxy_timeout = '3", "tcp://127.0.0.1:0", Some("`proxy_timeout`: \"3\"")),
            ("off'\nproxy_timeout = '3s", "tcp://127.0.0.1:0", Some("has no effect")),
        ] {
            let text = format!("listen = '{listen}'\nproxy_protocol = '{on}'");
            let kind = crate::source::SOURCES.iter().find(|kind| kind.name == "syslog").unwrap();
            let section = Section::parse(&text, kind.options);
            (kind.plan)(&section);
            let lines = section.diagnostics().lines();
            match told {
                None => assert_eq!(lines, Vec::<String>::new(), "{text}"),
                Some(told) => assert!(lines.len() == 1 && lines[0].contains(told), "{lines:?}"),
            }
        }
    }
}
