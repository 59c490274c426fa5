//! What a syslog message says: pure functions over bytes, no I/O and no allocation a message.
//!
//! - [`compose`]: realistic varied messages for the generator source and the load generator;
//! - [`names`]: what facilities and severities are called;
//! - [`parse`]: a message taken apart into its fields;
//! - [`stamp`]: the mark in a composed message by which an archive can be audited;
//! - [`mod@write`]: a message for what has come as fields.

pub mod compose;
pub mod names;
pub mod parse;
pub mod stamp;
pub mod write;
