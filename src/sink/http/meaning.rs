//! What an answer means for the events that it is about.
//!
//! A `refused` event is refused for what it is, and the same event will be refused again. What the
//! peer says about us (401), about itself (503) or about the moment (429) is no such refusal: these
//! are tried again for as long as it takes.

use crate::config::{OptionDoc, Section, nearest};

pub(super) const ANSWERS: OptionDoc = OptionDoc {
    name: "answers",
    default: Some(""),
    doc: "what answers mean, { \"409\" = \"delivered\", \"5XX\" = \"retry\" }: delivered, retry or \
          refused",
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The peer has them.
    Delivered,
    /// Later, and as often as needed.
    Retry,
    /// Not these, ever.
    Refused,
}

const WORDS: [(&str, Meaning); 3] =
    [("delivered", Meaning::Delivered), ("retry", Meaning::Retry), ("refused", Meaning::Refused)];

/// Of 4XX, those that say nothing of the events: who we are, where we knock, how we talk, and when.
const NOT_ABOUT_EVENTS: [u16; 14] =
    [401, 402, 403, 404, 405, 406, 407, 408, 415, 421, 423, 425, 426, 429];

fn is_about_us(status: u16) -> bool {
    NOT_ABOUT_EVENTS.contains(&status)
}

/// What the configuration says, before what is always so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Meanings {
    exact: Vec<(u16, Meaning)>,
    classes: Vec<(u16, Meaning)>,
}

impl Meanings {
    pub(super) fn plan(section: &Section) -> Self {
        let mut meanings = Self::default();
        for (code, word) in section.table_of_texts(ANSWERS.name) {
            let found = WORDS.iter().find(|(known, _)| *known == word.value);
            let Some((_, meaning)) = found else {
                let words = WORDS.iter().map(|(word, _)| *word);
                let remedy = match nearest(&word, words) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "write \"delivered\", \"retry\" or \"refused\"".to_owned(),
                };
                let what = format!("an answer cannot mean \"{}\"", word.value);
                section.fail_at(&word.span, what, remedy);
                continue;
            };
            let class = code.to_ascii_uppercase();
            let class = class.strip_suffix("XX").and_then(|digit| digit.parse::<u16>().ok());
            match (class, code.parse::<u16>()) {
                (Some(digit @ 2..=5), _) => meanings.classes.push((digit, *meaning)),
                (_, Ok(number @ 200..=599)) => meanings.exact.push((number, *meaning)),
                _ => {
                    let what = format!("\"{}\" is no answer that ends a POST", code.value);
                    let remedy = "write a number from 200 to 599, or 2XX, 3XX, 4XX, 5XX";
                    section.fail_at(&code.span, what, remedy);
                }
            }
        }
        meanings
    }

    pub(super) fn of(&self, status: u16) -> Meaning {
        let said = |list: &[(u16, Meaning)], key: u16| {
            list.iter().find(|(known, _)| *known == key).map(|(_, meaning)| *meaning)
        };
        let told = said(&self.exact, status).or_else(|| said(&self.classes, status / 100));
        told.unwrap_or_else(|| match status {
            200..=299 => Meaning::Delivered,
            400..=499 if !is_about_us(status) => Meaning::Refused,
            _ => Meaning::Retry,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (Meanings, Vec<String>) {
        let section = Section::parse(body, &[ANSWERS]);
        let meanings = Meanings::plan(&section);
        (meanings, section.diagnostics().lines())
    }

    #[test]
    fn only_what_is_about_the_events_refuses_them() {
        let meanings = Meanings::default();
        for (status, meaning) in [
            (200, Meaning::Delivered),
            (204, Meaning::Delivered),
            (301, Meaning::Retry),
            (400, Meaning::Refused),
            (401, Meaning::Retry),
            (413, Meaning::Refused),
            (422, Meaning::Refused),
            (429, Meaning::Retry),
            (500, Meaning::Retry),
            (503, Meaning::Retry),
        ] {
            assert_eq!(meanings.of(status), meaning, "{status}");
        }
    }

    #[test]
    fn a_number_stands_before_its_class() {
        let (meanings, told) =
            read("answers = { '4xx' = 'retry', '409' = 'delivered', '500' = 'refused' }");
        assert_eq!(told, Vec::<String>::new());
        assert_eq!(meanings.of(400), Meaning::Retry);
        assert_eq!(meanings.of(409), Meaning::Delivered);
        assert_eq!(meanings.of(500), Meaning::Refused);
        assert_eq!(meanings.of(502), Meaning::Retry);
        for (body, told) in [
            ("answers = { '400' = 'retri' }", "did you mean \"retry\"?"),
            ("answers = { '600' = 'retry' }", "\"600\" is no answer that ends a POST"),
            ("answers = { 'XX' = 'retry' }", "\"XX\" is no answer"),
            ("answers = { '1XX' = 'retry' }", "\"1XX\" is no answer"),
            ("answers = 'retry'", "expected a table"),
        ] {
            let lines = read(body).1;
            assert!(lines.len() == 1 && lines[0].contains(told), "{body}: {lines:?}");
        }
    }
}
