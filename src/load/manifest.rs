//! The manifest: what a run sent, stream by stream, as JSON. An audit starts from it.

use super::Transport;
use crate::syslog::stamp::{self, SEQUENCE_MAX, STREAMS_MAX};

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// Of this format: 1.
    pub version: u32,
    /// As it stands in every message: seven digits.
    #[serde(with = "run_digits")]
    pub run: u32,
    pub format: String,
    pub framing: String,
    pub seed: u64,
    /// Average bytes of a message.
    pub size: u32,
    pub hosts: u32,
    pub streams: Vec<StreamRecord>,
}

/// One socket's share. Sequence numbers 0 to `sent` - 1 were taken by the kernel, or over RELP
/// acknowledged by the receiver; no others but those of `unanswered`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StreamRecord {
    pub stream: u32,
    pub target: String,
    pub transport: Transport,
    pub sent: u64,
    /// Bytes of the messages that were sent, framing included.
    pub bytes: u64,
    /// Scheduled time of the first and the last event that was sent, ns since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<i64>,
    /// The connection ended in the middle of event number `sent`: the receiver may keep a piece.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Over RELP: events from number `sent` on that were sent, and may have arrived.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unanswered: u64,
    /// Over UDP: of those sent, what the receiver's machine refused at the least.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Why the stream ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("not a manifest of flumen blast: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a manifest of version {0}; this program reads version {VERSION}")]
    Version(u32),
    #[error("stream {0} stands twice, or its numbers are out of range")]
    Stream(u32),
}

pub const VERSION: u32 = 1;

impl Manifest {
    pub fn sent(&self) -> u64 {
        self.streams.iter().map(|stream| stream.sent).sum()
    }

    /// Events that may have arrived, beside those that were sent.
    pub fn unanswered(&self) -> u64 {
        self.streams.iter().map(|stream| stream.unanswered).sum()
    }

    /// Events that the receivers' machines refused, at the least.
    pub fn refused(&self) -> u64 {
        self.streams.iter().map(|stream| stream.refused).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes).sum()
    }

    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest is plain values");
        text.push('\n');
        text
    }

    pub fn from_json(text: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(text)?;
        if manifest.version != VERSION {
            return Err(ManifestError::Version(manifest.version));
        }
        let mut known = std::collections::HashSet::new();
        for record in &manifest.streams {
            let fits = record.stream < STREAMS_MAX && record.sent <= SEQUENCE_MAX;
            if !fits || !known.insert(record.stream) {
                return Err(ManifestError::Stream(record.stream));
            }
        }
        Ok(manifest)
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

mod run_digits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::stamp;

    pub(super) fn serialize<S: Serializer>(run: &u32, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&stamp::run_text(*run))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        let text = String::deserialize(from)?;
        stamp::run_from_text(&text).ok_or_else(|| D::Error::custom("run: seven digits 0-9a-v"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let record = StreamRecord {
            stream: 0,
            target: "tcp://127.0.0.1:5514".to_owned(),
            transport: Transport::Tcp,
            sent: 3,
            bytes: 570,
            first: Some(1),
            last: Some(9),
            cut: false,
            unanswered: 0,
            refused: 0,
            error: None,
        };
        let second = StreamRecord {
            stream: 1,
            transport: Transport::Udp,
            first: None,
            last: None,
            cut: true,
            unanswered: 7,
            refused: 1,
            error: Some("reset".to_owned()),
            ..record.clone()
        };
        Manifest {
            version: VERSION,
            run: 0xDEAD_BEEF,
            format: "rfc3164".to_owned(),
            framing: "newline".to_owned(),
            seed: u64::MAX,
            size: 190,
            hosts: 100,
            streams: vec![record, second],
        }
    }

    #[test]
    fn a_manifest_reads_back() {
        let manifest = sample();
        let json = manifest.to_json();
        assert!(json.contains("\"run\": \"3farfnf\""), "{json}");
        assert_eq!(Manifest::from_json(json.as_bytes()).unwrap(), manifest);
        assert_eq!((manifest.sent(), manifest.bytes()), (6, 1140));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let refused = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = sample();
            change(&mut manifest);
            Manifest::from_json(manifest.to_json().as_bytes()).unwrap_err().to_string()
        };
        assert!(refused(&|one| one.version = 2).contains("version 2"));
        assert!(refused(&|one| one.streams[1].stream = 0).contains("stream 0 stands twice"));
        assert!(refused(&|one| one.streams[1].stream = STREAMS_MAX).contains("out of range"));
        assert!(Manifest::from_json(b"{}").unwrap_err().to_string().contains("not a manifest"));
        let json = sample().to_json().replace("3farfnf", "zzzzzzz");
        assert!(Manifest::from_json(json.as_bytes()).unwrap_err().to_string().contains("digits"));
    }
}
