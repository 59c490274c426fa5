//! A journal entry as an RFC 5424 message: the journal knows microseconds, a message id and trusted
//! fields, and RFC 3164 has room for none of them.
//!
//! ```text
//!   PRI       SYSLOG_FACILITY (0 for the kernel's, else 1), PRIORITY (else 6)
//!   time      _SOURCE_REALTIME_TIMESTAMP, else __REALTIME_TIMESTAMP
//!   host      _HOSTNAME                  app      SYSLOG_IDENTIFIER, else _COMM
//!   proc id   _PID, else SYSLOG_PID      msg id   MESSAGE_ID
//!   data      the fields asked for, as parameters of `journal@32473`
//! ```

use crate::syslog::write::{self, Element, Header};
use crate::wire::journal::{Reader, Wanted};

/// We have no enterprise number; 32473 is the one for examples (RFC 5612).
const ELEMENT: &str = "journal@32473";

/// Longest text of a message; journald itself cuts lines of standard output at 48 KiB.
const MESSAGE_BYTES_MAX: usize = 128 << 10;
/// Longest value of any other field, and of all of them together.
const VALUE_BYTES_MAX: usize = 4 << 10;
const VALUES_BYTES_MAX: usize = 32 << 10;

/// Kept of an entry.
pub(super) const ENTRY_BYTES_MAX: usize = MESSAGE_BYTES_MAX + VALUES_BYTES_MAX;

/// Fields that may be asked for.
pub(super) const FIELDS_MAX: usize = 32;

/// The longest event: the text, and a header whose values may all be escaped; each value has a
/// name, quotes and a blank.
pub(super) const EVENT_BYTES_MAX: usize =
    write::HEADER_BYTES_MAX + MESSAGE_BYTES_MAX + 2 * VALUES_BYTES_MAX + NAMES_BYTES_MAX;
const NAMES_BYTES_MAX: usize = 256 * (write::NAME_BYTES_MAX + 4);

/// Places among the wanted; asked-for fields stand behind.
const CURSOR: usize = 0;
const REALTIME: usize = 1;
const SOURCE_REALTIME: usize = 2;
const PRIORITY: usize = 3;
const FACILITY: usize = 4;
const TRANSPORT: usize = 5;
const HOSTNAME: usize = 6;
const IDENTIFIER: usize = 7;
const COMM: usize = 8;
const PID: usize = 9;
const SYSLOG_PID: usize = 10;
const MESSAGE_ID: usize = 11;
const MESSAGE: usize = 12;
const NAMES: [&str; 13] = [
    "__CURSOR",
    "__REALTIME_TIMESTAMP",
    "_SOURCE_REALTIME_TIMESTAMP",
    "PRIORITY",
    "SYSLOG_FACILITY",
    "_TRANSPORT",
    "_HOSTNAME",
    "SYSLOG_IDENTIFIER",
    "_COMM",
    "_PID",
    "SYSLOG_PID",
    "MESSAGE_ID",
    "MESSAGE",
];

/// A reader for entries, and which of its fields are the asked-for ones.
pub(super) struct Entries {
    pub(super) reader: Reader,
    /// Name, and place in the reader.
    data: Vec<(String, usize)>,
}

impl Entries {
    pub(super) fn new(fields: &[String]) -> Self {
        let mut names: Vec<&str> = NAMES.to_vec();
        let mut data = Vec::new();
        for name in fields {
            let known = names.iter().position(|known| known == name);
            if known.is_none() {
                names.push(name);
            }
            data.push((name.clone(), known.unwrap_or(names.len() - 1)));
        }
        let wanted = names.iter().enumerate().map(|(index, name)| Wanted {
            name: name.as_bytes().into(),
            bytes_max: if index == MESSAGE { MESSAGE_BYTES_MAX } else { VALUE_BYTES_MAX },
        });
        Self { reader: Reader::new(wanted.collect(), ENTRY_BYTES_MAX), data }
    }

    /// Where the entry stands in its journal.
    pub(super) fn cursor(&self) -> Option<&[u8]> {
        self.reader.value(CURSOR)
    }

    /// Writes the complete entry as a message.
    pub(super) fn compose(&self, out: &mut Vec<u8>) {
        let entry = &self.reader;
        let word = |first: usize, second: usize| {
            let filled = |index| entry.value(index).filter(|value| !value.is_empty());
            filled(first).or_else(|| filled(second)).unwrap_or_default()
        };
        let header = Header {
            pri: pri(entry),
            micros: number(word(SOURCE_REALTIME, REALTIME)).and_then(|time| time.try_into().ok()),
            hostname: word(HOSTNAME, HOSTNAME),
            app_name: word(IDENTIFIER, COMM),
            proc_id: word(PID, SYSLOG_PID),
            msg_id: word(MESSAGE_ID, MESSAGE_ID),
        };
        write::header(out, &header);
        self.compose_data(out);
        if let Some(message) = entry.value(MESSAGE).filter(|message| !message.is_empty()) {
            out.push(b' ');
            out.extend_from_slice(message);
        }
    }

