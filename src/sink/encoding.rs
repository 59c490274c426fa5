//! `encoder` and `control`: how a sink of text writes an event.

use std::sync::Arc;

use crate::codec::encoders::{
    AvroEvent, Body, Datagram, Encoder, HeaderAndText, Json, KeptField, Line, Raw, Template,
};
use crate::config::{OptionDoc, Section, Spanned, TextOrTable, listed, nearest};

pub const ENCODER: OptionDoc = OptionDoc {
    name: "encoder",
    default: Some("raw"),
    doc: "raw, line, json, body, header_and_text, { template = \"%{host} %{message}\" } or \
          { keep_fields = [] }",
};
pub const CONTROL: OptionDoc = OptionDoc {
    name: "control",
    default: Some("escape"),
    doc: "control bytes of datagrams and counted frames: escape (#012) or keep",
};
const TABLE: &[OptionDoc] = &[
    OptionDoc { name: "template", default: Some(""), doc: "text with %{name}" },
    OptionDoc {
        name: "keep_fields",
        default: Some(""),
        doc: "what stands in front of the body: priority, version, timestamp, hostname",
    },
    OptionDoc {
        name: "headers",
        default: Some("false"),
        doc: "the event's headers stand in front of these, as with header_and_text",
    },
    OptionDoc {
        name: "avro_event",
        default: Some("false"),
        doc: "headers and these are a record of an Avro file, as with avro_event",
    },
];

/// Those that need files which say how they are encoded among them.
const FOR_FILES: &[&str] =
    &["raw", "line", "json", "body", "header_and_text", "datagram", "avro_event"];

/// Shared by a sink's threads.
pub type SharedEncoder = Arc<dyn Encoder + Sync>;

/// The same of a sink whose files say how they are encoded: records need no lines there.
pub const ENCODER_OF_FILES: OptionDoc = OptionDoc {
    doc: "raw, line, json, body, header_and_text, datagram, avro_event, { template = \"%{host}\" } \
          or { keep_fields = [] }",
    ..ENCODER
};

pub fn plan(section: &Section) -> SharedEncoder {
    read(section, &["raw", "line", "json", "body", "header_and_text"])
}

pub fn plan_for_files(section: &Section) -> SharedEncoder {
    read(section, FOR_FILES)
}

fn read(section: &Section, names: &[&'static str]) -> SharedEncoder {
    let keep_control = section.choice("control", &[("escape", false), ("keep", true)]);
    let raw = || Arc::new(Raw { keep_control }) as SharedEncoder;
    match section.text_or_table("encoder", TABLE) {
        TextOrTable::Text(name) => match name.value.as_str() {
            "raw" => raw(),
            "line" => Arc::new(Line { keep_control }),
            "json" => Arc::new(Json),
            "body" => Arc::new(Body { kept: Vec::new(), keep_control }),
            "header_and_text" => body_of(Vec::new(), keep_control, true),
            "datagram" if names.contains(&"datagram") => Arc::new(Datagram),
            "avro_event" if names.contains(&"avro_event") => avro_of(Vec::new()),
            "datagram" | "avro_event" => {
                let what = format!("the encoder `{}` writes records and no lines", name.value);
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
            let avro = names.contains(&"avro_event");
            table_of(&table, keep_control, avro).unwrap_or_else(raw)
        }
    }
}

/// `{ template = "…" }` or `{ keep_fields = ["timestamp", "hostname"] }`; none was told.
fn table_of(table: &Section, keep_control: bool, files: bool) -> Option<SharedEncoder> {
    let text = table.optional_text("template");
    let fields = table.texts("keep_fields");
    let headers = table.flag("headers");
    let avro = table.flag("avro_event");
    if avro && (!files || headers || !table.explicit("keep_fields")) {
        let what =
            "`avro_event` stands beside `keep_fields`, in a sink `file`, and has all headers";
        table.fail(
            "avro_event",
            what,
            "write `{ keep_fields = [\"timestamp\"], avro_event = true }`",
        );
        return None;
    }
    if table.explicit("headers") && !table.explicit("keep_fields") {
        let remedy = "write `keep_fields = []` beside it, or the encoder \"header_and_text\"";
        table.fail("headers", "headers stand in front of a body, and there is none", remedy);
    }
    match (text, table.explicit("keep_fields")) {
        (Some(_), true) => {
            let remedy = "a template writes fields by name, too: %{host}";
            table.fail("keep_fields", "an encoder has a template or fields it keeps", remedy);
            None
        }
        (None, true) if avro => kept(table, &fields).map(avro_of),
        (None, true) => kept(table, &fields).map(|kept| body_of(kept, keep_control, headers)),
        (None, false) => {
            if table.usable("template") {
                let what = format!("`template` is missing in {}", table.title());
                table.fail_here(what, "write `{ template = \"%{host} %{message}\" }`");
            }
            None
        }
        (Some(text), false) => match Template::parse(&text, keep_control) {
            Ok(template) => Some(Arc::new(template)),
            Err(error) => {
                table.fail("template", error.what, error.remedy);
                None
            }
        },
    }
}

fn body_of(kept: Vec<KeptField>, keep_control: bool, headers: bool) -> SharedEncoder {
    let body = Body { kept, keep_control };
    if headers { Arc::new(HeaderAndText { body }) } else { Arc::new(body) }
}

/// Of Avro's records every byte is kept.
fn avro_of(kept: Vec<KeptField>) -> SharedEncoder {
    Arc::new(AvroEvent { body: Body { kept, keep_control: true } })
}

fn kept(table: &Section, fields: &[Spanned<String>]) -> Option<Vec<KeptField>> {
    let found = fields.iter().map(|name| {
        let found = KeptField::ALL.iter().find(|(known, _)| *known == name.value);
        if found.is_none() {
            let names = KeptField::ALL.iter().map(|(name, _)| *name);
            let remedy = match nearest(name, names.clone()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("there is {}", listed(names)),
            };
            table.fail_at(&name.span, format!("no field `{}` to keep", name.value), remedy);
        }
        found.map(|(_, field)| *field)
    });
    found.collect()
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
            ("encoder = { template = '%{ho/st}' }", "`%{ho/st}` is no field"),
            ("encoder = { templte = 'x' }", "`template` is missing"),
            ("encoder = 'datagram'", "`datagram` writes records and no lines"),
            ("encoder = { keep_fields = ['host'] }", "no field `host` to keep"),
            ("encoder = { template = 'x', keep_fields = [] }", "a template or fields it keeps"),
            ("encoder = { template = 'x', headers = true }", "headers stand in front of a body"),
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
