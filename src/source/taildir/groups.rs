//! Which files are followed: a directory each, and an expression for the names in it.

use std::path::PathBuf;

use regex::Regex;

use crate::config::{OptionDoc, Section};

pub(super) const FILEGROUPS: OptionDoc = OptionDoc {
    name: "filegroups",
    default: None,
    doc: "files by name of the group: a directory, and an expression for the whole file name, as \
          { app = '/var/log/app/.*\\.log' }",
};

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) directory: PathBuf,
    pattern: Regex,
}

impl Group {
    pub(super) fn has(&self, name: &str) -> bool {
        self.pattern.is_match(name)
    }
}

pub(super) fn plan(section: &Section) -> Vec<Group> {
    let mut groups = Vec::new();
    for (name, text) in section.table_of_texts("filegroups") {
        let example = format!("write `{} = '/var/log/app/.*\\.log'`", name.value);
        let split = text.rsplit_once('/').filter(|(directory, file)| {
            !file.is_empty() && (directory.is_empty() || directory.starts_with('/'))
        });
        let Some((directory, file)) = split else {
            let what = format!("\"{}\" is no path from the root to files", text.value);
            section.fail_at(&text.span, what, example);
            continue;
        };
        match Regex::new(&format!("^(?:{file})$")) {
            Ok(pattern) => {
                let directory = PathBuf::from(if directory.is_empty() { "/" } else { directory });
                groups.push(Group { name: name.value.clone(), directory, pattern });
            }
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let what = format!("\"{file}\" is no expression for file names: {why}");
                section.fail_at(&text.span, what, format!("{example}: `.*` stands for any text"));
            }
        }
    }
    if groups.is_empty() && section.explicit("filegroups") && !section.diagnostics().has_errors() {
        let remedy = "write `filegroups = { app = '/var/log/app/.*\\.log' }`";
        section.fail("filegroups", "there is nothing to follow", remedy);
    }
    groups
}
