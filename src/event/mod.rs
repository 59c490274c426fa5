//! What travels: events in a slotted page.
//!
//! Promises: a page never moves its bytes; an event is an (offset, length) in it; after `seal`
//! (see `memory`) nothing changes any more.

pub mod mark;
pub mod page;
mod records;
mod slot;

pub use mark::{Mark, Marks};
pub use page::{Event, EventHead, Full, Page};
pub use records::{Records, Sums};
pub use slot::{Origin, OriginIndex};
