//! Everything that is wrong with a configuration, collected, then shown at once.
//!
//! A [`Diagnostics`] is a handle on one list for all files of a configuration: the reader, every
//! section and the plan push [`Problem`]s into it, in any order; [`Diagnostics::render`] shows them
//! by position, each with file, line, the offending text underlined and what would be right, and
//! the count last.
//!
//! Two rules keep one mistake from being told twice. Of two problems at one place only the deeper
//! is told: syntax, then a value that could not be formed (unset variable), then one its getter
//! could not read, then what a part says. And once a file has syntax errors or cannot be read,
//! nothing is called missing: it may stand in the part that was not understood.
//!
//! One thread; clones share the list.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::texts::{Text, Texts};

/// Kept and told one by one; a file of some other kind has a mistake a line.
const PROBLEMS_MAX: usize = 200;

/// Byte offsets into the texts of the configuration, one behind another.
pub type Span = Range<usize>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
    /// Nothing is wrong: `check` says it, `run` does not.
    Note,
}

/// Of two problems at one place only the earlier kind is told: the later follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The grammar is broken here; what seems missing elsewhere may not be.
    Syntax,
    /// A value that could not be formed, such as an unset variable.
    Unformed,
    /// A value its getter could make nothing of.
    Unreadable,
    Plain,
    /// Something is not there.
    Missing,
}

/// One mistake: what it is, where (the first place is the one underlined with `^`), what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    severity: Severity,
    kind: Kind,
    what: String,
    places: Vec<(Span, String)>,
    remedy: Option<String>,
}

impl Problem {
    pub fn error(what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            kind: Kind::Plain,
            what: what.into(),
            places: Vec::new(),
            remedy: None,
        }
    }

    pub fn warning(what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(what) }
    }

    pub fn note(what: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(what) }
    }

    /// An error about something that is not there; not told while the file has syntax errors.
    pub fn missing(what: impl Into<String>) -> Self {
        Self { kind: Kind::Missing, ..Self::error(what) }
    }

    pub(super) fn unreadable(what: impl Into<String>) -> Self {
        Self { kind: Kind::Unreadable, ..Self::error(what) }
    }

    pub(super) fn unformed(what: impl Into<String>) -> Self {
        Self { kind: Kind::Unformed, ..Self::error(what) }
    }

    pub(super) fn syntax(what: impl Into<String>) -> Self {
        Self { kind: Kind::Syntax, ..Self::error(what) }
    }

    /// Underlines `span`; `label` stands beside the underline and may be empty.
    #[must_use]
    pub fn at(mut self, span: Span, label: impl Into<String>) -> Self {
        self.places.push((span, label.into()));
        self
    }

    /// What would be right.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        let remedy = remedy.into();
        self.remedy = (!remedy.is_empty()).then_some(remedy);
        self
    }

    /// Of a text that begins here among all.
    pub(super) fn moved(mut self, base: usize) -> Self {
        for (place, _) in &mut self.places {
            *place = place.start + base..place.end + base;
        }
        self
    }

    /// An error behind which a part of the configuration may be hidden.
    pub(super) fn unread(what: impl Into<String>) -> Self {
        Self::syntax(what)
    }

    fn position(&self) -> usize {
        self.places.first().map_or(0, |(span, _)| span.start)
    }
}

/// The list of problems of a configuration. Clones are handles on the same list.
#[derive(Clone)]
pub struct Diagnostics {
    shared: Rc<Shared>,
}

struct Shared {
    /// The file or the directory that was named.
    path: String,
    texts: Texts,
    problems: RefCell<Vec<Problem>>,
    /// Errors beyond `PROBLEMS_MAX`.
    errors_beyond: Cell<usize>,
}

