//! `${…}` in a value: lookups, other keys of the file, and config filters.
//!
//! | written | is |
//! |---|---|
//! | `${env:NAME}` | a variable of the environment |
//! | `${sys:key}` | `-Dkey=value`, or `user.home` and its few kin |
//! | `${file:/path}` `${file:UTF-8:/path}` | a file's text, without its last newline |
//! | `${date:yyyy-MM-dd}` | now, when the file is read |
//! | `${key}` | what another key of this file says |
//! | `${filter['key']}` `${filter[key]}` | what the agent's config filter says |
//! | `$${` | `${` itself |
//!
//! Each of the first two and `${key}` may end in `:-default`. Only what other keys of the file say
//! is looked through again: the text of a variable or a file never turns into syntax.

use super::around::{self, Around};
use super::lexer::Property;
use crate::config::diagnostic::{Diagnostics, Problem, Span};
use crate::config::suggest::nearest;
use crate::config::value::Spanned;

/// Keys that lead to one another, so many for one value; and what all of them together may be.
const LOOKUPS_MAX: usize = 1000;
const DEPTH_MAX: usize = 32;
const FILLED_BYTES_MAX: usize = 1 << 20;

/// Lookups of Apache Commons Text that have no place here.
const FOREIGN: &[&str] = &[
    "base64Decoder",
    "base64Encoder",
    "const",
    "dns",
    "hadoop",
    "java",
    "localhost",
    "map",
    "properties",
    "resourceBundle",
    "script",
    "url",
    "urlDecoder",
    "urlEncoder",
    "xml",
];

/// Where an agent gets its secrets from.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) name: String,
    pub(super) kind: FilterKind,
}

#[derive(Clone, Debug)]
pub(super) enum FilterKind {
    Env,
    Command(String),
    /// It was refused, and that has been told.
    None,
}

/// One value while it is filled in.
#[derive(Default)]
struct Open {
    /// The keys that led here.
    keys: Vec<String>,
    lookups: usize,
    told: bool,
}

impl Open {
    /// Counts a lookup; false: there were enough.
    fn may_grow(&mut self, bytes: usize) -> bool {
        self.lookups += 1;
        self.lookups <= LOOKUPS_MAX && bytes <= FILLED_BYTES_MAX
    }
}

/// Fills in the values of one file, or of one agent when it has filters.
pub(super) struct Filler<'f> {
    pub(super) around: &'f Around,
    pub(super) properties: &'f [Property],
    pub(super) filters: Vec<Filter>,
    pub(super) diagnostics: &'f Diagnostics,
}

