//! Framing against a reference that looks at one byte after the other.

use super::*;
use crate::event::{Origin, Page};
use crate::limits::{BATCH_BYTES_MIN, usize_of};
use crate::time::Wall;
use proptest::prelude::*;

type Text = (Vec<u8>, Marks);

const LINES: Rules = Rules { counted: false, zipped: false, event_bytes_max: 64, want_pri: false };
const SYSLOG: Rules = Rules { counted: true, ..LINES };

/// Frames `parts` as a connection does, and ends the stream. True: contiguous.
fn framed(parts: &[&[u8]], rules: &Rules) -> (Vec<Text>, bool) {
    let (texts, contiguous, _) = framed_and_counted(parts, rules);
    (texts, contiguous)
}

/// The same, and how many texts had lost their count.
fn framed_and_counted(parts: &[&[u8]], rules: &Rules) -> (Vec<Text>, bool, u32) {
    let mut page = Page::new(BATCH_BYTES_MIN);
    let origin = page.push_origin(Origin::LOCAL).unwrap();
    let (at, mut held, mut stage, mut astray) = (Wall(1), 0, Stage::Start, 0);
    for part in parts {
        page.spare_mut()[held..held + part.len()].copy_from_slice(part);
        let start = usize_of(page.tail());
        let (bytes, mut records) = page.frame(u32_of(start + held + part.len()), at, origin);
        let end = bytes.len();
        let framed = frame(bytes, start, held, stage, rules, &mut records);
        let sums = records.finish();
        page.settle(sums, at, u32_of(framed.partial));
        (held, stage) = (end - framed.partial, framed.stage);
        astray += framed.astray;
    }
    let start = usize_of(page.tail());
    if held > 0 {
        let (bytes, mut records) = page.frame(u32_of(start + held + 1), at, origin);
        astray += cut(bytes, start, stage, Cut::End, rules, &mut records).astray;
        let sums = records.finish();
        page.settle(sums, at, u32_of(start + held + 1));
    }
    let texts: Vec<Text> = page.events().map(|event| (event.bytes.to_vec(), event.marks)).collect();
    let joined: Vec<u8> = texts.iter().flat_map(|(text, _)| [&text[..], b"\n"].concat()).collect();
    if let Some(bytes) = page.contiguous() {
        assert_eq!(bytes, joined, "contiguous is a promise");
    }
    (texts, page.contiguous().is_some(), astray)
}

/// The same, said differently: one byte after the other from the front of the whole stream.
fn reference(stream: &[u8], rules: &Rules) -> Vec<Text> {
    reference_and_count(stream, rules).0
}

fn reference_and_count(mut stream: &[u8], rules: &Rules) -> (Vec<Text>, u32) {
    let (mut texts, mut astray) = (Vec::new(), 0);
    // Lines that may still come without a header before it is a stream of lines.
    let mut expected = 0;
    while !stream.is_empty() {
        if let Some((message, whole, rest)) = counted(stream, rules) {
            let mut text = message.to_vec();
            if whole && text.ends_with(b"\r\n") {
                text.truncate(text.len() - 2);
            } else if whole && (text.ends_with(b"\n") || text.ends_with(b"\0")) {
                text.pop();
            }
            let control = text.iter().any(|byte| byte.is_ascii_control() && *byte != 9);
            let mut marks = if whole { Marks::NONE } else { Marks::TRUNCATED };
            if control {
                marks = marks.with(Marks::CONTROL);
            }
            if !text.is_empty() {
                texts.push((text, marks));
            }
            (stream, expected) = (rest, 8);
            continue;
        }
        let next = (1..stream.len()).find(|at| expected > 0 && is_header(&stream[*at..], rules));
        let end = stream.iter().position(|byte| [b'\n', 0].contains(byte));
        if let Some(next) = next.filter(|next| end.is_none_or(|end| *next < end)) {
            let text = &stream[..next];
            let whole = parse_pri(text).is_some() && text.len() <= rules.event_bytes_max;
            astray += 1;
            let marks = if whole { Marks::NONE } else { Marks::SPLIT };
            texts.extend(text.chunks(rules.event_bytes_max).map(|piece| (piece.to_vec(), marks)));
            stream = &stream[next..];
            continue;
        }
        let mut line = &stream[..end.unwrap_or(stream.len())];
        if end.is_some_and(|end| stream[end] == b'\n') {
            line = line.strip_suffix(b"\r").unwrap_or(line);
        }
        let lost = expected > 0 && !line.is_empty() && parse_pri(line).is_none();
        astray += u32::from(lost);
        expected -= i32::from(expected > 0 && !line.is_empty());
        let split = lost || line.len() > rules.event_bytes_max;
        let marks = if split { Marks::SPLIT } else { Marks::NONE };
        texts.extend(line.chunks(rules.event_bytes_max).map(|piece| (piece.to_vec(), marks)));
        stream = end.map_or(&[][..], |end| &stream[end + 1..]);
    }
    (texts, astray)
}

