//! Which zone a time without one is meant in: the source's `zone`, or the peer's in `zones`.

use std::net::IpAddr;

use crate::config::{OptionDoc, Section, Spanned};
use crate::syslog::parse::Zone;

pub const ZONE: OptionDoc = OptionDoc {
    name: "zone",
    default: Some("local"),
    doc: "zone of message times sent without one: local, UTC or an IANA name",
};
pub const ZONES: OptionDoc = OptionDoc {
    name: "zones",
    default: Some(""),
    doc: "the same by sender: a table of address prefixes and zones; the longest prefix wins",
};

/// Valid once built; the zones cache, so each thread has its own copy.
#[derive(Clone, Debug)]
pub struct Zones {
    /// The source's own first.
    pub zones: Vec<Zone>,
    /// By the address, longest prefix first, with the zone's index.
    prefixes: Vec<(Prefix, usize)>,
}

/// The addresses that agree in their first `length` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    bits: u128,
    /// Of 128: IPv4 addresses stand behind 96 bits of their own.
    length: u32,
}

impl Zones {
    pub fn utc() -> Self {
        Self { zones: vec![Zone::utc()], prefixes: Vec::new() }
    }

    /// Reads `zone` and `zones`.
    pub fn plan(section: &Section) -> Self {
        let name = section.text("zone");
        let own = zone(&name).unwrap_or_else(|| {
            section.fail("zone", format!("no time zone `{name}`"), REMEDY);
            Zone::utc()
        });
        let mut planned = Self { zones: vec![own], prefixes: Vec::new() };
        for (prefix, name) in section.table_of_texts("zones") {
            planned.add(section, &prefix, &name);
        }
        planned.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.length));
        planned
    }

    fn add(&mut self, section: &Section, prefix: &Spanned<String>, name: &Spanned<String>) {
        let Some(found) = Prefix::parse(prefix) else {
            let what = format!("`zones`: \"{prefix}\" is no address and no prefix");
            let remedy = "write \"10.1.0.0/16\", \"2001:db8::/32\" or one address";
            return section.fail_at(&prefix.span, what, remedy);
        };
        if self.prefixes.iter().any(|(other, _)| *other == found) {
            let what = format!("`zones`: \"{prefix}\" stands there in another spelling already");
            return section.fail_at(&prefix.span, what, "leave one out");
        }
        let Some(zone) = zone(name) else {
            let what = format!("no time zone `{name}`");
            return section.fail_at(&name.span, what, REMEDY);
        };
        self.prefixes.push((found, self.zones.len()));
        self.zones.push(zone);
    }

    /// The index of the zone of a sender.
    pub fn of(&self, peer: Option<IpAddr>) -> usize {
        let Some(peer) = peer else { return 0 };
        let bits = bits(peer);
        let holds = |(prefix, _): &&(Prefix, usize)| prefix.holds(bits);
        self.prefixes.iter().find(holds).map_or(0, |(_, zone)| *zone)
    }

    /// Whether the sender matters at all.
    pub fn by_peer(&self) -> bool {
        !self.prefixes.is_empty()
    }
}

const REMEDY: &str = "write \"local\", \"UTC\" or an IANA name such as \"Europe/Berlin\"";

fn zone(name: &str) -> Option<Zone> {
    if name == "local" { Some(Zone::local()) } else { Zone::named(name) }
}

/// IPv4 where IPv6 has it mapped (RFC 4291, 2.5.5.2).
fn bits(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

impl Prefix {
    /// `10.1.0.0/16`, `2001:db8::/32`, or one address. Bits behind the length do not count.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let (whole, before) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let length = length.map_or(Some(whole), |length| length.trim().parse().ok())?;
        let length = (length <= whole).then_some(length + before)?;
        Some(Self { bits: masked(bits(address), length), length })
    }

    /// Bits that count.
    pub fn length(self) -> u32 {
        self.length
    }

    pub fn contains(self, address: IpAddr) -> bool {
        self.holds(bits(address))
    }

    fn holds(self, bits: u128) -> bool {
        masked(bits, self.length) == self.bits
    }
}

fn masked(bits: u128, length: u32) -> u128 {
    bits & u128::MAX.checked_shl(128 - length).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &[OptionDoc] = &[ZONE, ZONES];

    fn planned(text: &str) -> (Zones, Vec<String>) {
        let section = Section::parse(text, DOCS);
        (Zones::plan(&section), section.diagnostics().lines())
    }

    #[test]
    fn the_longest_prefix_wins() {
        let (zones, told) = planned(
            "zone = 'UTC'\nzones = { '10.0.0.0/8' = 'Asia/Tokyo', '10.1.0.0/16' = 'UTC', \
             '10.1.2.3' = 'Europe/Berlin', '2001:db8::/32' = 'Asia/Tokyo', '0.0.0.0/0' = 'UTC' }",
        );
        assert_eq!(told, Vec::<String>::new());
        for (peer, zone) in [
            ("10.200.0.1", 1),
            ("10.1.0.1", 2),
            ("10.1.2.3", 3),
            ("::ffff:10.1.2.3", 3),
            ("2001:db8:1::1", 4),
            ("192.0.2.1", 5),
            ("2001:db9::1", 0),
        ] {
            assert_eq!(zones.of(Some(peer.parse().unwrap())), zone, "{peer}");
        }
        assert_eq!(zones.of(None), 0);
    }

    #[test]
    fn what_is_wrong_is_told_with_a_remedy() {
        for (text, what) in [
            ("zone = 'Mars/Base'", "no time zone `Mars/Base` (write \"local\""),
            ("zones = { '10.0.0.0/33' = 'UTC' }", "\"10.0.0.0/33\" is no address and no prefix"),
            ("zones = { 'edge' = 'UTC' }", "\"edge\" is no address and no prefix"),
            ("zones = { '10.0.0.0/8' = 'CEST' }", "no time zone `CEST`"),
            ("zones = { '10.0.0.0/8' = 1 }", "expected a string, found an integer"),
            ("zones = 'UTC'", "expected a table, found a string"),
            ("zones = { '10.0.0.1/8' = 'UTC', '10.0.0.0/8' = 'UTC' }", "in another spelling"),
        ] {
            let (_, told) = planned(text);
            assert!(told.len() == 1 && told[0].contains(what), "{text}: {told:?}");
        }
    }
}
