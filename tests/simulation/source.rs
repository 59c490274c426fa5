//! Simulated sources: one that runs under the real runner, and one that acknowledges.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use flumen::channel::Valve;
use flumen::event::{EventHead, Full, HeaderMap, Marks, Origin, Page};
use flumen::memory::receipt::{Outcome, Reached};
use flumen::memory::{Lease, Receipt, ReceiptPool, ReceiptSlip};
use flumen::ring::Wake;
use flumen::runtime::{Progress, Worker};
use flumen::source::{Received, Source};
use flumen::telemetry::SourceCounters;
use flumen::time::{Mono, Now};

use crate::dealing::{HEADER, value};
use crate::event::Id;
use crate::random::Random;

pub(crate) struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// What a source has sent; it outlives crashes, so that no number is used twice.
pub(crate) struct Feed {
    pub(crate) source: usize,
    pub(crate) next: Vec<u32>,
    pub(crate) random: Random,
    /// Mutations: an event sent twice, two events in the wrong order.
    pub(crate) doubles: bool,
    pub(crate) swaps: bool,
    /// Events say where they go; one in fifty says something else.
    pub(crate) headed: bool,
    pub(crate) strays: bool,
    pub(crate) headers: HeaderMap,
}

impl Feed {
    /// Fills with up to `events` of random connections; says whether the page became full.
    fn fill(&mut self, page: &mut Page, events: u64, now: Now) -> bool {
        let mut left = events;
        if self.random.once_in(8) {
            page.set_scattered();
        }
        while left > 0 {
            let connection = self.random.index(self.next.len());
            let Ok(origin) = page.push_origin(origin(self.source, connection)) else { return true };
            let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
            for _ in 0..self.random.within(1..9).min(left) {
                let number = self.next[connection];
                let mut sent = number;
                if self.swaps && number % 50 >= 48 {
                    sent = number ^ 1;
                }
                let text = Id::new(self.source, connection, sent).text();
                if self.head(page, text.as_bytes(), sent, head).is_err() {
                    return true;
                }
                let again = self.doubles && number.is_multiple_of(50) && number > 0;
                self.doubles &= !again;
                self.next[connection] = number + u32::from(!again);
                left -= 1;
            }
        }
        false
    }

    fn head(
        &mut self,
        page: &mut Page,
        text: &[u8],
        number: u32,
        head: EventHead,
    ) -> Result<(), Full> {
        let stray = u32::from(self.strays && number % 50 == 7);
        self.headers.clear();
        if let Some(value) = value(number + stray).filter(|_| self.headed) {
            self.headers.set(HEADER, value).expect("short");
        }
        page.append_headed(text, &self.headers, head)
    }
}

/// Connections of one source have addresses of their own, but the first is local.
fn origin(source: usize, connection: usize) -> Origin {
    let address = Ipv4Addr::new(10, 0, source as u8, connection as u8);
    let peer = SocketAddr::new(IpAddr::V4(address), 514);
    Origin::new((connection > 0).then_some(peer), 0)
}

/// Events in varied portions: nothing, one, some, more than fit.
pub(crate) struct SimSource {
    pub(crate) feed: Arc<Mutex<Feed>>,
    /// Nothing comes for now.
    pub(crate) quiet: Arc<AtomicBool>,
    pub(crate) stopping: bool,
}

impl Source for SimSource {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        let mut feed = self.feed.lock().expect("one thread");
        let portion = feed.random.below(40);
        if self.stopping {
            let full = feed.fill(page, portion, now);
            return Received {
                full,
                more: !full && portion > 20,
                finished: !full && portion <= 20,
            };
        }
        if self.quiet.load(Ordering::Relaxed) {
            return Received::default();
        }
        let (events, more) = match portion {
            0..15 => (0, false),
            15..25 => (1, false),
            25..36 => (portion, feed.random.once_in(3)),
            36..39 => (200, true),
            _ => (5000, true),
        };
        let full = feed.fill(page, events, now);
        Received { full, more: more && !full, finished: false }
    }

    fn wait(&mut self, _now: Now, _until: Mono, _open: bool) {
        unreachable!("nobody waits in simulation");
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Nobody)
    }

    fn stop(&mut self, _now: Now) {
        self.stopping = true;
    }
}

/// The same with a receipt for all that is read at a time, under a runner that deals it out.
pub(crate) struct AnsweredSource {
    pub(crate) source: SimSource,
    pub(crate) told: Arc<Mutex<Told>>,
    /// Of what was read last.
    pub(crate) slip: Option<ReceiptSlip>,
}

