//! Where events go: Flume's path escapes, compiled once.
//!
//! `%Y/%m/%d/%H` and their kin come from the receive time in the sink's zone, or with
//! `time = "message"` from the one the message carries; `%{host}` and other fields from the event;
//! `%[localhost]`, `%[IP]` and `%[FQDN]` are this machine's. Source: Flume's BucketPath.
//! `%[started]`, `%[opened]` and `%[number]` are known when a file is opened: see `at_open`.
//!
//! What an event contributes is its *key*: every field made `safe`, each with a NUL behind it.
//! Nothing a sender controls can leave the directory, or make a name that no file system takes.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::at_open::AtOpen;
use super::safe::{self, make_safe};
use crate::codec::field::Field;
use crate::config::{listed, nearest};
use crate::event::headers::TIMESTAMP;
use crate::event::{Event, HeaderNames};
use crate::storage::Container;
use crate::storage::catalog::SegmentName;
use crate::syslog::parse::Fields;
use crate::time::Wall;

#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
    zone: TimeZone,
    by: Clock,
    /// Of a symbolic link to the newest file, with the same fields and no times.
    link: Option<Vec<Part>>,
}

/// Whose time it is that stands in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Received,
    /// The message's own, and the receive time of those that have none.
    Message,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Time(char),
    /// In at most so many bytes.
    Field(Field, usize),
    /// What is put in when the file is opened.
    AtOpen(AtOpen),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct TemplateError {
    pub what: String,
    pub remedy: String,
}

/// Escape letters, each with the seconds after which its text changes.
const LETTERS: &[(char, u64)] = &[
    ('A', DAY),
    ('B', DAY),
    ('D', DAY),
    ('H', 3600),
    ('I', 3600),
    ('M', 60),
    ('S', 1),
    ('Y', DAY),
    ('a', DAY),
    ('b', DAY),
    ('c', 1),
    ('d', DAY),
    ('e', DAY),
    ('j', DAY),
    ('k', 3600),
    ('l', 3600),
    ('m', DAY),
    ('n', DAY),
    ('p', 3600),
    ('s', 1),
    ('y', DAY),
    ('z', 3600),
];
const DAY: u64 = 86_400;

/// What file systems take as one name, less a number and the suffixes of codec and state.
const NAME_BYTES_MAX: usize = 255 - 25;
/// A field has no more, however much room there is.
const FIELD_BYTES_MAX: usize = 128;
/// The longest that an escape letter becomes, but for `%c`.
const TIME_BYTES_MAX: usize = 12;
/// And what is put in at open: a date and time, or a number of 64 bits.
const AT_OPEN_BYTES_MAX: usize = 20;

/// Fields that may stand in a path: one of a few words, or the name of somebody.
const IN_PATHS: &[&str] = &[
    "host",
    "app",
    "proc_id",
    "msg_id",
    "facility",
    "severity",
    "peer",
    "tls_name",
    "uid",
    "gid",
    "sd:ID:KEY",
    "HEADER",
];

