//! The options that the network sources share, and how a source is built from them.
//!
//! `tcp`, `udp` and `syslog` are three sets of rows over these mechanics: they differ in which
//! listeners they take and whether counted frames stand among the lines.

mod memory;
mod rows;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};
use socket2::Socket;
use std::os::fd::AsFd;

use super::answering::Answers;
use super::carry::Carries;
use super::connection;
use super::datagrams::{self, Datagrams, Receiver};
use super::dialogue::Counter;
use super::framing::Rules;
use super::gate::{Gate, Places};
use super::handshakes::Handshakes;
use super::http::{self, HELD_BYTES_MAX, TALK_BYTES};
use super::inflate::{self, Compression, INFLATE_BYTES, Inflations, Mode};
use super::interface;
use super::keys::Keys;
use super::link::Listener;
use super::listen::{self, BoundSocket, Listen, Transport, Where};
use super::multiline::{self, Multiline};
use super::port::Port;
use super::preamble::{self, Preamble, Preambles};
use super::protocol::{Manner, Packing, Speech};
use super::reactor::{Parts, Reactor};
use super::reverse::{self, Reverse};
use super::sender_headers::{LABELS_BYTES_MAX, SenderHeaders, Teller};
use super::single::{Expander, Frames};
use super::storing::Names;
use super::tls::{TlsListener, TlsOptions, Worker};
use super::warden;
use super::zones::Zones;
use super::{BuildError, Built, Source, SourceContext, SourcePlan};
use crate::config::Section;
use crate::event::HeaderNames;
use crate::limits;
use crate::memory::receipt::Reached;
use crate::memory::{MemoryLine, ReceiptPool};
use crate::sys::socket_file::{Access, SocketFile};
use crate::sys::udp_receive;
use crate::wire::memcached::Session;
use crate::wire::relp;
use crate::wire::tls::session::SESSION_BYTES_MAX;

pub use rows::{
    CONNECTIONS, CONNECTIONS_MAX, EVENT_MAX, GRO, KEEPALIVE, PLACE, RATES, RECEIVE_BUFFER, SENDERS,
    WRAPPINGS, answered, count, joined,
};

/// An idle connection: its own record, and its place in poll and ready list, rounded up.
const CONNECTION_BYTES: u64 = 256;

/// Unfinished lines of all connections of a worker, at least.
const CARRY_BYTES: usize = 4 << 20;

/// Descriptors that connections leave to files, the endpoint and the libraries: a quarter of what
/// is allowed, and never less than an idle agent holds. Without any a sink could not open its next
/// file, and everybody who is connected would wait for it.
const FILES_BESIDE_MIN: u64 = 48;
const CONNECTIONS_MIN: u64 = 8;