    fn compose_data(&self, out: &mut Vec<u8>) {
        let has = |(_, index): &(String, usize)| self.reader.value(*index).is_some();
        if !self.data.iter().any(has) {
            out.push(b'-');
            return;
        }
        let mut element = Element::begin(out, ELEMENT);
        for (name, index) in &self.data {
            for value in self.reader.values(*index) {
                element.param(name.as_bytes(), value);
            }
        }
        element.end();
    }
}

fn pri(entry: &Reader) -> u8 {
    let field = |index, longest| {
        let value = number(entry.value(index)?)?;
        u8::try_from(value).ok().filter(|value| *value <= longest)
    };
    let kernel = entry.value(TRANSPORT) == Some(b"kernel");
    let facility = field(FACILITY, 23).unwrap_or(if kernel { 0 } else { 1 });
    facility * 8 + field(PRIORITY, 7).unwrap_or(6)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syslog::parse::{self, Expect, Fields, Format};
    use proptest::prelude::*;

    fn composed(entries: &mut Entries, stream: &[u8]) -> Vec<u8> {
        entries.reader.clear();
        entries.reader.feed(stream);
        assert!(entries.reader.is_complete());
        let mut out = Vec::new();
        entries.compose(&mut out);
        out
    }

    fn text(fields: &[&str], stream: &str) -> String {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let text = composed(&mut Entries::new(&fields), format!("{stream}\n").as_bytes());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn an_entry_is_a_message_with_all_it_knows() {
        let stream = "__CURSOR=s=a;i=1\n__REALTIME_TIMESTAMP=1763717885123456\nPRIORITY=3\n\
            SYSLOG_FACILITY=10\n_HOSTNAME=web1\nSYSLOG_IDENTIFIER=sshd\n_COMM=ssh d\n_PID=71\n\
            SYSLOG_PID=72\nMESSAGE_ID=8d45620c1a4348dbb17410da57c60c66\n_UID=0\n\
            _SYSTEMD_UNIT=ssh.service\nMESSAGE=Accepted key for root\n";
        let head =
            "<83>1 2025-11-21T09:38:05.123456Z web1 sshd 71 8d45620c1a4348dbb17410da57c60c66";
        assert_eq!(text(&[], stream), format!("{head} - Accepted key for root"));
        assert_eq!(
            text(&["_UID", "_SYSTEMD_UNIT", "_PID", "NONE"], stream),
            format!(
                "{head} [journal@32473 _UID=\"0\" _SYSTEMD_UNIT=\"ssh.service\" _PID=\"71\"] \
                 Accepted key for root"
            )
        );
    }

    #[test]
    fn what_is_missing_has_its_default() {
        assert_eq!(text(&["_UID"], "A=1\n"), "<14>1 - - - - - -");
        let kernel = "_TRANSPORT=kernel\nPRIORITY=9\n_COMM=x y\nMESSAGE=m\n\
            _SOURCE_REALTIME_TIMESTAMP=0\n__REALTIME_TIMESTAMP=99\n";
        assert_eq!(text(&[], kernel), "<6>1 1970-01-01T00:00:00.000000Z - x_y - - - m");
    }

    #[test]
    fn the_longest_entry_fits() {
        let mut entries = Entries::new(&["X".repeat(32), "_UID".to_owned()]);
        let mut stream = vec![b'"'; 64 << 10];
        let value = [&b"="[..], &vec![b'"'; 8 << 10], b"\n"].concat();
        stream = [b"MESSAGE=", &stream[..], &stream, &stream, b"\n"].concat();
        for _ in 0..100 {
            stream.extend([&b"X".repeat(32), &value[..]].concat());
        }
        for _ in 0..1000 {
            stream.extend_from_slice(b"_UID=\n");
        }
        stream.push(b'\n');
        let text = composed(&mut entries, &stream);
        assert!(entries.reader.is_cut());
        assert!(text.len() > MESSAGE_BYTES_MAX + 2 * (30 << 10), "{}", text.len());
        assert!(text.len() <= EVENT_BYTES_MAX, "{}", text.len());
    }

    proptest! {
        #[test]
        fn whatever_the_fields_are_the_message_parses(
            values in prop::collection::vec("[ -~]{0,60}", NAMES.len()),
        ) {
            let mut stream = String::new();
            for (name, value) in NAMES.iter().zip(&values) {
                stream += &format!("{name}={value}\n");
            }
            stream.push('\n');
            let mut entries = Entries::new(&["_COMM".to_owned()]);
            let text = composed(&mut entries, stream.as_bytes());
            let message = parse::parse(&text, Expect::Rfc5424, Fields::ALL);
            prop_assert_eq!(message.format, Format::Rfc5424, "{}", text.escape_ascii());
            let given = Some(values[MESSAGE].as_bytes()).filter(|text| !text.is_empty());
            prop_assert_eq!(message.message, given);
        }
    }
}