impl Template {
    pub fn parse(text: &str, zone: TimeZone, by: Clock) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            let (part, used) = escape(&rest[at..])?;
            match part {
                Part::Literal(fixed) => literal.push_str(&fixed),
                part => {
                    flush(&mut literal, &mut parts);
                    parts.push(part);
                }
            }
            rest = &rest[at + used..];
        }
        literal.push_str(rest);
        flush(&mut literal, &mut parts);
        let mut template = Self { parts, zone, by, link: None };
        template.check(text)?;
        template.share_names()?;
        Ok(template)
    }

    fn check(&self, text: &str) -> Result<(), TemplateError> {
        let error = |what: &str, remedy: &str| {
            Err(TemplateError { what: what.to_owned(), remedy: remedy.to_owned() })
        };
        if text.is_empty() {
            return error("an empty path", "write for example \"/var/log/flumen/all.log\"");
        }
        if text.ends_with('/') || text.ends_with("/.") || text.ends_with("/..") {
            return error("a directory, not a file", "end the path with a file name, \"all.log\"");
        }
        let below = text.strip_prefix(self.root().to_str().unwrap_or_default()).unwrap_or(text);
        if below.split('/').any(|part| part.starts_with('.') && part != "." && part != "..") {
            return error("a hidden file or directory", "dotfiles are left out when reading back");
        }
        Ok(())
    }

    /// Each field gets its share of the name it stands in.
    fn share_names(&mut self) -> Result<(), TemplateError> {
        let mut names = vec![(0, 0)];
        for part in &self.parts {
            let (bytes, fields) = names.last_mut().expect("there is a first name");
            match part {
                Part::Literal(text) => {
                    let mut pieces = text.split('/');
                    *bytes += pieces.next().map_or(0, str::len);
                    names.extend(pieces.map(|piece| (piece.len(), 0)));
                }
                Part::Time('c') => *bytes += 2 * TIME_BYTES_MAX,
                Part::Time(_) => *bytes += TIME_BYTES_MAX,
                Part::AtOpen(_) => *bytes += AT_OPEN_BYTES_MAX,
                Part::Field(..) => *fields += 1,
            }
        }
        let room =
            |(bytes, fields): (usize, usize)| NAME_BYTES_MAX.saturating_sub(bytes) / fields.max(1);
        if names.iter().any(|name| name.1 > 0 && room(*name) < safe::NAME_BYTES_MIN) {
            return Err(TemplateError {
                what: "too much in one file or directory name".to_owned(),
                remedy: format!("a name has {NAME_BYTES_MAX} bytes: put a `/` between the fields"),
            });
        }
        let mut name = 0;
        for part in &mut self.parts {
            match part {
                Part::Literal(text) => name += text.matches('/').count(),
                Part::Field(_, bytes_max) => *bytes_max = room(names[name]).min(FIELD_BYTES_MAX),
                Part::Time(_) | Part::AtOpen(_) => {}
            }
        }
        Ok(())
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(field, _) => Some(field),
            Part::Literal(_) | Part::Time(_) | Part::AtOpen(_) => None,
        })
    }

    pub(super) fn zone(&self) -> TimeZone {
        self.zone.clone()
    }

    fn by_message(&self) -> bool {
        self.by == Clock::Message && self.slice().is_some()
    }

    /// Whether events of one batch can go to different files.
    pub(super) fn keyed(&self) -> bool {
        self.fields().next().is_some() || self.by_message()
    }

    /// What must be parsed of each message.
    pub(super) fn wanted(&self) -> Fields {
        let time = if self.by_message() { Fields::TIME } else { Fields::NONE };
        self.fields().fold(time, |all, field| all.union(field.wanted()))
    }

    /// The headers that it looks for.
    pub(super) fn headers(&self) -> HeaderNames {
        let mut names = HeaderNames::of(self.by_message().then_some(TIMESTAMP));
        self.fields().for_each(|field| names.add(field.headers()));
        names
    }

    /// Whether it says nothing without a parser.
    pub(super) fn names_fields(&self) -> bool {
        self.by_message() || self.fields().any(Field::is_parsed)
    }

    /// Whether batches, which do not straddle a slice of the receive time, go to one file each.
    pub(super) fn follows_the_clock(&self) -> bool {
        self.by == Clock::Received
    }

    /// The time of an event by which its file is chosen.
    #[inline]
    pub(super) fn time_of(&self, event: &Event<'_>) -> Wall {
        match self.by {
            Clock::Received => event.at,
            Clock::Message => event.time(),
        }
    }

    /// Appends an event's key.
    #[inline]
    pub(super) fn key_of(&self, event: &Event<'_>, key: &mut Vec<u8>) {
        for part in &self.parts {
            if let Part::Field(field, bytes_max) = part {
                let from = key.len();
                field.append(event, key);
                make_safe(key, from, *bytes_max);
                key.push(0);
            }
        }
    }

    /// The finest unit of time the path changes with.
    pub(super) fn slice(&self) -> Option<Duration> {
        let seconds = |part: &Part| match part {
            Part::Time(letter) => LETTERS.iter().find(|row| row.0 == *letter).map(|row| row.1),
            _ => None,
        };
        self.parts.iter().filter_map(seconds).min().map(Duration::from_secs)
    }

    /// The directory below which all its files lie.
    pub(super) fn root(&self) -> PathBuf {
        let fixed = match self.parts.first() {
            Some(Part::Literal(text)) => text.as_str(),
            _ => "",
        };
        match fixed.rfind('/') {
            Some(0) => PathBuf::from("/"),
            Some(at) => PathBuf::from(&fixed[..at]),
            None => PathBuf::from("."),
        }
    }

    /// The path, without codec suffix, of one event.
    pub fn path_of(&self, event: &Event<'_>) -> PathBuf {
        let mut key = Vec::new();
        self.key_of(event, &mut key);
        self.render(self.time_of(event), &key)
    }

    /// The path, without codec suffix, for events of this time and key.
    pub(super) fn render(&self, at: Wall, key: &[u8]) -> PathBuf {
        let time = Timestamp::from_nanosecond(i128::from(at.0))
            .expect("an i64 of nanoseconds is within jiff's years")
            .to_zoned(self.zone.clone());
        let mut path = Vec::new();
        let mut fields = key.split(|byte| *byte == 0);
        for part in &self.parts {
            match part {
                Part::Literal(text) => path.extend_from_slice(text.as_bytes()),
                Part::Time(letter) => {
                    let mut text = String::new();
                    format_time(*letter, &time, &mut text);
                    path.extend_from_slice(text.as_bytes());
                }
                Part::AtOpen(which) => path.push(which.mark()),
                Part::Field(..) => {
                    path.extend_from_slice(fields.next().expect("a key has every field"));
                }
            }
        }
        PathBuf::from(OsString::from_vec(path))
    }

    /// Has a link kept to the newest file of each key.
    pub(super) fn set_link(&mut self, text: &str) -> Result<(), TemplateError> {
        let error =
            |what: String, remedy: &str| Err(TemplateError { what, remedy: remedy.to_owned() });
        let link = Self::parse(text, self.zone.clone(), self.by)?;
        let at_open = |part: &Part| matches!(part, Part::AtOpen(_));
        if link.slice().is_some() || link.parts.iter().any(at_open) {
            let remedy = "leave the time out: the link moves on to each new file";
            return error("a time in the name of the link".to_owned(), remedy);
        }
        if link.parts == self.parts {
            let remedy = "give the link another name, or another directory";
            return error("the same name as `path`".to_owned(), remedy);
        }
        let differs =
            |a: &Self, b: &Self| !a.fields().all(|field| b.fields().any(|it| it == field));
        if differs(self, &link) || differs(&link, self) {
            let remedy = "write the fields of `path` and no others: each of its files has one link";
            return error("other fields than in `path`".to_owned(), remedy);
        }
        self.link = Some(link.parts);
        Ok(())
    }

    /// The link to the newest file for events of this key.
    pub(super) fn link(&self, key: &[u8]) -> Option<Arc<Path>> {
        let mut path = Vec::new();
        for part in self.link.as_ref()? {
            match part {
                Part::Literal(text) => path.extend_from_slice(text.as_bytes()),
                Part::Time(_) | Part::AtOpen(_) => {}
                Part::Field(field, bytes_max) => {
                    let place = self.fields().position(|it| it == field);
                    let value = key.split(|byte| *byte == 0).nth(place.unwrap_or_default());
                    let from = path.len();
                    path.extend_from_slice(value.unwrap_or_default());
                    make_safe(&mut path, from, *bytes_max);
                }
            }
        }
        Some(Arc::from(PathBuf::from(OsString::from_vec(path))))
    }

    /// Whether `file` can be a segment of this template, whatever its time and peer.
    pub fn owns(&self, file: &Path, container: Container) -> bool {
        let Some(name) = file.file_name() else { return false };
        let parsed = SegmentName::parse(name);
        if parsed.container != container {
            return false;
        }
        let mut stems = vec![parsed.stem.clone()];
        if container == Container::Plain {
            // `all.log.7` may be a stem or a number behind one.
            let mut numbered = parsed.stem;
            numbered.push(format!(".{}", parsed.number));
            stems.push(numbered);
        }
        let matches = |stem: &OsString| {
            let path = file.with_file_name(stem);
            matches(&self.parts, path.as_os_str().as_bytes())
        };
        stems.iter().any(matches)
    }
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal)));
    }
}

