//! Headers that say who sent an event, and where it came in: `client_ip_header` and its kin.
//!
//! They are labels of the origin, made once a page for each sender; who asks for none pays nothing.

use std::net::SocketAddr;

use super::header_name::{self, KEY_BYTES_MAX};
use super::listen::BoundSocket;
use crate::config::{OptionDoc, Section};
use crate::event::{HeaderMap, HeaderNames, Origin};

pub const REMOTE_ADDRESS: OptionDoc = OptionDoc {
    name: "remote_address_header",
    default: Some(""),
    doc: "events have their sender's address and port as a header of this name",
};
pub const CLIENT_IP: OptionDoc = OptionDoc {
    name: "client_ip_header",
    default: Some(""),
    doc: "events have their sender's address as a header of this name",
};
pub const CLIENT_HOSTNAME: OptionDoc = OptionDoc {
    name: "client_hostname_header",
    default: Some(""),
    doc: "events have what DNS calls their sender as a header of this name, and its address until \
          that is known",
};
pub const PORT: OptionDoc = OptionDoc {
    name: "port_header",
    default: Some(""),
    doc: "events have the port that they came in by as a header of this name",
};

/// The longest value is what DNS calls a host.
const VALUE_BYTES_MAX: usize = 253;
/// All of them in a page, with what stands in front of each.
pub const LABELS_BYTES_MAX: usize = 4 * (KEY_BYTES_MAX + VALUE_BYTES_MAX + 8);

/// What the headers are called; those that are not asked for are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderHeaders {
    remote_address: String,
    client_ip: String,
    client_hostname: String,
    port: String,
}

impl SenderHeaders {
    pub fn plan(section: &Section) -> Self {
        let headers = Self {
            remote_address: header_name::optional(section, REMOTE_ADDRESS.name),
            client_ip: header_name::optional(section, CLIENT_IP.name),
            client_hostname: header_name::optional(section, CLIENT_HOSTNAME.name),
            port: header_name::optional(section, PORT.name),
        };
        let keys = [REMOTE_ADDRESS, CLIENT_IP, CLIENT_HOSTNAME, PORT].map(|row| row.name);
        for (index, (name, key)) in headers.all().into_iter().zip(keys).enumerate() {
            if !name.is_empty() && headers.all()[..index].contains(&name) {
                let what = format!("two headers would be called `{name}`");
                section.fail(key, what, "give each a name of its own");
            }
        }
        headers
    }

    fn all(&self) -> [&str; 4] {
        [&self.remote_address, &self.client_ip, &self.client_hostname, &self.port]
    }

    pub fn names(&self) -> HeaderNames {
        HeaderNames::of(self.all().into_iter().filter(|name| !name.is_empty()))
    }

    pub fn is_empty(&self) -> bool {
        self.all().iter().all(|name| name.is_empty())
    }

    /// Somebody must ask DNS.
    pub fn wants_hostname(&self) -> bool {
        !self.client_hostname.is_empty()
    }
}

/// A worker's own: it knows the ports, too.
#[derive(Clone, Debug)]
pub struct Teller {
    headers: SenderHeaders,
    /// By number of the listener; 0 where there is none.
    ports: Vec<u16>,
}

impl Teller {
    /// None: there is nothing to tell.
    fn new(headers: &SenderHeaders) -> Option<Self> {
        (!headers.is_empty()).then(|| Self { headers: headers.clone(), ports: Vec::new() })
    }

    /// The same of a worker with these sockets.
    pub fn of(headers: &SenderHeaders, sockets: &[BoundSocket]) -> Option<Self> {
        let mut teller = Self::new(headers)?;
        for bound in sockets {
            let address = bound.socket.local_addr().ok();
            teller.bound(bound.listener, address.and_then(|address| address.as_socket()));
        }
        Some(teller)
    }

    /// What a listener is bound to.
    fn bound(&mut self, listener: u16, address: Option<SocketAddr>) {
        let index = usize::from(listener);
        self.ports.resize(self.ports.len().max(index + 1), 0);
        self.ports[index] = address.map_or(0, |address| address.port());
    }

