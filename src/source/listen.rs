//! Addresses to listen on: read from the configuration, bound, then opened.
//!
//! All sockets of a source are bound before the first one listens: a datagram that arrives in
//! between would be hashed to a socket whose group then changes. Several threads share a port by
//! SO_REUSEPORT; but the first socket binds without it, so that a port that anybody else has is
//! refused, another of our own processes included.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::interface;
use super::local;
use super::place::Place;
use super::protocol::Speech;
use super::{Bound, BuildError};
use crate::config::{Section, Spanned};
use crate::sys::passed;
use crate::sys::socket_file::{Access, SocketFile};

/// Connections the kernel completes before we accept them; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// librelp corks its socket while it has more to send than the window takes, and then waits for
/// replies: what does not fill a segment stays there for up to 200 ms. Segments are ordinarily as
/// long as this; on loopback they are 64 KiB, and a window of messages would never fill one.
const ACKNOWLEDGED_SEGMENT_BYTES: u32 = 1448;

/// A way in, by its scheme: what arrives, and what it says. A new one is a row among the
/// constants below, and stands in `allowed` of the sources that take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// The scheme: `tcp`.
    pub name: &'static str,
    pub flow: Flow,
    pub at: Where,
    /// Its bytes are TLS.
    pub secure: bool,
}

/// How a transport's bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// In datagrams, each an event.
    Datagrams,
    /// By connections, each a `source::link` that speaks this.
    Streams(Speech),
    /// As the socket that is passed on to us has it; its connections speak this.
    Either(Speech),
}

/// What stands behind a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    Address,
    Path,
    Name,
}

impl Transport {
    pub const UDP: Self =
        Self { name: "udp", flow: Flow::Datagrams, at: Where::Address, secure: false };
    pub const TCP: Self = Self { name: "tcp", flow: Flow::Streams(Speech::Lines), ..Self::UDP };
    pub const TLS: Self = Self { name: "tls", secure: true, ..Self::TCP };
    /// Lines that are answered one by one.
    pub const NETCAT: Self = Self { flow: Flow::Streams(Speech::Answered), ..Self::TCP };
    pub const NETCAT_TLS: Self = Self { flow: Flow::Streams(Speech::Answered), ..Self::TLS };
    pub const RELP: Self = Self { name: "relp", flow: Flow::Streams(Speech::Relp), ..Self::UDP };
    pub const RELPS: Self = Self { name: "relps", secure: true, ..Self::RELP };
    pub const MEMCACHED: Self = Self { flow: Flow::Streams(Speech::Stores), ..Self::TCP };
    pub const MEMCACHED_TLS: Self = Self { flow: Flow::Streams(Speech::Stores), ..Self::TLS };
    pub const MEMCACHED_UNIX: Self = Self { flow: Flow::Streams(Speech::Stores), ..Self::UNIX };
    pub const HTTP: Self = Self { name: "http", flow: Flow::Streams(Speech::Http), ..Self::UDP };
    pub const HTTPS: Self = Self { name: "https", secure: true, ..Self::HTTP };
    pub const UNIX: Self = Self { name: "unix", at: Where::Path, ..Self::TCP };
    pub const UNIXGRAM: Self = Self { name: "unixgram", at: Where::Path, ..Self::UDP };
    /// Sockets that systemd has opened.
    pub const PASSED: Self =
        Self { name: "fd", flow: Flow::Either(Speech::Lines), at: Where::Name, secure: false };

    /// What its connections speak.
    pub fn speech(self) -> Speech {
        match self.flow {
            Flow::Streams(speech) | Flow::Either(speech) => speech,
            Flow::Datagrams => Speech::Lines,
        }
    }

    pub fn is_stream(self) -> bool {
        matches!(self.flow, Flow::Streams(_))
    }

    /// Connections may come in by it.
    pub fn has_streams(self) -> bool {
        self.flow != Flow::Datagrams
    }

    pub fn has_datagrams(self) -> bool {
        !self.is_stream()
    }

    /// Senders are held up while it is not read, and nothing is lost.
    pub fn is_patient(self) -> bool {
        self.is_stream() || self.at == Where::Path
    }

    /// Its senders are told how far their messages came.
    pub fn acknowledges(self) -> bool {
        matches!(self.flow, Flow::Streams(speech) if speech.answers())
    }
}

