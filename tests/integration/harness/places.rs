//! Addresses and ports that are a test's own, also where these tests run twice at the same time.

use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::LazyLock;

/// An address of this machine that is ours alone, so that a port of it can be had again.
pub(crate) fn place(host: u8) -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, high, low, host);
    let tcp = TcpListener::bind((host, 0)).expect("all of 127/8 is this machine");
    let place = tcp.local_addr().expect("bound");
    UdpSocket::bind(place).expect("nobody else is here");
    place.to_string()
}

/// A next hop that is down: its port is taken, so that nobody else gets it, and nobody listens.
pub(crate) struct Down {
    socket: Socket,
    pub(crate) address: SocketAddr,
}

impl Down {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a port");
        let address = socket.local_addr().expect("bound").as_socket().expect("IPv4");
        Self { socket, address }
    }

    /// It is up.
    pub(crate) fn up(self) -> TcpListener {
        self.socket.listen(16).expect("it is bound");
        TcpListener::from(self.socket)
    }
}

/// An address at which nobody ever listens.
pub(crate) fn nobody() -> SocketAddr {
    static DOWN: LazyLock<Down> = LazyLock::new(Down::new);
    DOWN.address
}
