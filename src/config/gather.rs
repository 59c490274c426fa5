//! Which files a configuration is: the one that was named and what it includes, or those of a
//! directory, read in one order and joined.
//!
//! ```text
//! include = ["conf.d/*.toml", "/etc/flumen/tls.toml"]
//! ```
//! stands above the first table of a file. Paths are relative to that file; `*` and `?` may stand
//! in the name, and what they find is sorted by name; a directory is `*.toml` in it. The file comes
//! first, then what it includes, each with its own includes. Nothing is read twice, so there are no
//! cycles. What a pattern finds and nobody meant (hidden files, copies that editors and packagers
//! leave) is passed over, and `check` says so.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::diagnostic::{Diagnostics, Problem, Span};
use super::file::{self, FILE_BYTES_MAX};
use super::flume;
use super::value::{self, Entry, Lookup, Spanned, Table, Value};

/// Whoever has more of them included something by mistake.
const FILES_MAX: usize = 1000;

/// What a directory's configuration is called.
const TOML: &str = "*.toml";

/// What stands in names that Debian gives to copies.
const DEBIANS: [&str; 2] = [".dpkg-", ".ucf-"];

/// How names end that editors, packagers and `patch` give to copies.
const COPIES: [&str; 13] = [
    "~", ".bak", ".old", ".orig", ".pacnew", ".pacsave", ".rej", ".rpmnew", ".rpmorig", ".rpmsave",
    ".save", ".swp", ".tmp",
];

/// The tables of all files, in order; the same may stand there from several files.
pub(super) struct Gathered {
    pub(super) root: Table,
    pub(super) diagnostics: Diagnostics,
}

/// The text of the file that was named, ready to collect problems; or why there is none.
pub(super) fn first(path: &Path) -> Result<Diagnostics, Diagnostics> {
    let shown = path.display().to_string();
    let diagnostics = Diagnostics::empty(shown.clone());
    match file::read(path, FILE_BYTES_MAX) {
        Ok(text) => {
            diagnostics.add_text(shown, text);
            Ok(diagnostics)
        }
        Err(fault) => {
            fault.tell(path, "the configuration", None, &diagnostics);
            Err(diagnostics)
        }
    }
}

/// A file whose text is there already, and what it includes.
pub(super) fn file(path: &Path, diagnostics: Diagnostics, lookup: Lookup<'_>) -> Gathered {
    let mut reading = Reading::new(&diagnostics, lookup);
    reading.met.push(Met { path: identity(path), asked: None, open: true });
    let text = diagnostics.text();
    reading.bytes = text.text.len();
    let root = value::parse(lookup, &text, &diagnostics);
    reading.take(root, path);
    let root = reading.root;
    Gathered { root, diagnostics }
}

/// Every `*.toml` of a directory, and what they include.
pub(super) fn directory(path: &Path, lookup: Lookup<'_>) -> Result<Gathered, Diagnostics> {
    let diagnostics = Diagnostics::empty(path.display().to_string());
    let mut reading = Reading::new(&diagnostics, lookup);
    match list(path, TOML) {
        Ok(Listed { taken, others, .. }) if taken.is_empty() => {
            let what = format!("there is no {TOML} in this directory");
            let flumes = |path: &&PathBuf| {
                file::read(path, FILE_BYTES_MAX).is_ok_and(|text| flume::is_flume(&text))
            };
            let remedy = match others.iter().find(flumes) {
                Some(path) => format!("name the file in it: {}", path.display()),
                None => "name a configuration file, or a directory with some".to_owned(),
            };
            diagnostics.push(Problem::error(what).remedy(remedy));
        }
        Ok(listed) => {
            for path in &listed.others {
                let what = format!("{} is not read: it is no {TOML}", path.display());
                diagnostics.push(Problem::note(what));
            }
            reading.read_listed(listed, None);
        }
        Err(what) => {
            let remedy = "name a directory that this user may read";
            diagnostics.push(Problem::error(what).remedy(remedy));
        }
    }
    let root = reading.root;
    match diagnostics.files().is_empty() {
        true => Err(diagnostics),
        false => Ok(Gathered { root, diagnostics }),
    }
}

