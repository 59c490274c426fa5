//! `mask`: card numbers, e-mail addresses and network addresses that nobody need know.
//!
//! ```text
//!   4111 1111 1111 1111    **** **** **** 1111     cards: the check digit (Luhn) must be right
//!   ann.lee@example.com    ***@example.com         emails: the domain stays
//!   10.1.2.3               93.161.198.77           addresses: another one, the same each time
//! ```
//! Addresses become pseudonyms under a key (`pseudonym`): whoever compares logs still sees who is
//! who and which networks belong together.

mod pseudonym;
mod scan;

use std::sync::Arc;

use self::pseudonym::Pseudonyms;
use self::scan::Found;
use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::{OptionDoc, Section};

const KEY_REMEDY: &str = "openssl rand -hex 32 >FILE makes one";

pub(super) const KIND: InterceptorKind = InterceptorKind {
    name: "mask",
    aliases: &[],
    summary: "hides card numbers, e-mail addresses and network addresses in the text",
    options: &[
        OptionDoc {
            name: "hide",
            default: Some("cards, emails"),
            doc: "what is hidden: cards, emails, addresses",
        },
        OptionDoc {
            name: "key_file",
            default: Some(""),
            doc: "the key of addresses' pseudonyms, 64 hexadecimal digits: openssl rand -hex 32",
        },
        OptionDoc {
            name: "headers",
            default: Some(""),
            doc: "headers in whose values the same is hidden",
        },
    ],
    plan,
};

/// What is hidden, and how.
#[derive(Clone, Default)]
struct Masks {
    cards: bool,
    emails: bool,
    addresses: Option<Arc<Pseudonyms>>,
}

#[derive(Clone)]
struct Plan {
    masks: Masks,
    headers: Vec<String>,
}

fn plan(section: &Section) -> Box<dyn InterceptorPlan> {
    let (mut masks, mut addresses) = (Masks::default(), false);
    for kind in section.texts("hide") {
        match kind.value.as_str() {
            "cards" => masks.cards = true,
            "emails" => masks.emails = true,
            "addresses" => addresses = true,
            other => {
                let what = format!("`hide`: \"{other}\" is not known");
                section.fail_at(&kind.span, what, "there is cards, emails and addresses");
            }
        }
    }
    match (addresses, section.optional_text("key_file").is_some()) {
        (true, true) => masks.addresses = pseudonyms(section).map(Arc::new),
        (true, false) => section.fail(
            "hide",
            "`hide`: pseudonyms of addresses need a key",
            "add key_file = \"…\"; openssl rand -hex 32 >FILE makes one",
        ),
        (false, true) => section.fail(
            "key_file",
            "`key_file` is the key of addresses, which are not hidden",
            "add \"addresses\" to `hide`, or leave the key away",
        ),
        (false, false) => {}
    }
    let headers = section.texts("headers").into_iter().map(|name| name.value).collect();
    Box::new(Plan { masks, headers })
}

fn pseudonyms(section: &Section) -> Option<Pseudonyms> {
    let text = section.optional_file("key_file", KEY_REMEDY)?;
    let pseudonyms = Pseudonyms::parse(&text);
    if pseudonyms.is_none() {
        section.fail("key_file", "`key_file` does not hold 64 hexadecimal digits", KEY_REMEDY);
    }
    pseudonyms
}

impl InterceptorPlan for Plan {
    fn build(&self, _tools: &Tools) -> Box<dyn Interceptor> {
        Box::new(Masking { plan: self.clone(), value: Vec::new() })
    }
}

struct Masking {
    plan: Plan,
    value: Vec<u8>,
}

impl Interceptor for Masking {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        let masks = &self.plan.masks;
        draft.rewrite(|text, out| masks.hide(text, out));
        for name in &self.plan.headers {
            self.value.clear();
            if draft.header(name).is_some_and(|value| masks.hide(value, &mut self.value)) {
                draft.set_header(name, &self.value);
            }
        }
        true
    }
}

impl Masks {
    /// Appends the text without what is hidden; false, and nothing appended, when that is nothing.
    fn hide(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let (mut at, mut copied) = (0, 0);
        while at < text.len() {
            let Some((start, end, found)) = self.find(text, copied, at) else {
                at += 1;
                continue;
            };
            out.extend_from_slice(&text[copied..start]);
            match found {
                Found::Card => hide_card(&text[start..end], out),
                Found::Mailbox => out.extend_from_slice(b"***"),
                Found::Address(address) => {
                    if let Some(pseudonyms) = &self.addresses {
                        let other = pseudonyms.of(address).to_string();
                        out.extend_from_slice(other.as_bytes());
                    }
                }
            }
            (at, copied) = (end, end);
        }
        if copied > 0 {
            out.extend_from_slice(&text[copied..]);
        }
        copied > 0
    }

