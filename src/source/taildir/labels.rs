//! Headers that all events of a file have: those of its group, and its path.

use std::path::Path;

use crate::config::{OptionDoc, Section, nearest};
use crate::event::{HeaderMap, HeaderNames};
use crate::source::file_lines::offsets;
use crate::source::header_name;

pub(super) const HEADERS: OptionDoc = OptionDoc {
    name: "headers",
    default: Some(""),
    doc: "headers for the events of a group, as { app = { site = \"berlin\" } }",
};
pub(super) const FILE_HEADER: OptionDoc = OptionDoc {
    name: "file_header",
    default: Some("false"),
    doc: "events have the path of their file as a header",
};
pub(super) const FILE_HEADER_KEY: OptionDoc =
    OptionDoc { name: "file_header_key", default: Some("file"), doc: "its name" };
pub(super) const BYTE_OFFSET_HEADER: OptionDoc = OptionDoc {
    name: "byte_offset_header",
    default: Some("false"),
    doc: "events have the place in their file where they begin as the header `byteoffset`",
};

/// What is asked for; a file's own headers follow from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    /// By number of the group; none where no group has any.
    groups: Vec<HeaderMap>,
    /// What the path is called, if somebody asks for it.
    path: String,
    /// Each event has its offset.
    pub(super) offsets: bool,
}

impl Labels {
    /// `groups` are the names of those that there are.
    pub(super) fn plan(section: &Section, groups: &[String]) -> Self {
        let mut maps = Vec::new();
        for (group, pairs) in section.table_of_tables(HEADERS.name) {
            let Some(index) = groups.iter().position(|name| *name == group.value) else {
                let what = format!("`headers`: there is no group `{}`", group.value);
                let remedy = match nearest(&group, groups.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "name it in `filegroups`".to_owned(),
                };
                section.fail_at(&group.span, what, remedy);
                continue;
            };
            maps.resize(groups.len(), HeaderMap::default());
            for (name, value) in pairs {
                if !header_name::is_name(&name) {
                    let what = header_name::no_name(&name);
                    section.fail_at(&name.span, what, "write `{ site = \"berlin\" }`");
                } else if maps[index].set(name.as_bytes(), value.as_bytes()).is_err() {
                    let what = "these are more headers than events have room for, 16 KiB";
                    section.fail_at(&value.span, what, "write shorter ones");
                }
            }
        }
        Self {
            groups: maps,
            path: header_name::flagged(section, FILE_HEADER.name, FILE_HEADER_KEY.name),
            offsets: section.flag(BYTE_OFFSET_HEADER.name),
        }
    }

    pub(super) fn names(&self) -> HeaderNames {
        let groups = self.groups.iter().flat_map(HeaderMap::iter);
        let mut names: Vec<String> =
            groups.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        names.extend(Some(self.path.clone()).filter(|name| !name.is_empty()));
        names.extend(self.offsets.then(|| offsets::HEADER.to_owned()));
        HeaderNames::of(names)
    }

    /// What events of this file have.
    pub(super) fn of(&self, group: usize, path: &Path) -> HeaderMap {
        let mut labels = self.groups.get(group).cloned().unwrap_or_default();
        if !self.path.is_empty() {
            // Nothing is longer than a path may be, beside a group's headers: else it has none.
            let _ = labels.set(self.path.as_bytes(), path.as_os_str().as_encoded_bytes());
        }
        labels
    }
}
