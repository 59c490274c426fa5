//! What a Flume configuration may ask of the world: variables, `-Dkey=value`, files, the date.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

/// A looked-up file is a password or a list, no archive.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// So long may the command of a config filter take.
const COMMAND_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// The process's surroundings, or a test's.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// `-Dkey=value`, in order.
    properties: Vec<(String, String)>,
    /// Instead of the environment of the process.
    variables: Option<Vec<(String, String)>>,
}

impl Around {
    /// The environment of this process and what stood behind `-D`.
    pub fn here(properties: Vec<(String, String)>) -> Self {
        Self { properties, variables: None }
    }

    /// For tests: these variables and no others.
    pub fn fixed(properties: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        Self { properties: owned(properties), variables: Some(owned(variables)) }
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
    let path = Path::new(path);
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("more than 1 MiB"));
    }
    let text = fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Now, in the words of Java's SimpleDateFormat.
pub(super) fn date(format: &str) -> Result<String, String> {
    let mut written = String::new();
    let now = jiff::Zoned::now();
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
            "XXX" => "%:z",
            "z" | "zzz" => "%Z",
            _ if letter.is_ascii_alphabetic() => return Err(format!("`{run}` is not known")),
            plain => {
                written.push_str(plain);
                continue;
            }
        };
        written.push_str(&now.strftime(format).to_string());
    }
    Ok(written)
}

/// The first line that `command KEY` writes: no shell, words divided at blanks, as Flume does it.
pub(super) fn command(command: &str, key: &str) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let program = words.next().ok_or("the command is empty")?;
    let mut command = Command::new(program);
    command.args(words).arg(key).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    let status = wait(&mut child).map_err(|error| format!("{program}: {error}"))?;
    if !status.success() {
        return Err(format!("{program} ended with {status}"));
    }
    let mut text = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        io::Read::read_to_end(&mut stdout, &mut text).map_err(|error| error.to_string())?;
    }
    let text = String::from_utf8(text).map_err(|_| format!("{program} wrote no UTF-8"))?;
    match text.lines().next() {
        Some(line) if !line.trim().is_empty() => Ok(line.trim().to_owned()),
        _ => Err(format!("{program} wrote nothing")),
    }
}

/// What it writes is one line and fits a pipe: it can end without a reader.
fn wait(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if began.elapsed() > COMMAND_MAX {
            child.kill()?;
            child.wait()?;
            let seconds = COMMAND_MAX.as_secs();
            return Err(io::Error::other(format!("not done after {seconds} s")));
        }
        thread::sleep(LOOK);
    }
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
    fn dates_are_written_in_javas_words() {
        let year = jiff::Zoned::now().strftime("%Y").to_string();
        let written = date("yyyy'-year'").expect("known letters");
        assert_eq!(written, format!("{year}-year"));
        assert_eq!(date("yyyyMMdd-HHmmss.SSS").expect("known").len(), 19);
        assert!(date("GGG").is_err() && date("'x").is_err());
    }

    #[test]
    fn a_command_answers_with_its_first_line_or_not_at_all() {
        assert_eq!(command("echo a b", "key"), Ok("a b key".to_owned()));
        assert!(command("false", "x").expect_err("it fails").contains("ended with"));
        assert!(command("true", "x").expect_err("silent").contains("wrote nothing"));
        assert!(command("/no/such/program", "x").is_err());
    }
}