impl Source for AnsweredSource {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        assert!(page.is_empty() && self.slip.is_none(), "what was read before is through");
        let mut told = self.told.lock().expect("one thread");
        if !told.receipts.has_free() {
            return Received::default();
        }
        let received = self.source.receive(page, now);
        if !page.is_empty() {
            // The runner adds what its pages wait for.
            let (receipt, slip) = told.receipts.take(1).expect("one is free");
            told.waiting.insert(receipt, ids(page));
            self.slip = Some(slip);
        }
        received
    }

    fn wait(&mut self, now: Now, until: Mono, open: bool) {
        self.source.wait(now, until, open);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.source.waker()
    }

    fn stop(&mut self, now: Now) {
        self.source.stop(now);
    }

    fn settle(&mut self, _now: Now) {
        self.told.lock().expect("one thread").listen();
    }

    fn wanted(&self) -> Option<Reached> {
        self.slip.as_ref().map(ReceiptSlip::wanted)
    }

    fn slip(&mut self) -> Option<ReceiptSlip> {
        self.slip.take()
    }
}

fn ids(page: &Page) -> Vec<Id> {
    let json = false;
    page.events().filter_map(|event| Id::in_line(event.bytes, json)).collect()
}

/// Open receipts of a simulated source.
const RECEIPTS: usize = 6;

/// What an acknowledging source was told, for the checkers.
pub(crate) struct Told {
    pub(crate) receipts: Arc<ReceiptPool>,
    /// Waiting for an answer.
    pub(crate) waiting: BTreeMap<Receipt, Vec<Id>>,
    pub(crate) confirmed: Vec<Id>,
    pub(crate) failed: u64,
}

/// A source that hangs a receipt on every batch: a worker of its own at the real valve.
pub(crate) struct Acknowledging {
    pub(crate) feed: Arc<Mutex<Feed>>,
    pub(crate) quiet: Arc<AtomicBool>,
    pub(crate) valve: Valve,
    pub(crate) channels: u32,
    pub(crate) told: Arc<Mutex<Told>>,
    pub(crate) counters: Arc<SourceCounters>,
    pub(crate) closing: bool,
}

impl Told {
    pub(crate) fn new(wanted: Reached) -> Self {
        let receipts = ReceiptPool::new(RECEIPTS, wanted);
        Self { receipts, waiting: BTreeMap::new(), confirmed: Vec::new(), failed: 0 }
    }

    /// Takes the answers; says whether there were any.
    pub(crate) fn listen(&mut self) -> bool {
        let before = self.waiting.len();
        while let Some((receipt, outcome)) = self.receipts.poll() {
            let ids = self.waiting.remove(&receipt).expect("a receipt is settled once");
            match outcome {
                Outcome::Confirmed => self.confirmed.extend(ids),
                Outcome::Failed => self.failed += 1,
            }
        }
        self.waiting.len() < before
    }
}

impl Acknowledging {
    fn send(&self, mut page: Lease, now: Now) -> bool {
        let mut feed = self.feed.lock().expect("one thread");
        let portion = *feed.random.pick(&[1, 3, 20, 200]);
        let before = feed.next.clone();
        feed.fill(&mut page, portion, now);
        let mut told = self.told.lock().expect("one thread");
        let Some((receipt, slip)) = told.receipts.take(self.channels) else {
            feed.next = before;
            self.valve.give_back(page);
            return false;
        };
        let ids = ids(&page);
        self.counters.received_events.add(u64::from(page.event_count()));
        self.counters.routed_events.add(u64::from(page.event_count()));
        told.waiting.insert(receipt, ids);
        drop(told);
        self.valve.offer(page, Some(slip), now.mono, now);
        true
    }
}

impl Worker for Acknowledging {
    fn name(&self) -> &str {
        "acknowledging"
    }

    fn work(&mut self, now: Now) -> Progress {
        let worked = self.told.lock().expect("one thread").listen();
        if self.closing {
            return Progress::Done;
        }
        let idle = self.quiet.load(Ordering::Relaxed);
        let page = if idle { None } else { self.valve.open() };
        let sent = page.is_some_and(|page| self.send(page, now));
        if sent || worked { Progress::Worked } else { Progress::IDLE }
    }

    fn wait(&mut self, _now: Now, _until: Mono) {
        unreachable!("nobody waits in simulation");
    }

    fn close(&mut self, _now: Now) {
        self.closing = true;
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Nobody)
    }
}

/// How far a simulated acknowledging source wants its events to come.
pub(crate) const WANTED: [Reached; 3] = [Reached::Synced, Reached::Synced, Reached::Written];
