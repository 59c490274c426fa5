//! Which whole words every match of an expression holds: what a block must hold to be worth
//! decoding. Nothing is said where that is not certain: `needle` alone may be part of a word, and
//! ` needle `, `\bneedle\b` and `-w needle` may not.

use regex_syntax::hir::{Class, Hir, HirKind, Literal, Look};

use crate::storage::tokens::{Word, in_words};

/// Of one of these lists a match holds all words. Empty: nothing is known.
pub(super) type Needs = Vec<Vec<Word>>;

/// More ways to match than this are not looked at.
const WAYS_MAX: usize = 64;

/// One place in a match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Atom {
    /// A byte that stands in words; letters small.
    Letter(u8),
    /// Something that stands between words, or the end of a line.
    Between,
    /// No word byte stands before what follows, if that is a word byte.
    Begins,
    /// The same behind what precedes.
    Ends,
    /// A place where both hold: `\b`.
    Edge,
    /// Anything.
    Unknown,
}

/// What every match of a whole expression holds.
pub(super) fn needs(hir: &Hir) -> Needs {
    of(hir, false, false)
}

/// `left`, `right`: what stands beside it is no part of a word.
fn of(hir: &Hir, left: bool, right: bool) -> Needs {
    if let HirKind::Alternation(ways) = hir.kind() {
        let mut all = Needs::new();
        for way in ways {
            let way = of(way, left, right);
            if way.is_empty() || all.len() + way.len() > WAYS_MAX {
                return Needs::new();
            }
            all.extend(way);
        }
        return all;
    }
    let mut atoms = vec![if left { Atom::Between } else { Atom::Unknown }];
    let parts = match hir.kind() {
        HirKind::Concat(parts) => &parts[..],
        _ => std::slice::from_ref(hir),
    };
    let mut inner = Vec::new();
    for part in parts {
        match part.kind() {
            HirKind::Alternation(_) => {
                inner.push((part, atoms.len()));
                atoms.push(Atom::Unknown);
            }
            _ => atoms_of(part, &mut atoms),
        }
    }
    atoms.push(if right { Atom::Between } else { Atom::Unknown });
    let words = words(&atoms);
    if !words.is_empty() {
        return vec![words];
    }
    let known = inner.into_iter().map(|(part, at)| {
        let left = matches!(atoms[at - 1], Atom::Between | Atom::Begins | Atom::Edge);
        let right = matches!(atoms[at + 1], Atom::Between | Atom::Ends | Atom::Edge);
        of(part, left, right)
    });
    known.into_iter().find(|needs| !needs.is_empty()).unwrap_or_default()
}

/// Runs of letters with nothing of a word on either side.
fn words(atoms: &[Atom]) -> Vec<Word> {
    let mut words = Vec::new();
    let (mut word, mut begun) = (Vec::new(), false);
    for (at, atom) in atoms.iter().enumerate() {
        if let Atom::Letter(letter) = atom {
            if word.is_empty() {
                let before = at.checked_sub(1).map(|before| atoms[before]);
                begun = matches!(before, Some(Atom::Between | Atom::Begins | Atom::Edge));
            }
            word.push(*letter);
            continue;
        }
        if begun && !word.is_empty() && matches!(atom, Atom::Between | Atom::Ends | Atom::Edge) {
            words.push(Word::new(&word));
        }
        word.clear();
    }
    words
}

fn atoms_of(hir: &Hir, atoms: &mut Vec<Atom>) {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(Literal(bytes)) => atoms.extend(bytes.iter().map(|byte| byte_atom(*byte))),
        HirKind::Class(class) => atoms.push(class_atom(class)),
        HirKind::Look(look) => atoms.push(look_atom(*look)),
        // At least once: what stands between words does so at both ends of it.
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            let mut inner = Vec::new();
            atoms_of(&repetition.sub, &mut inner);
            let between = inner.iter().all(|atom| *atom == Atom::Between) && !inner.is_empty();
            atoms.push(if between { Atom::Between } else { Atom::Unknown });
        }
        HirKind::Repetition(_) | HirKind::Alternation(_) | HirKind::Capture(_) => {
            atoms.push(Atom::Unknown);
        }
        HirKind::Concat(parts) => parts.iter().for_each(|part| atoms_of(part, atoms)),
    }
}

fn byte_atom(byte: u8) -> Atom {
    if in_words(byte) { Atom::Letter(byte.to_ascii_lowercase()) } else { Atom::Between }
}

/// One letter in either case, or something that never stands in a word.
fn class_atom(class: &Class) -> Atom {
    let mut letters = Vec::new();
    let mut between = false;
    let mut take = |first: u32, last: u32| {
        // Blocks with these have no filter: they are the only other forms of an s and a k.
        if first == last && matches!(first, 0x17F | 0x212A) {
            return;
        }
        for code in first..=last.min(0x7F) {
            let byte = code as u8;
            if in_words(byte) {
                letters.push(byte.to_ascii_lowercase());
            } else {
                between = true;
            }
        }
        between |= last > 0x7F;
    };
    match class {
        Class::Unicode(class) => {
            class.iter().for_each(|range| take(u32::from(range.start()), u32::from(range.end())));
        }
        Class::Bytes(class) => {
            class.iter().for_each(|range| take(range.start().into(), range.end().into()));
        }
    }
    letters.sort_unstable();
    letters.dedup();
    match (&letters[..], between) {
        ([letter], false) => Atom::Letter(*letter),
        ([], true) => Atom::Between,
        _ => Atom::Unknown,
    }
}

