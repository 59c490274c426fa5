//! `{ template = "%{host} %{message}" }`: one line an event, whatever is asked for.
//!
//! `%%` is a percent sign. A field that an event does not have is `-`, as RFC 5424 writes it. As
//! with `raw`, control bytes of framed events are written as `#012`, so that one line is one event.

use super::Encoder;
use super::raw::escape_control;
use crate::codec::Encoding;
use crate::codec::field::Field;
use crate::config::listed;
use crate::event::{Event, HeaderNames, Marks};
use crate::syslog::parse::Fields;

#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
    keep_control: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(Field),
}

/// What is wrong with a template, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {remedy}")]
pub struct TemplateError {
    pub what: String,
    pub remedy: String,
}

impl Template {
    pub fn parse(text: &str, keep_control: bool) -> Result<Self, TemplateError> {
        let error = |what: String, remedy: String| Err(TemplateError { what, remedy });
        if text.contains(['\n', '\0']) {
            let remedy = "leave it out: each event ends with a newline of its own".to_owned();
            return error("a template is one line".to_owned(), remedy);
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix('%') {
                literal.push('%');
                rest = behind;
                continue;
            }
            let Some((name, behind)) = rest.strip_prefix('{').and_then(|it| it.split_once('}'))
            else {
                let remedy = "write %{message} for a field, %% for a percent sign".to_owned();
                return error("`%` without `{name}`".to_owned(), remedy);
            };
            let Some(field) = Field::read(name) else {
                let remedy = format!("there is {}", listed(Field::names()));
                return error(format!("`%{{{name}}}` is no field"), remedy);
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(field));
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts, keep_control })
    }

    fn bound_growing(&self, event_bytes: usize, times: usize) -> usize {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.len(),
            Part::Field(field) => times * field.bound(event_bytes).max(1),
        };
        self.parts.iter().map(part).sum::<usize>() + 1
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(field) => Some(field),
            Part::Literal(_) => None,
        })
    }
}

impl Encoder for Template {
    fn encoding(&self) -> Encoding {
        Encoding::Template
    }

    fn wanted(&self) -> Fields {
        self.fields().fold(Fields::NONE, |all, field| all.union(field.wanted()))
    }

    fn headers(&self) -> HeaderNames {
        let mut names = HeaderNames::default();
        self.fields().for_each(|field| names.add(field.headers()));
        names
    }

    fn names_fields(&self) -> bool {
        self.fields().any(|field| field.is_parsed() && *field != Field::Message)
    }

    fn bound(&self, event_bytes: usize) -> usize {
        self.bound_growing(event_bytes, if self.keep_control { 1 } else { 4 })
    }

    fn bound_plain(&self, event_bytes: usize) -> usize {
        self.bound_growing(event_bytes, 1)
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let escapes = event.marks.contains(Marks::CONTROL) && !self.keep_control;
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Field(field) => {
                    let from = out.len();
                    if !field.append(event, out) {
                        out.push(b'-');
                    } else if escapes {
                        escape_control(out, from);
                    }
                }
            }
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoders::tests::{event, with_event};

    fn written(template: &str, event: &Event<'_>) -> String {
        let template = Template::parse(template, false).expect(template);
        let mut out = Vec::new();
        template.encode_event(event, &mut out);
        assert!(out.len() <= template.bound(event.bytes.len()));
        assert!(out.len() <= template.bound_event(event));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn fields_literals_and_percent_signs() {
        let text = b"<165>1 2003-10-11T22:14:15.003Z web01 su 7 ID47 [a@1 b=\"c\"] hello";
        for (template, line) in [
            ("%{host} %{app}[%{proc_id}]: %{message}", "web01 su[7]: hello\n"),
            ("%{sd:a@1:b}|%{sd:a@1:x}|100%%", "c|-|100%\n"),
            ("%{time} %{severity}", "2003-10-11T22:14:15.003000000Z notice\n"),
            ("nothing", "nothing\n"),
        ] {
            with_event(text, Marks::NONE, |event| assert_eq!(written(template, event), line));
        }
    }

    #[test]
    fn nobody_forges_a_line() {
        let text = b"<13>1 2003-10-11T22:14:15Z h su - - [a b=\"c\nd\"] e\nf";
        let line = "c#012d e#012f\n";
        let template = "%{sd:a:b} %{message}";
        with_event(text, Marks::CONTROL, |event| assert_eq!(written(template, event), line));
        assert_eq!(written("%{message}", &event(b"x\ny", Marks::CONTROL)), "x#012y\n");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, what) in [
            ("%{h ost}", "`%{h ost}` is no field: there is"),
            ("%{}", "`%{}` is no field: there is"),
            ("%d", "`%` without `{name}`"),
            ("%{host", "`%` without `{name}`"),
            ("a\nb", "a template is one line"),
        ] {
            let error = Template::parse(text, false).expect_err(text).to_string();
            assert!(error.starts_with(what), "{text}: {error}");
        }
        let named = |text: &str| Template::parse(text, false).expect(text).names_fields();
        assert!(named("%{app}") && !named("%{peer} %{message} %{received}"));
    }
}
