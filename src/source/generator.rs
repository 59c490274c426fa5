//! `generator`: realistic events from inside the process, to try a configuration or measure what
//! stands behind a source without a network in front of it.
//!
//! With a rate it is open-loop: an event is due when its number says so, however long the valve
//! was closed, and bears that time in its stamp; what could not go when it was due goes as soon as
//! there is room. With `max` a page is filled whenever there is one.

use std::sync::Arc;
use std::time::Duration;

use super::text::parse_pri;
use super::zones::Zones;
use super::{BuildError, Built, Received, Source, SourceContext, SourceKind, SourcePlan};
use crate::config::{OptionDoc, Rate};
use crate::event::{EventHead, Full, Marks, Origin, Page};
use crate::limits::u32_of;
use crate::memory::MemoryLine;
use crate::ring::Wake;
use crate::runtime::parker::Parker;
use crate::syslog::compose::{Composer, Format, HOSTS_MAX, SIZE_BYTES_MIN, Shape};
use crate::syslog::stamp::{SEQUENCE_MAX, Stamp};
use crate::time::{Mono, Now, Wall, duration_ns};

pub(super) const KIND: SourceKind = SourceKind {
    name: "generator",
    aliases: &[],
    summary: "realistic syslog messages made in the process",
    options: OPTIONS,
    plan: |section| {
        let sizes = u64::from(SIZE_BYTES_MIN)..=SIZE_BYTES_MAX;
        let count = section.optional_integer("count", 0..=SEQUENCE_MAX as i64);
        let seconds = section.optional_integer("seconds", 0..=1 << 32);
        let shape = Shape {
            format: section.choice("format", &Format::ALL),
            size_bytes: section.size_in("size", sizes) as u32,
            equal: false,
            hosts: section.integer("hosts", 1..=i64::from(HOSTS_MAX)) as u32,
            seed: section.integer("seed", 0..=i64::MAX) as u64,
        };
        Box::new(Plan {
            shape,
            rate: section.rate("rate"),
            count: count.map_or(SEQUENCE_MAX, |count| count as u64),
            lasting: seconds.map(|seconds| Duration::from_secs(seconds as u64)),
            zones: Zones::utc(),
        })
    },
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc { name: "rate", default: Some("1000"), doc: "events a second, or \"max\"" },
    OptionDoc { name: "count", default: Some(""), doc: "so many events, and then it is finished" },
    OptionDoc { name: "seconds", default: Some(""), doc: "so long, and then it is finished" },
    OptionDoc { name: "size", default: Some("190"), doc: "average length of a message in bytes" },
    OptionDoc { name: "format", default: Some("rfc3164"), doc: "rfc3164, rfc5424 or raw" },
    OptionDoc { name: "hosts", default: Some("100"), doc: "machines that seem to be talking" },
    OptionDoc { name: "seed", default: Some("1"), doc: "the same seed gives the same messages" },
];

/// Fits the smallest page with its composing room.
const SIZE_BYTES_MAX: u64 = 16 << 10;

/// At low rates it looks for what is due so often: a thousand wakes a second cost nothing to speak
/// of, and an event is at most a millisecond late.
const LOOK: Duration = Duration::from_millis(1);

/// What an event takes of a page beside its bytes at most: a newline, its slot, and those of its
/// fields.
const BESIDE_BYTES: usize = 1 + 64;
/// Two slots at the front of each filling.
const ORIGIN_BYTES: usize = 32;

struct Plan {
    shape: Shape,
    rate: Rate,
    count: u64,
    lasting: Option<Duration>,
    /// Of the times it writes.
    zones: Zones,
}

impl SourcePlan for Plan {
    fn threads(&self) -> usize {
        1
    }

    fn listeners(&self) -> Vec<String> {
        Vec::new()
    }

    fn memory(&self, name: &str) -> Vec<MemoryLine> {
        let bytes = u64::from(self.shape.hosts) * 64;
        vec![MemoryLine::new(format!("sources.{name}"), "generated hosts", bytes)]
    }

    fn event_bytes_max(&self) -> usize {
        Composer::new(self.shape).length_max()
    }

    fn page_bytes_min(&self) -> usize {
        ORIGIN_BYTES + Composer::new(self.shape).room_bytes() + BESIDE_BYTES
    }

    fn zones(&self) -> Option<&Zones> {
        Some(&self.zones)
    }

    fn is_patient(&self) -> bool {
        true
    }

    fn build(&self, context: &SourceContext) -> Result<Built, BuildError> {
        let generator = Generator {
            composer: Composer::new(self.shape),
            run: self.shape.seed as u32,
            rate: self.rate,
            count: self.count,
            lasting: self.lasting,
            want_pri: context.want_pri,
            sequence: 0,
            started: None,
            stopping: false,
            parker: Parker::default(),
        };
        Ok(Built { sources: vec![Box::new(generator)], bound: Vec::new() })
    }
}

struct Generator {
    composer: Composer,
    run: u32,
    rate: Rate,
    count: u64,
    lasting: Option<Duration>,
    want_pri: bool,
    /// The next event's number.
    sequence: u64,
    started: Option<Now>,
    stopping: bool,
    parker: Parker,
}

impl Generator {
    /// How many events are due by now, and whether there will be no more.
    fn due(&self, since: Duration) -> (u64, bool) {
        let over = self.lasting.is_some_and(|lasting| since >= lasting);
        let since = self.lasting.map_or(since, |lasting| since.min(lasting));
        let due = match self.rate {
            Rate::Max if over => self.sequence,
            Rate::Max => self.count,
            Rate::PerSecond(rate) => {
                let due = u128::from(duration_ns(since)) * u128::from(rate) / 1_000_000_000;
                u64::try_from(due).unwrap_or(u64::MAX)
            }
        };
        (due.min(self.count), over || due >= self.count)
    }

