//! One HTTP connection: a request is read whole, its events go into pages, and it is answered when
//! they have come far enough.
//!
//! ```text
//!   head ──▶ body ──▶ placing ──▶ owed ──▶ head …      one request after the other, pipelined too
//!     └───────┴──────────┴─▶ refused: the next head, or draining ──▶ over
//! ```
//! 200 says that every event has reached its mark. While the channels are full (`Turn::shut`) a
//! request of which nothing was taken yet is refused with 503 after `full_timeout`; one that is in
//! pages in part waits, for those cannot be taken back. A head that is not whole, and what stands
//! behind a request, waits in the connection's carry.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::http::Method;

use super::bodies::{Piece, Staged};
use super::receiving::Receiving;
use super::request::{self, Asked};
use super::store::Hold;
use super::{Refused, Rules};
use crate::event::{EventHead, Marks, Origin};
use crate::limits::HTTP_HEAD_BYTES_MAX;
use crate::memory::Outcome;
use crate::source::acks::Owner;
use crate::source::connection::{Desk, Visit};
use crate::source::dialogue::{Counter, Dialogue, Hearing, READ_BYTES, Reading, Slate};
use crate::source::framing::Cut;
use crate::source::text::{holds_control, parse_pri};
use crate::time::Mono;
use crate::wire::http::{self, Answer, Head, Manner};
use crate::wire::http_body::Incoming;

/// Read with one call, of a head and of chunks: what is behind a request has to wait somewhere.
const SHORT_READ_BYTES: usize = 16 << 10;

/// What a connection may have to keep between two visits.
pub const HELD_BYTES_MAX: usize = HTTP_HEAD_BYTES_MAX + SHORT_READ_BYTES;

/// Behind an answer that comes before the request's end: so much is read and thrown away, and so
/// long. A close with unread bytes resets the connection, and the peer might not hear why.
const DRAINED_BYTES_MAX: usize = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// What the reactor says before each visit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    pub now: Mono,
    /// The channels are full: nothing may be taken.
    pub shut: bool,
    /// The peer has sent more than it may, and so long it is to wait.
    pub limited: Option<Duration>,
}

#[derive(Debug)]
pub struct Talk {
    slate: Slate,
    rules: Arc<Rules>,
    /// What is carried has not been looked at in this stage.
    unheard: bool,
    stage: Stage,
    /// When the first byte of the request came.
    began: Option<Mono>,
    /// More requests may follow the present one.
    keep: bool,
    /// It was asked by HEAD: an answer has no body.
    head_only: bool,
    /// They may not: we stop, or the connection is to end.
    parting: bool,
    /// Some of its events were lost behind us.
    lost: bool,
    refused: Option<Refused>,
}

#[derive(Debug)]
enum Stage {
    Head,
    Body(Box<Receiving>),
    Placing(Box<Placing>),
    Owed,
    /// Answered, and the rest of what comes is thrown away.
    Draining {
        left: usize,
        until: Mono,
    },
    Over,
}

#[derive(Debug)]
struct Placing {
    staged: Staged,
    since: Mono,
    /// Something of it is in a page.
    touched: bool,
    _hold: Hold,
}

impl Talk {
    pub fn new(owner: Owner, rules: Arc<Rules>) -> Self {
        Self {
            slate: Slate::new(owner),
            rules,
            unheard: false,
            stage: Stage::Head,
            began: None,
            keep: true,
            head_only: false,
            parting: false,
            lost: false,
            refused: None,
        }
    }

    // ── reading ──

    fn read_bytes(&self) -> usize {
        match &self.stage {
            Stage::Body(body) => match body.incoming.announced() {
                Some(bytes) => bytes.clamp(1, READ_BYTES),
                None => SHORT_READ_BYTES,
            },
            _ => SHORT_READ_BYTES,
        }
    }

