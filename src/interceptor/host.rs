//! `host`: this machine's address or name as a header.

use super::marks::{header_name, preserve_existing};
use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::OptionDoc;
use crate::event::HeaderNames;
use crate::syslog::parse::Fields;

pub(super) const KIND: InterceptorKind = InterceptorKind {
    name: "host",
    aliases: &["org.apache.flume.interceptor.HostInterceptor$Builder"],
    summary: "the address or the name of the machine that the agent runs on",
    options: &[
        OptionDoc { name: "host_header", default: Some("host"), doc: "the header's name" },
        OptionDoc { name: "use_ip", default: Some("true"), doc: "false: its name" },
        preserve_existing("false"),
    ],
    plan: |section| {
        let name = header_name(section, "host_header");
        let (use_ip, preserve) = (section.flag("use_ip"), section.flag("preserve_existing"));
        Box::new(Plan { name, use_ip, preserve })
    },
};

struct Plan {
    name: String,
    use_ip: bool,
    preserve: bool,
}

impl InterceptorPlan for Plan {
    fn build(&self, tools: &Tools) -> Box<dyn Interceptor> {
        let value = if self.use_ip { &tools.host_address } else { &tools.host_name };
        let (name, value, preserve) = (self.name.clone(), value.clone(), self.preserve);
        Box::new(Host { name, value, preserve })
    }

    fn sets(&self) -> HeaderNames {
        HeaderNames::of([self.name.as_str()])
    }

    fn wanted(&self) -> Fields {
        if self.preserve && self.name == "host" { Fields::HOSTNAME } else { Fields::NONE }
    }

    fn only_marks(&self) -> bool {
        true
    }
}

struct Host {
    name: String,
    value: String,
    preserve: bool,
}

impl Interceptor for Host {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        if !self.preserve || !draft.has_header(&self.name) {
            draft.set_header(&self.name, self.value.as_bytes());
        }
        true
    }
}
