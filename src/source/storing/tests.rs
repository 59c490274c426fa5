//! Answers in the order of the commands, without sockets.

use super::*;

fn storing() -> Storing {
    Storing::new(Owner::default(), 64, std::sync::Arc::default())
}

/// Hears these: `w` waits, anything else is said at once.
fn heard(kinds: &str) -> Storing {
    let mut storing = storing();
    for kind in kinds.chars() {
        storing.slate.owed += u32::from(kind == 'w');
        storing.answer((kind != 'w').then_some(Reply::End));
    }
    storing
}

fn said(storing: &mut Storing) -> String {
    storing.word();
    let text = String::from_utf8(std::mem::take(&mut storing.slate.out)).unwrap();
    text.replace("STORED\r\n", "s").replace("END\r\n", "e").replace(Reply::Lost.text(), "l")
}

#[test]
fn what_can_be_said_at_once_waits_behind_what_cannot() {
    let mut storing = heard("eewwwewe");
    assert_eq!(said(&mut storing), "ee");
    storing.settled(1, Outcome::Confirmed);
    assert_eq!(said(&mut storing), "s");
    storing.settled(1, Outcome::Failed);
    storing.settled(1, Outcome::Confirmed);
    assert_eq!(said(&mut storing), "lse");
    assert!(storing.is_owed() && !storing.is_stuck());
    storing.settled(1, Outcome::Confirmed);
    assert_eq!(said(&mut storing), "se");
    assert!(!storing.is_owed());
}

#[test]
fn batches_settle_while_nothing_can_be_said() {
    let mut storing = heard("wwewwwe");
    storing.settled(1, Outcome::Confirmed);
    storing.settled(3, Outcome::Confirmed);
    assert_eq!(storing.answers.len(), 5);
    storing.settled(1, Outcome::Failed);
    assert_eq!((storing.answers.len(), storing.slate.owed), (5, 0));
    assert_eq!(said(&mut storing), "ssessle");
}

#[test]
fn many_are_said_in_portions() {
    let mut storing = heard(&"w".repeat(2000));
    storing.settled(2000, Outcome::Confirmed);
    let first = said(&mut storing);
    assert_eq!(first.len(), SAID_BYTES / 8);
    let mut all = first.len();
    while storing.is_owed() {
        all += said(&mut storing).len();
    }
    assert_eq!(all, 2000);
}

#[test]
fn memory_that_is_needed_is_given_back() {
    let mut carries = Carries::new(4096, 0);
    let mut storing = storing();
    storing.slate.keep(b"set k 0 0 9\r\nabc", &mut carries);
    storing.let_go(&mut carries, Cut::Evicted);
    assert_eq!((storing.carried(), carries.lent_bytes(), storing.parting), (0, 0, false));
    let (count, heard) = storing.session.hear(b"defghi\r\n");
    assert_eq!((count, heard), (8, Heard::Said(Reply::NoMemory)));
    // Of a line nobody knows what it would have been.
    storing.slate.keep(b"set k 0 0 ", &mut carries);
    storing.let_go(&mut carries, Cut::Evicted);
    assert!(storing.parting && storing.is_owed() && carries.lent_bytes() == 0);
}
