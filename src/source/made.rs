//! Events that a source makes itself: so many, so many a second, as long as there is room.
//!
//! With a rate an event is due when its number says so, however long the valve was closed; what
//! could not go when it was due goes as soon as it can.

use std::sync::Arc;
use std::time::Duration;

use super::{BuildError, Built, Received, Source, SourceContext, SourcePlan};
use crate::event::{EventHead, Full, Marks, Origin, Page};
use crate::limits;
use crate::memory::MemoryLine;
use crate::ring::Wake;
use crate::runtime::parker::Parker;
use crate::time::{Mono, Now, duration_ns};

/// It looks for what is due so often.
const LOOK: Duration = Duration::from_millis(1);
/// What an event takes of a page beside its bytes, and the origin in front of all.
const BESIDE_BYTES: usize = 1 + 64;
const ORIGIN_BYTES: usize = 32;

/// What the events are.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// The event's number in decimal digits.
    Number,
    /// So many bytes of this value.
    Filled(u8, usize),
}

/// A source of such events, valid once built.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    pub body: Body,
    /// So many, and then it is finished.
    pub count: Option<u64>,
    pub per_second: Option<u64>,
    /// Made at once, before the clock is read again.
    pub batch: u64,
}

impl Made {
    fn bytes_max(&self) -> usize {
        match self.body {
            Body::Number => 20,
            Body::Filled(_, bytes) => bytes,
        }
    }
}

impl SourcePlan for Made {
    fn threads(&self) -> usize {
        1
    }

    fn listeners(&self) -> Vec<String> {
        Vec::new()
    }

    fn memory(&self, _name: &str) -> Vec<MemoryLine> {
        Vec::new()
    }

    fn event_bytes_max(&self) -> usize {
        self.bytes_max().max(limits::EVENT_BYTES_MIN)
    }

    fn page_bytes_min(&self) -> usize {
        ORIGIN_BYTES + self.bytes_max() + BESIDE_BYTES
    }

    fn is_patient(&self) -> bool {
        true
    }

    fn build(&self, _context: &SourceContext) -> Result<Built, BuildError> {
        let maker = Maker {
            made: *self,
            number: 0,
            started: None,
            stopping: false,
            parker: Parker::default(),
        };
        Ok(Built { sources: vec![Box::new(maker)], bound: Vec::new() })
    }
}

struct Maker {
    made: Made,
    /// The next event's.
    number: u64,
    started: Option<Mono>,
    stopping: bool,
    parker: Parker,
}

impl Maker {
    /// The number of the first event that is not due yet.
    fn due(&self, since: Duration) -> u64 {
        let by_count = self.made.count.unwrap_or(u64::MAX);
        let Some(rate) = self.made.per_second else { return by_count };
        let due = u128::from(duration_ns(since)) * u128::from(rate) / 1_000_000_000;
        u64::try_from(due).unwrap_or(u64::MAX).min(by_count)
    }

    fn make(&self, page: &mut Page, head: EventHead) -> Result<(), Full> {
        match self.made.body {
            Body::Number => {
                // Without an allocation: the widest number has 20 digits.
                let (mut digits, mut at, mut rest) = ([0; 20], 20, self.number);
                loop {
                    at -= 1;
                    digits[at] = b'0' + (rest % 10) as u8;
                    rest /= 10;
                    if rest == 0 {
                        break;
                    }
                }
                page.append_event(&digits[at..], head)
            }
            Body::Filled(value, bytes) => {
                if page.free_bytes() < bytes + BESIDE_BYTES {
                    return Err(Full);
                }
                let offset = page.tail();
                let spare = page.spare_mut();
                spare[..bytes].fill(value);
                spare[bytes] = b'\n';
                page.advance(bytes + 1);
                page.push_event(offset, limits::u32_of(bytes), head)
            }
        }
    }
}

impl Source for Maker {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        let started = *self.started.get_or_insert(now.mono);
        let due = self.due(now.mono.since(started));
        let over = |number| self.made.count.is_some_and(|count| number >= count);
        if self.stopping || over(self.number) {
            return Received { finished: true, ..Received::default() };
        }
        if self.number >= due {
            return Received::default();
        }
        let full = Received { full: true, more: true, finished: false };
        if !page.accepts_time(now.wall) {
            return full;
        }
        let Ok(origin) = page.push_origin(Origin::LOCAL) else { return full };
        let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
        let end = due.min(self.number.saturating_add(self.made.batch));
        while self.number < end {
            if self.make(page, head).is_err() {
                return full;
            }
            self.number += 1;
        }
        Received { full: false, more: self.number < due, finished: over(self.number) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    fn maker(made: Made) -> Maker {
        Maker { made, number: 0, started: None, stopping: false, parker: Parker::default() }
    }

    fn at(ms: u64) -> Now {
        Now { mono: Mono(ms * 1_000_000), wall: Wall(ms as i64 * 1_000_000) }
    }

    const NUMBERS: Made = Made { body: Body::Number, count: None, per_second: None, batch: 100 };

    #[test]
    fn numbers_come_in_order_over_any_pages_and_end() {
        let mut source = maker(Made { count: Some(12_345), ..NUMBERS });
        let mut numbers = Vec::new();
        for serial in 1.. {
            let mut page = Page::new(64 << 10);
            page.clear(serial);
            let received = loop {
                let received = source.receive(&mut page, at(serial));
                if received.full || received.finished {
                    break received;
                }
            };
            assert_eq!(page.contiguous().map(<[u8]>::is_empty), Some(false));
            numbers.extend(page.events().map(|it| String::from_utf8_lossy(it.bytes).into_owned()));
            if received.finished {
                break;
            }
        }
        assert!(numbers.into_iter().eq((0..12_345).map(|number: u32| number.to_string())));
    }

    #[test]
    fn a_visit_makes_a_batch_and_a_rate_is_kept_whatever_the_valve_did() {
        let mut source = maker(Made { per_second: Some(1000), ..NUMBERS });
        let mut page = Page::new(64 << 10);
        source.receive(&mut page, at(5));
        source.receive(&mut page, at(35));
        assert_eq!(page.event_count(), 30);
        assert!(source.receive(&mut page, at(505)).more);
        assert_eq!(page.event_count(), 130);
        while source.receive(&mut page, at(505)).more {}
        assert_eq!(page.event_count(), 500);
        source.stop(at(506));
        assert!(source.receive(&mut page, at(900)).finished);
        assert_eq!(page.event_count(), 500);
    }

    #[test]
    fn a_filled_body_is_as_long_as_asked() {
        for bytes in [0, 1, 500, 40_000] {
            let mut source = maker(Made { body: Body::Filled(0x7F, bytes), ..NUMBERS });
            let mut page = Page::new(64 << 10);
            source.receive(&mut page, at(0));
            assert!(page.event_count() > 0);
            let right = |body: &[u8]| body.len() == bytes && body.iter().all(|byte| *byte == 0x7F);
            assert!(page.events().all(|event| right(event.bytes)));
        }
    }
}