/// One entry of `listen`, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub transport: Transport,
    pub place: Place,
}

impl Listen {
    /// The multicast group whose datagrams come here.
    pub fn group(&self) -> Option<IpAddr> {
        self.place.internet().map(|address| address.ip()).filter(IpAddr::is_multicast)
    }

    /// It takes datagrams at the port of a group among these, and is none.
    fn beside_group(&self, listens: &[Self]) -> bool {
        let port = |listen: &Self| listen.place.internet().map(|address| address.port());
        self.group().is_none()
            && self.transport == Transport::UDP
            && listens.iter().any(|it| it.group().is_some() && port(it) == port(self))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.transport.name, self.place)
    }
}

/// A bound socket that is not open yet, and which entry of `listen` it is for.
pub struct BoundSocket {
    pub socket: Socket,
    pub listener: u16,
    /// A passed-on socket's transport and place are its own.
    pub listen: Listen,
    /// Of a Unix socket that we have bound.
    pub file: Option<SocketFile>,
    /// It was passed on to us, and somebody else keeps it.
    pub kept: bool,
}

/// Reads `listen`: URLs of which `allowed` says which may stand here.
/// Names are resolved here, once.
pub fn plan(section: &Section, allowed: &[Transport]) -> Vec<Listen> {
    let mut listens: Vec<Listen> = Vec::new();
    for text in section.texts("listen") {
        let Some(listen) = read(section, &text, allowed) else { continue };
        if listen.place.is_fixed() && listens.contains(&listen) {
            section.fail_at(&text.span, format!("{listen} stands here twice"), "leave one out");
        } else {
            listens.push(listen);
        }
    }
    if listens.is_empty() && section.explicit("listen") && !section.diagnostics().has_errors() {
        let example = format!("write `listen = [\"{}://0.0.0.0:5514\"]`", allowed[0].name);
        section.fail("listen", "there is nothing to listen on", example);
    }
    listens
}

fn read(section: &Section, text: &Spanned<String>, allowed: &[Transport]) -> Option<Listen> {
    let names: Vec<String> = allowed.iter().map(|allow| format!("{}://", allow.name)).collect();
    let example = || format!("write \"{}0.0.0.0:5514\"", names[0]);
    let Some((scheme, rest)) = text.split_once("://") else {
        let what = format!("\"{}\" does not say how to listen there", text.value);
        let remedy = format!("{}; it takes {}", example(), names.join(" and "));
        section.fail_at(&text.span, what, remedy);
        return None;
    };
    let Some(transport) = allowed.iter().find(|allow| allow.name == scheme) else {
        let what = format!("\"{scheme}://\" is not known here");
        section.fail_at(&text.span, what, format!("it takes {}", names.join(" and ")));
        return None;
    };
    let place = match transport.at {
        Where::Address => address(rest).and_then(|address| match transport {
            stream if stream.is_stream() && address.ip().is_multicast() => {
                Err("to a multicast group go datagrams and no connections (udp://)".to_owned())
            }
            _ => Ok(Place::Internet(address)),
        }),
        Where::Path => path(rest).map(Place::Path),
        Where::Name if rest.is_empty() => {
            Err("it has no name (FileDescriptorName= of the socket unit)".to_owned())
        }
        Where::Name => Ok(Place::Passed(rest.to_owned())),
    };
    match place {
        Ok(place) => Some(Listen { transport: *transport, place }),
        Err(why) => {
            let what = format!("cannot listen on \"{}\": {why}", text.value);
            let remedy = match transport.at {
                Where::Address => {
                    format!("{}; an IPv6 address stands in brackets: \"[::]:5514\"", example())
                }
                Where::Path => format!("write \"{scheme}:///dev/log\""),
                Where::Name => format!("write \"{scheme}://syslog\""),
            };
            section.fail_at(&text.span, what, remedy);
            None
        }
    }
}

/// The longest path of a socket: `sun_path` has 108 bytes, the last is 0.
const PATH_BYTES_MAX: usize = 107;

fn path(text: &str) -> Result<PathBuf, String> {
    match text.len() {
        _ if !text.starts_with('/') => Err("the path does not begin at the root".to_owned()),
        length if length > PATH_BYTES_MAX => {
            Err(format!("a socket's path has {PATH_BYTES_MAX} bytes at most, this has {length}"))
        }
        _ => Ok(PathBuf::from(text)),
    }
}