    /// What is to be hidden and shows itself at `at`: where it begins, not before `from`, and ends.
    fn find(&self, text: &[u8], from: usize, at: usize) -> Option<(usize, usize, Found)> {
        match text[at] {
            b'@' if self.emails => {
                let start = scan::mailbox(text, from, at)?;
                Some((start, at, Found::Mailbox))
            }
            byte if byte.is_ascii_hexdigit() || byte == b':' => {
                if at > 0 && scan::is_word(text[at - 1]) {
                    return None;
                }
                if self.addresses.is_some()
                    && let Some((end, address)) = scan::address(text, at)
                {
                    return Some((at, end, Found::Address(address)));
                }
                let end = if self.cards { scan::card(text, at) } else { None };
                end.map(|end| (at, end, Found::Card))
            }
            _ => None,
        }
    }
}

/// Every digit but the last four becomes `*`; what stands between them stays.
fn hide_card(card: &[u8], out: &mut Vec<u8>) {
    let mut left = card.iter().filter(|byte| byte.is_ascii_digit()).count();
    for byte in card {
        let hidden = byte.is_ascii_digit() && left > 4;
        left -= usize::from(byte.is_ascii_digit());
        out.push(if hidden { b'*' } else { *byte });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masks() -> Masks {
        let addresses = Some(Arc::new(Pseudonyms::under([7; 32])));
        Masks { cards: true, emails: true, addresses }
    }

    fn hidden(masks: &Masks, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let any = masks.hide(text, &mut out);
        assert!(any || out.is_empty());
        any.then_some(out)
    }

    #[test]
    fn the_digits_of_a_card_are_hidden_but_the_last() {
        let masks = Masks { cards: true, ..Masks::default() };
        for (text, expected) in [
            ("card 4111111111111111.", "card ************1111."),
            ("4111 1111 1111 1111 12", "**** **** **** 1111 12"),
            ("pan=3782-822463-10005,", "pan=****-******-*0005,"),
            ("5555555555554444 6011000990139424", "************4444 ************9424"),
        ] {
            let told = hidden(&masks, text.as_bytes());
            assert_eq!(told.as_deref(), Some(expected.as_bytes()), "{text}");
        }
        // A wrong check digit, a time in ms, parts of other words, too long.
        for text in [
            "4111111111111112",
            "1697062455000",
            "x4111111111111111",
            "4111111111111111x",
            "41111111111111111111111",
            "4111  1111 1111 1111",
            "4111 1111-1111 1111",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "a@b.example 10.0.0.1",
        ] {
            assert_eq!(hidden(&masks, text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn whom_a_mail_address_names_is_hidden() {
        let masks = Masks { emails: true, ..Masks::default() };
        for (text, expected) in [
            ("from=<ann.lee+x@mail.example.com>", "from=<***@mail.example.com>"),
            ("a@b.de,c_d@e.org", "***@b.de,***@e.org"),
            ("mailto:%41nn@example.org.", "mailto:***@example.org."),
        ] {
            let told = hidden(&masks, text.as_bytes());
            assert_eq!(told.as_deref(), Some(expected.as_bytes()), "{text}");
        }
        for text in ["root@localhost", "@example.org", "a@", "a @b.de", "user@10.0.0.1", "a@.de"] {
            assert_eq!(hidden(&masks, text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn addresses_become_others_and_what_is_none_stays() {
        let masks = masks();
        let other = |address: &str| {
            let pseudonyms = masks.addresses.as_ref().expect("a key");
            pseudonyms.of(address.parse().expect("an address")).to_string()
        };
        for (text, addresses) in [
            ("SRC=10.1.2.3 DST=10.1.9.9 LEN=60", &["10.1.2.3", "10.1.9.9"][..]),
            ("from 192.0.2.1:443, then 192.0.2.2.", &["192.0.2.1", "192.0.2.2"]),
            ("[2001:db8::1]:514 fe80::1%eth0", &["2001:db8::1", "fe80::1"]),
            ("at 2001:db8::5: gone", &["2001:db8::5"]),
            ("::ffff:192.0.2.7 -> ::1", &["::ffff:192.0.2.7", "::1"]),
        ] {
            let expected = addresses
                .iter()
                .fold(text.to_owned(), |text, address| text.replacen(address, &other(address), 1));
            let told = hidden(&masks, text.as_bytes()).expect("some");
            assert_eq!(String::from_utf8(told).expect("UTF-8"), expected, "{text}");
            assert_ne!(text, expected);
        }
        for text in [
            "10:20:30",
            "00:11:22:33:44:55",
            "v1.2.3.4",
            "1.2.3.4.5",
            "256.1.1.1",
            "std::vector",
            "::",
            "a: b",
            "1.2.3",
        ] {
            assert_eq!(hidden(&masks, text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        /// Whatever comes: what is not hidden stays, and what was hidden is not found again as a
        /// card or a mailbox.
        #[test]
        fn any_text_will_do(text in "[0-9a-f:@. x*-]{0,60}") {
            let masks = Masks { addresses: None, ..masks() };
            if let Some(once) = hidden(&masks, text.as_bytes()) {
                let stars = once.iter().filter(|byte| **byte == b'*').count();
                prop_assert!(stars >= 3);
                prop_assert_eq!(hidden(&masks, &once), None);
            }
        }
    }
}
