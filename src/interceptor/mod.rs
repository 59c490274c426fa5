//! Where events are changed or refused: between a source and its channels, and before a sink.
//!
//! - `filter`: keep or drop by facility, severity, host, app, text; of sources and sinks
//! - the others are interceptors, of sources: they set and remove headers, rewrite texts, refuse
//!
//! Threading: filters are plain data, every thread looks through its own reference; a chain of
//! interceptors belongs to one thread.

pub mod chain;
mod dedup;
pub mod draft;
pub mod filter;
mod host;
mod identity;
mod marks;
mod mask;
mod pattern;
mod rate_limit;
mod regex_extractor;
mod regex_filter;
mod remove_header;
mod sample;
mod search_replace;
mod time_pattern;
mod uuid;

pub use chain::{CHAIN, Chain, ChainPlan};
pub use draft::{Bench, Changes, Draft};
pub use filter::{FILTERS, Filters, regexes};

use crate::config::{OptionDoc, Section};
use crate::event::HeaderNames;
use crate::syslog::parse::Fields;

/// One thread's interceptor.
pub trait Interceptor: Send {
    /// Marks the event or rewrites its text; false: it is refused.
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool;
}

/// An interceptor's options, valid once built.
pub trait InterceptorPlan: Send + Sync {
    fn build(&self, tools: &Tools) -> Box<dyn Interceptor>;

    /// The headers that it may set.
    fn sets(&self) -> HeaderNames {
        HeaderNames::default()
    }

    /// The headers that it looks at, to decide by them.
    fn reads(&self) -> HeaderNames {
        HeaderNames::default()
    }

    /// What it wants to know of each message.
    fn wanted(&self) -> Fields {
        Fields::NONE
    }

    /// It refuses events and changes none.
    fn only_refuses(&self) -> bool {
        false
    }

    /// It sets and removes headers, and does nothing else.
    fn only_marks(&self) -> bool {
        false
    }
}

/// What interceptors need that is not in an event.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// What this machine is called, and the address it sends from.
    pub host_name: String,
    pub host_address: String,
}

/// A row of the registry.
pub struct InterceptorKind {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub summary: &'static str,
    pub options: &'static [OptionDoc],
    /// Reads the table; what is wrong goes to its diagnostics.
    pub plan: fn(&Section) -> Box<dyn InterceptorPlan>,
}

/// Every interceptor type, sorted by name.
pub const INTERCEPTORS: &[InterceptorKind] = &[
    dedup::KIND,
    host::KIND,
    mask::KIND,
    rate_limit::KIND,
    regex_extractor::KIND,
    regex_filter::KIND,
    remove_header::KIND,
    sample::KIND,
    search_replace::KIND,
    marks::STATIC,
    marks::TIMESTAMP,
    uuid::KIND,
];
