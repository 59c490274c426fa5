//! Where events go: Flume's path escapes, compiled once.
//!
//! `%Y/%m/%d/%H` and their kin come from the receive time in the sink's zone, `%{peer}` is the
//! sender's address, `%[localhost]`, `%[IP]` and `%[FQDN]` are this machine's. Numbers and names
//! only: nothing a sender controls can leave the directory. Source: Flume's BucketPath.

use std::ffi::OsString;
use std::fmt::Write;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::storage::Container;
use crate::storage::catalog::SegmentName;
use crate::time::Wall;

#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Time(char),
    Peer,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(super) struct TemplateError {
    pub(super) what: String,
    pub(super) remedy: String,
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

impl Template {
    pub(super) fn parse(text: &str, zone: TimeZone) -> Result<Self, TemplateError> {
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
        let template = Self { parts, zone };
        template.check(text)?;
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

    /// Whether events of one batch can go to different files.
    pub(super) fn keyed(&self) -> bool {
        self.parts.contains(&Part::Peer)
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

    /// The path, without codec suffix, for events received at `at` from `peer`.
    pub(super) fn render(&self, at: Wall, peer: Option<IpAddr>) -> PathBuf {
        let time = Timestamp::from_nanosecond(i128::from(at.0))
            .expect("an i64 of nanoseconds is within jiff's years")
            .to_zoned(self.zone.clone());
        let mut path = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => path.push_str(text),
                Part::Time(letter) => format_time(*letter, &time, &mut path),
                Part::Peer => match peer {
                    Some(address) => {
                        let _ = write!(path, "{}", address.to_canonical());
                    }
                    None => path.push_str("unknown"),
                },
            }
        }
        PathBuf::from(path)
    }

    /// Whether `file` can be a segment of this template, whatever its time and peer.
    pub(super) fn owns(&self, file: &Path, container: Container) -> bool {
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
                unknown("`%{` without `}`".to_owned(), "write %{peer}, or %% for a percent sign")
            })?;
            match &text[2..end] {
                "peer" => Ok((Part::Peer, end + 1)),
                name => Err(unknown(
                    format!("`%{{{name}}}` needs parsing, which is not built yet"),
                    "%{peer}, the sender's address, is there",
                )),
            }
        }
        Some('[') => {
            let end = text.find(']').ok_or_else(|| {
                unknown("`%[` without `]`".to_owned(), "write %[localhost], %[IP] or %[FQDN]")
            })?;
            machine(&text[2..end]).map(|name| (Part::Literal(name), end + 1))
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

/// What this machine is called.
fn machine(name: &str) -> Result<String, TemplateError> {
    let node = rustix::system::uname().nodename().to_string_lossy().replace('/', "_");
    match name {
        "localhost" | "FQDN" | "IP" if node.is_empty() => Ok("unknown".to_owned()),
        // Resolving a name may block and changes with the network; the kernel's own name does not.
        "localhost" | "FQDN" => Ok(node),
        "IP" => Ok(crate::sink::rolling_file::address::of_this_machine()
            .map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string())),
        other => Err(TemplateError {
            what: format!("`%[{other}]` is no path escape"),
            remedy: "write %[localhost], %[IP] or %[FQDN]".to_owned(),
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
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::parse(text, TimeZone::UTC).expect(text)
    }

    #[test]
    fn every_escape_of_flume() {
        // Saturday, 2003-10-11 22:14:15 UTC
        let at = Wall(1_065_910_455_003_000_000);
        for (text, path) in [
            ("%Y-%m-%d/%H:%M:%S", "2003-10-11/22:14:15"),
            ("%y %j %e %n %k %l %I %p", "03 284 11 10 22 10 10 PM"),
            ("%a %A %b %B", "Sat Saturday Oct October"),
            ("%D", "10/11/03"),
            ("%c", "Sat Oct 11 22:14:15 2003"),
            ("%s %z 100%%", "1065910455 +0000 100%"),
        ] {
            assert_eq!(template(text).render(at, None).to_str(), Some(path), "{text}");
        }
    }

    #[test]
    fn the_zone_and_the_peer() {
        let zone = TimeZone::get("Europe/Berlin").expect("bundled");
        let template = Template::parse("/l/%{peer}/%H", zone).expect("good");
        let at = Wall(1_065_910_455_000_000_000);
        let peer = |text: &str| Some(text.parse().expect("address"));
        assert_eq!(template.render(at, peer("::ffff:10.0.0.1")), Path::new("/l/10.0.0.1/00"));
        assert_eq!(template.render(at, peer("fe80::1")), Path::new("/l/fe80::1/00"));
        assert_eq!(template.render(at, None), Path::new("/l/unknown/00"));
        assert!(template.keyed());
        assert_eq!(template.slice(), Some(Duration::from_secs(3600)));
        assert_eq!(template.root(), Path::new("/l"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, what) in [
            ("", "an empty path"),
            ("/var/log/", "a directory, not a file"),
            ("/l/%{host}", "`%{host}` needs parsing, which is not built yet"),
            ("/l/%q", "`%q` is no path escape"),
            ("/l/%", "`%` is no path escape"),
            ("/l/%{peer", "`%{` without `}`"),
            ("/l/%[x]", "`%[x]` is no path escape"),
            ("/l/%t", "`%t`, a new file every millisecond"),
            ("/l/.x", "a hidden file or directory"),
        ] {
            let error = Template::parse(text, TimeZone::UTC).expect_err(text);
            assert_eq!(error.what, what);
        }
    }

    #[test]
    fn owns_its_own_files_only() {
        let own = template("/l/%{peer}/%Y-%m.log");
        for (file, owned) in [
            ("/l/10.0.0.1/2003-10.log.zst", true),
            ("/l/10.0.0.1/2003-10.log.3.zst.open", true),
            ("/l/10.0.0.1/2003-10.log.gz", false),
            ("/l/10.0.0.1/x/2003-10.log.zst", false),
            ("/l/10.0.0.1/2003-10.txt.zst", false),
            ("/l//2003-10.log.zst", false),
        ] {
            assert_eq!(own.owns(Path::new(file), Container::Zstd), owned, "{file}");
        }
        let plain = template("/l/all.log");
        assert!(plain.owns(Path::new("/l/all.log.7"), Container::Plain));
        assert!(plain.owns(Path::new("/l/all.log"), Container::Plain));
        assert!(!plain.owns(Path::new("/l/all.log.old"), Container::Plain));
    }
}
