//! Protocols that several rooms speak, sans-I/O: bytes in, decisions and bytes out. No sockets.

pub mod capture;
pub mod http;
pub mod http_body;
pub mod journal;
pub mod kmsg;
pub mod memcached;
pub mod proxy;
pub mod relp;
pub mod tls;
