//! This machine's own address, for the escape `%[IP]` and the interceptor `host`.

use std::net::{IpAddr, UdpSocket};

/// The address the kernel would send from; a connected UDP socket sends nothing.
pub fn of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // TEST-NET-1 (RFC 5737): routed like any other address, and nobody is there.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