/// What is no word byte for us is none for the expression, and what is one for it, as `ä` is, and
/// none for us, stands between our words: never the other way round.
fn look_atom(look: Look) -> Atom {
    match look {
        Look::Start | Look::StartLF | Look::End | Look::EndLF => Atom::Between,
        Look::WordAscii | Look::WordUnicode => Atom::Edge,
        Look::WordStartAscii
        | Look::WordStartUnicode
        | Look::WordStartHalfAscii
        | Look::WordStartHalfUnicode => Atom::Begins,
        Look::WordEndAscii
        | Look::WordEndUnicode
        | Look::WordEndHalfAscii
        | Look::WordEndHalfUnicode => Atom::Ends,
        _ => Atom::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::{Pattern, Reading};
    use super::*;
    use crate::storage::Container;
    use crate::storage::block::{BlockFacts, seal_block_with};
    use crate::storage::segment::BlockEntry;
    use crate::storage::tokens::{TokenSieve, may_hold};
    use crate::time::Wall;
    use proptest::prelude::*;

    fn pattern(text: &str, ignore_case: bool, word: bool) -> Pattern {
        Pattern::new(text, Reading { fixed: false, ignore_case, word }).unwrap()
    }

    #[test]
    fn whole_words_are_known_and_nothing_else() {
        let word = |text: &str| Word::new(text.as_bytes());
        let all = |words: &[&str]| vec![words.iter().map(|text| word(text)).collect::<Vec<_>>()];
        for (expression, expected) in [
            ("needle", vec![]),
            (r"\bneedle\b", all(&["needle"])),
            (r"\bneedle", vec![]),
            (" Needle ", all(&["needle"])),
            ("^needle$", all(&["needle"])),
            (r"10\.0\.0\.7", all(&["0", "0"])),
            (r"user \w+ left ", all(&["left"])),
            (r"\bno\w*de\b", vec![]),
            (r"\b(foo|Bar)\b", vec![vec![word("foo")], vec![word("bar")]]),
            (r"\b(foo|\w+)\b", vec![]),
            (r"\s+foo[ :]", all(&["foo"])),
            (r"\s*foo ", vec![]),
            ("(?i) Kiss ", all(&["kiss"])),
            (r"\bfoo\B", vec![]),
            (r" x?foo ", vec![]),
            (r" fo{2} ", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(pattern(expression, false, false).needs(), &expected[..], "{expression}");
        }
        assert_eq!(pattern("foo\nbar", false, true).needs().len(), 2);
        assert_eq!(pattern("needle", true, true).needs(), all(&["needle"]));
    }

    const PIECES: [&str; 20] = [
        r"\b",
        "^",
        "$",
        " ",
        "a",
        "b",
        "K",
        "s",
        "ſ",
        "[ab]",
        "[^ ]",
        "(ab|s|a b)",
        r"\s+",
        r"\w",
        "a+",
        "ä",
        "-",
        "(?i)",
        r"\B",
        r"(?-u:\b)",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// Whatever matches is in a block that the filter lets through.
        #[test]
        fn no_block_with_a_match_is_passed_over(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..7),
            lines in prop::collection::vec("([abAkKsS]|[abS ]|ſ|ä| |-|\u{212A}|…){0,8}", 1..3),
            ignore_case: bool,
            word: bool,
        ) {
            let reading = Reading { fixed: false, ignore_case, word };
            let expression = pieces.concat();
            let Ok(pattern) = Pattern::new(&expression, reading) else { return Ok(()) };
            let text = lines.join("\n") + "\n";
            let mut fields = Vec::new();
            TokenSieve::default().sift(text.as_bytes(), 1 << 16, &mut fields);
            let (time_min, time_max) = (Wall(0), Wall(0));
            let container = Container::Lz4;
            let facts = BlockFacts { container, encoder: 0, event_count: 1, time_min, time_max };
            let mut file = Vec::new();
            seal_block_with(&mut file, &facts, &fields, b"x", |raw, out| {
                out.extend_from_slice(raw);
                Ok::<(), ()>(())
            }).unwrap();
            let entry = BlockEntry::of_block(0, &file).unwrap();
            let matches = lines.iter().any(|line| pattern.matches(line.as_bytes()));
            let needs = pattern.needs();
            let passed_over = !needs.is_empty() && !may_hold(&&file[..], &entry, needs).unwrap();
            prop_assert!(!(matches && passed_over), "{} in {:?}", expression, text);
        }
    }
}