/// The escape at the front of `text`, and how many bytes it has.
fn escape(text: &str) -> Result<(Part, usize), TemplateError> {
    let unknown = |what: String, remedy: &str| TemplateError { what, remedy: remedy.to_owned() };
    let mut letters = text[1..].chars();
    match letters.next() {
        Some('%') => Ok((Part::Literal("%".to_owned()), 2)),
        Some('{') => {
            let end = text.find('}').ok_or_else(|| {
                unknown("`%{` without `}`".to_owned(), "write %{host}, or %% for a percent sign")
            })?;
            match &text[2..end] {
                name if in_paths(name) => {
                    let field = Field::read(name).expect("a name for paths is a name");
                    Ok((Part::Field(field, FIELD_BYTES_MAX), end + 1))
                }
                name => Err(TemplateError {
                    what: format!("`%{{{name}}}` is no field of a path"),
                    remedy: match nearest(name, IN_PATHS.iter().copied()) {
                        Some(word) => format!("did you mean `%{{{word}}}`?"),
                        None => format!("there is {}", listed(IN_PATHS.iter().copied())),
                    },
                }),
            }
        }
        Some('[') => {
            let end = text.find(']').ok_or_else(|| {
                unknown("`%[` without `]`".to_owned(), "write %[localhost], %[IP] or %[FQDN]")
            })?;
            match AtOpen::named(&text[2..end]) {
                Some(which) => Ok((Part::AtOpen(which), end + 1)),
                None => machine(&text[2..end]).map(|name| (Part::Literal(name), end + 1)),
            }
        }
        Some('t') => Err(unknown(
            "`%t`, a new file every millisecond".to_owned(),
            "take %s, the second, or something coarser",
        )),
        Some(letter) if LETTERS.iter().any(|row| row.0 == letter) => Ok((Part::Time(letter), 2)),
        other => Err(unknown(
            format!("`%{}` is no path escape", other.map(String::from).unwrap_or_default()),
            "write %% for a percent sign; %Y %m %d %H %M are year to minute",
        )),
    }
}

