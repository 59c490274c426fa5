//! What a syslog message says: RFC 5424, RFC 3164 in the ways the world writes it, or neither.
//!
//! ```text
//! <34>1 2003-10-11T22:14:15.003Z mymachine su - ID47 [a@1 b="c"] 'su root' failed
//!  pri v  time                   hostname app │ msg_id  data      message
//! <34>Oct 11 22:14:15 mymachine su[230]: 'su root' failed    │
//!  pri time           hostname  app proc   message           └ proc_id: none
//! ```
//!
//! Promises: nothing is allocated, nothing panics, every byte of a field is a byte of the message.
//! What cannot be parsed is [`Format::Unparsed`] with a [`Reason`], and its message is the whole.
//! Only what is wanted is parsed: fields stand in the order in which messages have them, and
//! parsing stops behind the last wanted one. So only with [`Fields::ALL`] is a whole message known
//! to be good.
//!
//! - `time`, `dates`: the time as sent · `zone`: the year and the zone that were not
//! - `data`: structured data · [`body`]: what the text holds: CEF, LEEF, a mnemonic
//! - `rfc5424`, `rfc3164`, `vendors`: the grammars

pub mod body;
mod data;
mod dates;
mod pri;
mod rfc3164;
mod rfc5424;
mod scan;
mod time;
mod vendors;
mod zone;

pub use self::data::{Data, Element, Elements, Params, Value};
pub use self::pri::PRI_MAX;
pub use self::time::{Offset, Time};
pub use self::zone::{Arrival, Moment, Zone, abbreviation};

use self::pri::Lead;
use self::time::Rigour;

/// Which format is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it is, taken as loosely as can be done without guessing.
    #[default]
    Auto,
    Rfc3164,
    /// To the letter: what breaks a rule of the RFC is unparsed.
    Rfc5424,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Rfc5424,
    Rfc3164,
    Unparsed,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rfc5424 => "rfc5424",
            Self::Rfc3164 => "rfc3164",
            Self::Unparsed => "unparsed",
        }
    }
}

/// Why a message is unparsed: one counter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Empty,
    /// Neither a time nor a tag: nothing to tell a header by.
    NoHeader,
    /// It begins with `<`, and that is no PRI.
    Pri,
    Version,
    Timestamp,
    Hostname,
    AppName,
    ProcId,
    MsgId,
    StructuredData,
    /// RFC 5424 that ends before its structured data.
    CutShort,
}

impl Reason {
    pub const ALL: [Self; 11] = [
        Self::Empty,
        Self::NoHeader,
        Self::Pri,
        Self::Version,
        Self::Timestamp,
        Self::Hostname,
        Self::AppName,
        Self::ProcId,
        Self::MsgId,
        Self::StructuredData,
        Self::CutShort,
    ];

    /// As counters and `flumen parse` say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NoHeader => "no_header",
            Self::Pri => "bad_pri",
            Self::Version => "bad_version",
            Self::Timestamp => "bad_timestamp",
            Self::Hostname => "bad_hostname",
            Self::AppName => "bad_app_name",
            Self::ProcId => "bad_proc_id",
            Self::MsgId => "bad_msg_id",
            Self::StructuredData => "bad_structured_data",
            Self::CutShort => "cut_short",
        }
    }
}

/// A set of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields(u16);

impl Fields {
    pub const NONE: Self = Self(0);
    pub const PRI: Self = Self(1);
    pub const TIME: Self = Self(1 << 1);
    pub const HOSTNAME: Self = Self(1 << 2);
    pub const APP_NAME: Self = Self(1 << 3);
    pub const PROC_ID: Self = Self(1 << 4);
    pub const MSG_ID: Self = Self(1 << 5);
    pub const DATA: Self = Self(1 << 6);
    pub const MESSAGE: Self = Self(1 << 7);
    pub const ALL: Self = Self((1 << 8) - 1);

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any field behind `last`, a single one, is wanted.
    #[inline(always)]
    const fn beyond(self, last: Self) -> bool {
        self.0 >= last.0 << 1
    }
}

