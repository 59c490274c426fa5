//! The texts of a configuration, one behind another: a place in any of them is one range of bytes,
//! so that whoever reads a table need not know which file it stands in.
//!
//! ```text
//! flumen.toml      conf.d/10-in.toml   conf.d/20-out.toml
//! 0 ……………… 300     301 ……………… 420     421 ……………… 600
//! ```
//! Between two texts there is one byte that belongs to the one before: its end.

use std::cell::RefCell;
use std::rc::Rc;

use super::diagnostic::Span;

/// One file.
pub(super) struct Text {
    pub(super) path: String,
    pub(super) text: String,
    /// Where its first byte is among all texts.
    pub(super) base: usize,
}

/// All files, in the order they were read.
#[derive(Default)]
pub(super) struct Texts {
    list: RefCell<Vec<Rc<Text>>>,
}

impl Texts {
    pub(super) fn add(&self, path: String, text: String) -> Rc<Text> {
        let mut list = self.list.borrow_mut();
        let base = list.last().map_or(0, |last| last.base + last.text.len() + 1);
        let text = Rc::new(Text { path, text, base });
        list.push(Rc::clone(&text));
        text
    }

    /// The text that this place is in; the last one when it is in none.
    pub(super) fn at(&self, offset: usize) -> Option<Rc<Text>> {
        let list = self.list.borrow();
        list.iter().rfind(|text| text.base <= offset).cloned()
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.list.borrow().iter().map(|text| text.path.clone()).collect()
    }
}

impl Text {
    /// A place of this text as a place among all.
    pub(super) fn place(&self, span: &Span) -> Span {
        self.base + span.start..self.base + span.end
    }

    /// A place among all as one of this text, on character boundaries: a wrong place must not
    /// become a panic.
    pub(super) fn clamp(&self, place: &Span) -> Span {
        let start = self.text.floor_char_boundary(place.start.saturating_sub(self.base));
        let end = place.end.saturating_sub(self.base).max(start);
        start..self.text.ceil_char_boundary(end)
    }

    /// The lines that hold these places: the renderer walks what it is given, and need not walk
    /// all.
    pub(super) fn window<'p>(&self, places: impl Iterator<Item = &'p Span> + Clone) -> Span {
        let start = places.clone().map(|place| self.clamp(place).start).min().unwrap_or(0);
        let end = places.map(|place| self.clamp(place).end).max().unwrap_or(0);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[end..].find('\n').map_or(self.text.len(), |at| end + at + 1);
        line_start..line_end
    }

    /// Both from 1; columns are characters. `offset` is of this text.
    pub(super) fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_in_one_text_and_an_end_in_the_one_that_ends() {
        let texts = Texts::default();
        assert!(texts.at(0).is_none());
        for (path, text) in [("a", "12345"), ("b", ""), ("c", "é")] {
            texts.add(path.to_owned(), text.to_owned());
        }
        let of = |offset: usize| texts.at(offset).expect("there are texts").path.clone();
        let places: String = (0..10).map(of).collect();
        assert_eq!(places, "aaaaaabccc");
        let last = texts.at(7).expect("it is there");
        assert_eq!((last.place(&(0..2)), last.clamp(&(8..8))), (7..9, 0..2));
        assert_eq!(last.clamp(&(0..999)), 0..2);
    }
}
