//! `encoder` and `control`: how a sink of text writes an event.

use std::sync::Arc;

use crate::codec::encoders::{Encoder, Json, Line, Raw, Template};
use crate::config::{OptionDoc, Section, TextOrTable, nearest};

pub const ENCODER: OptionDoc = OptionDoc {
    name: "encoder",
    default: Some("raw"),
    doc: "raw, line, json or { template = \"%{host} %{message}\" }",
};
pub const CONTROL: OptionDoc = OptionDoc {
    name: "control",
    default: Some("escape"),
    doc: "control bytes of datagrams and counted frames: escape (#012) or keep",
};
const TEMPLATE: &[OptionDoc] =
    &[OptionDoc { name: "template", default: None, doc: "text with %{name}" }];

/// Shared by a sink's threads.
pub type SharedEncoder = Arc<dyn Encoder + Sync>;

pub fn plan(section: &Section) -> SharedEncoder {
    let keep_control = section.choice("control", &[("escape", false), ("keep", true)]);
    let raw = || Arc::new(Raw { keep_control }) as SharedEncoder;
    match section.text_or_table("encoder", TEMPLATE) {
        TextOrTable::Text(name) => match name.value.as_str() {
            "raw" => raw(),
            "line" => Arc::new(Line { keep_control }),
            "json" => Arc::new(Json),
            other => {
                let all = "write \"raw\", \"line\", \"json\" or { template = \"%{message}\" }";
                let remedy = match nearest(other, ["raw", "line", "json"]) {
                    Some(word) => format!("did you mean \"{word}\"?"),
                    None => all.to_owned(),
                };
                section.fail("encoder", format!("no encoder `{other}`"), remedy);
                raw()
            }
        },
        TextOrTable::Table(table) => {
            let text = table.text("template");
            match Template::parse(&text, keep_control) {
                Ok(template) => Arc::new(template),
                Err(error) => {
                    table.fail("template", error.what, error.remedy);
                    raw()
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syslog::parse::Fields;

    #[test]
    fn a_template_stands_in_a_table() {
        let docs: &[OptionDoc] = &[ENCODER, CONTROL];
        let section = Section::parse("encoder = { template = '%{host} x' }", docs);
        assert_eq!(plan(&section).wanted(), Fields::HOSTNAME);
        assert_eq!(section.diagnostics().lines(), Vec::<String>::new());
        for (text, told) in [
            ("encoder = 'xml'", "no encoder `xml`"),
            ("encoder = { template = '%{hots}' }", "did you mean `%{host}`?"),
            ("encoder = { templte = 'x' }", "`template` is missing"),
            ("encoder = 1", "expected a string or a table"),
        ] {
            let section = Section::parse(text, docs);
            plan(&section);
            let lines = section.diagnostics().lines();
            assert!(lines.len() == 1 && lines[0].contains(told), "{text}: {lines:?}");
        }
    }
}