/// A message, taken apart: slices of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub format: Format,
    /// Why it is unparsed.
    pub reason: Option<Reason>,
    /// Facility times eight plus severity.
    pub pri: Option<u8>,
    /// RFC 5424's, 1 to 999.
    pub version: Option<u16>,
    pub time: Option<Time<'a>>,
    pub hostname: Option<&'a [u8]>,
    pub app_name: Option<&'a [u8]>,
    pub proc_id: Option<&'a [u8]>,
    pub msg_id: Option<&'a [u8]>,
    pub data: Data<'a>,
    /// Without BOM; `None` when the message ends with its header.
    pub message: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    #[inline(always)]
    fn new(format: Format, pri: Option<u8>) -> Self {
        Self {
            format,
            reason: None,
            pri,
            version: None,
            time: None,
            hostname: None,
            app_name: None,
            proc_id: None,
            msg_id: None,
            data: Data::default(),
            message: None,
        }
    }

    /// Forgets what was found but the PRI.
    #[cold]
    fn give_up(&mut self, bytes: &'a [u8], pri: Option<u8>, reason: Reason) {
        *self = Self::new(Format::Unparsed, pri);
        self.reason = Some(reason);
        self.message = Some(bytes);
    }

    pub fn facility(&self) -> Option<u8> {
        self.pri.map(|pri| pri >> 3)
    }

    pub fn severity(&self) -> Option<u8> {
        self.pri.map(|pri| pri & 7)
    }
}

/// The PRI at the very front, and nothing else: what costs next to nothing.
#[inline]
pub fn pri_of(bytes: &[u8]) -> Option<u8> {
    if let Some(front) = bytes.first_chunk() {
        return pri::at_front(u64::from_le_bytes(*front));
    }
    match pri::lead(bytes) {
        Lead::Pri { pri, .. } => Some(pri),
        _ => None,
    }
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Takes a message apart, as far as `wanted` goes.
#[inline]
pub fn parse(bytes: &[u8], expect: Expect, wanted: Fields) -> Message<'_> {
    // One place from the start: a message is large to move.
    let mut message = Message::new(Format::Rfc3164, None);
    if let Err((pri, reason)) = fill(bytes, expect, wanted, &mut message) {
        message.give_up(bytes, pri, reason);
    }
    message
}

/// What is left to say when nothing was found: the PRI, and why.
type Failure = (Option<u8>, Reason);

#[inline(always)]
fn fill<'a>(
    bytes: &'a [u8],
    expect: Expect,
    wanted: Fields,
    message: &mut Message<'a>,
) -> Result<(), Failure> {
    // A file's BOM in front of its first line, and blanks before the PRI, are no part of it.
    let start = match bytes.first() {
        Some(b'<') => 0,
        _ => lead_in(bytes),
    };
    let (pri, plain, at) = match pri::lead(&bytes[start..]) {
        Lead::Pri { pri, plain, end } => (Some(pri), plain, start + end),
        other => return headless(bytes, start, other, expect, wanted, message),
    };
    message.pri = pri;
    let rigour = match expect {
        Expect::Rfc5424 => Rigour::Exact,
        Expect::Auto if rfc5424::is_meant(bytes, at) => Rigour::Loose,
        _ => {
            let found = rfc3164::parse(bytes, at, true, wanted, message);
            return found.map_err(|reason| (pri, reason));
        }
    };
    if !plain {
        return Err((None, Reason::Pri));
    }
    message.format = Format::Rfc5424;
    rfc5424::parse(bytes, at, rigour, wanted, message).map_err(|reason| (pri, reason))
}

#[cold]
fn lead_in(bytes: &[u8]) -> usize {
    let bom = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
    scan::skip_blanks(bytes, bom)
}

/// A message without a valid PRI: it is told by its time.
#[cold]
fn headless<'a>(
    bytes: &'a [u8],
    start: usize,
    lead: Lead,
    expect: Expect,
    wanted: Fields,
    message: &mut Message<'a>,
) -> Result<(), Failure> {
    let (at, reason) = match lead {
        Lead::Broken { end: Some(end) } => (start + end, Reason::Pri),
        Lead::Broken { end: None } => return Err((None, Reason::Pri)),
        _ if start == bytes.len() => return Err((None, Reason::Empty)),
        _ => (start, Reason::NoHeader),
    };
    if expect == Expect::Rfc5424 {
        return Err((None, Reason::Pri));
    }
    if expect == Expect::Auto && rfc5424::is_meant(bytes, at) {
        message.format = Format::Rfc5424;
        let wanted = wanted.union(Fields::TIME);
        let found = rfc5424::parse(bytes, at, Rigour::Loose, wanted, message);
        if message.time.is_some() {
            return found.map_err(|reason| (None, reason));
        }
        *message = Message::new(Format::Rfc3164, None);
    }
    rfc3164::parse(bytes, at, false, wanted, message).map_err(|_| (None, reason))
}
