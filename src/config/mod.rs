//! Configuration: TOML text, or a properties file of Apache Flume's, becomes sections whose every
//! value knows its place.
//!
//! The room knows no part: a source, channel or sink describes its keys in [`OptionDoc`] rows and
//! reads them from its [`Section`]. Everything wrong is collected in [`Diagnostics`] and told at
//! once, with file, line, the text underlined and what would be right.
//!
//! Reading order: `gather` which files it is, by `file` · `value` what one says · `tables` whose
//! each table is · [`Config`] · [`Section`] and its getters; `flume` instead of the first three for
//! Flume's.

mod diagnostic;
mod document;
mod file;
mod flume;
mod gather;
mod getters;
#[cfg(test)]
mod mistakes;
mod section;
mod suggest;
mod syntax;
mod tables;
mod texts;
pub mod units;
mod value;

pub use diagnostic::{Diagnostics, Problem, Severity, Span};
pub use document::{AgentConfig, Component, Config};
pub use flume::around::{Around, definition};
pub use section::{OptionDoc, Section, Setting, TextOrTable, check_docs};
pub use suggest::{listed, nearest};
pub use units::{Amount, Rate, hex};
pub use value::Spanned;
