//! How much one read asks for, and where what did not fit waits.
//!
//! Bytes and slots share a page, so room for a read is room for its frames' slots too. Asking only
//! for what always fits (frames of one byte: a ninth) makes for twenty reads a page; and each read
//! that moves a TCP window sends an acknowledgement, whose handling, down to the sender's next
//! segments on a loopback, is the reader's to pay (measured: 0.04 µs an event, half of all that
//! receiving costs). So a read asks for what fits if its frames are about as long as those before:
//! one read fills a page. Where they turn out shorter, the rest of the read waits here, and comes
//! first in the next page.

use crate::event::Page;
use crate::limits;

/// A rest is never longer than a read, and a read never longer than a page.
pub const REST_BYTES: usize = limits::BATCH_BYTES_MAX;

/// Frames a page must hold before their mean length is believed.
const EVENTS_MIN: u32 = 64;

/// What a frame is taken for as long as none has been seen: a short log line.
const FRAME_BYTES: usize = 96;

/// Shorter longest events make too many pieces of one line for slots to be set apart for them.
const EVENT_BYTES_MIN: usize = 4096;

/// One worker's.
#[derive(Debug)]
pub struct Reach {
    /// Bytes of a frame, lately.
    frame_bytes: usize,
    rest: Vec<u8>,
    /// How far the rest has been taken.
    from: usize,
}

impl Default for Reach {
    fn default() -> Self {
        Self { frame_bytes: FRAME_BYTES, rest: Vec::with_capacity(REST_BYTES), from: 0 }
    }
}

impl Reach {
    /// Bytes to ask for where `gap` are free, and events to keep slots for, the pieces of one long
    /// line; nothing while only what surely fits may be read.
    pub fn of(&self, page: &Page, gap: usize, event_bytes_max: usize) -> Option<(usize, usize)> {
        if self.is_waiting() || event_bytes_max < EVENT_BYTES_MIN {
            return None;
        }
        let pieces = 2 * page.capacity() / EVENT_BYTES_MIN;
        let gap = gap.checked_sub(pieces * page.slot_bytes())?;
        // A little shorter than the mean, or every second page would leave a rest.
        let frame = self.frame_bytes - self.frame_bytes / 32;
        Some((gap * frame / (frame + page.slot_bytes()), pieces))
    }

    /// A page's frames so far.
    pub fn learn(&mut self, page: &Page) {
        let events = page.event_count();
        if events >= EVENTS_MIN {
            let mean = page.event_bytes() / u64::from(events) + 1;
            self.frame_bytes = usize::try_from(mean).unwrap_or(FRAME_BYTES);
        }
    }

    /// Whether the rest of a read waits.
    pub fn is_waiting(&self) -> bool {
        self.from < self.rest.len()
    }

    /// Leaves the rest of a read. Only one can wait.
    pub fn leave(&mut self, rest: &[u8]) {
        assert!(!self.is_waiting(), "who reads far knows that nothing waits");
        self.rest.clear();
        self.rest.extend_from_slice(rest);
        self.from = 0;
    }

    /// Takes what fits of the rest.
    pub fn take(&mut self, into: &mut [u8]) -> usize {
        let rest = &self.rest[self.from..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.from += count;
        count
    }
}
