//! What a Flume configuration may ask of the world: variables, `-Dkey=value`, files, the date.

use std::io::Read as _;
use std::path::Path;
use std::{env, fs, io};

use crate::time::Wall;

/// A looked-up file is a password or a list, no archive.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Runs a command with the key as its last argument, and gives the first line that it writes.
pub(super) type Ask = fn(command: &str, key: &str) -> Result<String, String>;

/// The process's surroundings, or a test's.
#[derive(Clone, Debug)]
pub struct Around {
    /// `-Dkey=value`, in order.
    properties: Vec<(String, String)>,
    /// Instead of the environment of the process.
    variables: Option<Vec<(String, String)>>,
    ask: Ask,
    at: Wall,
}

impl Around {
    /// The environment of this process, what stood behind `-D`, who runs commands, and when it is.
    pub fn here(properties: Vec<(String, String)>, ask: Ask, at: Wall) -> Self {
        Self { properties, variables: None, ask, at }
    }

    /// For tests: these variables and no others; a command answers with itself; 1970 in UTC.
    pub fn fixed(properties: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        Self {
            properties: owned(properties),
            variables: Some(owned(variables)),
            ask: |command, key| Ok(format!("{command} {key}")),
            at: Wall(0),
        }
    }

    pub(super) fn ask(&self, command: &str, key: &str) -> Result<String, String> {
        (self.ask)(command, key)
    }

    /// When the file is read, in the words of Java's SimpleDateFormat.
    pub(super) fn date(&self, format: &str) -> Result<String, String> {
        let at = jiff::Timestamp::from_nanosecond(i128::from(self.at.0));
        let zone = match self.variables {
            Some(_) => jiff::tz::TimeZone::UTC,
            None => jiff::tz::TimeZone::system(),
        };
        date(format, &at.unwrap_or_default().to_zoned(zone))
    }

    /// The last value that was given for `-Dkey=`.
    pub fn property(&self, key: &str) -> Option<&str> {
        find(&self.properties, key)
    }

    pub fn variable(&self, name: &str) -> Option<String> {
        match &self.variables {
            Some(fixed) => find(fixed, name).map(str::to_owned),
            None => env::var(name).ok(),
        }
    }

    /// `${sys:key}`: `-D` first, then what Java would know that is true of us, too.
    pub(super) fn system(&self, key: &str) -> Option<String> {
        if let Some(value) = self.property(key) {
            return Some(value.to_owned());
        }
        match key {
            "user.home" => self.variable("HOME"),
            "user.name" => self.variable("USER"),
            "user.dir" => env::current_dir().ok().map(|path| path.display().to_string()),
            "java.io.tmpdir" => Some(env::temp_dir().display().to_string()),
            "file.separator" => Some("/".to_owned()),
            _ => None,
        }
    }

    /// The old way: `${X}` was a variable of the environment.
    pub(super) fn names_are_variables(&self) -> bool {
        let old = "EnvVarResolverProperties";
        self.property("propertiesImplementation").is_some_and(|name| name.ends_with(old))
    }
}

fn find<'p>(pairs: &'p [(String, String)], key: &str) -> Option<&'p str> {
    pairs.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// `-Dkey=value` as it stands behind the `-D`; a key alone is empty, as with Java.
pub fn definition(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.trim().is_empty() {
        return Err("there is no key before the `=`: write -Dkey=value".to_owned());
    }
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// The text of a file without its last newline.
pub(super) fn file(path: &str) -> io::Result<String> {
    let mut text = String::new();
    // A device has no length, and may have no end.
    let mut file = fs::File::open(Path::new(path))?.take(FILE_BYTES_MAX + 1);
    file.read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("more than 1 MiB"));
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn date(format: &str, at: &jiff::Zoned) -> Result<String, String> {
    let mut written = String::new();
    let mut rest = format;
    while let Some(letter) = rest.chars().next() {
        if letter == '\'' {
            let (text, behind) = rest[1..].split_once('\'').ok_or("a quote without its end")?;
            written.push_str(if text.is_empty() { "'" } else { text });
            rest = behind;
            continue;
        }
        let length = rest.len() - rest.trim_start_matches(letter).len();
        let run = &rest[..length];
        rest = &rest[length..];
        let format = match run {
            "yyyy" | "y" | "uuuu" => "%Y",
            "yy" => "%y",
            "MMMM" => "%B",
            "MMM" => "%b",
            "MM" => "%m",
            "M" => "%-m",
            "dd" => "%d",
            "d" => "%-d",
            "DDD" => "%j",
            "HH" => "%H",
            "H" => "%-H",
            "hh" => "%I",
            "h" => "%-I",
            "mm" => "%M",
            "m" => "%-M",
            "ss" => "%S",
            "s" => "%-S",
            "SSS" => "%3f",
            "EEEE" => "%A",
            "E" | "EE" | "EEE" => "%a",
            "a" => "%p",
            "Z" => "%z",
            "z" | "zzz" => "%Z",
            _ if letter.is_ascii_alphabetic() => return Err(format!("`{run}` is not known")),
            plain => {
                written.push_str(plain);
                continue;
            }
        };
        written.push_str(&at.strftime(format).to_string());
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_javas() {
        assert_eq!(definition("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert_eq!(definition("a"), Ok(("a".to_owned(), String::new())));
        assert!(definition("=x").is_err());
        let around = Around::fixed(&[("a", "1"), ("a", "2")], &[("HOME", "/h")]);
        assert_eq!(around.system("a").as_deref(), Some("2"));
        assert_eq!(around.system("user.home").as_deref(), Some("/h"));
        assert_eq!(around.system("java.version"), None);
    }

    #[test]
    fn files_are_read_and_devices_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, "joe\r\n").expect("written");
        assert_eq!(file(path.to_str().expect("UTF-8")).expect("readable"), "joe");
        let error = file("/dev/zero").expect_err("it has no end");
        assert_eq!(error.to_string(), "more than 1 MiB");
    }

    #[test]
    fn dates_are_written_in_javas_words() {
        let around = Around::fixed(&[], &[]);
        let date = |format| around.date(format);
        assert_eq!(date("yyyy'-year'"), Ok("1970-year".to_owned()));
        assert_eq!(date("yyyyMMdd-HHmmss.SSS"), Ok("19700101-000000.000".to_owned()));
        assert_eq!(date("EEE, d MMM yy ''"), Ok("Thu, 1 Jan 70 '".to_owned()));
        assert!(date("GGG").is_err() && date("'x").is_err());
    }
}