impl Filler<'_> {
    /// The value with everything filled in, and whether anything was.
    pub(super) fn fill(&self, value: &Spanned<String>) -> (String, bool) {
        let mut open = Open::default();
        let text = self.expand(value, &value.span, &mut open);
        let filled = text != value.value;
        (text, filled)
    }

    fn expand(&self, text: &str, span: &Span, open: &mut Open) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at - 1]);
                out.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let Some(length) = rest[at..].find('}') else {
                let remedy = "write `${env:NAME}`, or `$${` for a literal `${`";
                self.unformed(span, "`${` without its `}`", remedy);
                return out;
            };
            let inside = &rest[at + 2..at + length];
            if !open.may_grow(out.len()) {
                let what = "this is longer than a value may be, with all that it stands for";
                self.unformed_once(open, span, what);
                return out;
            }
            out.push_str(&self.lookup(inside, span, open));
            rest = &rest[at + length + 1..];
        }
        out.push_str(rest);
        out
    }

    fn lookup(&self, inside: &str, span: &Span, open: &mut Open) -> String {
        if let Some((filter, key)) = quoted_key(inside) {
            return self.filtered(filter, key, span);
        }
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let unset = |what: String, remedy: String| match default {
            Some(default) => default.to_owned(),
            None => {
                self.unformed(span, &what, &remedy);
                String::new()
            }
        };
        match name.split_once(':') {
            Some(("env", name)) => self.around.variable(name).unwrap_or_else(|| {
                let what = format!("the environment variable `{name}` is not set");
                unset(what, format!("set it, or give a default: `${{env:{name}:-default}}`"))
            }),
            Some(("sys", key)) => self.around.system(key).unwrap_or_else(|| {
                let what = format!("nobody said `-D{key}=…`");
                unset(what, format!("say it, or give a default: `${{sys:{key}:-default}}`"))
            }),
            Some(("file", path)) => {
                let path = path.split_once(':').map_or(path, |(_charset, path)| path);
                around::file(path).unwrap_or_else(|error| {
                    let what = format!("{path} cannot be read: {error}");
                    unset(what, "name a text file that this user may read".to_owned())
                })
            }
            Some(("date", format)) => self.around.date(format).unwrap_or_else(|error| {
                let remedy = "write for example `${date:yyyy-MM-dd}`";
                unset(format!("`${{date:{format}}}`: {error}"), remedy.to_owned())
            }),
            Some((lookup, _)) if FOREIGN.contains(&lookup) => {
                let what = format!("the lookup `${{{lookup}:…}}` is not supported");
                self.unformed(span, &what, "there is `env:`, `sys:`, `file:` and `date:`");
                String::new()
            }
            _ => match self.key(name, span, open) {
                Some(text) => text,
                None => unset(format!("`${{{name}}}` stands for nothing"), self.remedy(name)),
            },
        }
    }

    /// What another key of the file says.
    fn key(&self, name: &str, span: &Span, open: &mut Open) -> Option<String> {
        if self.around.names_are_variables()
            && let Some(text) = self.around.variable(name)
        {
            return Some(text);
        }
        let property = self.properties.iter().find(|property| property.key.value == name)?;
        if open.keys.iter().any(|key| key == name) {
            let what = format!("`${{{name}}}` leads back to itself");
            self.unformed(span, &what, "give it a text of its own");
            return Some(String::new());
        }
        if open.keys.len() == DEPTH_MAX {
            let what = format!("`${{{name}}}` is the {DEPTH_MAX}th key that leads to another");
            self.unformed_once(open, span, &what);
            return Some(String::new());
        }
        open.keys.push(name.to_owned());
        let text = self.expand(&property.value, span, open);
        open.keys.pop();
        Some(text)
    }

    fn remedy(&self, name: &str) -> String {
        let keys = self.properties.iter().map(|property| property.key.as_str());
        match nearest(name, keys) {
            Some(key) => format!("did you mean `${{{key}}}`?"),
            None => format!(
                "for a variable of the environment write `${{env:{name}}}`, for text `$${{{name}}}`"
            ),
        }
    }

    fn filtered(&self, name: &str, key: &str, span: &Span) -> String {
        let Some(filter) = self.filters.iter().find(|filter| filter.name == name) else {
            let what = format!("no config filter is called `{name}` here");
            self.unformed(span, &what, &format!("add `AGENT.configfilters = {name}` and its type"));
            return String::new();
        };
        let found = match &filter.kind {
            FilterKind::Env => {
                let unset = || format!("the environment variable `{key}` is not set");
                self.around.variable(key).ok_or_else(unset)
            }
            FilterKind::Command(command) => self.around.ask(command, key),
            FilterKind::None => return String::new(),
        };
        found.unwrap_or_else(|error| {
            let what = format!("the config filter `{name}` has no `{key}`: {error}");
            self.unformed(span, &what, "");
            String::new()
        })
    }

    /// Of a value that grows without end once.
    fn unformed_once(&self, open: &mut Open, span: &Span, what: &str) {
        if !std::mem::replace(&mut open.told, true) {
            self.unformed(span, what, "give it a text of its own");
        }
    }

    fn unformed(&self, span: &Span, what: &str, remedy: &str) {
        self.diagnostics.push(Problem::unformed(what).at(span.clone(), "").remedy(remedy));
    }
}

/// `filter['key']`, `filter["key"]` or `filter[key]`.
fn quoted_key(inside: &str) -> Option<(&str, &str)> {
    let (filter, rest) = inside.split_once('[')?;
    let whole = rest.strip_suffix(']')?;
    let mut quotes = ['\'', '"'].iter();
    let key = quotes.find_map(|quote| whole.strip_prefix(*quote)?.strip_suffix(*quote));
    let key = key.unwrap_or(whole);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (!key.is_empty() && key.bytes().all(plain)).then_some((filter.trim(), key))
}

