//! What travels: events in a slotted page.
//!
//! Promises: a page never moves its bytes; an event is an (offset, length) in it; after `seal`
//! (see `memory`) nothing changes any more.

mod copying;
pub mod headers;
pub mod mark;
pub mod page;
pub mod parsed;
mod records;
mod slot;

pub use crate::sys::credentials::Credentials;
pub use copying::Copying;
pub use headers::{HeaderMap, HeaderNames, Headers};
pub use mark::{Mark, Marks};
pub use page::{
    Beside, Event, EventHead, Fresh, Full, Misfit, Name, Names, ORIGIN_BYTES_MAX, OriginPlace,
    Outline, Page, Reading, Removed, Since,
};
pub use parsed::{Form, Found, Parsed, Shape, Span};
pub use records::{Records, Sums};
pub use slot::{Origin, OriginIndex};