fn address(rest: &str) -> Result<SocketAddr, String> {
    match rest.parse::<SocketAddr>() {
        Ok(address) => Ok(address),
        Err(_) if rest.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) => {
            Err("it has no port from 0 to 65535".to_owned())
        }
        Err(_) => match rest.to_socket_addrs() {
            Ok(mut found) => found.next().ok_or_else(|| "the name has no address".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// Binds every entry once for each thread; a group, a path or what is passed on only for the first.
/// Result: one list for each thread, in their order.
pub fn bind(
    name: &str,
    listens: &[Listen],
    threads: usize,
    access: Access,
    interface: Option<&str>,
) -> Result<Vec<Vec<BoundSocket>>, BuildError> {
    let mut all: Vec<Vec<BoundSocket>> = (0..threads).map(|_| Vec::new()).collect();
    // Groups last: they may share a port that somebody has, and nobody may share theirs first.
    let mut order: Vec<(usize, &Listen)> = listens.iter().enumerate().collect();
    order.sort_by_key(|(_, listen)| listen.group().is_some());
    for (index, listen) in order {
        let listener = u16::try_from(index).expect("a list of addresses is short");
        let failed = |error: io::Error| refused_on(interface, name, listen, &error);
        match &listen.place {
            Place::Internet(address) => {
                let mut address = *address;
                let threads = if listen.group().is_some() { 1 } else { threads };
                for (thread, sockets) in all.iter_mut().take(threads).enumerate() {
                    let transport = listen.transport;
                    let shared = (threads > 1, thread > 0);
                    let socket =
                        bind_one(transport, address, listens, interface, shared).map_err(failed)?;
                    // Port 0 has become a number, and the other threads want the same one.
                    let bound = socket.local_addr().map_err(failed)?.as_socket();
                    address = bound.expect("a bound internet socket has an internet address");
                    let listen = Listen { transport, place: address.into() };
                    sockets.push(BoundSocket { socket, listener, listen, file: None, kept: false });
                }
            }
            Place::Path(path) => {
                let kind = if listen.transport.is_stream() { Type::STREAM } else { Type::DGRAM };
                let (socket, file) = local::bind(path, kind, access).map_err(failed)?;
                let (listen, file) = (listen.clone(), Some(file));
                all[0].push(BoundSocket { socket, listener, listen, file, kept: false });
            }
            Place::Passed(socket) => {
                let found = passed::named(socket).map_err(failed)?;
                if found.is_empty() {
                    return Err(failed(io::ErrorKind::NotFound.into()));
                }
                for socket in found {
                    all[0].push(take(socket, listener, listen).map_err(failed)?);
                }
            }
        }
    }
    for sockets in &mut all {
        sockets.sort_by_key(|socket| socket.listener);
        // Groups are bound: from now on nobody shares the port of what is not one.
        for bound in sockets.iter().filter(|bound| bound.listen.beside_group(listens)) {
            let failed = |error: io::Error| refused(name, &bound.listen, &error);
            bound.socket.set_reuse_address(false).map_err(failed)?;
        }
    }
    Ok(all)
}

/// A socket that was passed on: what it is, it says itself.
fn take(socket: OwnedFd, listener: u16, listen: &Listen) -> io::Result<BoundSocket> {
    let socket = Socket::from(socket);
    socket.set_nonblocking(true)?;
    let own = socket.local_addr()?;
    let place = match (own.as_socket(), own.as_pathname()) {
        (Some(address), _) => Place::Internet(address),
        (None, Some(path)) => Place::Path(path.to_owned()),
        (None, None) => listen.place.clone(),
    };
    let unix = socket.domain()? == Domain::UNIX;
    let transport = match socket.r#type()? {
        Type::STREAM if !socket.is_listener()? => {
            let why = "it is a connection and does not listen (Accept=no in the socket unit)";
            return Err(io::Error::other(why));
        }
        Type::STREAM if unix => Transport::UNIX,
        Type::STREAM => Transport::TCP,
        Type::DGRAM if unix => Transport::UNIXGRAM,
        Type::DGRAM => Transport::UDP,
        other => return Err(io::Error::other(format!("it is of an unknown kind, {other:?}"))),
    };
    if transport == Transport::UNIXGRAM {
        socket.set_passcred(true)?;
    }
    let listen = Listen { transport, place };
    Ok(BoundSocket { socket, listener, listen, file: None, kept: true })
}

/// `shared`: whether other threads will share the port, and whether one has it already.
fn bind_one(
    transport: Transport,
    address: SocketAddr,
    listens: &[Listen],
    interface: Option<&str>,
    (shared, share): (bool, bool),
) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = if transport.is_stream() {
        Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?
    } else {
        Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?
    };
    if transport.is_stream() {
        // Old connections in TIME_WAIT do not hinder a restart.
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, as people expect on Linux, unless it stands beside it.
        let beside = listens.iter().any(|other| {
            let same = other.transport.is_stream() == transport.is_stream();
            let four = other.place.internet().filter(SocketAddr::is_ipv4);
            let four = four.filter(|_| other.group().is_none());
            same && four.is_some_and(|four| four.port() == address.port())
        });
        socket.set_only_v6(beside)?;
    }
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    let address = interface::confine(&socket, interface, address)?;
    socket.bind(&address.into())?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    let listen = Listen { transport, place: address.into() };
    if let Some(group) = listen.group() {
        interface::join(&socket, interface, group)?;
    } else if listen.beside_group(listens) {
        // A group at the same port has a socket of its own.
        interface::ignore_groups(&socket, address)?;
        socket.set_reuse_address(true)?;
    }
    Ok(socket)
}

/// Lets connections in. They inherit the keep-alive, which finds peers that vanished.
pub fn open(
    name: &str,
    bound: &BoundSocket,
    keepalive: Option<Duration>,
) -> Result<(), BuildError> {
    // Who passed a socket on has opened it.
    if bound.kept {
        return Ok(());
    }
    let opened = || {
        if let Some(idle) = keepalive.filter(|_| bound.listen.place.internet().is_some()) {
            let probe = (idle / 4).clamp(Duration::from_secs(1), Duration::from_secs(75));
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(probe);
            bound.socket.set_tcp_keepalive(&keepalive.with_retries(4))?;
        }
        if bound.listen.transport.flow == Flow::Streams(Speech::Relp) {
            bound.socket.set_tcp_mss(ACKNOWLEDGED_SEGMENT_BYTES)?;
        }
        bound.socket.listen(BACKLOG)
    };
    opened().map_err(|error| refused(name, &bound.listen, &error))
}

/// Where the source listens, once for each entry.
pub fn bound_addresses(sockets: &[BoundSocket]) -> Vec<Bound> {
    let bound = |socket: &BoundSocket| Bound {
        transport: socket.listen.transport.name,
        place: socket.listen.place.clone(),
    };
    sockets.iter().map(bound).collect()
}

/// The same where an interface was chosen.
fn refused_on(
    interface: Option<&str>,
    name: &str,
    listen: &Listen,
    error: &io::Error,
) -> BuildError {
    let told = refused(name, listen, error);
    match interface::remedy(interface, listen.group(), error) {
        Some(remedy) if listen.place.internet().is_some() => BuildError { remedy, ..told },
        _ => told,
    }
}

/// What went wrong, with the remedy that fits.
pub fn refused(name: &str, listen: &Listen, error: &io::Error) -> BuildError {
    let what = format!("sources.{name} cannot listen on {listen}: {error}");
    let remedy = match &listen.place {
        Place::Internet(address) => remedy_at(listen.transport, address.port(), error),
        Place::Path(path) => match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "somebody listens there (`ss -lxp src {}` names it): stop that, or take its \
                 socket with \"fd://NAME\" (socket activation)",
                path.display()
            ),
            io::ErrorKind::NotFound => "make its folder (systemd: RuntimeDirectory=)".to_owned(),
            io::ErrorKind::PermissionDenied => {
                "its folder must be ours to write, and a chosen owner needs CAP_CHOWN".to_owned()
            }
            _ => "name a path at which nothing but a socket stands".to_owned(),
        },
        Place::Passed(name) => format!(
            "start it by a socket unit with FileDescriptorName={name} (systemd-socket-activate \
             --fdname={name} to try it)"
        ),
    };
    BuildError { what, remedy }
}

