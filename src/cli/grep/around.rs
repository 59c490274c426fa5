//! Lines around those that were found, as `grep -A -B -C` shows them: across blocks, with `--`
//! between groups that do not touch.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::search::Piece;
use crate::archive::query::Span;

/// Writes pieces with the lines around their events.
pub(super) struct Around {
    before: usize,
    after: usize,
    /// By number of the file: several files may come in turns.
    files: BTreeMap<usize, Place>,
    /// The file of which a line was written last.
    last: Option<usize>,
}

/// Where a file's lines stand.
#[derive(Default)]
struct Place {
    /// Lines that are still owed behind the last event.
    owed: usize,
    /// The last lines that were not written: what `before` may ask for.
    tail: Vec<u8>,
    /// Between the last written line and the tail lie others.
    gap: bool,
}

impl Around {
    pub(super) fn new(before: usize, after: usize) -> Self {
        Self { before, after, files: BTreeMap::new(), last: None }
    }

    /// `line` writes one line, given without its LF.
    pub(super) fn write(
        &mut self,
        piece: &Piece,
        out: &mut impl Write,
        mut line: impl FnMut(&[u8], &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(of) = &piece.of else { return Ok(()) };
        let number = of.number;
        let place = self.files.entry(number).or_default();
        let mut each = |text: &[u8], out: &mut dyn Write| lines_of(text, |one| line(one, out));
        let mut from = 0;
        let end = Span { start: piece.text.len(), end: piece.text.len() };
        for (span, is_event) in piece.spans.iter().map(|span| (*span, true)).chain([(end, false)]) {
            let between = &piece.text[from..span.start];
            let (owed, rest) = first_lines(between, place.owed);
            if !owed.is_empty() {
                place.owed -= count(owed);
                if self.last != Some(number) {
                    out.write_all(b"--\n")?;
                }
                each(owed, out)?;
                self.last = Some(number);
            }
            place.keep(rest, self.before);
            if is_event {
                let elsewhere = self.last.is_some_and(|last| last != number);
                if self.last.is_some() && (place.gap || elsewhere) {
                    out.write_all(b"--\n")?;
                }
                each(&place.tail, out)?;
                each(&piece.text[span.start..span.end], out)?;
                if span.start == span.end {
                    each(b"\n", out)?;
                }
                (place.owed, place.gap) = (self.after, false);
                place.tail.clear();
                self.last = Some(number);
                from = (span.end + 1).min(piece.text.len());
            }
        }
        Ok(())
    }
}

impl Place {
    /// Lines that may be asked for later; of those that are passed over at least the fact is kept.
    fn keep(&mut self, lines: &[u8], most: usize) {
        if lines.is_empty() {
            return;
        }
        let kept = last_lines(lines, most);
        let old = most - count(kept).min(most);
        let tail = last_lines(&self.tail, old).to_vec();
        self.gap |= kept.len() < lines.len() || tail.len() < self.tail.len();
        self.tail = tail;
        self.tail.extend_from_slice(kept);
        if self.tail.last().is_some_and(|last| *last != b'\n') {
            self.tail.push(b'\n');
        }
    }
}

fn lines_of(mut text: &[u8], mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    while !text.is_empty() {
        let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
        each(&text[..end])?;
        text = &text[(end + 1).min(text.len())..];
    }
    Ok(())
}

/// Lines, the last of them with or without its LF.
fn count(text: &[u8]) -> usize {
    let open = text.last().is_some_and(|last| *last != b'\n');
    memchr::memchr_iter(b'\n', text).count() + usize::from(open)
}

fn first_lines(text: &[u8], most: usize) -> (&[u8], &[u8]) {
    let end = match most.checked_sub(1) {
        Some(last) => memchr::memchr_iter(b'\n', text).nth(last).map_or(text.len(), |at| at + 1),
        None => 0,
    };
    text.split_at(end)
}

fn last_lines(text: &[u8], most: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    match most.checked_sub(1) {
        Some(last) => {
            let start = memchr::memrchr_iter(b'\n', body).nth(last).map_or(0, |at| at + 1);
            &text[start..]
        }
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::BlockView;
    use crate::archive::order::Subject;
    use crate::archive::pattern::{Pattern, Reading};
    use crate::archive::query::Query;
    use proptest::prelude::*;
    use std::path::PathBuf;
    use std::sync::Arc;

    fn piece(file: usize, text: &str) -> Piece {
        let query = Query::new(Pattern::new("x", Reading::default()).unwrap());
        let mut spans = Vec::new();
        query.select(&BlockView::whole(text.as_bytes(), None, None), &mut spans);
        let of = Some(Subject { number: file, path: Arc::new(PathBuf::new()) });
        Piece { of, text: text.into(), spans, ..Piece::default() }
    }

    fn shown(before: usize, after: usize, pieces: &[Piece]) -> String {
        let mut around = Around::new(before, after);
        let mut out = Vec::new();
        for piece in pieces {
            let line = |line: &[u8], out: &mut dyn Write| {
                out.write_all(line)?;
                out.write_all(b"\n")
            };
            around.write(piece, &mut out, line).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn groups_that_touch_are_one_and_files_are_apart() {
        assert_eq!(shown(1, 1, &[piece(0, "a\nb\nx\nc\nd\ne\nx\n")]), "b\nx\nc\n--\ne\nx\n");
        assert_eq!(shown(2, 0, &[piece(0, "a\nb\n"), piece(0, "c\nx\n\nx")]), "b\nc\nx\n\nx\n");
        assert_eq!(
            shown(0, 2, &[piece(0, "x\n"), piece(1, "x\n"), piece(0, "a\nb\nc\n")]),
            "x\n--\nx\n--\na\nb\n"
        );
        assert_eq!(shown(0, 0, &[piece(0, "x\nx\na\nx\n")]), "x\nx\n--\nx\n");
    }

    /// As grep does it, line by line over the whole text.
    fn naive(before: usize, after: usize, text: &str) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let near = |at: usize| {
            let range = at.saturating_sub(after)..=(at + before).min(lines.len() - 1);
            range.into_iter().any(|other| lines[other].contains('x'))
        };
        let (mut out, mut last) = (String::new(), None);
        for at in (0..lines.len()).filter(|at| near(*at)) {
            if last.is_some_and(|last| last + 1 < at) {
                out += "--\n";
            }
            out += lines[at];
            out += "\n";
            last = Some(at);
        }
        out
    }

    proptest! {
        #[test]
        fn blocks_cut_anywhere_show_what_the_whole_shows(
            lines in prop::collection::vec("[abx]{0,2}", 1..20),
            cuts in prop::collection::vec(0_usize..20, 0..4),
            before in 0_usize..4,
            after in 0_usize..4,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(lines.len())).collect();
            cuts.push(lines.len());
            cuts.sort_unstable();
            let mut from = 0;
            let pieces: Vec<Piece> = cuts.iter().map(|to| {
                let text = lines[from..*to].iter().map(|line| format!("{line}\n"));
                from = *to;
                piece(0, &text.collect::<String>())
            }).collect();
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            prop_assert_eq!(shown(before, after, &pieces), naive(before, after, &text));
        }
    }
}
