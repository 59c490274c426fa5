//! What facilities and severities are called: the words that `rsyslog` and `logger` use.

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The facility of a PRI from 0 to 191.
pub fn facility(pri: u8) -> &'static str {
    FACILITIES[usize::from(pri >> 3)]
}

/// The severity of a PRI.
pub fn severity(pri: u8) -> &'static str {
    SEVERITIES[usize::from(pri & 7)]
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
        }
    }
}