/// Digits that make a count, a space and a PRI of one to three digits.
fn is_header(stream: &[u8], rules: &Rules) -> bool {
    let Some((_, _, _)) = counted(stream, rules) else { return false };
    let pri = stream.iter().position(|byte| *byte == b'<').expect("it is a frame") + 1;
    let digits = stream[pri..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=3).contains(&digits) && stream.get(pri + digits) == Some(&b'>')
}

fn counted<'a>(stream: &'a [u8], rules: &Rules) -> Option<(&'a [u8], bool, &'a [u8])> {
    let space = stream.iter().position(|byte| *byte == b' ').filter(|_| rules.counted)?;
    let digits = std::str::from_utf8(&stream[..space]).ok()?;
    let valid = !digits.is_empty()
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: usize = digits.parse().ok().filter(|_| valid)?;
    let body = &stream[space + 1..];
    if count > rules.event_bytes_max || body.first() != Some(&b'<') {
        return None;
    }
    let whole = count <= body.len();
    let (message, rest) = body.split_at(count.min(body.len()));
    Some((message, whole, rest))
}

fn plain(texts: &[&str]) -> Vec<Text> {
    texts.iter().map(|text| (text.as_bytes().to_vec(), Marks::NONE)).collect()
}

#[test]
fn lines_end_at_lf_or_nul_and_stay_where_they_are() {
    let stream = b"<13>one\ntwo\0three\r\0 four";
    assert_eq!(framed(&[stream], &LINES), (plain(&["<13>one", "two", "three\r", " four"]), true));
    assert_eq!(framed(&[b"one\r\n\n\0\r\ntwo\n"], &LINES), (plain(&["one", "two"]), false));
    assert_eq!(framed(&[b"\r\r\n"], &LINES).0, plain(&["\r"]));
}

#[test]
fn no_byte_but_lf_and_nul_ends_a_line() {
    let others: Vec<u8> = (1..=255).filter(|byte| !b"\n\r".contains(byte)).collect();
    for byte in others {
        let line = [b"<13>", &[byte][..], b"two ", &[byte; 9], b"three"].concat();
        let (texts, contiguous) = framed(&[&[&line[..], b"\n", &line, b"\n"].concat()], &LINES);
        assert_eq!(texts, [(line.clone(), Marks::NONE), (line, Marks::NONE)], "{byte}");
        assert!(contiguous);
    }
}

#[test]
fn counted_frames_are_told_from_lines_frame_by_frame() {
    let stream = b"7 <1>abc200 OK\n<2>line\n5 <3>\n\n8 <4>a\nb\r\n12 ";
    let mut expected = plain(&["<1>abc", "200 OK", "<2>line", "<3>", "<4>a\nb", "12 "]);
    // The count 7 takes a byte of what follows.
    expected[0].0 = b"<1>abc2".to_vec();
    expected[1] = (b"00 OK".to_vec(), Marks::SPLIT);
    // "5 <3>\n\n": the frame takes both newlines and drops one.
    expected[3].0 = b"<3>\n".to_vec();
    expected[3].1 = Marks::CONTROL;
    expected[4].1 = Marks::CONTROL;
    // The stream ends in the middle of a header.
    expected[5].1 = Marks::SPLIT;
    assert_eq!(framed(&[stream], &SYSLOG).0, expected);
    assert_eq!(framed(&[b"200 OK\n6 <1>a\n"], &LINES), (plain(&["200 OK", "6 <1>a"]), true));
}

