//! What may be a card number, a mailbox or a network address in a text: pure functions over bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The digits of a card number (ISO/IEC 7812-1).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// No text of an address is longer: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
const ADDRESS_BYTES_MAX: usize = 45;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Card,
    /// What stands in front of the `@`.
    Mailbox,
    Address(IpAddr),
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where the mailbox in front of the `@` at `at` begins, when a domain with a dot follows.
pub(super) fn mailbox(text: &[u8], from: usize, at: usize) -> Option<usize> {
    let local = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let length = text[from..at].iter().rev().take_while(local).count();
    let domain = &text[at + 1..];
    let domain = &domain[..domain.iter().take_while(|byte| in_domain(**byte)).count()];
    let domain = without(domain, b'.');
    let dot = memchr::memrchr(b'.', domain)?;
    let top = &domain[dot + 1..];
    let named = dot > 0 && domain[0] != b'.' && domain[0] != b'-';
    let is_domain = named && top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic);
    (length > 0 && is_domain).then_some(at - length)
}

fn without(text: &[u8], last: u8) -> &[u8] {
    text.strip_suffix(&[last]).unwrap_or(text)
}

fn in_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-'
}

/// The end of the card number that begins at `at`: 13 to 19 digits, the first 2 to 6, in one piece
/// or as they are printed, in groups behind one of four, all apart by a space or all by a hyphen.
/// Of several ends the last for which the check digit is right.
pub(super) fn card(text: &[u8], at: usize) -> Option<usize> {
    if !(b'2'..=b'6').contains(&text[at]) {
        return None;
    }
    let (mut digits, mut count) = ([0; 19], 0);
    let (mut end, mut found) = (at, None);
    let mut between = None;
    loop {
        let group = text[end..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let fits = match between {
            None => group == 4 || CARD_DIGITS.contains(&group),
            Some(_) => (3..=6).contains(&group),
        };
        let Some(room) = digits.get_mut(count..count + group).filter(|_| fits) else {
            return found;
        };
        room.copy_from_slice(&text[end..end + group]);
        (count, end) = (count + group, end + group);
        let next = text.get(end).copied().unwrap_or(b'.');
        if is_word(next) {
            return found;
        }
        if CARD_DIGITS.contains(&count) && luhn(&digits[..count]) {
            found = Some(end);
        }
        let goes_on = match between {
            None => group == 4 && (next == b' ' || next == b'-'),
            Some(byte) => byte == next,
        };
        if !goes_on || !text.get(end + 1).is_some_and(u8::is_ascii_digit) {
            return found;
        }
        (between, end) = (Some(next), end + 1);
    }
}

/// The check digit of ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum = digits.iter().rev().map(|digit| digit - b'0').enumerate();
    let sum = sum.map(|(index, it)| u32::from(if index % 2 == 1 { doubled(it) } else { it }));
    sum.sum::<u32>().is_multiple_of(10)
}

/// The address that begins at `at`, and its end. No part of a longer run of numbers and dots, and
/// not the unspecified one.
pub(super) fn address(text: &[u8], at: usize) -> Option<(usize, IpAddr)> {
    let before = at.checked_sub(1).map(|before| text[before]);
    if matches!(before, Some(b'.' | b':')) {
        return None;
    }
    let rest = &text[at..text.len().min(at + ADDRESS_BYTES_MAX + 1)];
    let run = |taken: fn(u8) -> bool| {
        let run = &rest[..rest.iter().take_while(|byte| taken(**byte)).count()];
        let next = rest.get(run.len()).copied().unwrap_or(b' ');
        (!is_word(next)).then_some(run)
    };
    let dotted = run(|byte| byte.is_ascii_digit() || byte == b'.');
    if let Some(text) = dotted.and_then(|run| std::str::from_utf8(without(run, b'.')).ok())
        && let Ok(address) = text.parse::<Ipv4Addr>()
    {
        return Some((at + text.len(), IpAddr::V4(address)));
    }
    let run = run(|byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.')?;
    // A sentence may go on behind it.
    let trimmed = [run, without(run, b'.'), without(run, b':')].into_iter();
    trimmed.filter_map(|run| std::str::from_utf8(run).ok()).find_map(|text| {
        let address = text.parse::<Ipv6Addr>().ok()?;
        (!address.is_unspecified()).then_some((at + text.len(), IpAddr::V6(address)))
    })
}
