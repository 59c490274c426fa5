//! A schema of Avro's: read from its JSON into a table of nodes, along which a datum is passed over
//! without being decoded, and into the canonical form that its fingerprint is of.
//!
//! Both are those of Avro's library for Java, which Flume uses: names are looked for in the
//! enclosing namespace and then in none, and the canonical form knows no logical types, no
//! defaults and no order. (`apache-avro` keeps some of these: see the manual's decisions.)

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Types of a schema: what is longer is nobody's data.
const NODES_MAX: usize = 1 << 16;

/// A type, as far as it matters for where a datum ends. Others are known by their place in the
/// table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// So many bytes: null, boolean, float, double, fixed.
    Fixed(usize),
    /// int and long.
    Number,
    /// bytes and string.
    Bytes,
    /// So many symbols.
    Enum(u64),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<usize>),
}

#[derive(Clone, Debug)]
pub struct Schema {
    pub(super) nodes: Vec<Node>,
    pub(super) root: usize,
    text: String,
    fingerprint: [u8; 8],
}

/// Why a text is no schema.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoSchema {
    #[error("it is no JSON ({0})")]
    Json(String),
    #[error("`{0}` is no type, and none of that name stands before it")]
    Unknown(String),
    #[error("`{0}` is described twice")]
    Twice(String),
    #[error("{of} has no {key}")]
    Missing { of: String, key: &'static str },
    #[error("it has more than {NODES_MAX} types")]
    Long,
}

impl Schema {
    pub fn parse(text: &str) -> Result<Self, NoSchema> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| NoSchema::Json(error.to_string()))?;
        let mut reader = Reader::default();
        let root = reader.read(&value, "")?;
        let fingerprint = rabin(reader.canonical.as_bytes()).to_le_bytes();
        Ok(Self { nodes: reader.nodes, root, text: compact(text), fingerprint })
    }

    /// Its JSON without white space.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// CRC-64-AVRO of the canonical form in hexadecimal, the lowest byte first, as Flume writes it.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// All data of this type are nothing.
    pub(super) fn is_empty(&self, node: usize) -> bool {
        self.nodes[node] == Node::Fixed(0)
    }
}

#[derive(Default)]
struct Reader {
    nodes: Vec<Node>,
    /// Full names of records, enums and fixed.
    known: HashMap<String, usize>,
    canonical: String,
}

/// `name` in full, and the namespace of what it names.
fn full_name(name: &str, namespace: &str) -> (String, String) {
    let (space, name) = name.rsplit_once('.').unwrap_or((namespace, name));
    match space {
        "" => (name.to_owned(), String::new()),
        space => (format!("{space}.{name}"), space.to_owned()),
    }
}

fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Fixed(0),
        "boolean" => Node::Fixed(1),
        "int" | "long" => Node::Number,
        "float" => Node::Fixed(4),
        "double" => Node::Fixed(8),
        "bytes" | "string" => Node::Bytes,
        _ => return None,
    })
}

fn text_of<'v>(of: &'v Map<String, Value>, key: &'static str) -> Result<&'v str, NoSchema> {
    of.get(key).and_then(Value::as_str).ok_or_else(|| missing(of, key))
}

fn list_of<'v>(of: &'v Map<String, Value>, key: &'static str) -> Result<&'v [Value], NoSchema> {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| missing(of, key))
}

fn missing(of: &Map<String, Value>, key: &'static str) -> NoSchema {
    let text = |key| of.get(key).and_then(Value::as_str);
    let of = match (text("name"), text("type")) {
        (Some(name), _) => format!("`{name}`"),
        (None, Some(kind)) => format!("a type `{kind}`"),
        (None, None) => "a type".to_owned(),
    };
    NoSchema::Missing { of, key }
}

impl Reader {
    /// Appends a type's canonical form, and gives its place.
    fn read(&mut self, value: &Value, namespace: &str) -> Result<usize, NoSchema> {
        match value {
            Value::String(name) => self.name(name, namespace),
            Value::Array(branches) => {
                let mut all = Vec::with_capacity(branches.len());
                self.canonical.push('[');
                for (index, branch) in branches.iter().enumerate() {
                    self.comma(index);
                    all.push(self.read(branch, namespace)?);
                }
                self.canonical.push(']');
                self.push(Node::Union(all))
            }
            Value::Object(of) => match of.get("type") {
                Some(Value::String(kind)) => self.described(of, kind, namespace),
                // A type in a type.
                Some(inner) => self.read(inner, namespace),
                None => Err(missing(of, "type")),
            },
            other => Err(NoSchema::Unknown(other.to_string())),
        }
    }

