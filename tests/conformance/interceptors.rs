//! What interceptors do to an event: every line of `interceptors/*.txt` is a chain, an event, and
//! what becomes of it.
//!
//! ```text
//! [{ type = "static", key = "a", value = "b" }] :: text :: h=1 => text :: h=1, a=b
//! ```
//! Behind the text stand the headers, apart by commas; a refused event is `-`. `\n` and `\xHH`
//! stand for bytes that a line cannot hold, `*` for a value that is another each time. The event is
//! read as a message as far as the chain asks for it, and received at 2024-01-10T00:00:00Z by the
//! machine `web7`, 10.0.0.7. `#` begins a remark: where Flume does something else it is said there.

use std::path::Path;

use flumen::config::{OptionDoc, Section};
use flumen::event::{Copying, EventHead, HeaderMap, Marks, Names, Origin, Page, Shape};
use flumen::interceptor::{Bench, CHAIN, ChainPlan, Draft, Tools};
use flumen::limits::BATCH_BYTES_MIN;
use flumen::source::parsing::Parser;
use flumen::source::zones::Zones;
use flumen::time::Wall;

const DOCS: &[OptionDoc] = &[CHAIN];
const RECEIVED: Wall = Wall(1_704_844_800_000_000_000);
/// Fewer would mean that files are not seen.
const CASES_MIN: usize = 60;

fn bytes(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let behind = &rest[at + 1..];
        let used = match behind.as_bytes().first() {
            Some(b'n') => {
                out.push(b'\n');
                1
            }
            Some(b'x') => {
                out.push(u8::from_str_radix(&behind[1..3], 16).expect("two digits"));
                3
            }
            _ => {
                out.push(b'\\');
                0
            }
        };
        rest = &behind[used..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn shown(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(&chunk.valid().replace('\n', "\\n"));
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

fn headers(text: &str) -> HeaderMap {
    let mut map = HeaderMap::default();
    for pair in text.split(", ").filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.trim().split_once('=').expect("name=value");
        map.set(name.as_bytes(), value.as_bytes()).expect("short");
    }
    map
}

/// Runs one event through a chain and a page behind it.
fn run(chain: &str, text: &str, labels: &str) -> String {
    let section = Section::parse(&format!("interceptors = {chain}"), DOCS);
    let plan = ChainPlan::plan(&section);
    section.finish();
    let told = section.diagnostics().lines();
    if !told.is_empty() {
        return told.join("; ");
    }
    let tools = Tools { host_name: "web7".to_owned(), host_address: "10.0.0.7".to_owned() };
    let mut chain = plan.build(&tools);
    let mut parser = Parser::new(plan.wanted(), &Zones::utc());
    let mut page = Page::new(BATCH_BYTES_MIN);
    page.keep_fields(parser.as_ref().map_or(Shape::Bare, Parser::shape));
    let origin =
        page.push_labelled_origin(Origin::LOCAL, Names::NONE, &headers(labels)).expect("room");
    let head = EventHead { at: RECEIVED, origin, pri: None, marks: Marks::NONE };
    page.append_event(&bytes(text), head).expect("room");
    parser.iter_mut().for_each(|parser| parser.read(&mut page));
    let event = page.events().next().expect("one");
    let mut bench = Bench::default();
    let mut draft = Draft::new(&event, &mut bench, 64 << 10);
    if !chain.pass(&mut draft) {
        return "-".to_owned();
    }
    let mut out = Page::new(BATCH_BYTES_MIN);
    let mut copying = Copying::default();
    match draft.changed_headers() {
        Some(headers) => copying.write(&event, draft.text(), headers, &mut out),
        None => copying.rewrite(&event, draft.text(), &mut out),
    }
    .expect("room");
    let event = out.events().next().expect("one");
    let pair = |(name, value)| format!("{}={}", shown(name), shown(value));
    let mut pairs: Vec<String> = event.headers().iter().map(pair).collect();
    pairs.sort();
    format!("{} :: {}", shown(event.bytes), pairs.join(", "))
}

/// `*` stands for anything but a blank.
fn alike(wanted: &str, found: &str) -> bool {
    let (wanted, found) = (wanted.split(' '), found.split(' '));
    wanted.clone().count() == found.clone().count()
        && wanted.zip(found).all(|(wanted, found)| match wanted.split_once("=*") {
            Some((name, rest)) => found.starts_with(&format!("{name}=")) && found.ends_with(rest),
            None => wanted == found,
        })
}

#[test]
fn every_event_becomes_what_its_line_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/interceptors");
    let (mut cases, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            cases += 1;
            let place = format!("{}:{}", path.display(), index + 1);
            let (given, wanted) = line.split_once(" => ").unwrap_or_else(|| panic!("{place}"));
            let mut parts = given.split(" :: ");
            let mut next = || parts.next().unwrap_or_default().trim_end_matches(" ::");
            let found = run(next(), next(), next());
            let (wanted, found) = (wanted.trim_end(), found.trim_end());
            let wanted = wanted.trim_end_matches(" ::");
            if !alike(wanted, found.trim_end_matches(" ::")) {
                wrong.push(format!("{place}\n  wanted {wanted}\n  found  {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= CASES_MIN, "{cases} cases found");
}
