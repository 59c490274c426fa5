//! `uuid`: a random identifier (version 4, RFC 9562) for every event.

use super::marks::{header_name, preserve_existing};
use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::OptionDoc;
use crate::event::HeaderNames;

pub(super) const KIND: InterceptorKind = InterceptorKind {
    name: "uuid",
    aliases: &["org.apache.flume.sink.solr.morphline.UUIDInterceptor$Builder"],
    summary: "an identifier that no other event has",
    options: &[
        OptionDoc { name: "header_name", default: Some("id"), doc: "the header's name" },
        preserve_existing("true"),
        OptionDoc { name: "prefix", default: Some(""), doc: "stands in front of each" },
    ],
    plan: |section| {
        let name = header_name(section, "header_name");
        let preserve = section.flag("preserve_existing");
        Box::new(Plan { name, preserve, prefix: section.text("prefix") })
    },
};

#[derive(Clone)]
struct Plan {
    name: String,
    preserve: bool,
    prefix: String,
}

impl InterceptorPlan for Plan {
    fn build(&self, _tools: &Tools) -> Box<dyn Interceptor> {
        Box::new(Uuid {
            plan: self.clone(),
            random: [0; RANDOM_BYTES],
            used: RANDOM_BYTES,
            value: Vec::new(),
        })
    }

    fn sets(&self) -> HeaderNames {
        HeaderNames::of([self.name.as_str()])
    }

    fn only_marks(&self) -> bool {
        true
    }
}

/// Of 256 identifiers: one call to the kernel for all of them.
const RANDOM_BYTES: usize = 4096;

struct Uuid {
    plan: Plan,
    random: [u8; RANDOM_BYTES],
    used: usize,
    value: Vec<u8>,
}

impl Uuid {
    fn next(&mut self) -> [u8; 16] {
        if self.used == RANDOM_BYTES {
            let mut filled = 0;
            while filled < RANDOM_BYTES {
                let flags = rustix::rand::GetRandomFlags::empty();
                let got = rustix::rand::getrandom(&mut self.random[filled..], flags);
                filled += got.expect("the kernel has random numbers");
            }
            self.used = 0;
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.random[self.used..self.used + 16]);
        self.used += 16;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }
}

impl Interceptor for Uuid {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        if self.plan.preserve && draft.has_header(&self.plan.name) {
            return true;
        }
        let bytes = self.next();
        self.value.clear();
        self.value.extend_from_slice(self.plan.prefix.as_bytes());
        for (at, byte) in bytes.into_iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                self.value.push(b'-');
            }
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            self.value.push(DIGITS[usize::from(byte >> 4)]);
            self.value.push(DIGITS[usize::from(byte & 15)]);
        }
        draft.set_header(&self.plan.name, &self.value);
        true
    }
}
