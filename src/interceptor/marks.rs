//! `timestamp` and `static`: a header for every event.

use std::io::Write;

use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::{OptionDoc, Section};
use crate::event::HeaderNames;
use crate::event::headers::TIMESTAMP as TIME;
use crate::syslog::parse::Fields;

pub(super) const TIMESTAMP: InterceptorKind = InterceptorKind {
    name: "timestamp",
    aliases: &["org.apache.flume.interceptor.TimestampInterceptor$Builder"],
    summary: "when an event was received, in ms since 1970, as a header",
    options: &[
        OptionDoc { name: "header_name", default: Some(TIME), doc: "the header's name" },
        preserve_existing("false"),
    ],
    plan: |section| {
        let name = header_name(section, "header_name");
        let preserve = section.flag("preserve_existing");
        Box::new(Plan { name, value: None, preserve })
    },
};

pub(super) const STATIC: InterceptorKind = InterceptorKind {
    name: "static",
    aliases: &["org.apache.flume.interceptor.StaticInterceptor$Builder"],
    summary: "the same header for every event",
    options: &[
        OptionDoc { name: "key", default: Some("key"), doc: "the header's name" },
        OptionDoc { name: "value", default: Some("value"), doc: "what stands in it" },
        preserve_existing("true"),
    ],
    plan: |section| {
        let name = header_name(section, "key");
        let value = Some(header_value(section, "value"));
        let preserve = section.flag("preserve_existing");
        Box::new(Plan { name, value, preserve })
    },
};

pub(super) const fn preserve_existing(default: &'static str) -> OptionDoc {
    let doc = "an event that has the header keeps what stands in it";
    OptionDoc { name: "preserve_existing", default: Some(default), doc }
}

/// A name that events' headers may have.
pub(super) fn header_name(section: &Section, key: &'static str) -> String {
    let name = section.text(key);
    if section.usable(key) && (name.is_empty() || name.len() > NAME_BYTES_MAX) {
        let what = format!("`{key}`: a header's name has 1 to {NAME_BYTES_MAX} bytes");
        section.fail(key, what, "write for example \"datacenter\"");
    }
    name
}

/// A fixed text that fits a header.
pub(super) fn header_value(section: &Section, key: &'static str) -> String {
    let value = section.text(key);
    if value.len() > VALUE_BYTES_MAX {
        let what = format!("`{key}`: a fixed text has {VALUE_BYTES_MAX} bytes at most");
        section.fail(key, what, "shorten it");
    }
    value
}

const NAME_BYTES_MAX: usize = 255;
const VALUE_BYTES_MAX: usize = 4096;

#[derive(Clone)]
struct Plan {
    name: String,
    /// None: the time.
    value: Option<String>,
    preserve: bool,
}

impl InterceptorPlan for Plan {
    fn build(&self, _tools: &Tools) -> Box<dyn Interceptor> {
        Box::new(Mark { plan: self.clone(), last: (i64::MIN, Vec::new()) })
    }

    fn sets(&self) -> HeaderNames {
        HeaderNames::of([self.name.as_str()])
    }

    fn wanted(&self) -> Fields {
        match self.name.as_str() {
            TIME if self.preserve => Fields::TIME,
            "host" if self.preserve => Fields::HOSTNAME,
            _ => Fields::NONE,
        }
    }

    fn only_marks(&self) -> bool {
        true
    }
}

struct Mark {
    plan: Plan,
    /// The millisecond written last: most events of a read have the same.
    last: (i64, Vec<u8>),
}

impl Interceptor for Mark {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        let Plan { name, value, preserve } = &self.plan;
        if *preserve && draft.has_header(name) {
            return true;
        }
        match value {
            Some(value) => draft.set_header(name, value.as_bytes()),
            None => {
                let millis = draft.at().0.div_euclid(1_000_000);
                if self.last.0 != millis {
                    self.last.0 = millis;
                    self.last.1.clear();
                    let _ = write!(self.last.1, "{millis}");
                }
                draft.set_header(name, &self.last.1);
            }
        }
        true
    }
}