    /// Takes what is there of the head and the body; says how much.
    fn take(&mut self, bytes: &[u8], turn: Turn) -> usize {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match &mut self.stage {
                Stage::Head if rest.is_empty() => return at,
                Stage::Head => {
                    self.began.get_or_insert(turn.now);
                    match http::read_head(rest) {
                        Head::Partial => return at,
                        Head::Refused(refusal) => {
                            self.refuse(refusal.into(), false, turn.now);
                            return bytes.len();
                        }
                        Head::Whole { request, body, used } => {
                            at += used;
                            self.keep = http::keeps_open(&request);
                            self.head_only = request.method() == Method::HEAD;
                            self.ask(&request, body, turn);
                        }
                    }
                }
                Stage::Body(body) if !body.incoming.is_whole() => {
                    if rest.is_empty() {
                        return at;
                    }
                    match body.hear(rest) {
                        Ok(0) => return at,
                        Ok(used) => at += used,
                        Err(refused) => {
                            self.refuse(refused, false, turn.now);
                            return bytes.len();
                        }
                    }
                }
                Stage::Body(_) => self.stage_body(turn.now),
                _ => return at,
            }
        }
    }

    fn ask(&mut self, request: &::http::Request<()>, body: http::Body, turn: Turn) {
        let none = matches!(body, http::Body::None | http::Body::Length(0));
        let asked = Asked::read(request, &self.rules, turn.limited);
        let incoming = Incoming::new(body, self.rules.body_max).map_err(Refused::from);
        match asked.and_then(|asked| incoming.map(|incoming| (asked, incoming))) {
            Ok((asked, incoming)) => {
                if asked.expects && !none {
                    self.slate.out.extend_from_slice(request::CONTINUE);
                }
                let hold = self.rules.store.hold();
                self.stage = Stage::Body(Box::new(Receiving { asked, incoming, hold }));
            }
            Err(refused) => self.refuse(refused, none, turn.now),
        }
    }

    fn stage_body(&mut self, now: Mono) {
        let Stage::Body(body) = std::mem::replace(&mut self.stage, Stage::Head) else { return };
        match body.stage(&self.rules) {
            Ok((staged, _hold)) => {
                let placing = Placing { staged, since: now, touched: false, _hold };
                self.stage = Stage::Placing(Box::new(placing));
            }
            // The request is whole, so the next one may follow.
            Err(refused) => self.refuse(refused, true, now),
        }
    }

    fn drain(&mut self, scratch: &mut [u8], now: Mono, reading: &mut Reading<'_>) -> Visit {
        let Stage::Draining { left, until } = &mut self.stage else { return Visit::Drained };
        while *left > 0 && now < *until {
            if reading.taken >= reading.bound {
                return Visit::Bound;
            }
            match reading.link.read(scratch) {
                Ok(0) => break,
                Ok(count) => {
                    reading.taken += count;
                    *left = left.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Visit::Drained,
                Err(error) => return Visit::Failed(error),
            }
        }
        self.stage = Stage::Over;
        Visit::Drained
    }

    // ── events ──

    /// Puts events into the page, as far as it has room. None: all of them are there.
    fn place(&mut self, hearing: &mut Hearing<'_, '_>) -> Option<Visit> {
        let Hearing { desk, origin, counter } = hearing;
        let late = counter.turn.now >= self.alarm();
        let Stage::Placing(placing) = &mut self.stage else { return Some(Visit::Drained) };
        let ready = !counter.turn.shut && counter.acks.ready();
        if !ready {
            if late {
                let again = self.rules.full_timeout.as_secs().max(1);
                let refused = Refused::new(503, "the channels are full: nothing was taken");
                self.refuse(refused.again(again), true, counter.turn.now);
                return None;
            }
            return Some(if counter.turn.shut { Visit::Full } else { Visit::Starved });
        }
        // In two pages it would wait for the second one, and be told nothing meanwhile.
        let (whole, page) = (placing.staged.page_bytes(), &*desk.page);
        let begins = !placing.touched && !page.is_empty() && whole <= page.capacity();
        if begins && whole > page.free_bytes() {
            return Some(Visit::Full);
        }
        let mut count = 0;
        let full = loop {
            let Some(piece) = placing.staged.show(desk.rules.event_bytes_max) else { break false };
            if append(&mut self.slate, piece, desk, *origin, self.rules.want_headers).is_none() {
                break true;
            }
            placing.staged.took();
            placing.touched = true;
            count += 1;
        };
        if count > 0 {
            self.slate.owe(count, &mut counter.acks);
        }
        if full {
            return Some(Visit::Full);
        }
        self.stage = Stage::Owed;
        self.answer_owed();
        None
    }

    fn answer_owed(&mut self) {
        if self.slate.owed > 0 || !matches!(self.stage, Stage::Owed) {
            return;
        }
        if std::mem::take(&mut self.lost) {
            let why = "events of this request were lost behind this source, and that is counted";
            self.tell(Refused::new(500, why));
            self.answer(&Answer::text(500, format!("{why}\n")), true);
        } else {
            self.answer(&Answer::text(200, ""), true);
        }
    }

    // ── answers ──

    /// Says why a request is not taken. `whole`: there is no more of it to come.
    fn refuse(&mut self, refused: Refused, whole: bool, now: Mono) {
        let answer = Answer {
            allow: (refused.status == 405).then_some(request::ALLOWED),
            retry_after: refused.retry_after,
            ..Answer::text(refused.status, format!("{}\n", refused.why))
        };
        self.tell(refused);
        self.answer(&answer, whole);
        if !whole {
            let until = now.after(DRAIN_TIME);
            self.stage = Stage::Draining { left: DRAINED_BYTES_MAX, until };
        }
    }

    fn tell(&mut self, refused: Refused) {
        let before = self.refused.take().map_or(0, |before| before.times);
        self.refused = Some(Refused { times: before + refused.times, ..refused });
    }

    fn answer(&mut self, answer: &Answer, whole: bool) {
        let keep_open = self.keep && whole && !self.parting;
        let head_only = std::mem::take(&mut self.head_only);
        http::write_answer(answer, Manner { head_only, keep_open }, &mut self.slate.out);
        self.began = None;
        self.stage = if keep_open { Stage::Head } else { Stage::Over };
    }
}