impl Diagnostics {
    /// Of one file with this text; more may be added.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let path = path.into();
        let diagnostics = Self::empty(path.clone());
        diagnostics.add_text(path, text.into());
        diagnostics
    }

    /// Of whatever is read for what was named so.
    pub(super) fn empty(path: String) -> Self {
        let shared = Shared {
            path,
            texts: Texts::default(),
            problems: RefCell::default(),
            errors_beyond: Cell::new(0),
        };
        Self { shared: Rc::new(shared) }
    }

    pub(super) fn add_text(&self, path: String, text: String) -> Rc<Text> {
        self.shared.texts.add(path, text)
    }

    pub fn push(&self, problem: Problem) {
        let mut problems = self.shared.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        } else if problem.severity == Severity::Error {
            self.shared.errors_beyond.set(self.shared.errors_beyond.get() + 1);
        }
    }

    /// An error at one place.
    pub fn error(&self, span: Span, what: impl Into<String>, remedy: impl Into<String>) {
        self.push(Problem::error(what).at(span, "").remedy(remedy));
    }

    /// A warning at one place.
    pub fn warning(&self, span: Span, what: impl Into<String>, remedy: impl Into<String>) {
        self.push(Problem::warning(what).at(span, "").remedy(remedy));
    }

    /// A note at one place.
    pub fn note(&self, span: Span, what: impl Into<String>) {
        self.push(Problem::note(what).at(span, ""));
    }

    /// Takes all notes back: nobody asked.
    pub fn leave_out_notes(&self) {
        self.shared.problems.borrow_mut().retain(|problem| problem.severity != Severity::Note);
    }

    pub fn path(&self) -> &str {
        &self.shared.path
    }

    /// The files that were read, in that order.
    pub fn files(&self) -> Vec<String> {
        self.shared.texts.paths()
    }

    /// The first text; an empty one when there is none.
    pub(super) fn text(&self) -> Rc<Text> {
        let first = self.shared.texts.at(0);
        first.unwrap_or_else(|| Rc::new(Text { path: String::new(), text: String::new(), base: 0 }))
    }

    pub fn has_errors(&self) -> bool {
        self.error_count() > 0
    }

    pub fn error_count(&self) -> usize {
        self.count(Severity::Error) + self.shared.errors_beyond.get()
    }

    pub fn warning_count(&self) -> usize {
        self.count(Severity::Warning)
    }

    pub fn note_count(&self) -> usize {
        self.count(Severity::Note)
    }

    fn count(&self, severity: Severity) -> usize {
        self.told().iter().filter(|problem| problem.severity == severity).count()
    }

    /// One line a problem, by position: `3:1: what (remedy)`, in other files than the first with
    /// their names: `more.toml:3:1: …`. What tests compare.
    pub fn lines(&self) -> Vec<String> {
        let told = self.told();
        told.iter()
            .map(|problem| {
                let text = self.shared.texts.at(problem.position()).unwrap_or_else(|| self.text());
                let (line, column) = text.line_and_column(problem.position() - text.base);
                let path = if text.base == 0 { String::new() } else { format!("{}:", text.path) };
                let warning = match problem.severity {
                    Severity::Warning => "warning: ",
                    Severity::Note => "note: ",
                    Severity::Error => "",
                };
                let remedy =
                    problem.remedy.as_ref().map_or_else(String::new, |text| format!(" ({text})"));
                format!("{path}{line}:{column}: {warning}{}{remedy}", problem.what)
            })
            .collect()
    }

    /// The whole report and its count; empty when there is nothing to say. `styled` for terminals.
    pub fn render(&self, styled: bool) -> String {
        let told = self.told();
        if told.is_empty() {
            return String::new();
        }
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut report = String::new();
        for problem in &told {
            let texts = self.texts_of(problem);
            report.push_str(&renderer.render(&[self.group(problem, &texts)]));
            report.push_str("\n\n");
        }
        match self.shared.errors_beyond.get() {
            0 => {}
            beyond => report.push_str(&format!("{beyond} more errors are not shown\n")),
        }
        report.push_str(&self.summary());
        report.push('\n');
        report
    }

    /// `flumen.toml: 3 errors, 1 warning`; of several files `flumen.toml (4 files): …`.
    pub fn summary(&self) -> String {
        let counted = |count: usize, word: &str| match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{count} {word}s")),
        };
        let counts = [
            (self.error_count(), "error"),
            (self.warning_count(), "warning"),
            (self.note_count(), "note"),
        ];
        let counts = counts.map(|(count, word)| counted(count, word));
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        let counts = if counts.is_empty() { "no errors".to_owned() } else { counts.join(", ") };
        let files = match self.files().len() {
            0 | 1 => String::new(),
            files => format!(" ({files} files)"),
        };
        format!("{}{files}: {counts}", self.shared.path)
    }

    /// What is worth telling, by position, nothing twice.
    fn told(&self) -> Vec<Problem> {
        let problems = self.shared.problems.borrow();
        let broken = problems.iter().any(|problem| problem.kind == Kind::Syntax);
        let mut told: Vec<Problem> = Vec::new();
        for problem in problems.iter() {
            let follows = problem.kind <= Kind::Plain
                && problems.iter().any(|other| other.kind < problem.kind && touch(problem, other));
            let hidden = follows || (broken && problem.kind == Kind::Missing);
            if !hidden {
                told.push(problem.clone());
            }
        }
        told.sort_by_key(Problem::position);
        told
    }

    /// The texts that a problem's places are in, the first place's first.
    fn texts_of(&self, problem: &Problem) -> Vec<Rc<Text>> {
        let mut texts: Vec<Rc<Text>> = Vec::new();
        for (place, _) in &problem.places {
            let text = self.shared.texts.at(place.start);
            texts.extend(text.filter(|text| texts.iter().all(|it| it.base != text.base)));
        }
        texts
    }

    fn group<'p>(&'p self, problem: &'p Problem, texts: &'p [Rc<Text>]) -> Group<'p> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let title = level.primary_title(problem.what.as_str());
        let mut group = match texts.split_first() {
            None => title.element(Origin::path(self.shared.path.as_str())),
            Some((first, rest)) => {
                let group = title.element(self.snippet(problem, first));
                rest.iter().fold(group, |group, text| group.element(self.snippet(problem, text)))
            }
        };
        if let Some(remedy) = &problem.remedy {
            group = group.element(Level::HELP.message(remedy.as_str()));
        }
        group
    }

    /// The lines of one text that a problem is about.
    fn snippet<'p>(&self, problem: &'p Problem, text: &'p Text) -> Snippet<'p, Annotation<'p>> {
        let here =
            |place: &Span| self.shared.texts.at(place.start).is_some_and(|it| it.base == text.base);
        let places = problem.places.iter().filter(|(place, _)| here(place));
        let window = text.window(places.clone().map(|(place, _)| place));
        let (line, _) = text.line_and_column(window.start);
        let source = &text.text[window.clone()];
        let mut snippet = Snippet::source(source).line_start(line).path(text.path.as_str());
        for (place, label) in places {
            let is_first = std::ptr::eq(place, &problem.places[0].0);
            let kind = if is_first { AnnotationKind::Primary } else { AnnotationKind::Context };
            let span = text.clamp(place);
            let span = span.start - window.start..span.end - window.start;
            let label = (!label.is_empty()).then_some(label.as_str());
            snippet = snippet.annotation(kind.span(span).label(label));
        }
        snippet
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.lines()).finish()
    }
}