    fn generate(&mut self, page: &mut Page, at: Wall, head: EventHead) -> Result<(), Full> {
        let room = self.composer.room_bytes();
        if page.free_bytes() < room + BESIDE_BYTES {
            return Err(Full);
        }
        let stamp = Stamp { run: self.run, stream: 0, sequence: self.sequence, at };
        let offset = page.tail();
        let spare = page.spare_mut();
        let length = self.composer.compose(stamp, &mut spare[..room]);
        spare[length] = b'\n';
        let pri = if self.want_pri { parse_pri(&spare[..length]) } else { None };
        page.advance(length + 1);
        page.push_event(offset, u32_of(length), EventHead { pri, ..head })?;
        self.sequence += 1;
        Ok(())
    }
}

impl Source for Generator {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        let started = *self.started.get_or_insert(now);
        let (due, last) = self.due(now.mono.since(started.mono));
        let finished = |sequence| self.stopping || last && sequence >= due;
        if self.sequence >= due || self.stopping {
            return Received { finished: finished(self.sequence), ..Received::default() };
        }
        let full = Received { full: true, more: true, finished: false };
        if !page.accepts_time(now.wall) {
            return full;
        }
        let Ok(origin) = page.push_origin(Origin::LOCAL) else { return full };
        let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
        while self.sequence < due {
            let at = match self.rate {
                Rate::Max => now.wall,
                Rate::PerSecond(rate) => scheduled(started.wall, self.sequence, rate),
            };
            if self.generate(page, at, head).is_err() {
                return full;
            }
        }
        Received { finished: last, ..Received::default() }
    }

    fn wait(&mut self, now: Now, until: Mono, open: bool) {
        let until = if open { until.min(now.mono.after(LOOK)) } else { until };
        self.parker.sleep(now, until);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }

    fn stop(&mut self, _now: Now) {
        // What was not made was not sent.
        self.stopping = true;
    }
}

fn scheduled(started: Wall, sequence: u64, rate: u64) -> Wall {
    let after = u128::from(sequence) * 1_000_000_000 / u128::from(rate.max(1));
    Wall(started.0.saturating_add(i64::try_from(after).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Section;
    use crate::syslog::stamp::{self, Reading};
    use crate::telemetry::Incidents;

    fn generator(body: &str) -> Box<dyn Source> {
        let section = Section::parse(body, OPTIONS);
        let plan = (KIND.plan)(&section);
        assert!(!section.diagnostics().has_errors(), "{:?}", section.diagnostics().lines());
        let context = SourceContext {
            name: "gen".to_owned(),
            want_host: false,
            want_pri: true,
            exact: false,
            want_headers: false,
            page_bytes: 64 << 10,
            channels: 1,
            furthest: crate::memory::receipt::Reached::Synced,
            counters: vec![Arc::default()],
            incidents: Incidents::new(),
        };
        plan.build(&context).expect("nothing can fail").sources.remove(0)
    }

    fn at(ms: u64) -> Now {
        let ns = ms * 1_000_000;
        Now { mono: Mono(ns), wall: Wall(1_700_000_000_000_000_000 + ns as i64) }
    }

    fn stamps(page: &Page) -> Vec<Stamp> {
        let stamp = |text| match stamp::read(text) {
            Reading::Whole(stamp) => stamp,
            other => panic!("{other:?}"),
        };
        page.events().map(|event| stamp(event.bytes)).collect()
    }

    #[test]
    fn at_a_rate_every_event_comes_when_it_is_due_and_says_so() {
        let mut source = generator("rate = 1000\ncount = 25");
        let mut page = Page::new(64 << 10);
        assert_eq!(source.receive(&mut page, at(0)), Received::default());
        source.receive(&mut page, at(10));
        assert_eq!(page.event_count(), 10);
        // The valve was closed for long: what had been due comes at once, with its own times.
        let received = source.receive(&mut page, at(900));
        assert!(received.finished && source.receive(&mut page, at(901)).finished);
        let stamps = stamps(&page);
        assert_eq!(stamps.len(), 25);
        for (index, stamp) in stamps.iter().enumerate() {
            assert_eq!((stamp.sequence, stamp.at), (index as u64, at(index as u64).wall));
        }
        assert!(page.contiguous().is_some());
        assert!(page.events().all(|event| event.pri.is_some()));
    }

    #[test]
    fn at_full_speed_pages_fill_until_the_count_is_reached() {
        let mut source = generator("rate = 'max'\ncount = 3000\nformat = 'rfc5424'");
        let mut sequences = Vec::new();
        for serial in 1.. {
            let mut page = Page::new(64 << 10);
            page.clear(serial);
            let received = source.receive(&mut page, at(serial));
            sequences.extend(stamps(&page).iter().map(|stamp| stamp.sequence));
            assert_eq!(received.full, !received.finished);
            if received.finished {
                break;
            }
        }
        assert!(sequences.into_iter().eq(0..3000));
    }

    #[test]
    fn it_ends_by_the_clock_or_when_stopped() {
        let mut lasting = generator("rate = 10\nseconds = 2");
        let mut page = Page::new(64 << 10);
        lasting.receive(&mut page, at(0));
        assert!(lasting.receive(&mut page, at(3500)).finished);
        assert_eq!(page.event_count(), 20);
        let mut stopped = generator("rate = 'max'");
        stopped.stop(at(0));
        assert!(stopped.receive(&mut page, at(3501)).finished);
        assert_eq!(page.event_count(), 20);
    }

    #[test]
    fn the_rows_are_what_is_asked_for() {
        crate::config::check_docs(OPTIONS, "", |section| {
            (KIND.plan)(section);
        });
    }
}
