//! Addresses to listen on: read from the configuration, bound, then opened.
//!
//! All sockets of a source are bound before the first one listens: a datagram that arrives in
//! between would be hashed to a socket whose group then changes. Several threads share a port by
//! SO_REUSEPORT; but the first socket binds without it, so that a port that anybody else has is
//! refused, another of our own processes included.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::protocol::Speech;
use super::{Bound, BuildError};
use crate::config::{Section, Spanned};

/// Connections the kernel completes before we accept them; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A way in, by its scheme: what arrives, and what it says. A new one is a row among the
/// constants below, and stands in `allowed` of the sources that take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// The scheme: `tcp`.
    pub name: &'static str,
    pub flow: Flow,
}

/// How a transport's bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// In datagrams, each an event.
    Datagrams,
    /// By connections, each a `source::link` that speaks this.
    Streams(Speech),
}

impl Transport {
    pub const UDP: Self = Self { name: "udp", flow: Flow::Datagrams };
    pub const TCP: Self = Self { name: "tcp", flow: Flow::Streams(Speech::Lines) };

    pub fn is_stream(self) -> bool {
        matches!(self.flow, Flow::Streams(_))
    }
}

/// One entry of `listen`, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub transport: Transport,
    pub address: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.transport.name, self.address)
    }
}

/// A bound socket that is not open yet, and which entry of `listen` it is for.
pub struct BoundSocket {
    pub socket: Socket,
    pub listener: u16,
    pub listen: Listen,
}

