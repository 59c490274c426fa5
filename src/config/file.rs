//! Reading the configuration file: whatever can be wrong with a file before its text is looked at.

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
    if path.is_dir() {
        let what = "this is a directory, not a configuration file".to_owned();
        return Err(refuse(what, "name the file in it"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map(drop));
    if let Err(error) = read {
        let what = format!("the configuration cannot be read: {error}");
        return Err(refuse(what, "name a file that this user may read"));
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let what = format!("this file is larger than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(refuse(what, "name a configuration file"));
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(not_utf8(shown, &error)),
    };
    Ok(Diagnostics::new(shown, text))
}

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
                 --> {shown}\n = help: name a file that this user may read\n\n\
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
    fn a_text_of_another_kind_is_told_quickly() {
        let line = "Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8\n";
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("messages");
        std::fs::write(&path, line.repeat(50_000)).expect("the file can be written");
        let config = crate::config::Config::load(&path, &crate::config::Around::fixed(&[], &[]))
            .expect("it is text");
        assert!(config.agent(None).is_none());
        let report = config.diagnostics().render(false);
        assert!(report.contains("errors are not shown"), "{}", config.diagnostics().summary());
    }
}