    fn name(&mut self, name: &str, namespace: &str) -> Result<usize, NoSchema> {
        if let Some(node) = primitive(name) {
            self.quoted(name);
            return self.push(node);
        }
        let places = [full_name(name, namespace).0, full_name(name, "").0];
        let found = places.iter().find_map(|full| self.known.get(full).map(|at| (full, *at)));
        let Some((full, at)) = found else { return Err(NoSchema::Unknown(name.to_owned())) };
        self.quoted(full);
        Ok(at)
    }

    fn described(
        &mut self,
        of: &Map<String, Value>,
        kind: &str,
        namespace: &str,
    ) -> Result<usize, NoSchema> {
        match kind {
            "array" | "map" => {
                let key = if kind == "array" { "items" } else { "values" };
                let inner = of.get(key).ok_or_else(|| missing(of, key))?;
                self.canonical.push_str(&format!("{{\"type\":\"{kind}\",\"{key}\":"));
                let inner = self.read(inner, namespace)?;
                self.canonical.push('}');
                self.push(if kind == "array" { Node::Array(inner) } else { Node::Map(inner) })
            }
            "record" | "error" | "enum" | "fixed" => self.named(of, kind, namespace),
            name => self.name(name, namespace),
        }
    }

    fn named(
        &mut self,
        of: &Map<String, Value>,
        kind: &str,
        namespace: &str,
    ) -> Result<usize, NoSchema> {
        let space = of.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let (full, space) = full_name(text_of(of, "name")?, space);
        // What refers to itself finds its place, whatever will stand there.
        let at = self.push(Node::Record(Vec::new()))?;
        self.canonical.push_str("{\"name\":");
        self.quoted(&full);
        if self.known.insert(full.clone(), at).is_some() {
            return Err(NoSchema::Twice(full));
        }
        let kind = if kind == "error" { "record" } else { kind };
        self.canonical.push_str(&format!(",\"type\":\"{kind}\""));
        self.nodes[at] = match kind {
            "enum" => {
                let symbols = list_of(of, "symbols")?;
                self.canonical.push_str(",\"symbols\":[");
                for (index, symbol) in symbols.iter().enumerate() {
                    self.comma(index);
                    self.quoted(symbol.as_str().ok_or_else(|| missing(of, "symbols"))?);
                }
                self.canonical.push(']');
                Node::Enum(symbols.len() as u64)
            }
            "fixed" => {
                let size = of.get("size").and_then(Value::as_u64);
                let size = size.filter(|size| *size <= i32::MAX as u64);
                let size = size.ok_or_else(|| missing(of, "size"))?;
                self.canonical.push_str(&format!(",\"size\":{size}"));
                Node::Fixed(size as usize)
            }
            _ => self.fields(of, &space)?,
        };
        self.canonical.push('}');
        Ok(at)
    }

    fn fields(&mut self, of: &Map<String, Value>, namespace: &str) -> Result<Node, NoSchema> {
        let mut all = Vec::new();
        self.canonical.push_str(",\"fields\":[");
        for (index, field) in list_of(of, "fields")?.iter().enumerate() {
            let field = field.as_object().ok_or_else(|| missing(of, "fields"))?;
            self.comma(index);
            self.canonical.push_str("{\"name\":");
            self.quoted(text_of(field, "name")?);
            self.canonical.push_str(",\"type\":");
            let kind = field.get("type").ok_or_else(|| missing(field, "type"))?;
            all.push(self.read(kind, namespace)?);
            self.canonical.push('}');
        }
        self.canonical.push(']');
        // What holds nothing but nothing is nothing: no datum makes us walk through it for ever.
        let empty = all.iter().all(|field| self.nodes[*field] == Node::Fixed(0));
        Ok(if empty { Node::Fixed(0) } else { Node::Record(all) })
    }

    fn push(&mut self, node: Node) -> Result<usize, NoSchema> {
        if self.nodes.len() == NODES_MAX {
            return Err(NoSchema::Long);
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.canonical.push(',');
        }
    }

    /// Names have nothing that would have to be escaped; Java's library writes them so, too.
    fn quoted(&mut self, name: &str) {
        self.canonical.push('"');
        self.canonical.push_str(name);
        self.canonical.push('"');
    }
}

/// JSON without the white space between its parts.
fn compact(json: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(json.len()), false, false);
    for char in json.chars() {
        let is_end = char == '"' && !escaped;
        escaped = quoted && char == '\\' && !escaped;
        quoted ^= is_end;
        if quoted || !matches!(char, ' ' | '\t' | '\n' | '\r') {
            out.push(char);
        }
    }
    out
}