impl Dialogue for Talk {
    fn slate(&self) -> &Slate {
        &self.slate
    }

    fn slate_mut(&mut self) -> &mut Slate {
        &mut self.slate
    }

    fn go_on(&mut self, hearing: &mut Hearing<'_, '_>, reading: &mut Reading<'_>) -> Option<Visit> {
        let now = hearing.counter.turn.now;
        match &self.stage {
            Stage::Owed | Stage::Over => Some(Visit::Drained),
            Stage::Placing(_) => self.place(hearing),
            Stage::Draining { .. } => Some(self.drain(&mut hearing.counter.scratch, now, reading)),
            // It does not read what is said: the writable edge brings us back.
            Stage::Head if !self.slate.out.is_empty() => Some(Visit::Drained),
            Stage::Head | Stage::Body(_) if now >= self.alarm() => {
                let why = "the request did not come whole within `request_timeout`";
                self.refuse(Refused::new(408, why), false, now);
                None
            }
            Stage::Head | Stage::Body(_) => {
                let visit = self.read(hearing, reading);
                let failed = matches!(visit, Visit::Failed(_));
                if failed {
                    self.stage = Stage::Over;
                }
                (failed || self.listens()).then_some(visit)
            }
        }
    }

    fn longest(&self, _: &Desk<'_>, _: &mut Counter, _: usize) -> Result<usize, Visit> {
        Ok(self.read_bytes())
    }