/// What a network source does, valid once built.
#[derive(Clone, Debug)]
pub struct Network {
    pub listens: Vec<Listen>,
    pub threads: usize,
    pub event_bytes_max: usize,
    /// Counted frames may stand among the lines.
    pub counted: bool,
    /// Lines that belong together are joined.
    pub multiline: Option<Arc<Multiline>>,
    /// Streams of lines, or some messages, are compressed.
    pub compressed: Option<Compression>,
    /// It receives syslog messages: the zones of their times.
    pub zones: Option<Zones>,
    /// Senders that wait for it are told when their messages have reached this mark.
    pub ack: Option<Reached>,
    pub udp: UdpOptions,
    pub tcp: TcpOptions,
    /// Who may write to Unix sockets.
    pub access: Access,
    /// For `tls://` listeners.
    pub tls: Option<TlsOptions>,
    /// Who may send, and how much.
    pub warden: warden::Rules,
    /// Its senders are answered line by line.
    pub answers: Option<Answers>,
    /// Its senders store values, of which these become headers.
    pub stores: Option<Arc<Names>>,
    /// They send requests.
    pub http: Option<http::Rules>,
    /// Senders are heard by this one only.
    pub interface: Option<String>,
    /// Senders are called what DNS calls them, where a message does not say.
    pub reverse_dns: bool,
    /// Headers that say who sent an event.
    pub headers: SenderHeaders,
    /// Connections over TCP begin with a PROXY header, which must come by then.
    pub proxied: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub struct UdpOptions {
    pub gro: bool,
    pub receive_buffer: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct TcpOptions {
    pub connections_max: usize,
    pub idle_timeout: Option<Duration>,
    pub keepalive: Option<Duration>,
}

impl UdpOptions {
    /// For a source without datagrams.
    pub const NONE: Self = Self { gro: false, receive_buffer: 0 };

    pub fn plan(section: &Section) -> Self {
        let receive_buffer = section.size_in("receive_buffer", 4096..=1 << 30) as usize;
        Self { gro: section.flag("gro"), receive_buffer }
    }
}

impl TcpOptions {
    /// For a source without connections.
    pub const NONE: Self = Self { connections_max: 0, idle_timeout: None, keepalive: None };

    pub fn plan(section: &Section) -> Self {
        let some = |time: Duration| (!time.is_zero()).then_some(time);
        let keepalive =
            section.duration_in("keepalive", Duration::ZERO..=Duration::from_secs(32_767));
        Self {
            connections_max: section.integer("connections_max", 1..=1_000_000) as usize,
            idle_timeout: section.optional_duration("idle_timeout").and_then(some),
            keepalive: some(keepalive).map(|time| time.max(Duration::from_secs(1))),
        }
    }
}

impl Network {
    /// Reads the keys all three have, and joins them with what the caller has read.
    pub fn plan(
        section: &Section,
        allowed: &[Transport],
        counted: bool,
        udp: UdpOptions,
        tcp: TcpOptions,
    ) -> Self {
        let events = limits::EVENT_BYTES_MIN as u64..=limits::EVENT_BYTES_MAX as u64;
        let longest = || section.size_in("event_max", events) as usize;
        Self { counted, ..Self::plan_of(section, allowed, longest, udp, tcp) }
    }

    /// The same for a source that has its own idea of the longest event.
    pub fn plan_of(
        section: &Section,
        allowed: &[Transport],
        longest: impl FnOnce() -> usize,
        udp: UdpOptions,
        tcp: TcpOptions,
    ) -> Self {
        let listens = listen::plan(section, allowed);
        Self {
            interface: interface::plan(section, &listens),
            listens,
            threads: section.integer("threads", 1..=limits::THREADS_MAX as i64) as usize,
            event_bytes_max: longest(),
            counted: false,
            multiline: None,
            compressed: None,
            zones: None,
            ack: None,
            udp,
            tcp,
            access: Access::default(),
            tls: None,
            warden: warden::Rules::plan(section),
            answers: None,
            stores: None,
            http: None,
            reverse_dns: section.flag("reverse_dns"),
            headers: SenderHeaders::plan(section),
            proxied: None,
        }
    }

    /// With the rows of TLS, proxies, compressed and joined lines, for sources with connections.
    pub fn with_streams(mut self, section: &Section) -> Self {
        self.tls = TlsOptions::plan(section, &self.listens);
        self.proxied = preamble::plan(section, &self.listens);
        self.multiline = Multiline::plan(section).map(Arc::new);
        let lines = |listen: &Listen| {
            listen.transport.has_streams() && listen.transport.speech() == Speech::Lines
        };
        if self.multiline.is_some() {
            // A counted frame is a whole message, and needs nobody to join it.
            self.counted = false;
            if !self.listens.is_empty() && !self.listens.iter().any(lines) {
                let what = "nothing listens for lines";
                section.warn("multiline", what, "add \"tcp://0.0.0.0:5514\" to `listen`");
            }
        }
        self.compressed = inflate::plan(section, &self.listens, self.counted);
        self
    }

    /// Some of its senders are told how far their messages came.
    pub fn has_acknowledging(&self) -> bool {
        self.listens.iter().any(|listen| listen.transport.acknowledges())
    }

    /// The longest frame that may wait for its rest.
    fn frame_bytes_max(&self) -> usize {
        let control = if self.has_acknowledging() { relp::CONTROL_BYTES_MAX } else { 0 };
        let head = if self.http.is_some() { HELD_BYTES_MAX } else { 0 };
        let stored = self.stores.as_ref().map_or(0, |_| Session::held_max(0));
        self.line_bytes_max().max(control).max(head) + stored
    }

    /// The same on streams of lines.
    fn line_bytes_max(&self) -> usize {
        match self.multiline {
            None => self.event_bytes_max,
            Some(_) => multiline::frame_bytes_max(self.event_bytes_max),
        }
    }

    fn has_streams(&self) -> bool {
        self.listens.iter().any(|listen| listen.transport.has_streams())
    }

    fn has_datagrams(&self) -> bool {
        self.listens.iter().any(|listen| listen.transport.has_datagrams())
    }

    fn connection_bytes(&self) -> u64 {
        let inflate = match self.compressed.map(|compression| compression.mode) {
            None => 0,
            Some(Mode::Streams) => INFLATE_BYTES as u64,
            Some(Mode::Single) => Frames::memory_bytes(self.event_bytes_max) as u64,
        };
        let inflate = inflate + if self.http.is_some() { TALK_BYTES } else { 0 };
        CONNECTION_BYTES + inflate + if self.proxied.is_some() { Preamble::BYTES as u64 } else { 0 }
    }

    fn expands_singly(&self) -> bool {
        self.compressed.is_some_and(|compression| compression.mode == Mode::Single)
    }

    /// Open connections, of those that there may be.
    fn at_most(&self, connections: usize) -> usize {
        let most = self.compressed.map_or(usize::MAX, |compression| compression.connections_max);
        connections.min(most)
    }

    fn carry_budget(&self) -> usize {
        if !self.has_streams() {
            return 0;
        }
        // Every connection may be in the middle of a short line at once.
        let least = Carries::budget(self.frame_bytes_max(), 0) + self.tcp.connections_max * 256;
        least.max(CARRY_BYTES)
    }

    fn manner(&self, expander: Option<&Expander>, want_headers: bool) -> Manner {
        let packing = |_| match expander {
            Some(expander) => Packing::Single(expander.clone()),
            None => Packing::Streams,
        };
        Manner {
            multiline: self.multiline.clone(),
            packing: self.compressed.map(packing),
            answers: self.answers,
            stores: self.stores.clone().filter(|_| want_headers).unwrap_or_default(),
            http: self.http.as_ref().map(|http| http.with_headers(want_headers)),
        }
    }

    /// Where names of senders come from, if anybody asks for them.
    fn names(&self, context: &SourceContext) -> Result<Option<Reverse>, BuildError> {
        let headed = context.want_headers && self.headers.wants_hostname();
        let asked = headed || self.reverse_dns && context.want_host;
        if !asked {
            return Ok(None);
        }
        let started = Reverse::start(&context.name, &reverse::resolver());
        started.map(Some).map_err(|error| BuildError {
            what: format!("sources.{}: the threads that ask for names: {error}", context.name),
            remedy: "raise the limit of threads (TasksMax, `ulimit -u`)".to_owned(),
        })
    }

    fn worker(
        &self,
        context: &SourceContext,
        thread: usize,
        sockets: Vec<BoundSocket>,
        shared: &Shared,
    ) -> Result<Box<dyn Source>, BuildError> {
        let counters = Arc::clone(&context.counters[thread]);
        let watch = || context.incidents.watch(&format!("source {}", context.name));
        let secure = shared.keys.as_ref().map(|keys| Worker::new(Arc::clone(keys)));
        let teller = Teller::of(&self.headers, &sockets).filter(|_| context.want_headers);
        let mut gates = Vec::new();
        let mut receivers = Vec::new();
        for bound in sockets {
            let (listener, listen) = (bound.listener, bound.listen);
            let refused = |error: io::Error| listen::refused(&context.name, &listen, &error);
            if listen.transport == Transport::UNIXGRAM {
                let socket = UnixDatagram::from_std(bound.socket.into());
                receivers.push(Receiver::new(Port::unix(socket, bound.file), listener));
            } else if !listen.transport.is_stream() {
                let socket = UdpSocket::from_std(bound.socket.into());
                self.prepare(context, &listen, &socket, thread).map_err(refused)?;
                receivers.push(Receiver::new(Port::udp(socket, bound.kept), listener));
            } else {
                let places =
                    if listen.transport.secure { &shared.secure_places } else { &shared.places };
                let gate = Gate::new(
                    listener_of(bound.socket, &listen, bound.file, secure.as_ref()),
                    listener,
                    listen.transport.speech(),
                    Arc::clone(places),
                    [watch(), watch()],
                );
                gates.push(gate.map_err(refused)?);
            }
        }
        let expander = self.expands_singly().then(|| Expander::new(self.event_bytes_max));
        let parts = Parts {
            gates,
            datagrams: Datagrams::new(receivers, Arc::clone(&counters)).exact(context.exact),
            carries: Carries::new(self.frame_bytes_max(), self.carry_budget()),
            rules: Rules {
                counted: self.counted,
                zipped: expander.is_some(),
                event_bytes_max: self.event_bytes_max,
                want_pri: context.want_pri,
            },
            manner: self.manner(expander.as_ref(), context.want_headers),
            inflations: Inflations::new(expander, watch()),
            reverse: shared.reverse.clone(),
            teller,
            idle_timeout: self.tcp.idle_timeout,
            handshakes: Handshakes::new(
                self.tls.as_ref().map(|tls| tls.handshake_timeout),
                watch(),
            ),
            preambles: Preambles::new(self.proxied, watch()),
            warden: self.warden.clone(),
            counters,
            // Who answers without telling of marks needs the scratch of those who do.
            receipts: self
                .ack
                .or_else(|| self.answers.map(|_| Reached::Received))
                .map(|mark| (ReceiptPool::new(limits::RECEIPTS, mark), context.channels)),
        };
        let reactor = Reactor::new(parts).map_err(|error| BuildError {
            what: format!("sources.{}: epoll: {error}", context.name),
            remedy: "raise the limit of open files (LimitNOFILE, `ulimit -n`)".to_owned(),
        })?;
        Ok(Box::new(reactor))
    }

    /// Buffer and GRO of a UDP socket; says when the kernel gives less than was asked for.
    fn prepare(
        &self,
        context: &SourceContext,
        listen: &Listen,
        socket: &UdpSocket,
        thread: usize,
    ) -> io::Result<()> {
        let asked = self.udp.receive_buffer;
        let real = udp_receive::set_receive_buffer(socket.as_fd(), asked)?;
        if real < asked && thread == 0 {
            let name = &context.name;
            tracing::warn!(
                "source {name}: {listen} has a receive buffer of {real} bytes, {asked} were asked \
                 for: run `sysctl net.core.rmem_max={asked}` or grant CAP_NET_ADMIN"
            );
        }
        if context.exact {
            udp_receive::set_exact(socket.as_fd(), socket.local_addr()?.is_ipv6())?;
        }
        if self.udp.gro { udp_receive::set_gro(socket.as_fd()) } else { Ok(()) }
    }
}

impl SourcePlan for Network {
    fn threads(&self) -> usize {
        self.threads
    }

    fn listeners(&self) -> Vec<String> {
        self.listens.iter().map(Listen::to_string).collect()
    }

    fn memory(&self, name: &str) -> Vec<MemoryLine> {
        self.memory_lines(&format!("sources.{name}"))
    }

    fn event_bytes_max(&self) -> usize {
        self.event_bytes_max
    }

    fn page_bytes_min(&self) -> usize {
        let least = [
            (self.has_datagrams(), datagrams::page_bytes_min(self.event_bytes_max)),
            (self.expands_singly(), datagrams::page_bytes_for(self.event_bytes_max, 1 << 20)),
            (self.has_streams(), connection::page_bytes_min(self.line_bytes_max())),
            (self.has_acknowledging(), super::dialogue::page_bytes_min(self.event_bytes_max)),
            (self.http.is_some(), http::page_bytes_min(self.event_bytes_max)),
        ];
        let least = least.into_iter().filter(|(has, _)| *has).map(|(_, bytes)| bytes).max();
        least.unwrap_or(0) + if self.headers.is_empty() { 0 } else { LABELS_BYTES_MAX }
    }

    fn acknowledges(&self) -> Option<Reached> {
        self.ack
    }

    fn headers(&self) -> HeaderNames {
        let mut names = HeaderNames::of(self.stores.iter().flat_map(|names| names.all()));
        names.add(self.headers.names());
        self.http.iter().for_each(|http| names.add(http.headers()));
        names
    }

    fn is_exact(&self) -> Result<(), (&'static str, String, String)> {
        let udp = |listen: &&Listen| listen.transport != Transport::UDP;
        if let Some(other) = self.listens.iter().find(udp) {
            let remedy = "leave it out there: a source of its own, a sink of its own".to_owned();
            return Err(("listen", format!("{other} brings no datagrams with addresses"), remedy));
        }
        if self.event_bytes_max < limits::DATAGRAM_BYTES_MAX {
            let what = "a longer datagram than `event_max` would be split".to_owned();
            return Err(("event_max", what, "leave `event_max` out (64KiB)".to_owned()));
        }
        Ok(())
    }

    fn zones(&self) -> Option<&Zones> {
        self.zones.as_ref()
    }

    fn is_patient(&self) -> bool {
        self.listens.iter().all(|listen| listen.transport.is_patient())
    }

    fn build(&self, context: &SourceContext) -> Result<Built, BuildError> {
        assert!(self.page_bytes_min() <= context.page_bytes, "the plan sizes the pages");
        // Before anything is bound: whoever connects finds a certificate.
        let keys = self.tls.as_ref().map(|tls| {
            let watch = context.incidents.watch(&format!("source {}", context.name));
            Keys::load(&format!("sources.{}", context.name), tls.files.clone(), watch)
        });
        let keys = keys.transpose()?;
        let files = listen::raise_file_limit();
        let (wanted, places) = (self.at_most(self.tcp.connections_max), places_with(files));
        if self.has_streams() && places < wanted {
            let name = &context.name;
            tracing::warn!(
                "source {name}: {files} open files are allowed, so {places} connections at most \
                 instead of {wanted} (connections_max): raise LimitNOFILE (systemd) or `ulimit -n`"
            );
        }
        let all = listen::bind(
            &context.name,
            &self.listens,
            self.threads,
            self.access,
            self.interface.as_deref(),
        )?;
        for bound in all.iter().flatten().filter(|bound| bound.listen.transport.is_stream()) {
            listen::open(&context.name, bound, self.tcp.keepalive)?;
        }
        let bound = all.first().map(|sockets| listen::bound_addresses(sockets));
        let secure = self.tls.as_ref().map_or(0, |tls| self.at_most(tls.connections_max));
        let (secure_places, places) =
            (Places::new(places.min(secure)), Places::new(places.min(wanted)));
        let reverse = self.names(context)?;
        let shared = Shared { places, secure_places, keys, reverse };
        let workers = all.into_iter().enumerate();
        let sources = workers
            .map(|(thread, sockets)| self.worker(context, thread, sockets, &shared))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Built { sources, bound: bound.unwrap_or_default() })
    }
}

fn listener_of(
    socket: Socket,
    listen: &Listen,
    file: Option<SocketFile>,
    secure: Option<&Worker>,
) -> Listener {
    if listen.transport.at == Where::Path {
        return Listener::Unix(UnixListener::from_std(socket.into()), file);
    }
    let socket = TcpListener::from_std(socket.into());
    match secure {
        Some(worker) if listen.transport.secure => {
            Listener::Tls(TlsListener::new(socket, worker.clone()))
        }
        _ => Listener::Tcp(socket),
    }
}

/// What the threads of a source share.
struct Shared {
    places: Arc<Places>,
    /// Of TLS connections, which need more memory.
    secure_places: Arc<Places>,
    keys: Option<Arc<Keys>>,
    reverse: Option<Reverse>,
}

/// Connections for which so many open files leave room.
fn places_with(files: u64) -> usize {
    let beside = FILES_BESIDE_MIN.max(files / 4);
    usize::try_from(files.saturating_sub(beside).max(CONNECTIONS_MIN)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod admission_tests;
#[cfg(test)]
pub(super) mod tests;
