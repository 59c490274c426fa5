//! The manual: pages in Markdown, read here as rustdoc and in the repository as they are.
//!
//! - [`decisions`]: what was decided when, and why; every dependency has its line
//! - [`changelog`]: what changed for whoever runs it

/// Decisions, dated.
#[doc = include_str!("decisions.md")]
pub mod decisions {}

/// Changes, newest first.
#[doc = include_str!("changelog.md")]
pub mod changelog {}