/// Reads `listen`: `udp://` and `tcp://` URLs of which `allowed` says which may stand here.
/// Names are resolved here, once.
pub fn plan(section: &Section, allowed: &[Transport]) -> Vec<Listen> {
    let mut listens: Vec<Listen> = Vec::new();
    for text in section.texts("listen") {
        let Some(listen) = read(section, &text, allowed) else { continue };
        let fixed = listen.address.port() != 0;
        if fixed && listens.contains(&listen) {
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
    let address = match rest.parse::<SocketAddr>() {
        Ok(address) => Ok(address),
        Err(_) if rest.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) => {
            Err("it has no port from 0 to 65535".to_owned())
        }
        Err(_) => match rest.to_socket_addrs() {
            Ok(mut found) => found.next().ok_or_else(|| "the name has no address".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    };
    match address {
        Ok(address) => Some(Listen { transport: *transport, address }),
        Err(why) => {
            let what = format!("cannot listen on \"{}\": {why}", text.value);
            let ipv6 = "an IPv6 address stands in brackets: \"[::]:5514\"";
            section.fail_at(&text.span, what, format!("{}; {ipv6}", example()));
            None
        }
    }
}

/// Binds every entry once for each thread. Result: one list for each thread, in their order.
pub fn bind(
    name: &str,
    listens: &[Listen],
    threads: usize,
) -> Result<Vec<Vec<BoundSocket>>, BuildError> {
    let mut all: Vec<Vec<BoundSocket>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, listen) in listens.iter().enumerate() {
        let mut listen = listen.clone();
        let listener = u16::try_from(index).expect("a list of addresses is short");
        for (thread, sockets) in all.iter_mut().enumerate() {
            let socket = bind_one(&listen, listens, thread > 0)
                .map_err(|error| refused(name, &listen, &error))?;
            let shared = |error: io::Error| refused(name, &listen, &error);
            if threads > 1 {
                socket.set_reuse_port(true).map_err(shared)?;
            }
            // Port 0 has become a number, and the other threads want the same one.
            let bound = socket.local_addr().map_err(shared)?.as_socket();
            listen.address = bound.expect("a bound internet socket has an internet address");
            sockets.push(BoundSocket { socket, listener, listen: listen.clone() });
        }
    }
    Ok(all)
}

fn bind_one(listen: &Listen, listens: &[Listen], share: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(listen.address);
    let socket = match listen.transport.flow {
        Flow::Datagrams => Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?,
        Flow::Streams(_) => Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?,
    };
    if listen.transport.is_stream() {
        // Old connections in TIME_WAIT do not hinder a restart.
        socket.set_reuse_address(true)?;
    }
    if listen.address.is_ipv6() {
        // `[::]` takes IPv4 too, as people expect on Linux, unless it stands beside it.
        let beside = listens.iter().any(|other| {
            let same = other.transport.is_stream() == listen.transport.is_stream();
            same && other.address.is_ipv4() && other.address.port() == listen.address.port()
        });
        socket.set_only_v6(beside)?;
    }
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&listen.address.into())?;
    Ok(socket)
}

/// Lets connections in. They inherit the keep-alive, which finds peers that vanished.
pub fn open(
    name: &str,
    bound: &BoundSocket,
    keepalive: Option<Duration>,
) -> Result<(), BuildError> {
    let opened = || {
        if let Some(idle) = keepalive {
            let probe = (idle / 4).clamp(Duration::from_secs(1), Duration::from_secs(75));
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(probe);
            bound.socket.set_tcp_keepalive(&keepalive.with_retries(4))?;
        }
        bound.socket.listen(BACKLOG)
    };
    opened().map_err(|error| refused(name, &bound.listen, &error))
}

/// Where the source listens, once for each entry.
pub fn bound_addresses(sockets: &[BoundSocket]) -> Vec<Bound> {
    let bound = |socket: &BoundSocket| Bound {
        transport: socket.listen.transport.name,
        address: socket.listen.address,
    };
    sockets.iter().map(bound).collect()
}

/// What went wrong, with the remedy that fits.
pub fn refused(name: &str, listen: &Listen, error: &io::Error) -> BuildError {
    let port = listen.address.port();
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let list = if listen.transport.is_stream() { "-ltnp" } else { "-lunp" };
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
    };
    BuildError { what: format!("sources.{name} cannot listen on {listen}: {error}"), remedy }
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
        Listen { transport, address: "127.0.0.1:0".parse().unwrap() }
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

        let empty = Section::parse("listen = []", DOCS);
        assert!(plan(&empty, BOTH).is_empty() && empty.diagnostics().has_errors());
    }

    #[test]
    fn threads_share_a_port_and_nobody_else_gets_it() {
        for transport in BOTH {
            let threads = bind("net", &[local(*transport)], 3).unwrap();
            let taken = threads[0][0].listen.clone();
            assert!(taken.address.port() != 0);
            assert!(threads.iter().all(|sockets| sockets[0].listen == taken));
            for sockets in threads.iter().filter(|_| transport.is_stream()) {
                open("net", &sockets[0], Some(Duration::from_secs(300))).unwrap();
            }
            for threads in [1, 2] {
                let result = bind("net", std::slice::from_ref(&taken), threads)
                    .and_then(|all| open("net", &all[0][0], None));
                let Err(error) = result else { panic!("{taken} was given twice") };
                assert!(error.what.contains(&taken.to_string()), "{error}");
                assert!(error.remedy.contains("ss -l"), "{error}");
            }
        }
    }

    #[test]
    fn both_families_may_stand_side_by_side() {
        let v4 = Listen { transport: Transport::UDP, address: "0.0.0.0:0".parse().unwrap() };
        let mut v4 = bind("net", &[v4], 1).unwrap().remove(0).remove(0).listen;
        let v6 = SocketAddr::new("::".parse().unwrap(), v4.address.port());
        let v6 = Listen { transport: Transport::UDP, address: v6 };
        assert_eq!(bind("net", &[v4.clone(), v6], 1).unwrap()[0].len(), 2);
        v4.address = "203.0.113.1:0".parse().unwrap();
        let Err(error) = bind("net", &[v4], 1) else { panic!("that is nobody's address") };
        assert!(error.remedy.contains("ip address"), "{error}");
    }
}
