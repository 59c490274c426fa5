//! Who may send, and how much: `allow` and `deny` by prefix, `rate_limit` by peer.
//!
//! The longest prefix that holds an address decides; an address in none may send unless `allow`
//! names anybody. Unix sockets have permissions for that.
//!
//! Each address has a bucket of `rate_burst` events that fills at `rate_limit`. A datagram for
//! which there is none is lost and counted; a connection is not read until there is, so that its
//! sender waits, and only it. One thread counts its own peers: a sender that uses several ports may
//! reach several threads, and has a bucket at each.

use std::net::IpAddr;

use super::remarks::Remarks;
use super::zones::Prefix;
use crate::config::{OptionDoc, Rate, Section};
use crate::telemetry::LostReason;
use crate::time::{Mono, Now};

pub const ALLOW: OptionDoc = OptionDoc {
    name: "allow",
    default: Some(""),
    doc: "prefixes that may send; the longest of `allow` and `deny` decides; unset: everybody",
};
pub const DENY: OptionDoc = OptionDoc {
    name: "deny",
    default: Some(""),
    doc: "prefixes that may not send: their datagrams are lost{refused}, connections closed",
};
pub const RATE_LIMIT: OptionDoc = OptionDoc {
    name: "rate_limit",
    default: Some("max"),
    doc: "events a second of each peer: more wait on TCP, and are lost{rate_limited} on UDP",
};
pub const RATE_BURST: OptionDoc = OptionDoc {
    name: "rate_burst",
    default: Some(""),
    doc: "events a peer may send at once after a silence; unset: a second's worth",
};

/// Peers whose rate is known, on each thread: 16,384 at 32 bytes. More than that at once, and the
/// one that has been within its limit longest is forgotten.
const WAYS: usize = 4;
const SETS: usize = 4096;

/// A paused connection is looked at again after so long at the least.
const PAUSE_NS_MIN: u64 = 10_000_000;

/// The rules, valid once built.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Longest first; true: may send.
    prefixes: Vec<(Prefix, bool)>,
    allows: bool,
    limit: Option<Limit>,
}

/// Nanoseconds of one event, and of a whole bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    event_ns: u64,
    burst_ns: u64,
}

impl Rules {
    pub fn plan(section: &Section) -> Self {
        let mut prefixes: Vec<(Prefix, bool)> = Vec::new();
        for (key, may) in [("allow", true), ("deny", false)] {
            for text in section.texts(key) {
                let Some(prefix) = Prefix::parse(&text) else {
                    let what = format!("`{key}`: \"{text}\" is no address and no prefix");
                    let remedy = "write \"10.1.0.0/16\", \"2001:db8::/32\" or one address";
                    section.fail_at(&text.span, what, remedy);
                    continue;
                };
                if prefixes.iter().any(|(other, other_may)| *other == prefix && *other_may != may) {
                    let what = format!("\"{text}\" stands in `allow` and in `deny`");
                    section.fail_at(&text.span, what, "leave it out of one of them");
                    continue;
                }
                prefixes.push((prefix, may));
            }
        }
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.length()));
        let allows = prefixes.iter().any(|(_, may)| *may);
        let rate = section.rate("rate_limit");
        let burst = section.optional_integer("rate_burst", 1..=1_000_000_000);
        let limit = match rate {
            Rate::Max => None,
            Rate::PerSecond(rate) => {
                let event_ns = (1_000_000_000 / rate).max(1);
                let burst = burst.map_or(rate, |burst| burst as u64);
                Some(Limit { event_ns, burst_ns: event_ns.saturating_mul(burst) })
            }
        };
        if limit.is_none() && section.explicit("rate_burst") {
            let what = "`rate_burst` without a `rate_limit`";
            section.fail("rate_burst", what, "write `rate_limit = \"1000/s\"`, or leave it out");
        }
        Self { prefixes, allows, limit }
    }

    pub fn limits(&self) -> bool {
        self.limit.is_some()
    }

    fn admits(&self, address: IpAddr) -> bool {
        let found = self.prefixes.iter().find(|(prefix, _)| prefix.contains(address));
        found.map_or(!self.allows, |(_, may)| *may)
    }

    /// What the buckets of a thread take.
    pub fn memory_bytes(&self) -> usize {
        if self.limits() { SETS * WAYS * size_of::<Bucket>() } else { 0 }
    }
}

/// One thread's.
pub struct Warden {
    rules: Rules,
    buckets: Vec<Bucket>,
    /// Who was turned away lately.
    remarks: Remarks,
}

/// An address' bucket: when it will be full again, if nothing more comes. An IPv4 address stands
/// as IPv6 has it; 0 is nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    address: u128,
    full_at: u64,
}

