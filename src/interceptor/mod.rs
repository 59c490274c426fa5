//! Where events are refused: between a source and its channels, and before a sink.
//!
//! - `filter`: keep or drop by facility, severity, host, app, text
//!
//! Threading: filters are plain data; every thread looks through its own reference.

pub mod filter;

pub use filter::{FILTERS, Filters, regexes};
