//! For tests: a source whose senders are answered, over real sockets, stepped by hand and its slips
//! answered by the test.

#[cfg(test)]
pub(super) mod files;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::network::tests::context;
use super::place::Place;
use super::{SOURCES, Source};
use crate::config::Section;
use crate::event::{Event, Page};
use crate::memory::ReceiptSlip;
use crate::telemetry::{Incidents, SourceCounters};
use crate::time::{Mono, Now, Wall};

/// Nothing here takes so long.
const SOON: Duration = Duration::from_secs(60);

pub(super) struct Rig {
    pub(super) source: Box<dyn Source>,
    pub(super) place: Place,
    pub(super) counters: Arc<SourceCounters>,
    page: Page,
    serial: u64,
    /// With their headers in front, where there are any.
    pub(super) texts: Vec<String>,
    pub(super) slips: VecDeque<ReceiptSlip>,
    /// Batches are confirmed as soon as they are offered.
    pub(super) confirms: bool,
    pub(super) finished: bool,
    start: Instant,
}

impl Rig {
    /// A source of this type that listens for TCP, with these options.
    pub(super) fn new(kind: &str, more: &str) -> Self {
        Self::of(kind, &format!("listen = 'tcp://127.0.0.1:0'\n{more}"))
    }

    pub(super) fn of(kind: &str, body: &str) -> Self {
        let kind = SOURCES.iter().find(|row| row.name == kind).unwrap();
        let section = Section::parse(body, kind.options);
        let plan = (kind.plan)(&section);
        section.finish();
        assert!(!section.diagnostics().has_errors(), "{:?}", section.diagnostics().lines());
        let counters = Arc::<SourceCounters>::default();
        let mut context = context(vec![Arc::clone(&counters)], Incidents::new());
        context.want_headers = true;
        let mut built = plan.build(&context).unwrap();
        let mut page = Page::new(context.page_bytes);
        page.clear(1);
        Self {
            source: built.sources.remove(0),
            place: built.bound.remove(0).place,
            counters,
            page,
            serial: 1,
            texts: Vec::new(),
            slips: VecDeque::new(),
            confirms: true,
            finished: false,
            start: Instant::now(),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.place.internet().unwrap()
    }

    pub(super) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).unwrap()
    }

    pub(super) fn step(&mut self) {
        let elapsed = self.start.elapsed().as_nanos();
        let now = Now { mono: Mono(elapsed as u64), wall: Wall(elapsed as i64) };
        self.source.settle(now);
        let received = self.source.receive(&mut self.page, now);
        self.finished = received.finished;
        self.texts.extend(self.page.events().map(|event| told(&event)));
        self.slips.extend(self.source.slip());
        self.serial += 1;
        self.page.clear(self.serial);
        if self.confirms {
            self.slips.drain(..).for_each(ReceiptSlip::confirm);
        }
        if !received.more && !received.finished {
            self.source.wait(now, now.mono.after(Duration::from_millis(5)), true);
        }
    }

    #[track_caller]
    pub(super) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < SOON, "{:?}", self.texts);
            self.step();
        }
    }

    /// Steps until a peer has done its part.
    #[track_caller]
    pub(super) fn join<T>(&mut self, peer: JoinHandle<T>) -> T {
        let began = Instant::now();
        while !peer.is_finished() {
            assert!(began.elapsed() < SOON, "{:?}", self.texts);
            self.step();
        }
        peer.join().unwrap()
    }

    /// Writes, says that this was all, and reads what is answered until we close.
    #[track_caller]
    pub(super) fn talk(&mut self, text: &[u8]) -> String {
        let (mut peer, text) = (self.connect(), text.to_vec());
        let peer = std::thread::spawn(move || {
            peer.write_all(&text).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut answers = String::new();
            peer.read_to_string(&mut answers).unwrap();
            answers
        });
        self.join(peer)
    }

    /// A peer that writes `text` again and again until none of it is taken any more, and hears
    /// nothing; and how many bytes it wrote.
    pub(super) fn deaf(&mut self, text: &[u8]) -> (TcpStream, usize) {
        let mut deaf = self.connect();
        deaf.set_nonblocking(true).unwrap();
        let (mut written, mut idle) = (0, 0);
        // Its answers fill both sockets' buffers; then no more of it is taken.
        while idle < 20 {
            let more = deaf.write(&text[written % text.len()..]).unwrap_or(0);
            written += more;
            idle = if more == 0 { idle + 1 } else { 0 };
            self.step();
            self.texts.clear();
            assert!(written < 256 << 20, "it is read for ever");
        }
        (deaf, written)
    }
}

fn told(event: &Event<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = event.headers();
    let pairs = headers.iter().map(|(name, value)| format!("{}={} ", text(name), text(value)));
    pairs.chain([text(event.bytes)]).collect()
}