fn in_paths(name: &str) -> bool {
    let free = |field| matches!(field, Field::Param { .. } | Field::Header(_));
    name != "HEADER" && IN_PATHS.contains(&name) || Field::read(name).is_some_and(free)
}

/// What this machine is called.
fn machine(name: &str) -> Result<String, TemplateError> {
    let node = rustix::system::uname().nodename().to_string_lossy().replace('/', "_");
    match name {
        "localhost" | "FQDN" | "IP" if node.is_empty() => Ok("unknown".to_owned()),
        // Resolving a name may block and changes with the network; the kernel's own name does not.
        "localhost" | "FQDN" => Ok(node),
        "IP" => Ok(crate::sys::address::of_this_machine()
            .map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string())),
        other => Err(TemplateError {
            what: format!("`%[{other}]` is no path escape"),
            remedy: "write %[localhost], %[IP], %[FQDN], %[started], %[opened] or %[number]"
                .to_owned(),
        }),
    }
}

fn format_time(letter: char, time: &jiff::Zoned, out: &mut String) {
    let format = match letter {
        'D' => "%m/%d/%y",
        'c' => "%a %b %-d %H:%M:%S %Y",
        'e' => "%-d",
        'k' => "%-H",
        'l' => "%-I",
        'n' => "%-m",
        's' => {
            let _ = write!(out, "{}", time.timestamp().as_second());
            return;
        }
        letter => {
            let mut short = *b"%.";
            short[1] = letter as u8;
            let short = std::str::from_utf8(&short).expect("escape letters are ASCII");
            let _ = write!(out, "{}", time.strftime(short));
            return;
        }
    };
    let _ = write!(out, "{}", time.strftime(format));
}

/// Backtracking match of a path against the parts: literals as they are, escapes any text that is
/// not empty and (but for `%D`) within one directory.
fn matches(parts: &[Part], text: &[u8]) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((Part::Literal(literal), rest)) => {
            text.strip_prefix(literal.as_bytes()).is_some_and(|text| matches(rest, text))
        }
        Some((part, rest)) => {
            let crosses = *part == Part::Time('D');
            let reach = match text.iter().position(|byte| *byte == b'/') {
                Some(at) if !crosses => at,
                _ => text.len(),
            };
            (1..=reach).any(|length| matches(rest, &text[length..]))
        }
    }
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
