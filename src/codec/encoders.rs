//! Encoders: events to the bytes of a block. Dispatched once a batch, looping inside.
//!
//! - `raw`: an event's bytes as they came and one newline. Control bytes of datagrams and counted
//!   frames are written as `#012`-style octal (rsyslog's convention), so that one line is one event
//!   and nobody can forge one.
//! - `line`: as `raw`, without the `<PRI>` in front.
//! - `json`: one object a line: `time`, `peer`, `pri`, `marks`, `message` (or `message_base64`).

mod json;
mod raw;

use super::Encoding;
use crate::event::{Event, Page};
use crate::limits::usize_of;

pub use json::Json;
pub(super) use json::time;
pub use raw::{Line, Raw};

pub trait Encoder: Send {
    /// The number in block headers.
    fn encoding(&self) -> Encoding;

    /// The most bytes one event of `event_bytes` can become.
    fn bound(&self, event_bytes: usize) -> usize;

    /// The most bytes this event can become: tighter than `bound`.
    fn bound_event(&self, event: &Event<'_>) -> usize {
        self.bound(event.bytes.len())
    }

    /// The most bytes the page's events can become; cheap and not tight.
    fn bound_page(&self, page: &Page) -> usize {
        let bytes = usize::try_from(page.event_bytes()).unwrap_or(usize::MAX);
        self.bound(bytes) + usize_of(page.event_count()) * self.bound(0)
    }

    /// Appends one event.
    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>);

    /// The page's bytes, when they are the block already and nothing needs rewriting.
    fn as_is<'page>(&self, _page: &'page Page) -> Option<&'page [u8]> {
        None
    }

    /// Appends the page's events from index `from` on until `out` holds `full_bytes`; returns the
    /// index of the first event that was not taken. At least one is taken.
    fn encode_page(&self, page: &Page, from: u32, out: &mut Vec<u8>, full_bytes: usize) -> u32 {
        let mut index = from;
        for event in page.events().skip(usize_of(from)) {
            if index > from && out.len() >= full_bytes {
                break;
            }
            self.encode_event(&event, out);
            index += 1;
        }
        index
    }
}
