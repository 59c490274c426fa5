//! Another parser reads every case too: `syslog_loose`, which Vector uses. Where it says otherwise
//! the difference belongs to a class below that says why; one that belongs to none fails, and so
//! does a class that nothing belongs to any more.

use std::collections::BTreeMap;

use flumen::syslog::parse::{
    Arrival, Data, Expect, Fields, Format, Message, Offset, Reason, Zone, parse,
};
use flumen::time::Wall;
use syslog_loose::{Protocol, Variant};

use crate::syslog::cases;

/// What both say, in one shape.
#[derive(Debug, Default, PartialEq)]
struct Said {
    pri: Option<u8>,
    version: Option<u32>,
    time: Option<i64>,
    hostname: Option<String>,
    app_name: Option<String>,
    proc_id: Option<String>,
    msg_id: Option<String>,
    elements: Vec<(String, Vec<(String, String)>)>,
    /// Without blanks around it, which they trim, and empty where there is none.
    text: String,
}

/// Why the two differ. The order counts: the first that applies.
const CLASSES: &[(&str, Class)] = &[
    ("they drop a malformed element and go on; RFC 5424 6.3 allows none, we keep the whole", |d| {
        d.ours.reason == Some(Reason::StructuredData)
    }),
    ("they take a number above 191, or none, in brackets for text or half a PRI", |d| {
        d.ours.pri.is_none() && d.text.starts_with('<')
    }),
    ("they take a version of nought or of many digits, blanks and lengths without bound", |d| {
        d.ours.format == Format::Unparsed
    }),
    ("they need a time, where a tag, a body or a mnemonic tells as much", |d| {
        d.theirs.is_none() && d.ours.time.is_none()
    }),
    ("they do not read this time at all", |d| d.theirs.is_none()),
    ("their time ends with the seconds: fraction, zone, year and AM become names or text", |d| {
        d.ours.format == Format::Rfc3164
            && d.ours.time.is_some_and(|time| {
                !time.fraction.is_empty()
                    || time.offset != Offset::Unsent
                    || time.year.is_some()
                    || d.said().time != d.own.time
            })
    }),
    ("nanoseconds before 1677 and behind 2262 are beyond their count", |d| {
        matches!(d.own.time, Some(i64::MIN | i64::MAX))
    }),
    ("they turn `\\n` in a value into a newline; RFC 5424 6.3.3 leaves it", |d| {
        d.text.contains("\\n")
    }),
    ("they drop elements with values that have no quotes, or take blanks into a name", |d| {
        d.ours.version.is_some() && d.said().elements != d.own.elements
    }),
    ("they take text right behind a bracket, or half the elements, for structured data", |d| {
        d.said().elements.len() > d.own.elements.len()
    }),
    ("they keep UniFi's brackets and quotes around the device's name", |d| {
        d.said().hostname.as_ref().is_some_and(|name| name.starts_with("(\""))
    }),
    ("a name with a colon and no other is the host to them, the tag to us and to rsyslog", |d| {
        d.own.hostname.is_none() && d.said().hostname.is_some()
    }),
    ("they end a tag at its first colon, bracket or blank, or do not look for its pid", |d| {
        d.own.app_name != d.said().app_name || d.own.proc_id != d.said().proc_id
    }),
    ("a BOM is text to them, and a lone hyphen structured data", |d| {
        d.text.contains('\u{feff}') || d.said().text != d.own.text
    }),
];

type Class = fn(&Difference<'_>) -> bool;

struct Difference<'a> {
    text: &'a str,
    ours: Message<'a>,
    own: Said,
    theirs: Option<Said>,
}

impl Difference<'_> {
    fn said(&self) -> &Said {
        self.theirs.as_ref().expect("an earlier class took those they refuse")
    }
}

fn string(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn elements(data: Data<'_>) -> Vec<(String, Vec<(String, String)>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    data.elements()
        .map(|element| {
            let params = element.params();
            let params = params.map(|(name, v)| (text(name), value(v.bytes().collect())));
            (text(element.id), params.collect())
        })
        .collect()
}

fn ours(message: &Message<'_>, arrival: &mut Arrival) -> Said {
    Said {
        pri: message.pri,
        version: message.version.map(u32::from),
        time: message.time.map(|time| arrival.resolve(&time).wall().0),
        hostname: string(message.hostname),
        app_name: string(message.app_name),
        proc_id: string(message.proc_id),
        msg_id: string(message.msg_id),
        elements: elements(message.data),
        text: string(message.message).unwrap_or_default().trim().to_owned(),
    }
}

fn theirs(text: &str) -> Option<Said> {
    let utc = syslog_loose::parse_message("<1>1 2000-01-01T00:00:00Z - - - - -", Variant::RFC5424);
    let utc = *utc.timestamp.expect("it has one").offset();
    let year = |(month, day, ..): (u32, u32, u32, u32, u32)| {
        if (month, day) == (2, 29) { 2024 } else { 2026 }
    };
    let said =
        syslog_loose::parse_message_with_year_exact_tz(text, year, Some(utc), Variant::Either);
    let said = said.ok()?;
    let pri = said.facility.zip(said.severity);
    let params = |element: &syslog_loose::StructuredElement<&str>| {
        element.params().map(|(name, value)| ((*name).to_owned(), value)).collect()
    };
    let data = said.structured_data.iter();
    Some(Said {
        pri: pri.map(|(facility, severity)| facility as u8 * 8 + severity as u8),
        version: match said.protocol {
            Protocol::RFC3164 => None,
            Protocol::RFC5424(version) => Some(version),
        },
        time: said.timestamp.map(|time| time.timestamp_nanos_opt().unwrap_or_default()),
        hostname: said.hostname.map(str::to_owned),
        app_name: said.appname.map(str::to_owned),
        proc_id: said.procid.map(|id| id.to_string()),
        msg_id: said.msgid.map(str::to_owned),
        elements: data.map(|element| (element.id.to_owned(), params(element))).collect(),
        text: said.msg.trim().to_owned(),
    })
}

#[test]
fn every_difference_is_explained() {
    let mut arrival = Arrival::new(Wall(1_781_524_800_000_000_000), Zone::utc());
    let mut explained: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    let mut agreed = 0;
    for case in cases() {
        let Ok(text) = std::str::from_utf8(&case.message) else { continue };
        let parsed = parse(text.as_bytes(), Expect::Auto, Fields::ALL);
        let own = ours(&parsed, &mut arrival);
        let theirs = theirs(text);
        let refused = parsed.format == Format::Unparsed && theirs.is_none();
        if refused || theirs.as_ref() == Some(&own) {
            agreed += 1;
            continue;
        }
        let difference = Difference { text, ours: parsed, own, theirs };
        match CLASSES.iter().find(|(_, applies)| applies(&difference)) {
            Some((why, _)) => *explained.entry(why).or_default() += 1,
            None => unexplained.push(format!(
                "{text}\n  ours   {:?}\n  theirs {:?}",
                difference.own, difference.theirs
            )),
        }
    }
    assert!(unexplained.is_empty(), "{}\n{}", unexplained.len(), unexplained.join("\n"));
    let idle: Vec<_> = CLASSES.iter().filter(|(why, _)| !explained.contains_key(why)).collect();
    assert!(idle.is_empty(), "explain nothing: {:?}", idle.iter().map(|c| c.0).collect::<Vec<_>>());
    assert!(agreed >= 400, "they agree on {agreed} only; {explained:#?}");
}