struct Reading<'r> {
    diagnostics: &'r Diagnostics,
    lookup: Lookup<'r>,
    root: Table,
    met: Vec<Met>,
    /// Of all texts.
    bytes: usize,
}

/// A file that was read.
struct Met {
    path: PathBuf,
    /// The string that asked for it.
    asked: Option<Span>,
    /// What it includes is being read.
    open: bool,
}

impl<'r> Reading<'r> {
    fn new(diagnostics: &'r Diagnostics, lookup: Lookup<'r>) -> Self {
        Self { diagnostics, lookup, root: Table::default(), met: Vec::new(), bytes: 0 }
    }

    /// The tables of the file at `path`, then those of what it includes.
    fn take(&mut self, table: Table, path: &Path) {
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let (includes, tables): (Vec<_>, Vec<_>) =
            table.entries.into_iter().partition(|entry| entry.key.value == "include");
        self.root.entries.extend(tables);
        for entry in &includes {
            for wanted in self.wanted(entry) {
                self.include(&wanted, folder);
            }
        }
    }

    /// The strings of an `include`.
    fn wanted(&self, entry: &Entry) -> Vec<Spanned<String>> {
        let value = &entry.value;
        let items = match &value.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        let mut wanted = Vec::new();
        for item in items {
            match &item.value {
                Value::Text { text, .. } => {
                    wanted.push(Spanned::new(text.clone(), item.span.clone()));
                }
                other => {
                    let found = other.type_name();
                    let what = format!("`include`: expected a string or a list, found {found}");
                    let remedy = "write `include = [\"conf.d/*.toml\"]` above the first table";
                    self.diagnostics.error(item.span.clone(), what, remedy);
                }
            }
        }
        wanted
    }

    fn include(&mut self, wanted: &Spanned<String>, folder: &Path) {
        let path = folder.join(&wanted.value);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let above = path.parent().unwrap_or_else(|| Path::new(""));
        let fail = |what: String, remedy: &str| {
            self.diagnostics.push(Problem::unread(what).at(wanted.span.clone(), "").remedy(remedy));
        };
        if wanted.trim().is_empty() {
            return fail(
                "an empty path includes nothing".to_owned(),
                "name a file, or leave it out",
            );
        }
        let pattern = |text: &str| text.contains(['*', '?']);
        if wanted.contains(['[', ']', '{', '}']) || pattern(&above.to_string_lossy()) {
            let what = format!("`{wanted}` is no pattern here");
            let remedy = "`*` is any text and `?` one letter, in the name of the file only";
            return fail(what, remedy);
        }
        let listed = match name {
            _ if path.is_dir() => list(&path, TOML),
            Some(name) if pattern(&name) => list(above, &name),
            _ => return self.read(&path, Some(&wanted.span)),
        };
        match listed {
            Err(what) => fail(what, "create it, or leave it out; paths begin where this file is"),
            Ok(listed) if listed.taken.is_empty() => {
                let pattern = if path.is_dir() { path.join(TOML) } else { path };
                let what = format!("there is no {}", pattern.display());
                let remedy =
                    "leave it out, or put a file there; hidden ones and copies do not count";
                self.diagnostics.warning(wanted.span.clone(), what, remedy);
            }
            Ok(listed) => self.read_listed(listed, Some(&wanted.span)),
        }
    }

    fn read_listed(&mut self, listed: Listed, asked: Option<&Span>) {
        for path in &listed.passed_over {
            let path = path.display();
            let what = format!("{path} is not read: hidden files and copies are passed over");
            self.diagnostics.push(Problem::note(what));
        }
        for path in listed.taken {
            self.read(&path, asked);
        }
    }