/// Avro's 64-bit Rabin fingerprint.
fn rabin(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    let mut sum = EMPTY;
    for byte in bytes {
        sum ^= u64::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (EMPTY & (sum & 1).wrapping_neg());
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut reader = Reader::default();
        reader.read(&serde_json::from_str(text).unwrap(), "").unwrap();
        reader.canonical
    }

    /// Pairs of the specification's and of Java's own table of test cases.
    #[test]
    fn fingerprints_are_avros() {
        for (text, sum) in [
            (r#""null""#, 7195948357588979594_i64),
            (r#"{"type":"null"}"#, 7195948357588979594),
            (r#""boolean""#, -6970731678124411036),
            (r#""int""#, 8247732601305521295),
            (r#"{"type":"int","logicalType":"date"}"#, 8247732601305521295),
            (r#""string""#, -8142146995180207161),
            ("[ ]", -1241056759729112623),
            (r#"{"fields":[], "type":"error", "name":"foo"}"#, -4824392279771201922),
            (r#"{"name":"foo","type":"enum","symbols":["A1"]}"#, -6342190197741309591),
            (
                r#"{ "namespace":"x.y.z","type":"enum","name":"foo","doc":"foo bar",
                 "symbols":["A1", "A2"]}"#,
                -4448647247586288245,
            ),
            (r#"{"name":"foo","type":"fixed","size":15}"#, 1756455273707447556),
            (r#"{ "items":{"type":"null"}, "type":"array"}"#, -589620603366471059),
            (r#"{ "values":"string", "type":"map"}"#, -8732877298790414990),
        ] {
            let hex: String = sum.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(Schema::parse(text).unwrap().fingerprint(), hex, "{text}");
        }
    }

    #[test]
    fn the_canonical_form_has_full_names_and_nothing_of_no_matter() {
        let text = r#"{"type": "record", "doc": "x", "namespace": "a.b", "name": "R", "fields": [
            {"name": "one", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4,
             "scale": 2}, "default": "\u00ff", "order": "ignore", "aliases": ["uno"]},
            {"name": "two", "type": ["null", "R"]},
            {"name": "three", "type": {"type": "fixed", "name": "c.F", "size": 12}},
            {"name": "four", "type": {"type": "array", "items": "c.F", "java-class": "x"}},
            {"name": "five", "type": {"type": "enum", "name": "E", "namespace": "",
             "symbols": ["A"], "default": "A"}},
            {"name": "six", "type": {"type": "map", "values": "E"}}]}"#;
        assert_eq!(
            canonical(text),
            concat!(
                r#"{"name":"a.b.R","type":"record","fields":[{"name":"one","type":"bytes"},"#,
                r#"{"name":"two","type":["null","a.b.R"]},"#,
                r#"{"name":"three","type":{"name":"c.F","type":"fixed","size":12}},"#,
                r#"{"name":"four","type":{"type":"array","items":"c.F"}},"#,
                r#"{"name":"five","type":{"name":"E","type":"enum","symbols":["A"]}},"#,
                r#"{"name":"six","type":{"type":"map","values":"E"}}]}"#,
            )
        );
    }

    #[test]
    fn what_is_no_schema_says_why() {
        for (text, told) in [
            ("", "it is no JSON (EOF while parsing a value at line 1 column 0)"),
            ("7", "`7` is no type, and none of that name stands before it"),
            (r#""text""#, "`text` is no type, and none of that name stands before it"),
            (r#"{"type":"array"}"#, "a type `array` has no items"),
            (r#"{"type":"fixed","name":"F","size":-1}"#, "`F` has no size"),
            (r#"{"type":"record","name":"R"}"#, "`R` has no fields"),
            (r#"{"type":"record","fields":[]}"#, "a type `record` has no name"),
            (r#"{"type":"record","name":"R","fields":[{"name":"f"}]}"#, "`f` has no type"),
            (r#"{"type":"enum","name":"E","symbols":[7]}"#, "`E` has no symbols"),
            ("{}", "a type has no type"),
            (
                r#"[{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":1}]"#,
                "`F` is described twice",
            ),
        ] {
            assert_eq!(Schema::parse(text).unwrap_err().to_string(), told, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(Schema::parse(&deep), Err(NoSchema::Json(_))));
        let long = format!("[{}\"null\"]", "\"null\",".repeat(NODES_MAX));
        assert_eq!(Schema::parse(&long).unwrap_err(), NoSchema::Long);
    }

    #[test]
    fn the_text_loses_only_the_space_between_its_parts() {
        let text =
            "{ \"type\" :\n\t\"fixed\", \"name\": \"F\", \"size\": 1, \"x\": \"a \\\" \\\\\" }";
        let schema = Schema::parse(text).unwrap();
        assert_eq!(schema.text(), r#"{"type":"fixed","name":"F","size":1,"x":"a \" \\"}"#);
    }
}
