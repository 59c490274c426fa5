//! Everything that is wrong with a configuration, collected, then shown at once.
//!
//! A [`Diagnostics`] is a handle on one list for one file: the reader, every section and the plan
//! push [`Problem`]s into it, in any order; [`Diagnostics::render`] shows them by position, each
//! with file, line, the offending text underlined and what would be right, and the count last.
//!
//! Two rules keep one mistake from being told twice. A problem that points at a value which could
//! not even be read (syntax, unset variable) is dropped: the first message says it. And once the
//! file has syntax errors, nothing is called missing: it may stand in the part not understood.
//!
//! One thread; clones share the list.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// Byte offsets into the text of the configuration file.
pub type Span = Range<usize>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
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

    fn position(&self) -> usize {
        self.places.first().map_or(0, |(span, _)| span.start)
    }
}

/// The list of problems of one file. Clones are handles on the same list.
#[derive(Clone)]
pub struct Diagnostics {
    shared: Rc<Shared>,
}

struct Shared {
    path: String,
    text: String,
    problems: RefCell<Vec<Problem>>,
}

impl Diagnostics {
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let shared = Shared { path: path.into(), text: text.into(), problems: RefCell::default() };
        Self { shared: Rc::new(shared) }
    }

    pub fn push(&self, problem: Problem) {
        self.shared.problems.borrow_mut().push(problem);
    }

    /// An error at one place.
    pub fn error(&self, span: Span, what: impl Into<String>, remedy: impl Into<String>) {
        self.push(Problem::error(what).at(span, "").remedy(remedy));
    }

    /// A warning at one place.
    pub fn warning(&self, span: Span, what: impl Into<String>, remedy: impl Into<String>) {
        self.push(Problem::warning(what).at(span, "").remedy(remedy));
    }

    pub fn path(&self) -> &str {
        &self.shared.path
    }

    pub fn text(&self) -> &str {
        &self.shared.text
    }

    pub fn has_errors(&self) -> bool {
        self.error_count() > 0
    }

    pub fn error_count(&self) -> usize {
        self.told().iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    pub fn warning_count(&self) -> usize {
        self.told().iter().filter(|problem| problem.severity == Severity::Warning).count()
    }

    /// One line a problem, by position: `3:1: what (remedy)`. What tests compare.
    pub fn lines(&self) -> Vec<String> {
        let told = self.told();
        told.iter()
            .map(|problem| {
                let (line, column) = self.line_and_column(problem.position());
                let warning = match problem.severity {
                    Severity::Warning => "warning: ",
                    Severity::Error => "",
                };
                let remedy =
                    problem.remedy.as_ref().map_or_else(String::new, |text| format!(" ({text})"));
                format!("{line}:{column}: {warning}{}{remedy}", problem.what)
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
            report.push_str(&renderer.render(&[self.group(problem)]));
            report.push_str("\n\n");
        }
        report.push_str(&self.summary());
        report.push('\n');
        report
    }

    /// `flumen.toml: 3 errors, 1 warning`.
    pub fn summary(&self) -> String {
        let counted = |count: usize, word: &str| match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{count} {word}s")),
        };
        let counts =
            [counted(self.error_count(), "error"), counted(self.warning_count(), "warning")];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        let counts = if counts.is_empty() { "no errors".to_owned() } else { counts.join(", ") };
        format!("{}: {counts}", self.shared.path)
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
            if !hidden && !told.contains(problem) {
                told.push(problem.clone());
            }
        }
        told.sort_by_key(Problem::position);
        told
    }

    fn group<'p>(&'p self, problem: &'p Problem) -> Group<'p> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(problem.what.as_str());
        let mut group = if problem.places.is_empty() {
            title.element(Origin::path(self.shared.path.as_str()))
        } else {
            let mut snippet =
                Snippet::source(self.shared.text.as_str()).path(self.shared.path.as_str());
            for (index, (span, label)) in problem.places.iter().enumerate() {
                let kind =
                    if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let label = (!label.is_empty()).then_some(label.as_str());
                snippet = snippet.annotation(kind.span(self.clamp(span)).label(label));
            }
            title.element(snippet)
        };
        if let Some(remedy) = &problem.remedy {
            group = group.element(Level::HELP.message(remedy.as_str()));
        }
        group
    }

    /// `span` within the text and on character boundaries: a wrong span must not become a panic.
    fn clamp(&self, span: &Span) -> Span {
        let text = &self.shared.text;
        let start = text.floor_char_boundary(span.start);
        let end = text.ceil_char_boundary(span.end.max(start));
        start..end
    }

    /// Both from 1; columns are characters.
    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = &self.shared.text[..self.shared.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
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
