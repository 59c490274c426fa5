//! The manual: pages in Markdown, read here as rustdoc and in the repository as they are.
//!
//! - [`architecture`]: the picture, the words, the life of an event, threads and memory
//! - [`formats`]: blocks and segments, byte by byte
//! - [`syslog`]: what messages say, in both RFCs and in the world
//! - [`configuration`]: which files it is, `include`, directories
//! - [`transports`]: how messages come in and are sent on, with the senders' configuration
//! - [`sources`]: answered lines, programs, files, and events made here, beside Flume's
//! - [`channels`]: where events wait, in memory or in a log on disk
//! - [`interceptors`]: headers, what changes events on their way, which channel they take
//! - [`flume`]: properties files of Apache Flume's, what works, and what is different
//! - [`archive`]: what is written is found again
//! - [`decisions`]: what was decided when, and why; every dependency has its line
//! - [`changelog`]: what changed for whoever runs it

/// How flumen is built, for whoever is about to change it.
#[doc = include_str!("architecture.md")]
pub mod architecture {}

/// The bytes on disk.
#[doc = include_str!("formats.md")]
pub mod formats {}

/// What a syslog message says.
#[doc = include_str!("syslog.md")]
pub mod syslog {}

/// The files of a configuration.
#[doc = include_str!("configuration.md")]
pub mod configuration {}

/// How messages come in, and how they are sent on.
#[doc = include_str!("transports.md")]
pub mod transports {}

/// Lines that are answered, programs, files.
#[doc = include_str!("sources.md")]
pub mod sources {}

/// Where events wait.
#[doc = include_str!("channels.md")]
pub mod channels {}

/// Headers, interceptors and selectors.
#[doc = include_str!("interceptors.md")]
pub mod interceptors {}

/// Coming from Apache Flume.
#[doc = include_str!("flume.md")]
pub mod flume {}

/// Reading back.
#[doc = include_str!("archive.md")]
pub mod archive {}

/// Network traffic as it came.
#[doc = include_str!("capture.md")]
pub mod capture {}

/// Decisions, dated.
#[doc = include_str!("decisions.md")]
pub mod decisions {}

/// Changes, newest first.
#[doc = include_str!("changelog.md")]
pub mod changelog {}
