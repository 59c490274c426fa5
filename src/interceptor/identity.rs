//! By what events are told apart: `by = "message"`, `by = "host"`, or the name of a header.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::Draft;
use crate::config::OptionDoc;
use crate::event::{Event, HeaderNames};
use crate::syslog::parse::Fields;

pub(super) const fn by(default: &'static str) -> OptionDoc {
    let doc = "events are told apart by this: text, message (without a syslog header), host, app, \
               peer, or the name of a header; all: not at all";
    OptionDoc { name: "by", default: Some(default), doc }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    All,
    Text,
    Message,
    Host,
    App,
    Peer,
    Header(String),
}

impl Identity {
    pub(super) fn read(text: String) -> Self {
        match text.as_str() {
            "all" => Self::All,
            "text" => Self::Text,
            "message" => Self::Message,
            "host" => Self::Host,
            "app" => Self::App,
            "peer" => Self::Peer,
            _ => Self::Header(text),
        }
    }

    pub(super) fn wanted(&self) -> Fields {
        match self {
            Self::Message => Fields::MESSAGE,
            Self::Host => Fields::HOSTNAME,
            Self::App => Fields::APP_NAME,
            _ => Fields::NONE,
        }
    }

    pub(super) fn reads(&self) -> HeaderNames {
        HeaderNames::of(match self {
            Self::Host => Some("host"),
            Self::Header(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Equal for events that are the same by this, and for others by chance only.
    pub(super) fn hash(&self, draft: &Draft<'_>, hashers: &RandomState) -> u64 {
        let mut hasher = hashers.build_hasher();
        let event = draft.event();
        let value = match self {
            Self::All => None,
            Self::Text => Some(draft.text()),
            Self::Message if draft.is_rewritten() => Some(draft.text()),
            Self::Message => Some(event.parsed().message().unwrap_or(event.bytes)),
            // As `%{host}` finds one: last of all the sender's name or address.
            Self::Host => draft.header("host").or_else(|| event.parsed().host()).or_else(|| {
                hash_sender(event, &mut hasher);
                None
            }),
            Self::App => event.parsed().app(),
            Self::Peer => {
                hash_peer(event, &mut hasher);
                None
            }
            Self::Header(name) => draft.header(name),
        };
        if let Some(value) = value {
            hasher.write(value);
            hasher.write_u8(1);
        }
        hasher.finish()
    }
}

fn hash_peer(event: &Event<'_>, hasher: &mut impl Hasher) {
    if let Some(peer) = event.origin.peer {
        peer.ip().to_canonical().hash(hasher);
    }
}

/// What the sender is called, or where it sends from.
fn hash_sender(event: &Event<'_>, hasher: &mut impl Hasher) {
    let mut parts = event.name().host_parts().peekable();
    if parts.peek().is_none() {
        hash_peer(event, hasher);
    }
    parts.for_each(|part| hasher.write(part));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventHead, HeaderMap, Marks, Names, Origin, Page};
    use crate::interceptor::Bench;
    use crate::limits::BATCH_BYTES_MIN;
    use crate::time::Wall;

    #[test]
    fn without_a_host_name_senders_are_told_apart() {
        let mut page = Page::new(BATCH_BYTES_MIN);
        let mut header = HeaderMap::default();
        header.set(b"host", b"web7").expect("short");
        let none = HeaderMap::NONE;
        let senders = [
            ("192.0.2.1:1000", "", &none),
            ("192.0.2.1:2000", "", &none),
            ("192.0.2.2:1000", "", &none),
            ("192.0.2.1:1000", "db1.example.com", &none),
            ("192.0.2.2:1000", "db1.example.com", &none),
            ("192.0.2.1:1000", "", &header),
            ("192.0.2.2:1000", "db1.example.com", &header),
        ];
        for (peer, host, headers) in senders {
            let origin = Origin::new(Some(peer.parse().expect("an address")), 0);
            let names = Names { certificate: "", host };
            let origin = page.push_labelled_origin(origin, names, headers).expect("room");
            let head = EventHead { at: Wall(0), origin, pri: None, marks: Marks::NONE };
            page.append_event(b"a", head).expect("room");
        }
        let (identity, hashers) = (Identity::read("host".to_owned()), RandomState::new());
        let mut bench = Bench::default();
        let hash = |event| identity.hash(&Draft::new(&event, &mut bench, 1024), &hashers);
        let hashes: Vec<u64> = page.events().map(hash).collect();
        let alike = |a: usize, b: usize| hashes[a] == hashes[b];
        assert!(alike(0, 1) && alike(3, 4) && alike(5, 6), "{hashes:?}");
        assert!(!alike(0, 2) && !alike(0, 3) && !alike(3, 5) && !alike(0, 5), "{hashes:?}");
    }
}
