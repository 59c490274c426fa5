//! The manual: pages in Markdown, read here as rustdoc and in the repository as they are.
//!
//! - [`architecture`]: the picture, the words, the life of an event, threads and memory
//! - [`formats`]: blocks and segments, byte by byte
//! - [`decisions`]: what was decided when, and why; every dependency has its line
//! - [`changelog`]: what changed for whoever runs it

/// How flumen is built, for whoever is about to change it.
#[doc = include_str!("architecture.md")]
pub mod architecture {}

/// The bytes on disk.
#[doc = include_str!("formats.md")]
pub mod formats {}

/// Decisions, dated.
#[doc = include_str!("decisions.md")]
pub mod decisions {}

/// Changes, newest first.
#[doc = include_str!("changelog.md")]
pub mod changelog {}
