//! `interface`, and multicast groups: by which network interface senders come.
//!
//! A group is joined on the interface that is named, or else on the one to which the routes point.
//! Its socket is bound to the group's own address, so that nothing else comes in by it, and takes
//! only groups that it has joined itself. Each socket that is bound to a group gets every datagram:
//! SO_REUSEPORT shares nothing out there, so one thread alone has it. Others on this machine may
//! join the same group at the same port (SO_REUSEADDR), as is usual.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{InterfaceIndexOrAddress, Socket};

use super::listen::{Listen, Where};
use crate::config::{OptionDoc, Section};

pub const INTERFACE: OptionDoc = OptionDoc {
    name: "interface",
    default: Some(""),
    doc: "hear senders by this network interface only, as eth0, and join multicast groups there",
};

/// IFNAMSIZ without the closing 0.
const NAME_BYTES_MAX: usize = 15;

/// Reads the row; none: any interface.
pub fn plan(section: &Section, listens: &[Listen]) -> Option<String> {
    let name = section.optional_text("interface").filter(|name| !name.is_empty());
    let group = |listen: &&Listen| is_link_local(&listen.place.internet().map(|it| it.ip()));
    if name.is_none()
        && let Some(listen) = listens.iter().find(group)
    {
        let what = format!("{listen}: a group of one link needs to know which");
        section.fail("listen", what, "add `interface = \"eth0\"` (`ip link` lists them)");
    }
    let name = name?;
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte));
    if name.len() > NAME_BYTES_MAX || !printable || name == "." || name == ".." {
        let what = format!("\"{}\" is no name of a network interface", name.escape_debug());
        section.fail("interface", what, "write one that `ip link` lists: `interface = \"eth0\"`");
        return None;
    }
    let reached = |listen: &Listen| listen.transport.at == Where::Address;
    if !listens.is_empty() && !listens.iter().any(reached) {
        let what = "nothing listens on the network";
        section.warn("interface", what, "add \"udp://0.0.0.0:5514\" to `listen`");
    }
    Some(name)
}

/// `ff02::/16`: the same address on each link.
fn is_link_local(address: &Option<IpAddr>) -> bool {
    matches!(address, Some(IpAddr::V6(six)) if six.is_multicast() && six.segments()[0] & 0xf == 2)
}

/// Before it is bound: what comes in by another interface does not find this socket. Returns the
/// address to bind to, which for a group of one link says which.
pub fn confine(
    socket: &Socket,
    interface: Option<&str>,
    address: SocketAddr,
) -> io::Result<SocketAddr> {
    if address.ip().is_multicast() {
        socket.set_reuse_address(true)?;
    }
    let Some(name) = interface else { return Ok(address) };
    let index = rustix::net::netdevice::name_to_index(socket, name)?;
    socket.bind_device(Some(name.as_bytes()))?;
    Ok(match address {
        SocketAddr::V6(mut six) if is_link_local(&Some(address.ip())) => {
            six.set_scope_id(index);
            six.into()
        }
        address => address,
    })
}

/// To a socket that is bound to all addresses also come the groups that anybody here has joined.
pub fn ignore_groups(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        socket.set_multicast_all_v6(false)?
    }
    socket.set_multicast_all_v4(false)
}

/// Joins the group that the socket is bound to.
pub fn join(socket: &Socket, interface: Option<&str>, group: IpAddr) -> io::Result<()> {
    let index = interface.map(|name| rustix::net::netdevice::name_to_index(socket, name));
    let index = index.transpose()?.unwrap_or(0);
    match group {
        IpAddr::V4(group) => {
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
        }
        IpAddr::V6(group) => {
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&group, index)
        }
    }
}

/// What to do when an interface or a group is refused.
pub fn remedy(interface: Option<&str>, group: Option<IpAddr>, error: &io::Error) -> Option<String> {
    match (error.raw_os_error()?, interface) {
        (libc::ENODEV, Some(name)) => {
            Some(format!("there is no interface {name}: `ip link` lists those there are"))
        }
        (libc::EPERM, Some(_)) => Some(
            "before Linux 5.7 only root may choose an interface: grant CAP_NET_RAW (systemd: \
             AmbientCapabilities=CAP_NET_RAW), or leave `interface` out"
                .to_owned(),
        ),
        (libc::ENODEV | libc::EADDRNOTAVAIL | libc::ENETUNREACH, None) if group.is_some() => Some(
            "no route says by which interface the group is reached: add `interface = \"eth0\"` \
             (`ip link` lists them)"
                .to_owned(),
        ),
        (libc::ENOBUFS, _) if group.is_some() => Some(
            "a socket has joined as many groups as it may: raise net.ipv4.igmp_max_memberships"
                .to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SOURCES;

    #[test]
    fn the_row_is_read() {
        for (rows, told) in [
            ("listen = 'udp://239.1.2.3:5514'", None),
            ("listen = 'udp://[ff05::1234]:5514'", None),
            ("listen = ['udp://[ff02::1234]:5514', 'tcp://[::]:0']\ninterface = 'eth0'", None),
            ("listen = 'udp://[ff02::1234]:5514'", Some("a group of one link needs to know which")),
            ("listen = 'tcp://239.1.2.3:5514'", Some("go datagrams and no connections")),
            ("listen = 'udp://0.0.0.0:0'\ninterface = 'a very long name'", Some("is no name of")),
            ("listen = 'udp://0.0.0.0:0'\ninterface = 'eth/0'", Some("is no name of")),
            ("listen = 'udp://0.0.0.0:0'\ninterface = 7", Some("expected a string")),
            (
                "listen = 'unix:///run/x'\ninterface = 'eth0'",
                Some("nothing listens on the network"),
            ),
        ] {
            let kind = SOURCES.iter().find(|kind| kind.name == "syslog").unwrap();
            let section = Section::parse(rows, kind.options);
            (kind.plan)(&section);
            let lines = section.diagnostics().lines();
            match told {
                None => assert_eq!(lines, Vec::<String>::new(), "{rows}"),
                Some(told) => assert!(lines.len() == 1 && lines[0].contains(told), "{lines:?}"),
            }
        }
    }
}