/// Whether both point at the same text; an empty span touches the text it stands in or beside.
fn touch(problem: &Problem, other: &Problem) -> bool {
    match (problem.places.first(), other.places.first()) {
        (Some((a, _)), Some((b, _))) => a.start <= b.end && b.start <= a.end,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, problems: Vec<Problem>) -> String {
        let diagnostics = Diagnostics::new("f.toml", text);
        for problem in problems {
            diagnostics.push(problem);
        }
        diagnostics.render(false)
    }

    fn place(text: &str, found: &str) -> Span {
        let start = text.find(found).expect("the text has it");
        start..start + found.len()
    }

    #[test]
    fn problems_are_shown_by_position_with_place_and_remedy_and_counted() {
        let text = "[sinks.a]\npath = \"/x\"\n\n\n[sinks.b]\npath = '/x'\nspeed = 1\n";
        let report = render(
            text,
            vec![
                Problem::warning("`speed` has no effect").at(place(text, "speed"), ""),
                Problem::error("two sinks write one path")
                    .at(place(text, "'/x'"), "here")
                    .at(place(text, "\"/x\""), "and here")
                    .remedy("give each its own"),
                Problem::error("`type` is missing").at(place(text, "[sinks.a]"), ""),
            ],
        );
        let expected = "\
error: `type` is missing
 --> f.toml:1:1
  |
1 | [sinks.a]
  | ^^^^^^^^^

error: two sinks write one path
 --> f.toml:6:8
  |
2 | path = \"/x\"
  |        ---- and here
...
6 | path = '/x'
  |        ^^^^ here
  |
  = help: give each its own

warning: `speed` has no effect
 --> f.toml:7:1
  |
7 | speed = 1
  | ^^^^^

f.toml: 2 errors, 1 warning
";
        assert_eq!(report, expected);
    }

    #[test]
    fn tabs_and_wide_letters_stay_above_their_underline() {
        let text = "\tключ = \"日本\" # é\r\n";
        let report = render(text, vec![Problem::error("no").at(place(text, "\"日本\""), "so")]);
        let expected = "\
error: no
 --> f.toml:1:9
  |
1 |     ключ = \"日本\" # é
  |            ^^^^^^ so

f.toml: 1 error
";
        assert_eq!(report, expected);
    }

    #[test]
    fn places_in_several_files_are_shown_in_theirs() {
        let diagnostics = Diagnostics::new("f.toml", "[a]\nx = 1");
        diagnostics.add_text("g.toml".to_owned(), "\n\n[a]\n".to_owned());
        let problem = Problem::error("`[a]` stands in two files").at(12..15, "");
        diagnostics.push(problem.at(0..3, "first here").remedy("keep one"));
        diagnostics.push(Problem::error("the end").at(9..9, ""));
        let expected = "\
error: the end
 --> f.toml:2:6
  |
2 | x = 1
  |      ^

error: `[a]` stands in two files
 --> g.toml:3:1
  |
3 | [a]
  | ^^^
  |
 ::: f.toml:1:1
  |
1 | [a]
  | --- first here
  |
  = help: keep one

f.toml (2 files): 2 errors
";
        assert_eq!(diagnostics.render(false), expected);
        let lines = ["2:6: the end", "g.toml:3:1: `[a]` stands in two files (keep one)"];
        assert_eq!(diagnostics.lines(), lines);
    }

    #[test]
    fn a_place_may_run_over_lines() {
        let text = "a = [\n  1,\n]\n";
        let report = render(text, vec![Problem::error("no list").at(4..12, "")]);
        let expected = "\
error: no list
 --> f.toml:1:5
  |
1 |   a = [
  |  _____^
2 | |   1,
3 | | ]
  | |_^

f.toml: 1 error
";
        assert_eq!(report, expected);
    }

    #[test]
    fn an_empty_file_and_no_place_at_all_can_be_shown() {
        let report = render("", vec![Problem::error("nothing").at(0..0, "")]);
        assert_eq!(report, "error: nothing\n --> f.toml:1:1\n  |\n1 |\n  | ^\n\nf.toml: 1 error\n");
        let report = render("", vec![Problem::error("nothing")]);
        assert_eq!(report, "error: nothing\n--> f.toml\n\nf.toml: 1 error\n");
        assert_eq!(render("a = 1", vec![]), "");
    }

    #[test]
    fn a_wrong_place_is_still_shown() {
        for span in [999..1000, 1..2, 8..9, 0..999] {
            let report = render("é = 'é'\n", vec![Problem::error("no").at(span, "")]);
            assert!(report.starts_with("error: no\n --> f.toml:"), "{report}");
        }
    }

    #[test]
    fn what_follows_from_a_deeper_problem_is_not_told() {
        let diagnostics = Diagnostics::new("f.toml", "a = ${X}\nb = 1\n");
        diagnostics.push(Problem::error("a part's opinion").at(4..8, ""));
        diagnostics.push(Problem::unreadable("not a size").at(4..8, ""));
        diagnostics.push(Problem::missing("`c` is missing").at(0..0, ""));
        assert_eq!(diagnostics.lines(), ["1:1: `c` is missing", "1:5: not a size"]);
        diagnostics.push(Problem::unformed("X is not set").at(4..8, ""));
        assert_eq!(diagnostics.lines(), ["1:1: `c` is missing", "1:5: X is not set"]);
        diagnostics.push(Problem::syntax("not in quotes").at(4..8, ""));
        assert_eq!(diagnostics.lines(), ["1:5: not in quotes"]);
        diagnostics.push(Problem::error("elsewhere").at(13..14, ""));
        diagnostics.push(Problem::error("elsewhere").at(13..14, ""));
        assert_eq!(diagnostics.lines(), ["1:5: not in quotes", "2:5: elsewhere"]);
        assert_eq!(diagnostics.error_count(), 2);
    }

    #[test]
    fn a_thousand_problems_are_counted_and_some_shown() {
        let diagnostics = Diagnostics::new("f.toml", "x\n".repeat(1000));
        for line in 0..1000 {
            diagnostics.error(line * 2..line * 2 + 1, format!("no {line}"), "");
        }
        let report = diagnostics.render(false);
        assert_eq!(report.matches("error: no").count(), PROBLEMS_MAX);
        assert!(report.ends_with("\n800 more errors are not shown\nf.toml: 1000 errors\n"));
    }
}
