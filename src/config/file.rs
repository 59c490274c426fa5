//! Reading one file of a configuration: whatever can be wrong with a file before its text is looked
//! at.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::diagnostic::{Diagnostics, Problem, Span};

/// A configuration is a page or ten; whatever is larger is some other file named by mistake. Of
/// several files it is the sum.
pub(super) const FILE_BYTES_MAX: usize = 4 << 20;

/// Why there is no text.
pub(super) enum Fault {
    /// What is wrong, behind the name of the file, and what would be right.
    Refused(String, &'static str),
    /// The bytes, and where the first is that is none of UTF-8.
    NotUtf8(Vec<u8>, usize),
}

/// The text of the file, of so many bytes at most.
pub(super) fn read(path: &Path, bytes_max: usize) -> Result<String, Fault> {
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map(drop));
    if let Err(error) = read {
        let what = format!("cannot be read: {error}");
        return Err(Fault::Refused(what, "name a file that this user may read"));
    }
    if bytes.len() > bytes_max {
        let what = format!("is larger than {} MiB", FILE_BYTES_MAX >> 20);
        let what = match bytes_max {
            FILE_BYTES_MAX => what,
            _ => format!("makes a configuration that {what}"),
        };
        return Err(Fault::Refused(what, "name a configuration file"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Fault::NotUtf8(error.into_bytes(), at)
    })
}

impl Fault {
    /// Tells it of a file that messages call `called`, asked for at `place`.
    pub(super) fn tell(
        self,
        path: &Path,
        called: &str,
        place: Option<Span>,
        diagnostics: &Diagnostics,
    ) {
        let problem = match self {
            Self::Refused(what, remedy) => {
                let problem = Problem::unread(format!("{called} {what}")).remedy(remedy);
                place.into_iter().fold(problem, |problem, place| problem.at(place, ""))
            }
            Self::NotUtf8(bytes, at) => {
                // Up to the bad byte the lossy text is the same, so that the place is right.
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let text = diagnostics.add_text(path.display().to_string(), text);
                let problem = Problem::unread(format!("the byte 0x{:02X} is not UTF-8", bytes[at]));
                problem.at(text.place(&(at..at + 1)), "").remedy("save the file as UTF-8")
            }
        };
        diagnostics.push(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Around, Config};

    /// What is said about a file of this name with these bytes, without its folder.
    fn told(name: &str, bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("the file can be written");
        let prefix = format!("{}/", folder.path().display());
        let loaded = Config::load(&path, &Around::fixed(&[], &[]));
        let diagnostics = loaded.map_or_else(|told| told, |config| config.diagnostics().clone());
        diagnostics.render(false).replace(&prefix, "")
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("gone.toml");
        let around = Around::fixed(&[], &[]);
        let told = Config::load(&path, &around).err().expect("it is not there");
        let shown = path.display();
        assert_eq!(
            told.render(false),
            format!(
                "error: the configuration cannot be read: No such file or directory (os error 2)\n\
                 --> {shown}\n = help: name a file that this user may read\n\n\
                 {shown}: 1 error\n"
            )
        );
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
        let report = told("f.toml", &vec![b'\n'; FILE_BYTES_MAX + 1]);
        assert!(report.starts_with("error: the configuration is larger than 4 MiB"), "{report}");
        assert_eq!(told("f.toml", &vec![b'\n'; FILE_BYTES_MAX]), "");
    }

    #[test]
    fn a_text_of_another_kind_is_told_quickly() {
        let line = "Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8\n";
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("messages");
        std::fs::write(&path, line.repeat(50_000)).expect("the file can be written");
        let around = Around::fixed(&[], &[]);
        let config = Config::load(&path, &around).expect("it is text");
        assert!(config.agent(None).is_none());
        let report = config.diagnostics().render(false);
        assert!(report.contains("errors are not shown"), "{}", config.diagnostics().summary());
    }
}