#[test]
fn absurd_counts_are_lines() {
    for line in [
        "0 <1>a",
        "007 <1>abcd",
        "-5 <1>a",
        "+5 <1>ab",
        "65 <1>a",
        "99999999999999999999 <1>a",
        "6  <1>a",
        "6 a<1>b",
        "6<1>abc",
        "6 ",
        "6",
        " 6 <1>abc",
        "6\t<1>abc",
    ] {
        let stream = format!("{line}\n");
        assert_eq!(framed(&[stream.as_bytes()], &SYSLOG).0, plain(&[line]), "{line}");
    }
    // The largest count there may be, and a frame its sender never ended.
    let largest = format!("64 <{}>", "x".repeat(62));
    assert_eq!(framed(&[largest.as_bytes()], &SYSLOG).0, plain(&[&largest[3..]]));
    let torn = framed(&[b"20 <1>abc"], &SYSLOG).0;
    assert_eq!(torn, [(b"<1>abc".to_vec(), Marks::TRUNCATED)]);
}

#[test]
fn a_wrong_count_costs_the_text_up_to_the_next_header() {
    let whole = |text: &str| (text.as_bytes().to_vec(), Marks::NONE);
    let stray = |text: &str| (text.as_bytes().to_vec(), Marks::SPLIT);
    let frames = |counts: [usize; 3]| counts.map(|count| format!("{count} <13>a message")).concat();
    for (counts, texts, errors) in [
        ([13; 3], vec![whole("<13>a message"); 3], 0),
        // Too small, once and always.
        (
            [13, 10, 13],
            [whole("<13>a message"), whole("<13>a mess"), stray("age"), whole("<13>a message")]
                .to_vec(),
            1,
        ),
        ([10; 3], vec![vec![whole("<13>a mess"), stray("age")]; 3].concat(), 3),
        // Too large: it takes the next header's front, or all of it.
        (
            [15, 13, 13],
            [whole("<13>a message13"), stray(" <13>a message"), whole("<13>a message")].to_vec(),
            1,
        ),
        (
            [16, 13, 13],
            [whole("<13>a message13 "), whole("<13>a message"), whole("<13>a message")].to_vec(),
            1,
        ),
    ] {
        let stream = frames(counts);
        let (found, _, counted) = framed_and_counted(&[stream.as_bytes()], &SYSLOG);
        assert_eq!(found, texts, "{counts:?}");
        assert_eq!(counted, errors, "{counts:?}");
    }
}

/// Of a long line only the header behind it tells that it has no end, when its pieces have gone.
#[test]
fn a_long_line_that_a_header_ends_is_an_error_of_its_sender() {
    for length in (56..=82).chain([128, 200]) {
        for (begin, ending, errors) in
            [("<13>", "6 <1>abc", 1), ("text", "6 <1>abc", 1), ("<13>", "\n", 0), ("text", "\n", 1)]
        {
            let line = [begin, &"x".repeat(length - 4)].concat();
            let stream = ["6 <1>abc", &line, ending].concat().into_bytes();
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            for parts in [&[&stream[..]][..], &bytes, &stream.chunks(50).collect::<Vec<_>>()] {
                let (texts, _, astray) = framed_and_counted(parts, &SYSLOG);
                assert_eq!(astray, errors, "{begin} {length} {ending:?}");
                assert_eq!(texts, reference(&stream, &SYSLOG), "{begin} {length} {ending:?}");
            }
        }
    }
}

/// The same where all that had come was evicted, and the header follows at once.
#[test]
fn a_header_right_behind_what_was_evicted_tells_that_it_had_no_end() {
    for (text, errors) in [("<13>line", [0, 1]), ("line", [1, 0])] {
        let mut page = Page::new(BATCH_BYTES_MIN);
        let (origin, at) = (page.push_origin(Origin::LOCAL).unwrap(), Wall(1));
        let end = text.len();
        page.spare_mut()[..end].copy_from_slice(text.as_bytes());
        let (bytes, mut records) = page.frame(u32_of(end + 1), at, origin);
        let framed = cut(bytes, 0, Stage::After(0), Cut::Evicted, &SYSLOG, &mut records);
        let sums = records.finish();
        page.settle(sums, at, u32_of(end + 1));
        page.spare_mut()[..8].copy_from_slice(b"6 <1>abc");
        let (bytes, mut records) = page.frame(u32_of(end + 9), at, origin);
        let after = frame(bytes, end + 1, 0, framed.stage, &SYSLOG, &mut records);
        let sums = records.finish();
        page.settle(sums, at, u32_of(after.partial));
        assert_eq!([framed.astray, after.astray], errors, "{text}");
        let texts: Vec<_> = page.events().map(|event| (event.bytes, event.marks)).collect();
        assert_eq!(texts, [(text.as_bytes(), Marks::SPLIT), (b"<1>abc", Marks::NONE)]);
    }
}

