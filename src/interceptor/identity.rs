//! By what events are told apart: `by = "message"`, `by = "host"`, or the name of a header.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::Draft;
use crate::config::OptionDoc;
use crate::event::HeaderNames;
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
            Self::Host => draft.header("host").or_else(|| event.parsed().host()),
            Self::App => event.parsed().app(),
            Self::Peer => {
                if let Some(peer) = event.origin.peer {
                    std::hash::Hash::hash(&peer.ip().to_canonical(), &mut hasher);
                }
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
