//! Types and keys of Flume's that are still to come, or never will, each told by name.

use super::tree::Part;
use crate::config::suggest::nearest;
use crate::config::value::{Entry, Spanned, Table, Value};

/// Names of a type without case, and what to do instead.
pub(super) type Never = &'static [(&'static str, &'static str)];

pub(super) const NEVER_SOURCES: Never = &[
    ("avrolegacy", "Flume 0.9 ended in 2012: send syslog, or Avro from Flume 1"),
    ("thriftlegacy", "Flume 0.9 ended in 2012: send syslog, or Thrift from Flume 1"),
    ("scribe", "Scribe is no more: send syslog over TCP"),
    ("twitter", "its interface is closed: take `exec` with a client of your own"),
];
pub(super) const NEVER_CHANNELS: Never = &[
    ("jdbc", "take `file`, which is durable and faster"),
    ("pseudotxnmemory", "it was for tests: take `memory`"),
];
pub(super) const NEVER_SINKS: Never = &[
    ("asynchbase", "write files, and load them with HBase's own tools"),
    ("dataset", "write files as Avro or JSON, which every loader reads"),
    ("hbase", "write files, and load them with HBase's own tools"),
    ("hbase2", "write files, and load them with HBase's own tools"),
    ("hive", "write files below the table's location, as an external table of JSON"),
    ("irc", "write files, and let a bot follow them with `flumen tail`"),
    ("kudu", "write files, and load them with Kudu's own tools"),
    ("morphlinesolr", "write files, and index them with Solr's own tools"),
];

/// The alias, or the last word of a class of Flume's without its `$Builder`, in small letters. A
/// class of another package is itself: it may be called as one of Flume's is.
pub(super) fn word(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    let Some(class) = kind.strip_prefix("org.apache.flume.") else { return kind };
    let class = class.strip_suffix("$builder").unwrap_or(class);
    class.rsplit(['.', '$']).next().unwrap_or_default().to_owned()
}

/// The component's `type`; none when it is missing or will never be, which has been told.
pub(super) fn kind(part: &Part, room: &str, never: Never) -> Option<Spanned<String>> {
    let Some(kind) = part.text("type") else {
        part.missing("type", &format!("which {room} this is"));
        return None;
    };
    let word = word(&kind);
    let bare = word.trim_end_matches(room).replace('_', "");
    if kind.is_empty() {
        // What should have filled it in has been told.
        part.ignore_rest();
        return None;
    }
    let Some((name, remedy)) = never.iter().find(|(name, _)| *name == bare) else {
        return Some(kind);
    };
    let what = format!("the {room} type `{name}` of Flume is not supported");
    part.fail(&kind.span, what, *remedy);
    None
}

/// A type of ours that is still to come goes on under our name, for the registry to refuse; of
/// others it is said that nobody knows them.
pub(super) fn later<'k>(
    part: &Part,
    kind: &Spanned<String>,
    later: &[(&str, &'static str)],
    room: &str,
    known: impl Iterator<Item = &'k str>,
) -> Option<(Spanned<String>, Table)> {
    let wanted = word(kind);
    if let Some((_, ours)) = later.iter().find(|(name, _)| *name == wanted) {
        let place = kind.span.clone();
        let entry = |key: &str, value: Value| Entry {
            key: Spanned::new(key.to_owned(), place.clone()),
            value: Spanned::new(value, place.clone()),
        };
        let text = |text: &str| Value::Text { text: text.to_owned(), filled: false };
        let mut entries = vec![entry("type", text(ours))];
        // The channel is used, whatever becomes of this component.
        for (theirs, list) in [("channels", true), ("channel", false)] {
            let Some(key) = part.find(theirs) else { continue };
            let words = key.words().into_iter();
            let names = words.map(|word| Spanned::new(text(&word), word.span.clone())).collect();
            let value = if list { Value::List(names) } else { text(&key.value) };
            entries.push(entry(theirs, value));
        }
        let table = Table { entries, header: part.place() };
        return Some((part.name.clone(), table));
    }
    let what = format!("no {room} has the type `{}`", kind.value);
    let foreign = kind.contains('.') && !kind.starts_with("org.apache.flume.");
    let remedy = match nearest(&wanted, known) {
        Some(near) if !foreign => format!("did you mean `{near}`?"),
        _ => "a class of your own cannot be loaded: there is no Java here".to_owned(),
    };
    part.fail(&kind.span, what, remedy);
    None
}

/// TLS of a source: Flume's keys are in Java's keystores, ours in PEM files.
pub(super) fn tls(part: &Part) {
    tls_by(part, &["ssl"], "tls");
}

/// Switched on by one of these keys; ours would listen by this scheme.
pub(super) fn tls_by(part: &Part, switches: &[&str], scheme: &str) {
    let switches: Vec<_> = switches.iter().filter_map(|switch| part.flag(switch)).collect();
    part.ignore_below("keystore");
    if switches.is_empty() {
        return;
    }
    for prefix in ["exclude", "include"] {
        part.ignore_below(prefix);
    }
    if let Some(ssl) = switches.iter().find(|switch| switch.value) {
        let remedy = format!(
            "take the key out of the keystore (`keytool -importkeystore … -deststoretype \
             PKCS12`, `openssl pkcs12 -nodes`), then in TOML `listen = [\"{scheme}://…\"]` and \
             `tls = {{ certificate = …, key = … }}`"
        );
        part.fail(&ssl.span, "keystores of Java cannot be read", remedy);
    }
}