#[test]
fn brackets_in_a_text_that_is_astray_settle_nothing() {
    let text = b"7 <1234>a <>b <13>c> 0 <1>d 0 <13>";
    for stage in [Stage::After(0), Stage::Astray(0, true)] {
        let carry: &[u8] = b"<13>text and more";
        assert!(!settles(carry, stage, text, &SYSLOG));
        let whole = [carry, text, b" 12 <13>"].concat();
        for at in carry.len()..whole.len() {
            let (front, back) = whole.split_at(at);
            assert!(settles(front, stage, back, &SYSLOG), "{at}");
            assert!(!settles(front, stage, &back[..back.len() - 1], &SYSLOG), "{at}");
        }
    }
}

#[test]
fn lines_among_counted_frames_are_no_errors_and_a_few_make_a_stream_of_lines() {
    let mixed = b"6 <1>abc<2>line\n6 <1>abc\n\0\r\n<3>more\n6 <1>abc";
    let (texts, _, astray) = framed_and_counted(&[mixed], &SYSLOG);
    let expected = ["<1>abc", "<2>line", "<1>abc", "<3>more", "<1>abc"];
    assert_eq!((texts, astray), (plain(&expected), 0));
    let lines = ["6 <1>abc".to_owned(), "no 6 <1>abc\n".repeat(3), "no\n".repeat(20)].concat();
    let (texts, _, astray) = framed_and_counted(&[lines.as_bytes()], &SYSLOG);
    // Three texts that a header ends, and eight lines.
    assert_eq!(astray, 3 + 8);
    assert_eq!(texts.last(), Some(&(b"no".to_vec(), Marks::NONE)));
}

#[test]
fn a_line_longer_than_the_longest_event_is_split_and_nothing_of_it_lost() {
    for length in [63, 64, 65, 127, 128, 129, 1000] {
        for ending in ["\n", "\r\n", "\0", ""] {
            let stream = ["y".repeat(length), ending.to_owned(), "z\n".to_owned()].concat();
            let (texts, _) = framed(&[stream.as_bytes()], &LINES);
            assert_eq!(texts, reference(stream.as_bytes(), &LINES), "{length} {ending:?}");
            let split = texts.iter().filter(|(_, marks)| *marks == Marks::SPLIT).count();
            let whole = length + if ending.is_empty() { 1 } else { 0 };
            assert_eq!(split, if whole > 64 { whole.div_ceil(64) } else { 0 });
        }
    }
}

