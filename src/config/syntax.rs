//! What the TOML parser objects to, in the words of somebody who writes configurations.

use super::diagnostic::{Problem, Span};
use super::suggest::nearest;

/// The parser's message at `span` of `text` as a problem with a remedy.
pub(super) fn explain(message: &str, span: Span, text: &str) -> Problem {
    let found = text.get(span.clone()).unwrap_or_default();
    let said = |what: &str, remedy: &str| (what.to_owned(), remedy.to_owned());
    let (message, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let (what, remedy) = match message {
        "string values must be quoted" | "invalid boolean" | "invalid float" | "invalid value" => {
            unquoted(found)
        }
        "duplicate key" => return duplicate(found, span, text),
        "unquoted keys cannot be empty" => {
            said("there is no key before the `=`", "write `key = value`")
        }
        "key with no value" => {
            said("a key without a value", "write `key = value`; a key is one word")
        }
        "unclosed table" => said("this header is not closed", "write `[name]` on its own line"),
        "invalid basic string" | "missing escaped value" => said(
            "this string is not closed, or a `\\` in it does not begin an escape",
            "end it with `\"`; write `\\\\` for a backslash, or put the text in single quotes",
        ),
        "unexpected leading zero" => said("a number may not begin with 0", "leave the 0 out"),
        "unexpected key or value" => {
            said("nothing but a comment may follow here", "begin a new line")
        }
        _ if expected.is_empty() || expected == "nothing" => said(message, ""),
        _ => (message.to_owned(), format!("expected {expected}")),
    };
    Problem::syntax(what).at(span, "").remedy(remedy)
}

/// The key or header at `span` stood before; finds where.
fn duplicate(found: &str, span: Span, text: &str) -> Problem {
    let problem = Problem::syntax(format!("`{found}` is given twice"));
    let problem = problem.at(span.clone(), "").remedy("keep one of the two");
    match first(found, span.start, text) {
        Some(first) => problem.at(first, "first here"),
        None => problem,
    }
}

/// The nearest line above with the same header, or with the same key and no header in between.
fn first(found: &str, offset: usize, text: &str) -> Option<Span> {
    let line_start = text.get(..offset)?.rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next()?.trim();
    let is_header = line.starts_with('[');
    let mut end = line_start;
    while end > 0 {
        let start = text[..end - 1].rfind('\n').map_or(0, |at| at + 1);
        let above = text[start..end].trim();
        let indent = text[start..end].len() - text[start..end].trim_start().len();
        if is_header && above == line {
            return Some(start + indent..start + indent + above.len());
        }
        if !is_header && above.starts_with('[') {
            return None;
        }
        let key = above.split_once('=').map(|(key, _)| key.trim());
        if !is_header && key == Some(found) {
            return Some(start + indent..start + indent + found.len());
        }
        end = start;
    }
    None
}

fn unquoted(found: &str) -> (String, String) {
    if found.is_empty() {
        return ("a value is missing".to_owned(), "write one after the `=`".to_owned());
    }
    let remedy = match found.to_ascii_lowercase().as_str() {
        "yes" | "on" => "write `true`".to_owned(),
        "no" | "off" => "write `false`, or put the word in double quotes".to_owned(),
        word => match nearest(word, ["true", "false"]) {
            Some(word) => format!("did you mean `{word}`?"),
            // Backslashes mean themselves in single quotes only.
            None if found.contains(['\\', '"']) => format!("text goes in quotes: '{found}'"),
            None => format!("text goes in quotes: \"{found}\""),
        },
    };
    (format!("`{found}` is not in quotes"), remedy)
}