#[cfg(test)]
mod tests {
    use super::super::lexer;
    use super::*;

    /// The last property of the text, filled in, and what was told.
    fn filled(text: &str) -> (String, Vec<String>) {
        let around = Around::fixed(&[("port", "5514")], &[("USER", "joe"), ("EVIL", "${a}")]);
        let diagnostics = Diagnostics::new("f.conf", text);
        let properties = lexer::read(&diagnostics);
        let env = Filter { name: "e".to_owned(), kind: FilterKind::Env };
        let echo = FilterKind::Command("secret of".to_owned());
        let filters = vec![env, Filter { name: "x".to_owned(), kind: echo }];
        let filler =
            Filler { around: &around, properties: &properties, filters, diagnostics: &diagnostics };
        let last = properties.last().expect("a property");
        (filler.fill(&last.value).0, diagnostics.lines())
    }

    #[test]
    fn lookups_are_filled_in() {
        for (value, expected) in [
            ("${env:USER}", "joe"),
            ("tcp://h:${sys:port}/${env:USER}", "tcp://h:5514/joe"),
            ("${env:NONE:-x y}", "x y"),
            ("${sys:none:-}", ""),
            ("${a}", "1"),
            ("${b}/c", "1 2/c"),
            ("${none:-d}", "d"),
            ("$${a}", "${a}"),
            ("$a {a} $", "$a {a} $"),
            ("${env:EVIL}", "${a}"),
            ("${e['USER']}", "joe"),
            ("${x[\"pass-word_1\"]}", "secret of pass-word_1"),
            ("${x[pass-word_1]}/${e[USER]}", "secret of pass-word_1/joe"),
        ] {
            let (text, told) = filled(&format!("a = 1\nb = ${{a}} 2\nlast = {value}"));
            assert_eq!((text.as_str(), told), (expected, Vec::new()), "{value}");
        }
    }

    /// Keys that double what stands in the next, or that lead on and on, end.
    #[test]
    fn no_value_grows_without_end() {
        let doubling: String =
            (0..30).map(|key| format!("k{key} = ${{k{0}}}${{k{0}}}\n", key + 1)).collect();
        let long: String = (0..30).map(|key| format!("k{key} = ${{k{}}}\n", key + 1)).collect();
        let deep: String = (0..9999).map(|key| format!("k{key} = ${{k{}}}\n", key + 1)).collect();
        let end = "k30 = x\nlast = ${k0}";
        assert_eq!(filled(&format!("{long}{end}")), ("x".to_owned(), Vec::new()));
        for (text, told) in [
            (format!("{doubling}{end}"), "this is longer than a value may be"),
            (format!("{deep}last = ${{k0}}"), "`${k32}` is the 32th key that leads to another"),
        ] {
            let (text, lines) = filled(&text);
            assert!(text.len() <= LOOKUPS_MAX, "{} bytes", text.len());
            assert!(lines.len() == 1 && lines[0].contains(told), "{lines:?}");
        }
    }

    #[test]
    fn what_stands_for_nothing_is_told() {
        for (value, told) in [
            ("${env:NONE}", "the environment variable `NONE` is not set"),
            ("${sys:none}", "nobody said `-Dnone=…`"),
            ("${file:/no/such/file}", "/no/such/file cannot be read"),
            ("${date:GGG}", "`${date:GGG}`: `GGG` is not known"),
            ("${java:version}", "the lookup `${java:…}` is not supported"),
            ("${user}", "`${user}` stands for nothing (for a variable"),
            ("${lats}", "did you mean `${last}`?"),
            ("${last}", "`${last}` leads back to itself"),
            ("${y['k']}", "no config filter is called `y` here"),
            ("${e['NONE']}", "the config filter `e` has no `NONE`: the environment variable"),
            ("${env:USER", "`${` without its `}`"),
        ] {
            let (_, lines) = filled(&format!("last = {value}"));
            assert!(lines.len() == 1 && lines[0].contains(told), "{value}: {lines:?}");
        }
    }
}
