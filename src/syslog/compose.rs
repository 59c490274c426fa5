//! Composes realistic, varied syslog messages, each bearing a [`stamp`].
//!
//! Used by the generator source and by the load generator: hosts, programs, addresses, pids,
//! ports, ids, paths and times vary as they do in a data centre, so that compression ratios
//! measured on these messages are honest. The same [`Shape`] gives the same messages.
//! Nothing is allocated a message; a message of 190 bytes takes well under 80 ns.
//!
//! A message's length lies evenly within a quarter around `size_bytes` (exactly on it with
//! `equal`): a body too long is cut, one too short goes on with ` key=value`. Header and stamp are
//! never cut, so a size too small for them gives longer messages.

mod templates;
mod text;
mod vendors;
mod vocabulary;

use std::io::Write as _;

use self::templates::{Process, TEMPLATES, Template, filler};
use self::text::{PEN_SLACK_BYTES, Pen, Random, Word, mix};
use super::stamp::{self, STAMP_BYTES, Stamp};
use crate::time::Wall;

/// The least size that may be asked for.
pub const SIZE_BYTES_MIN: u32 = 64;
/// The greatest: what one UDP datagram over IPv4 carries.
pub const SIZE_BYTES_MAX: u32 = 65_507;
/// What a message is when nobody says otherwise, header and stamp included.
pub const SIZE_BYTES_DEFAULT: u32 = 190;
/// Header and stamp of any format fit in this: the least size with `equal`.
pub const EQUAL_BYTES_MIN: u32 = 176;
/// The same for vendors' headers, of which Juniper's is the longest.
const VENDORS_BYTES_MIN: u32 = 256;
/// Hosts are kept as a table.
pub const HOSTS_MAX: u32 = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `<PRI>Nov 21 03:19:48 host app[pid]: text`
    Rfc3164,
    /// `<PRI>1 2026-11-21T03:19:48.123456Z host app pid MSGID - text`
    Rfc5424,
    /// `2026-11-21T03:19:48.123456Z host app[pid]: text`: a line without a PRI.
    Raw,
    /// What devices of several vendors send in place of either RFC: see `vendors`.
    Vendors,
}

impl Format {
    pub const ALL: [(&'static str, Self); 4] = [
        ("rfc3164", Self::Rfc3164),
        ("rfc5424", Self::Rfc5424),
        ("raw", Self::Raw),
        ("vendors", Self::Vendors),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).expect("every format has a name").0
    }
}

/// What the messages look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub format: Format,
    /// The average length of a message, from [`SIZE_BYTES_MIN`] to [`SIZE_BYTES_MAX`].
    pub size_bytes: u32,
    /// All messages of exactly `size_bytes`, as GSO wants them: at least [`EQUAL_BYTES_MIN`].
    pub equal: bool,
    /// 1 to [`HOSTS_MAX`].
    pub hosts: u32,
    pub seed: u64,
}

impl Default for Shape {
    fn default() -> Self {
        let (size_bytes, hosts) = (SIZE_BYTES_DEFAULT, 100);
        Self { format: Format::Rfc3164, size_bytes, equal: false, hosts, seed: 1 }
    }
}

pub struct Composer {
    shape: Shape,
    random: Random,
    hosts: Vec<Host>,
    /// Templates as often as their weights say.
    lottery: [u8; LOTTERY],
    clock: Clock,
}

impl Composer {
    /// `shape` must lie in its ranges.
    pub fn new(shape: Shape) -> Self {
        assert!((SIZE_BYTES_MIN..=SIZE_BYTES_MAX).contains(&shape.size_bytes));
        assert!(!shape.equal || shape.size_bytes >= EQUAL_BYTES_MIN);
        assert!((1..=HOSTS_MAX).contains(&shape.hosts));
        let random = Random::new(mix(shape.seed));
        let hosts = (0..shape.hosts).map(Host::new).collect();
        Self { shape, random, hosts, lottery: lottery(), clock: Clock::default() }
    }