#[test]
fn evicted_frames_go_on_where_they_were_cut() {
    for (stream, rules) in
        [(&b"a long line\nb\n"[..], &LINES), (b"20 <13>counted message\n6 <1>abc", &SYSLOG)]
    {
        for cut_at in 4..stream.len() {
            let mut page = Page::new(BATCH_BYTES_MIN);
            let origin = page.push_origin(Origin::LOCAL).unwrap();
            let at = Wall(1);
            page.spare_mut()[..cut_at].copy_from_slice(&stream[..cut_at]);
            let (bytes, mut records) = page.frame(u32_of(cut_at), at, origin);
            let Framed { partial, stage, .. } =
                frame(bytes, 0, 0, Stage::Start, rules, &mut records);
            let sums = records.finish();
            page.settle(sums, at, u32_of(partial));
            let begun = &stream[partial..cut_at];
            if begun.is_empty() || rules.counted && kind(begun, rules) == Kind::Undecided {
                continue;
            }
            let (bytes, mut records) = page.frame(u32_of(cut_at + 1), at, origin);
            let stage = cut(bytes, partial, stage, Cut::Evicted, rules, &mut records).stage;
            let sums = records.finish();
            page.settle(sums, at, u32_of(cut_at + 1));
            let rest = &stream[cut_at..];
            page.spare_mut()[..rest.len()].copy_from_slice(rest);
            let start = cut_at + 1;
            let (bytes, mut records) = page.frame(u32_of(start + rest.len()), at, origin);
            let Framed { partial: end, stage, .. } =
                frame(bytes, start, 0, stage, rules, &mut records);
            let over = if rules.counted { Stage::After(0) } else { Stage::Start };
            assert_eq!((end, stage), (start + rest.len(), over));
            let sums = records.finish();
            page.settle(sums, at, u32_of(end));
            let texts: Vec<u8> = page.events().flat_map(|event| event.bytes.to_vec()).collect();
            let whole: Vec<u8> =
                reference(stream, rules).into_iter().flat_map(|(text, _)| text).collect();
            assert_eq!(texts, whole, "cut at {cut_at}");
            assert!(page.events().any(|event| event.marks == Marks::SPLIT));
        }
    }
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let text = "[ -~]{0,9}";
    let part = prop_oneof![
        6 => text.prop_map(|text| format!("<13>{text}\n").into_bytes()),
        6 => text.prop_map(|text| format!("{} <13>{text}", text.len() + 4).into_bytes()),
        2 => text.prop_map(|text| format!("{} <13>{text}\n", text.len() + 5).into_bytes()),
        2 => text.prop_map(|text| format!("{text}\r\n").into_bytes()),
        2 => text.prop_map(|text| format!("{text}\0").into_bytes()),
        1 => "[x\r]{50,150}\r?\n".prop_map(String::into_bytes),
        1 => "[0-9]{1,3} ?<?".prop_map(String::into_bytes),
        2 => "[0-9]{1,3} <[0-9]{1,4}>".prop_map(String::into_bytes),
        2 => (text, 0..20_usize).prop_map(|(text, wrong)| {
            format!("{} <13>{text}", (text.len() + 4 + wrong).saturating_sub(9).max(1)).into_bytes()
        }),
        1 => prop::collection::vec(prop::sample::select(&b"\r\n\0 1<a\x7f\t"[..]), 0..6),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(stream in stream(), a in 0.0..1.0, b in 0.0..1.0) {
        for rules in [&LINES, &SYSLOG] {
            let (expected, astray) = reference_and_count(&stream, rules);
            prop_assert_eq!(framed_and_counted(&[&stream], rules).2, astray);
            prop_assert_eq!(&framed(&[&stream], rules).0, &expected, "whole");
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            let (texts, _, counted) = framed_and_counted(&bytes, rules);
            prop_assert_eq!(&texts, &expected, "byte by byte");
            prop_assert_eq!(counted, astray, "byte by byte");
            for at in 0..stream.len() {
                let (front, back) = stream.split_at(at);
                prop_assert_eq!(&framed(&[front, back], rules).0, &expected, "at {}", at);
            }
            let (a, b): (f64, f64) = (a, b);
            let place = |share: f64| (share * stream.len() as f64) as usize;
            let (low, high) = (place(a.min(b)), place(a.max(b)));
            let parts = [&stream[..low], &stream[low..high], &stream[high..]];
            prop_assert_eq!(&framed(&parts, rules).0, &expected, "{} {}", low, high);
        }
    }

    #[test]
    fn settles_says_when_the_carry_is_needed(stream in stream(), at in 0.0..1.0) {
        for rules in [&LINES, &SYSLOG] {
            let at = (at * stream.len() as f64) as usize;
            let (front, back) = stream.split_at(at);
            // Where the partial frame of the front begins.
            let mut page = Page::new(BATCH_BYTES_MIN);
            let origin = page.push_origin(Origin::LOCAL).unwrap();
            page.spare_mut()[..front.len()].copy_from_slice(front);
            let (bytes, mut records) = page.frame(u32_of(front.len()), Wall(1), origin);
            let Framed { partial, stage, .. } =
                frame(bytes, 0, 0, Stage::Start, rules, &mut records);
            let _ = records.finish();
            let carry = &front[partial..];
            if carry.is_empty() || settles(carry, stage, back, rules) {
                continue;
            }
            // Not needed: then nothing was framed, and the same stays unfinished.
            let joined = [carry, back].concat();
            page.spare_mut()[..joined.len()].copy_from_slice(&joined);
            let (bytes, mut records) = page.frame(u32_of(joined.len()), Wall(1), origin);
            let after = frame(bytes, 0, 0, stage, rules, &mut records);
            prop_assert_eq!(after, Framed { partial: 0, stage, astray: 0 });
            prop_assert_eq!(records.finish(), crate::event::Sums::default());
        }
    }
}
