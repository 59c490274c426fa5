//! What facilities and severities are called: the words that `rsyslog` and `logger` use.

pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

pub const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The facility of a PRI from 0 to 191.
pub fn facility(pri: u8) -> &'static str {
    FACILITIES[usize::from(pri >> 3)]
}

/// The severity of a PRI.
pub fn severity(pri: u8) -> &'static str {
    SEVERITIES[usize::from(pri & 7)]
}

/// A facility by its name or number.
pub fn facility_named(text: &str) -> Option<u8> {
    let text = if text == "security" { "auth" } else { text };
    numbered(&FACILITIES, text)
}

/// A severity by its name or number.
pub fn severity_named(text: &str) -> Option<u8> {
    let text = match text {
        "panic" => "emerg",
        "critical" => "crit",
        "error" => "err",
        "warn" => "warning",
        text => text,
    };
    numbered(&SEVERITIES, text)
}

fn numbered(names: &[&str], text: &str) -> Option<u8> {
    let index = names.iter().position(|name| *name == text);
    let index = index.or_else(|| text.parse().ok().filter(|index| *index < names.len()))?;
    u8::try_from(index).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pri_is_a_facility_and_a_severity() {
        for (pri, names) in [
            (0, ["kern", "emerg"]),
            (13, ["user", "notice"]),
            (86, ["authpriv", "info"]),
            (165, ["local4", "notice"]),
            (191, ["local7", "debug"]),
        ] {
            assert_eq!([facility(pri), severity(pri)], names);
            assert_eq!(facility_named(names[0]), Some(pri >> 3));
            assert_eq!(severity_named(names[1]), Some(pri & 7));
            assert_eq!(severity_named(&(pri & 7).to_string()), Some(pri & 7));
        }
    }
}