fn remedy_at(transport: Transport, port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let list = if transport.is_stream() { "-ltnp" } else { "-lunp" };
            format!(
                "stop who has the port (`ss {list} 'sport = :{port}'` names it), or take another"
            )
        }
        io::ErrorKind::PermissionDenied if port < 1024 => {
            "ports below 1024 are for root: take a higher one, or grant CAP_NET_BIND_SERVICE \
             (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has the address (`ip address` lists them)".to_owned()
        }
        _ => "see `flumen doctor`".to_owned(),
    }
}

/// Raises the limit of open files as far as is allowed, and says what it is now.
pub fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return limit.maximum.unwrap_or(u64::MAX);
        }
    }
    limit.current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OptionDoc;

    const DOCS: &[OptionDoc] = &[OptionDoc { name: "listen", default: None, doc: "where" }];
    const BOTH: &[Transport] = &[Transport::UDP, Transport::TCP];

    fn local(transport: Transport) -> Listen {
        Listen { transport, place: Place::Internet("127.0.0.1:0".parse().unwrap()) }
    }

    fn bind_all(listens: &[Listen], threads: usize) -> Result<Vec<Vec<BoundSocket>>, BuildError> {
        bind("net", listens, threads, Access::default(), None)
    }

    #[test]
    fn every_bad_entry_is_told_with_a_remedy() {
        let body = r#"listen = ["udp://127.0.0.1:5514", "tcp://[::1]:0", "127.0.0.1:1",
            "http://a:1", "tcp://127.0.0.1", "udp://::1", "tcp://127.0.0.1:99999",
            "udp://127.0.0.1:5514", "tcp://localhost:0", "tcp://localhost:0"]"#;
        let section = Section::parse(body, DOCS);
        let listens = plan(&section, BOTH);
        assert_eq!(listens.len(), 4);
        assert_eq!(listens[1].to_string(), "tcp://[::1]:0");
        let lines = section.diagnostics().lines();
        assert_eq!(lines.len(), 6, "{lines:#?}");

        let long = "x".repeat(PATH_BYTES_MAX);
        let body = format!(
            "listen = ['unix:///dev/log', 'unixgram:///dev/log', 'unix://log', 'unix:///{long}', \
             'fd://', 'fd://a', 'fd://a']"
        );
        let section = Section::parse(&body, DOCS);
        let all = [Transport::UNIX, Transport::UNIXGRAM, Transport::PASSED];
        let shown: Vec<String> = plan(&section, &all).iter().map(Listen::to_string).collect();
        assert_eq!(shown, ["unix:///dev/log", "unixgram:///dev/log", "fd://a"]);
        assert_eq!(section.diagnostics().lines().len(), 4);

        let empty = Section::parse("listen = []", DOCS);
        assert!(plan(&empty, BOTH).is_empty() && empty.diagnostics().has_errors());
    }

    #[test]
    fn threads_share_a_port_and_nobody_else_gets_it() {
        for transport in BOTH {
            let threads = bind_all(&[local(*transport)], 3).unwrap();
            let taken = threads[0][0].listen.clone();
            assert!(taken.place.is_fixed());
            assert!(threads.iter().all(|sockets| sockets[0].listen == taken));
            for sockets in threads.iter().filter(|_| transport.is_stream()) {
                open("net", &sockets[0], Some(Duration::from_secs(300))).unwrap();
            }
            for threads in [1, 2] {
                let result = bind_all(std::slice::from_ref(&taken), threads)
                    .and_then(|all| open("net", &all[0][0], None));
                let Err(error) = result else { panic!("{taken} was given twice") };
                assert!(error.what.contains(&taken.to_string()), "{error}");
                assert!(error.remedy.contains("ss -l"), "{error}");
            }
        }
    }

    #[test]
    fn both_families_may_stand_side_by_side() {
        let place = Place::Internet("0.0.0.0:0".parse().unwrap());
        let v4 = Listen { transport: Transport::UDP, place };
        let mut v4 = bind_all(&[v4], 1).unwrap().remove(0).remove(0).listen;
        let v6 = SocketAddr::new("::".parse().unwrap(), v4.place.internet().unwrap().port());
        let v6 = Listen { transport: Transport::UDP, place: v6.into() };
        assert_eq!(bind_all(&[v4.clone(), v6], 1).unwrap()[0].len(), 2);
        v4.place = Place::Internet("203.0.113.1:0".parse().unwrap());
        let Err(error) = bind_all(&[v4], 1) else { panic!("that is nobody's address") };
        assert!(error.remedy.contains("ip address"), "{error}");
    }
}
