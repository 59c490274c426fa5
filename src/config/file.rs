//! Reading the configuration file: whatever can be wrong with a file before its text is looked at.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::diagnostic::{Diagnostics, Problem};

/// A configuration is a page or ten; whatever is larger is some other file named by mistake.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The text of the file, ready to collect problems; or the one problem that says why not.
pub(super) fn read(path: &Path) -> Result<Diagnostics, Diagnostics> {
    let shown = path.display().to_string();
    let refuse = |what: String, remedy: &str| {
        let diagnostics = Diagnostics::new(shown.clone(), "");
        diagnostics.push(Problem::error(what).remedy(remedy));
        diagnostics
    };
    if path.extension() == Some(OsStr::new("properties")) {
        return Err(refuse(PROPERTIES.to_owned(), PROPERTIES_REMEDY));
    }
    if path.is_dir() {
        let what = "this is a directory, not a configuration file".to_owned();
        return Err(refuse(what, "name the TOML file in it"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map(drop));
    if let Err(error) = read {
        let what = format!("the configuration cannot be read: {error}");
        return Err(refuse(what, "name a TOML file that this user may read"));
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let what = format!("this file is larger than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(refuse(what, "name a configuration file"));
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(not_utf8(shown, &error)),
    };
    let diagnostics = Diagnostics::new(shown, text);
    match properties_line(diagnostics.text()) {
        None => Ok(diagnostics),
        Some(span) => {
            let problem = Problem::error(PROPERTIES).at(span, "");
            diagnostics.push(problem.remedy(PROPERTIES_REMEDY));
            Err(diagnostics)
        }
    }
}

const PROPERTIES: &str = "this is a Flume properties file, which flumen does not read yet";
const PROPERTIES_REMEDY: &str =
    "write it as TOML: `a1.sources.r1.type = x` becomes `[sources.r1]` with `type = \"x\"`";

fn not_utf8(path: String, error: &std::string::FromUtf8Error) -> Diagnostics {
    let start = error.utf8_error().valid_up_to();
    // Up to the bad byte the lossy text is the same, so that the place is right.
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    let diagnostics = Diagnostics::new(path, text);
    let byte = error.as_bytes()[start];
    let problem = Problem::error(format!("the byte 0x{byte:02X} is not UTF-8"));
    let problem = problem.at(start..start + 1, "").remedy("save the file as UTF-8");
    diagnostics.push(problem);
    diagnostics
}

/// The first line that only Flume's properties have: `agent.sources = r1 r2` or
/// `agent.sources.r1.type = x`, the value not in quotes.
fn properties_line(text: &str) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        if is_properties(content) {
            let indent = line.len() - line.trim_start().len();
            return Some(start + indent..start + indent + content.len());
        }
        start += line.len();
    }
    None
}

fn is_properties(line: &str) -> bool {
    let Some((key, value)) = line.split_once('=') else { return false };
    let mut words = key.trim().split('.');
    let agent = words.next().is_some_and(is_word);
    let room = matches!(words.next(), Some("sources" | "channels" | "sinks" | "sinkgroups"));
    let value = value.trim();
    agent
        && room
        && words.all(is_word)
        && value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !matches!(value, "true" | "false" | "inf" | "nan")
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