    fn read(&mut self, path: &Path, asked: Option<&Span>) {
        let shown = path.display();
        let identity = identity(path);
        let place = |problem: Problem| match asked {
            Some(span) => problem.at(span.clone(), ""),
            None => problem,
        };
        if let Some(met) = self.met.iter().find(|met| met.path == identity) {
            let is_last =
                self.met.iter().rfind(|met| met.open).is_some_and(|it| it.path == identity);
            let (what, remedy) = match (met.open, is_last) {
                (true, true) => (
                    format!("{shown} includes itself"),
                    "keep what it includes in a directory: `include = \"conf.d/*.toml\"`",
                ),
                (true, false) => (
                    format!("{shown} is included by what it includes"),
                    "leave one of the two `include` out",
                ),
                (false, _) => (format!("{shown} is included twice"), "leave one of them out"),
            };
            let problem = place(Problem::error(what));
            let problem = match met.asked.clone().filter(|before| Some(before) != asked) {
                Some(before) => problem.at(before, "first here"),
                None => problem,
            };
            return self.diagnostics.push(problem.remedy(remedy));
        }
        if self.met.len() == FILES_MAX {
            let what = format!("these are more than {FILES_MAX} files");
            let problem = place(Problem::unread(what));
            return self.diagnostics.push(problem.remedy("include what belongs together"));
        }
        self.met.push(Met { path: identity, asked: asked.cloned(), open: true });
        let index = self.met.len() - 1;
        if let Some(text) = self.text(path, asked) {
            let text = self.diagnostics.add_text(shown.to_string(), text);
            let table = value::parse(self.lookup, &text, self.diagnostics);
            self.take(table, path);
        }
        self.met[index].open = false;
    }

    /// What is in this file; what is wrong with it is told.
    fn text(&mut self, path: &Path, asked: Option<&Span>) -> Option<String> {
        let called = path.display().to_string();
        let left = FILE_BYTES_MAX.saturating_sub(self.bytes);
        let read = match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => {
                Err(file::Fault::Refused("is no file".to_owned(), "name a file"))
            }
            _ => file::read(path, left),
        };
        match read {
            Ok(text) if flume::is_flume(&text) => {
                let what = format!("{called} is a properties file of Apache Flume's");
                let remedy = format!("include what `flumen check {called} --to-toml` prints");
                let problem = asked
                    .into_iter()
                    .fold(Problem::unread(what), |problem, asked| problem.at(asked.clone(), ""));
                self.diagnostics.push(problem.remedy(remedy));
                None
            }
            Ok(text) => {
                self.bytes += text.len();
                Some(text)
            }
            Err(fault) => {
                fault.tell(path, &called, asked.cloned(), self.diagnostics);
                None
            }
        }
    }
}

/// The same for every way to one file.
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The files of a folder, sorted by name.
struct Listed {
    taken: Vec<PathBuf>,
    /// They match, and nobody meant them.
    passed_over: Vec<PathBuf>,
    /// They do not match.
    others: Vec<PathBuf>,
}

/// What matches a pattern; the error is a sentence.
fn list(folder: &Path, pattern: &str) -> Result<Listed, String> {
    // The folder of a bare name.
    let opened = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let wanted = names(pattern).ok_or("no file has so long a name")?;
    let cannot = |error| format!("the directory {} cannot be read: {error}", opened.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(opened).map_err(cannot)? {
        names.push(entry.map_err(cannot)?.file_name());
    }
    names.sort();
    let mut listed = Listed { taken: Vec::new(), passed_over: Vec::new(), others: Vec::new() };
    for name in names {
        let path = folder.join(&name);
        // What is gone, or a link to nothing, is told when it is read.
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            continue;
        }
        let name = name.to_string_lossy();
        let hidden = name.starts_with('.') && !pattern.starts_with('.');
        let copy = name.starts_with('#')
            || COPIES.iter().any(|end| name.ends_with(end))
            || DEBIANS.iter().any(|mark| name.contains(mark));
        match wanted.is_match(&name) {
            true if hidden || copy => listed.passed_over.push(path),
            true => listed.taken.push(path),
            false if hidden || copy => {}
            false => listed.others.push(path),
        }
    }
    Ok(listed)
}

/// The names that `*` (any text) and `?` (one letter) make; none: they would be too long to be any.
fn names(pattern: &str) -> Option<Regex> {
    let letters = regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".");
    Regex::new(&format!(r"(?s)\A{letters}\z")).ok()
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