impl Warden {
    pub fn new(rules: Rules) -> Self {
        let buckets = if rules.limits() { SETS * WAYS } else { 0 };
        let buckets = vec![Bucket::default(); buckets];
        Self { rules, buckets, remarks: Remarks::default() }
    }

    /// Nobody has to be asked.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.rules.prefixes.is_empty() && self.rules.limit.is_none()
    }

    pub fn limits(&self) -> bool {
        self.rules.limits()
    }

    /// Whether connections of this peer are taken.
    pub fn admits(&mut self, peer: Option<IpAddr>, now: Now) -> bool {
        let Some(address) = peer else { return true };
        let admitted = self.rules.admits(address);
        if !admitted && let Some(times) = self.remarks.note(address, 1, now) {
            tracing::warn!("{address} may not send (allow, deny): connections refused: {times}");
        }
        admitted
    }

    /// A datagram of this peer: why it is lost, if it is. Otherwise it is paid for.
    pub fn datagram(&mut self, peer: Option<IpAddr>, now: Now) -> Option<LostReason> {
        let address = peer?;
        if !self.rules.admits(address) {
            if let Some(times) = self.remarks.note(address, 1, now) {
                tracing::warn!("{address} may not send (allow, deny): datagrams lost: {times}");
            }
            return Some(LostReason::Refused);
        }
        let Limit { event_ns, burst_ns } = self.rules.limit?;
        let bucket = self.bucket(address);
        let full_at = bucket.full_at.max(now.mono.0) + event_ns;
        if full_at > now.mono.0.saturating_add(burst_ns) {
            return Some(LostReason::RateLimited);
        }
        bucket.full_at = full_at;
        None
    }

    /// The datagram found no room, and will come again.
    pub fn give_back(&mut self, peer: Option<IpAddr>) {
        if let (Some(address), Some(limit)) = (peer, self.rules.limit) {
            let bucket = self.bucket(address);
            bucket.full_at = bucket.full_at.saturating_sub(limit.event_ns);
        }
    }

    /// A connection of this peer has brought so many events.
    pub fn charge(&mut self, peer: Option<IpAddr>, events: u32, now: Now) {
        if let (Some(address), Some(limit)) = (peer, self.rules.limit) {
            let bucket = self.bucket(address);
            let cost = limit.event_ns.saturating_mul(u64::from(events));
            bucket.full_at = bucket.full_at.max(now.mono.0).saturating_add(cost);
        }
    }

    /// Until when connections of this peer are not read.
    pub fn holds(&mut self, peer: Option<IpAddr>, now: Now) -> Option<Mono> {
        let (address, limit) = (peer?, self.rules.limit?);
        let until = self.bucket(address).full_at.saturating_sub(limit.burst_ns);
        (until > now.mono.0).then(|| Mono(until.max(now.mono.0 + PAUSE_NS_MIN)))
    }

    fn bucket(&mut self, address: IpAddr) -> &mut Bucket {
        let address = match address.to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
            IpAddr::V6(v6) => u128::from(v6),
        };
        let mixed = ((address >> 64) as u64 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = (mixed >> 40) as usize % SETS * WAYS;
        let ways = &mut self.buckets[set..set + WAYS];
        let place = match ways.iter().position(|bucket| bucket.address == address) {
            Some(place) => place,
            None => {
                let fullest = (0..WAYS).min_by_key(|way| ways[*way].full_at).unwrap_or(0);
                ways[fullest] = Bucket { address, full_at: 0 };
                fullest
            }
        };
        &mut ways[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;
    use proptest::prelude::*;

    const DOCS: &[OptionDoc] = &[ALLOW, DENY, RATE_LIMIT, RATE_BURST];

    fn planned(text: &str) -> (Rules, Vec<String>) {
        let section = Section::parse(text, DOCS);
        (Rules::plan(&section), section.diagnostics().lines())
    }

    fn warden(text: &str) -> Warden {
        let (rules, told) = planned(text);
        assert_eq!(told, Vec::<String>::new());
        Warden::new(rules)
    }

    fn at(ms: u64) -> Now {
        Now { mono: Mono(ms * 1_000_000), wall: Wall(0) }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_longest_prefix_decides() {
        for (rules, may, may_not) in [
            ("", &["10.0.0.1", "::1"][..], &[][..]),
            ("deny = '10.0.0.0/8'", &["11.0.0.1", "::1"], &["10.9.9.9", "::ffff:10.0.0.1"]),
            ("allow = ['10.0.0.0/8', '::1']", &["::ffff:10.0.0.1", "::1"], &["11.0.0.1", "::2"]),
            (
                "allow = ['10.0.0.0/8', '10.1.2.3']\ndeny = ['10.1.0.0/16', '2001:db8::/32']",
                &["10.2.0.1", "10.1.2.3"],
                &["10.1.2.4", "2001:db8::1", "192.0.2.1"],
            ),
            ("allow = '0.0.0.0/0'\ndeny = '192.0.2.0/24'", &["10.0.0.1"], &["192.0.2.7", "::1"]),
        ] {
            let mut warden = warden(rules);
            for address in may {
                assert!(warden.admits(ip(address), at(0)), "{rules}: {address}");
                assert_eq!(warden.datagram(ip(address), at(0)), None);
            }
            for address in may_not {
                assert!(!warden.admits(ip(address), at(0)), "{rules}: {address}");
                let lost = warden.datagram(ip(address), at(0));
                assert_eq!(lost, Some(LostReason::Refused), "{rules}: {address}");
            }
            assert!(warden.admits(None, at(0)), "a Unix socket's peer");
            assert_eq!(warden.is_idle(), rules.is_empty());
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, what) in [
            ("allow = '10.0.0.0/33'", "`allow`: \"10.0.0.0/33\" is no address"),
            ("deny = ['edge']", "`deny`: \"edge\" is no address"),
            ("allow = '10.0.0.1/8'\ndeny = '10.0.0.0/8'", "stands in `allow` and in `deny`"),
            ("rate_limit = 'often'", "is not a rate"),
            ("rate_burst = 5", "`rate_burst` without a `rate_limit`"),
        ] {
            let (_, told) = planned(text);
            assert!(told.len() == 1 && told[0].contains(what), "{text}: {told:?}");
        }
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut warden = warden("rate_limit = '100/s'\nrate_burst = 10");
        let mut count = |peer: &str, ms| {
            let paid = |_: &i32| warden.datagram(ip(peer), at(ms)).is_none();
            (0..50).filter(paid).count()
        };
        assert_eq!(count("10.0.0.1", 1000), 10);
        assert_eq!(count("10.0.0.1", 1000), 0);
        assert_eq!(count("10.0.0.2", 1000), 10, "another's bucket is its own");
        assert_eq!(count("::ffff:10.0.0.1", 1030), 3);
        assert_eq!(count("10.0.0.1", 5000), 10, "no more than full");
        warden.give_back(ip("10.0.0.1"));
        assert_eq!(warden.datagram(ip("10.0.0.1"), at(5000)), None);
        assert_eq!(warden.datagram(ip("10.0.0.1"), at(5000)), Some(LostReason::RateLimited));
    }

    #[test]
    fn a_connection_that_brought_too_much_is_held_until_it_is_paid_for() {
        let mut warden = warden("rate_limit = 100");
        assert_eq!(warden.holds(ip("::1"), at(0)), None);
        warden.charge(ip("::1"), 300, at(0));
        // A burst of 100; the other 200 take two seconds.
        assert_eq!(warden.holds(ip("::1"), at(0)), Some(at(2000).mono));
        assert_eq!(warden.holds(ip("::1"), at(1995)), Some(at(2005).mono));
        assert_eq!(warden.holds(ip("::1"), at(2000)), None);
        assert_eq!(warden.holds(ip("::2"), at(0)), None);
        assert_eq!(warden.holds(None, at(0)), None);
    }

    #[test]
    fn many_peers_take_no_more_memory() {
        let mut warden = warden("rate_limit = 1");
        let bytes = warden.rules.memory_bytes();
        assert_eq!(bytes, 512 << 10);
        for number in 0..100_000_u32 {
            let peer = Some(IpAddr::V4(number.into()));
            assert_eq!(warden.datagram(peer, at(1)), None);
        }
        assert_eq!(warden.buckets.len() * size_of::<Bucket>(), bytes);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_rate_and_burst(
            rate in 1_u64..5000,
            burst in 1_u64..100,
            steps in prop::collection::vec((0_u64..50, 1_usize..60), 1..60),
        ) {
            let mut warden = warden(&format!("rate_limit = {rate}\nrate_burst = {burst}"));
            let (mut now, mut paid) = (1, 0);
            for (wait, sent) in steps {
                now += wait;
                let pays = |_: &usize| warden.datagram(ip("10.0.0.1"), at(now)).is_none();
                paid += (0..sent).filter(pays).count() as u64;
                let event_ns = 1_000_000_000 / rate;
                let most = burst + (now - 1) * 1_000_000 / event_ns + 1;
                prop_assert!(paid <= most, "{paid} of {most} after {now} ms");
            }
        }
    }
}
