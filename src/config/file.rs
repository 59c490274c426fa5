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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said about a file of this name with these bytes, without its folder.
    fn told(name: &str, bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("the file can be written");
        let prefix = format!("{}/", folder.path().display());
        match read(&path) {
            Ok(diagnostics) => diagnostics.render(false),
            Err(diagnostics) => diagnostics.render(false).replace(&prefix, ""),
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_no_file_is_told() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("gone.toml");
        let report = read(&path).expect_err("it is not there").render(false);
        let shown = path.display();
        assert_eq!(
            report,
            format!(
                "error: the configuration cannot be read: No such file or directory (os error 2)\n\
                 --> {shown}\n = help: name a TOML file that this user may read\n\n\
                 {shown}: 1 error\n"
            )
        );
        let report = read(folder.path()).expect_err("it is a directory").render(false);
        assert!(report.starts_with("error: this is a directory, not a"), "{report}");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_shown() {
        let expected = "\
error: the byte 0xFF is not UTF-8
 --> f.toml:2:6
  |
2 | b = '\u{fffd}'
  |      ^
  |
  = help: save the file as UTF-8

f.toml: 1 error
";
        assert_eq!(told("f.toml", b"a = 1\nb = '\xFF'\n"), expected);
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_unread() {
        let size = usize::try_from(FILE_BYTES_MAX).expect("4 MiB") + 1;
        assert!(
            told("f.toml", &vec![b'\n'; size]).starts_with("error: this file is larger than 4 MiB")
        );
        assert_eq!(told("f.toml", &vec![b'\n'; size - 1]), "");
    }

    #[test]
    fn flume_properties_are_refused_by_name() {
        let text = b"# a Flume agent\n  a1.sources = r1\na1.sources.r1.type = netcat\n";
        let expected = "\
error: this is a Flume properties file, which flumen does not read yet
 --> f.conf:2:3
  |
2 |   a1.sources = r1
  |   ^^^^^^^^^^^^^^^
  |
  = help: write it as TOML: `a1.sources.r1.type = x` becomes `[sources.r1]` with `type = \"x\"`

f.conf: 1 error
";
        assert_eq!(told("f.conf", text), expected);
        assert!(told("f.properties", b"").starts_with("error: this is a Flume properties file"));
        let toml = b"[agents.a1.sources.r1]\ntype = 'x'\na.sinks.b.c = 'x'\na.sinks.d.e = true\n";
        assert_eq!(told("f.toml", toml), "");
    }

    #[test]
    fn a_text_of_another_kind_is_told_quickly() {
        let line = "Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8\n";
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("messages");
        std::fs::write(&path, line.repeat(50_000)).expect("the file can be written");
        let config = crate::config::Config::load(&path).expect("it is text");
        assert!(config.agent(None).is_none());
        let report = config.diagnostics().render(false);
        assert!(report.contains("errors are not shown"), "{}", config.diagnostics().summary());
    }
}