    /// The headers of what comes from there, in place of what stands in `into`.
    pub fn tell(&self, origin: Origin, host: Option<&str>, into: &mut HeaderMap) {
        into.clear();
        // Names and values are short: there is room for all of them.
        let mut set = |name: &str, value: &str| {
            if !name.is_empty() {
                let _ = into.set(name.as_bytes(), value.as_bytes());
            }
        };
        let headers = &self.headers;
        if let Some(peer) = origin.peer {
            let ip = peer.ip().to_canonical();
            let address = SocketAddr::new(ip, peer.port()).to_string();
            let ip = ip.to_string();
            set(&headers.remote_address, &address);
            set(&headers.client_ip, &ip);
            set(&headers.client_hostname, host.unwrap_or(&ip));
        }
        match self.ports.get(usize::from(origin.listener)) {
            None | Some(0) => {}
            Some(port) => set(&headers.port, &port.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Names;
    use crate::event::{EventHead, Marks, Page};
    use crate::time::Wall;

    const ROWS: &[OptionDoc] = &[REMOTE_ADDRESS, CLIENT_IP, CLIENT_HOSTNAME, PORT];

    fn plan(body: &str) -> (SenderHeaders, Vec<String>) {
        let section = Section::parse(body, ROWS);
        let headers = SenderHeaders::plan(&section);
        section.finish();
        (headers, section.diagnostics().lines())
    }

    #[test]
    fn what_is_asked_for_is_told_and_nothing_else() {
        let (headers, told) = plan("client_ip_header = 'ip'\nport_header = 'port'");
        assert!(told.is_empty(), "{told:?}");
        assert_eq!(headers.names(), HeaderNames::of(["ip", "port"]));
        let mut teller = Teller::new(&headers).unwrap();
        teller.bound(1, Some("0.0.0.0:514".parse().unwrap()));
        let peer = |address: &str| Origin::new(Some(address.parse().unwrap()), 1);
        let mut map = HeaderMap::default();
        let mut told = |teller: &Teller, origin, host| {
            teller.tell(origin, host, &mut map);
            let text = String::from_utf8_lossy;
            map.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect()
        };
        let pairs: Vec<String> = told(&teller, peer("[::ffff:10.0.0.9]:99"), None);
        assert_eq!(pairs, ["ip=10.0.0.9", "port=514"]);
        // A Unix socket has neither.
        let pairs: Vec<String> = told(&teller, Origin::new(None, 0), None);
        assert!(pairs.is_empty(), "{pairs:?}");
        let (headers, _) = plan("remote_address_header = 'a'\nclient_hostname_header = 'h'");
        assert!(headers.wants_hostname());
        let teller = Teller::new(&headers).unwrap();
        let pairs: Vec<String> = told(&teller, peer("[fe80::1]:7"), Some("web.example"));
        assert_eq!(pairs, ["a=[fe80::1]:7", "h=web.example"]);
        let pairs: Vec<String> = told(&teller, peer("10.0.0.1:7"), None);
        assert_eq!(pairs, ["a=10.0.0.1:7", "h=10.0.0.1"]);
        assert!(Teller::new(&plan("").0).is_none());
    }

    #[test]
    fn names_are_names_and_each_has_its_own() {
        let (_, told) = plan("client_ip_header = ''");
        assert!(told[0].contains("is no name for a header"), "{told:?}");
        let (_, told) = plan("client_ip_header = 'a'\nport_header = 'a'");
        assert!(told[0].contains("two headers would be called `a`"), "{told:?}");
        assert!(plan(&format!("port_header = '{}'", "x".repeat(256))).1.len() == 1);
    }

    #[test]
    fn the_longest_of_all_have_their_room() {
        let key = |letter: char| letter.to_string().repeat(KEY_BYTES_MAX);
        let headers = SenderHeaders {
            remote_address: key('a'),
            client_ip: key('b'),
            client_hostname: key('c'),
            port: key('d'),
        };
        let mut teller = Teller::new(&headers).unwrap();
        teller.bound(0, Some("0.0.0.0:65535".parse().unwrap()));
        let peer = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535".parse().unwrap();
        let (origin, mut map) = (Origin::new(Some(peer), 0), HeaderMap::default());
        teller.tell(origin, Some(&"h".repeat(VALUE_BYTES_MAX)), &mut map);
        assert!(map.iter().count() == 4 && map.bytes() + 4 <= LABELS_BYTES_MAX);
        let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
        let before = page.free_bytes();
        let origin = page.push_labelled_origin(origin, Names::NONE, &map).unwrap();
        let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
        page.append_event(b"x", head).unwrap();
        assert!(before - page.free_bytes() < LABELS_BYTES_MAX + 128);
        assert_eq!(page.events().next().unwrap().headers().iter().count(), 4);
    }
}