    /// The length of `out` that [`Composer::compose`] wants to find.
    pub fn room_bytes(&self) -> usize {
        let longest = self.shape.size_bytes + self.spread() / 2;
        longest.max(BODY_BYTES_MAX) as usize + STAMP_BYTES + PEN_SLACK_BYTES
    }

    /// The length of the longest message.
    pub fn length_max(&self) -> usize {
        let vendors = self.shape.format == Format::Vendors;
        let least = if vendors { VENDORS_BYTES_MIN } else { EQUAL_BYTES_MIN };
        (self.shape.size_bytes + self.spread() / 2).max(least) as usize
    }

    /// Writes one message to the start of `out` and returns its length. Bytes of `out` behind the
    /// message may be written too.
    pub fn compose(&mut self, stamp: Stamp, out: &mut [u8]) -> usize {
        self.clock.turn_to(stamp.at);
        let random = &mut self.random;
        let bits = random.next();
        let template = &TEMPLATES[usize::from(self.lottery[bits as usize % LOTTERY])];
        let host = &self.hosts[random.skewed(self.shape.hosts) as usize];
        let length =
            self.shape.size_bytes - spread(&self.shape) / 2 + random.below(spread(&self.shape) + 1);
        let goal = length as usize - STAMP_BYTES;

        let mut pen = Pen::new(out);
        let header = Header { template, host, clock: &self.clock, at: stamp.at };
        let (pri, pri_bytes) = header.write(self.shape.format, &mut pen, random);
        let header_end = pen.at;
        (template.body)(&mut pen, random, host);
        while pen.at < goal {
            filler(&mut pen, random);
        }
        let end = goal.max(header_end);
        stamp::write(stamp, pri, pri_bytes, out, end)
    }

    fn spread(&self) -> u32 {
        spread(&self.shape)
    }
}

/// How far apart the shortest and the longest message are.
fn spread(shape: &Shape) -> u32 {
    if shape.equal { 0 } else { shape.size_bytes / 8 * 2 }
}

const LOTTERY: usize = 1024;
/// No header and body together are longer.
const BODY_BYTES_MAX: u32 = 576;

fn lottery() -> [u8; LOTTERY] {
    let total: usize = TEMPLATES.iter().map(|template| usize::from(template.weight)).sum();
    let mut tickets = [0; LOTTERY];
    for (place, ticket) in tickets.iter_mut().enumerate() {
        let mut rest = place * total / LOTTERY;
        let drawn = TEMPLATES.iter().position(|template| {
            let weight = usize::from(template.weight);
            let here = rest < weight;
            rest = rest.saturating_sub(weight);
            here
        });
        *ticket = drawn.expect("place * total / LOTTERY is below the total") as u8;
    }
    tickets
}

/// One machine that logs.
struct Host {
    name: Word,
    address: u32,
    number: u16,
    /// Where the pids of its daemons start.
    pids: u32,
}

impl Host {
    fn new(number: u32) -> Self {
        let role = vocabulary::ROLES[number as usize % vocabulary::ROLES.len()];
        let name = format!("{role}-{:03}", number / vocabulary::ROLES.len() as u32 + 1);
        let pids = 400 + (mix(u64::from(number)) % 2000) as u32;
        let address = 0x0a14_0000 | number;
        Self { name: Word::new(&name), address, number: number as u16, pids }
    }
}

/// The time as the headers write it, rendered once a second.
struct Clock {
    second: i64,
    /// `Nov 21 03:19:48`
    short: [u8; 15],
    /// `2026-11-21T03:19:48.`
    long: [u8; 20],
}

impl Default for Clock {
    fn default() -> Self {
        let mut clock = Self { second: 1, short: [0; 15], long: [0; 20] };
        clock.turn_to(Wall(0));
        clock
    }
}

impl Clock {
    #[inline(always)]
    fn turn_to(&mut self, at: Wall) {
        let second = at.seconds();
        if second != self.second {
            self.render(second);
        }
    }