    fn hear(&mut self, bytes: &[u8], _: usize, hearing: &mut Hearing<'_, '_>) -> usize {
        let used = self.take(bytes, hearing.counter.turn);
        match self.stage {
            Stage::Head | Stage::Body(_) => used,
            Stage::Draining { .. } | Stage::Over => bytes.len(),
            Stage::Placing(_) | Stage::Owed => {
                self.unheard = used < bytes.len();
                used
            }
        }
    }

    fn resumes(&mut self) -> bool {
        std::mem::take(&mut self.unheard)
    }

    fn end(&mut self, rest: &[u8], _: &mut Hearing<'_, '_>) {
        if !rest.is_empty() || self.began.is_some() {
            self.tell(Refused::new(400, "the connection ended inside of the request"));
        }
        self.stage = Stage::Over;
    }

    /// Answers go `out` when their request has come to its end.
    fn word(&mut self) {}

    fn settled(&mut self, count: u32, outcome: Outcome) {
        self.slate.owed -= count;
        self.lost |= outcome == Outcome::Failed;
        self.answer_owed();
    }

    /// Nothing more is read: we stop, the peer was silent, or memory is needed. A request that is
    /// not whole is refused; one that is, is answered.
    fn flush(&mut self, desk: &mut Desk<'_>, _: Origin, why: Cut) -> bool {
        self.slate.keep(&[], desk.carries);
        self.parting = true;
        match &self.stage {
            Stage::Owed => {}
            // What was read was heard by nobody, and the connection is gone.
            Stage::Placing(_) => self.stage = Stage::Over,
            Stage::Head | Stage::Body(_) => {
                if self.began.is_some() {
                    let (status, why) = match (why, &desk.counter) {
                        (Cut::Evicted, _) => (503, "there is no memory for more requests"),
                        (_, None) => (408, "the connection was silent for too long"),
                        (_, Some(_)) => (503, "the agent stops"),
                    };
                    self.refuse(Refused::new(status, why).again(1), true, Mono(0));
                }
                self.stage = Stage::Over;
            }
            Stage::Draining { .. } => self.stage = Stage::Over,
            // It does not read its answers.
            Stage::Over => self.slate.out.clear(),
        }
        true
    }

    fn listens(&self) -> bool {
        matches!(self.stage, Stage::Head | Stage::Body(_))
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over) && self.slate.out.is_empty()
    }

    fn is_owed(&self) -> bool {
        matches!(self.stage, Stage::Placing(_) | Stage::Owed)
    }

    fn discards(&self) -> bool {
        self.is_over()
    }

    fn take_refused(&mut self) -> Option<Refused> {
        self.refused.take()
    }

    fn refuses(&self) -> bool {
        true
    }

    fn alarm(&self) -> Mono {
        match &self.stage {
            // Nothing is read meanwhile.
            Stage::Head if !self.slate.out.is_empty() => Mono::MAX,
            Stage::Head | Stage::Body(_) => match self.began {
                Some(began) => began.after(self.rules.request_timeout),
                None => Mono::MAX,
            },
            Stage::Placing(placing) if !placing.touched => {
                placing.since.after(self.rules.full_timeout)
            }
            Stage::Draining { until, .. } => *until,
            Stage::Placing(_) | Stage::Owed | Stage::Over => Mono::MAX,
        }
    }
}

/// None: the page has no room.
fn append(
    slate: &mut Slate,
    piece: Piece<'_>,
    desk: &mut Desk<'_>,
    origin: Origin,
    want_headers: bool,
) -> Option<()> {
    let Piece { text, headers, split } = piece;
    let origin = slate.place.find_labelled(desk.page, origin, desk.names, desk.labels).ok()?;
    let pri = if desk.rules.want_pri { parse_pri(text) } else { None };
    let control = if holds_control(text) { Marks::CONTROL } else { Marks::NONE };
    let marks = if split { Marks::SPLIT.with(control) } else { control };
    let head = EventHead { at: desk.at, origin, pri, marks };
    let appended = match want_headers {
        true => desk.page.append_headed(text, headers, head),
        false => desk.page.append_event(text, head),
    };
    appended.ok()
}
