//! `encoder` and `control`: how a sink of text writes an event.

use std::sync::Arc;

use crate::codec::encoders::{Datagram, Encoder, Json, Line, Raw, Template};
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

/// The same of a sink whose files say how they are encoded: records need no lines there.
pub const ENCODER_OF_FILES: OptionDoc = OptionDoc {
    doc: "raw, line, json, datagram or { template = \"%{host} %{message}\" }",
    ..ENCODER
};

pub fn plan(section: &Section) -> SharedEncoder {
    read(section, &["raw", "line", "json"])
}

pub fn plan_for_files(section: &Section) -> SharedEncoder {
    read(section, &["raw", "line", "json", "datagram"])
}

fn read(section: &Section, names: &[&'static str]) -> SharedEncoder {
    let keep_control = section.choice("control", &[("escape", false), ("keep", true)]);
    let raw = || Arc::new(Raw { keep_control }) as SharedEncoder;
    match section.text_or_table("encoder", TEMPLATE) {
        TextOrTable::Text(name) => match name.value.as_str() {
            "raw" => raw(),
            "line" => Arc::new(Line { keep_control }),
            "json" => Arc::new(Json),
            "datagram" if names.contains(&"datagram") => Arc::new(Datagram),
            "datagram" => {
                let what = "the encoder `datagram` writes records and no lines";
                section.fail("encoder", what, "only the sink `file` has it");
                raw()
            }
            other => {
                let remedy = match nearest(other, names.iter().copied()) {
                    Some(word) => format!("did you mean \"{word}\"?"),
                    None => {
                        let names = names.join("\", \"");
                        format!("write \"{names}\" or {{ template = \"%{{message}}\" }}")
                    }
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
            ("encoder = 'datagram'", "`datagram` writes records and no lines"),
            ("encoder = 1", "expected a string or a table"),
        ] {
            let section = Section::parse(text, docs);
            plan(&section);
            let lines = section.diagnostics().lines();
            assert!(lines.len() == 1 && lines[0].contains(told), "{text}: {lines:?}");
        }
        let section = Section::parse("encoder = 'datagrams'", &[ENCODER_OF_FILES, CONTROL]);
        plan_for_files(&section);
        let lines = section.diagnostics().lines();
        assert!(lines[0].contains("no encoder `datagrams`"), "{lines:?}");
        let section = Section::parse("encoder = 'datagram'", &[ENCODER_OF_FILES, CONTROL]);
        assert_eq!(plan_for_files(&section).encoding(), crate::codec::Encoding::Datagram);
    }
}