    #[cold]
    fn render(&mut self, second: i64) {
        self.second = second;
        // What lies beyond jiff's years -9999 to 9999 does not fit the header either.
        let time = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let time = jiff::tz::TimeZone::UTC.to_datetime(time);
        let month = MONTHS[usize::from(time.month().unsigned_abs()) - 1];
        let day = time.day();
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let (mut short, mut long) = (&mut self.short[..], &mut self.long[..]);
        // In place: a second that turns allocates nothing.
        let written = write!(short, "{month} {day:>2} {hour:02}:{minute:02}:{second:02}");
        written.expect("15 bytes hold it");
        let (year, month) = (time.year().max(0), time.month());
        let written =
            write!(long, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.");
        written.expect("20 bytes hold it");
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

struct Header<'a> {
    template: &'a Template,
    host: &'a Host,
    clock: &'a Clock,
    at: Wall,
}

impl Header<'_> {
    /// Writes the header; the PRI, if the format has one, and its length.
    #[inline(always)]
    fn write(&self, format: Format, pen: &mut Pen, random: &mut Random) -> (Option<u8>, usize) {
        let pri = self.template.facility * 8 + self.template.severity;
        let lasting = self.host.pids + u32::from(pri);
        let fleeting = self.host.pids + 2000 + random.below(512);
        let pid = if self.template.process == Process::Lasting { lasting } else { fleeting };
        match format {
            Format::Rfc3164 => {
                let pri_bytes = write_pri(pri, pen);
                pen.text(&self.clock.short);
                pen.text(b" ");
                self.write_tag(pid, pen);
                (Some(pri), pri_bytes)
            }
            Format::Rfc5424 => {
                let pri_bytes = write_pri(pri, pen);
                pen.text(b"1 ");
                self.write_time(pen);
                self.write_fields(pid, pen, random);
                (Some(pri), pri_bytes)
            }
            Format::Raw => {
                self.write_time(pen);
                self.write_tag(pid, pen);
                (None, 0)
            }
            Format::Vendors => {
                let pri_bytes = write_pri(pri, pen);
                vendors::write_header(self, pen, random);
                (Some(pri), pri_bytes)
            }
        }
    }

    #[inline(always)]
    fn write_time(&self, pen: &mut Pen) {
        pen.text(&self.clock.long);
        pen.six((self.at.0.rem_euclid(1_000_000_000) / 1000) as u32);
        pen.text(b"Z ");
    }

    /// `host app[pid]: `
    #[inline(always)]
    fn write_tag(&self, pid: u32, pen: &mut Pen) {
        pen.word(&self.host.name);
        pen.text(b" ");
        pen.word(&self.template.app);
        if self.template.process != Process::None {
            pen.text(b"[");
            pen.decimal(pid);
            pen.text(b"]");
        }
        pen.text(b": ");
    }

    /// `host app pid MSGID sd `
    #[inline(always)]
    fn write_fields(&self, pid: u32, pen: &mut Pen, random: &mut Random) {
        pen.word(&self.host.name);
        pen.text(b" ");
        pen.word(&self.template.app);
        pen.text(b" ");
        if self.template.process == Process::None {
            pen.text(b"-");
        } else {
            pen.decimal(pid);
        }
        pen.text(b" ");
        pen.word(&self.template.message_id);
        if random.below(4) == 0 {
            pen.text(b" [origin@32473 ip=\"");
            pen.address(self.host.address);
            pen.text(b"\"] ");
        } else {
            pen.text(b" - ");
        }
    }
}

#[inline(always)]
fn write_pri(pri: u8, pen: &mut Pen) -> usize {
    pen.text(b"<");
    pen.decimal(u32::from(pri));
    pen.text(b">");
    pen.at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::syslog::stamp::Reading;

    fn messages(shape: Shape, count: u64) -> Vec<Vec<u8>> {
        let mut composer = Composer::new(shape);
        let mut out = vec![0; composer.room_bytes()];
        (0..count)
            .map(|sequence| {
                let at = Wall(1_795_231_188_000_000_000 + sequence as i64 * 10_000);
                let stamp = Stamp { run: 7, stream: 3, sequence, at };
                let length = composer.compose(stamp, &mut out);
                assert!(length <= composer.length_max());
                assert_eq!(stamp::read(&out[..length]), Reading::Whole(stamp));
                out[..length].to_vec()
            })
            .collect()
    }

    fn shape(format: Format, size_bytes: u32, seed: u64) -> Shape {
        Shape { format, size_bytes, seed, ..Shape::default() }
    }

    proptest! {
        #[test]
        fn every_message_reads_back_whole(
            seed: u64, size in SIZE_BYTES_MIN..3000, which in 0usize..4, hosts in 1..HOSTS_MAX,
        ) {
            let (_, format) = Format::ALL[which];
            let shape = Shape { hosts, ..shape(format, size, seed) };
            let all = messages(shape, 50);
            prop_assert!(all.iter().all(|one| one.iter().all(|byte| (32..127).contains(byte))));
            prop_assert_eq!(&all, &messages(shape, 50), "the same seed gives the same messages");
        }

        #[test]
        fn equal_messages_are_equal(
            seed: u64, size in EQUAL_BYTES_MIN..2000, which in 0usize..3,
        ) {
            let (_, format) = Format::ALL[which];
            let shape = Shape { equal: true, hosts: HOSTS_MAX, ..shape(format, size, seed) };
            for message in messages(shape, 100) {
                prop_assert_eq!(message.len(), size as usize);
            }
        }
    }

    #[test]
    fn sizes_lie_around_the_one_asked_for() {
        for size in [190, 400, 1400, 60_000] {
            let all = messages(shape(Format::Rfc3164, size, 5), 2000);
            let total: usize = all.iter().map(Vec::len).sum();
            let average = total as f64 / all.len() as f64;
            assert!((average / f64::from(size) - 1.0).abs() < 0.01, "{size}: {average}");
        }
    }

    #[test]
    fn headers_are_what_the_formats_say() {
        let all = messages(shape(Format::Rfc3164, 190, 5), 500);
        for message in all {
            let text = String::from_utf8(message).unwrap();
            let (pri, rest) = text[1..].split_once('>').unwrap();
            assert!(pri.parse::<u8>().unwrap() <= 191);
            assert!(rest.starts_with("Nov 21 03:"), "{rest}");
            let host = rest[16..].split(' ').next().unwrap();
            assert!(host.ends_with(|end: char| end.is_ascii_digit()), "{host}");
        }
        for message in messages(shape(Format::Rfc5424, 190, 5), 500) {
            let text = String::from_utf8(message).unwrap();
            let fields: Vec<_> = text.split(' ').collect();
            assert!(fields[0].ends_with(">1"), "{text}");
            assert!(fields[1].parse::<jiff::Timestamp>().is_ok(), "{text}");
            assert!(fields[4] == "-" || fields[4].parse::<u32>().is_ok(), "{text}");
            assert!(fields[6] == "-" || fields[6] == "[origin@32473", "{text}");
        }
        for message in messages(shape(Format::Raw, 190, 5), 10) {
            assert!(message.starts_with(b"2026-11-21T03:"));
        }
    }

    /// A pool of ready-made texts would be squeezed ten times harder by a strong compressor than
    /// by a fast one; live text is not.
    #[test]
    fn compression_ratios_are_those_of_real_logs() {
        for format in Format::ALL.map(|(_, format)| format) {
            let lines = messages(shape(format, 190, 9), 20_000).join(&b'\n');
            let ratio = |level| {
                let packed = zstd::bulk::compress(&lines, level).unwrap();
                lines.len() as f64 / packed.len() as f64
            };
            let (fast, strong) = (ratio(1), ratio(19));
            assert!((3.0..6.5).contains(&fast), "{format:?}: zstd-1 {fast:.2}");
            assert!(strong / fast < 2.0, "{format:?}: zstd-19 {strong:.2}, zstd-1 {fast:.2}");
        }
    }
}
