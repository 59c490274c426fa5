//! The optional fields behind a block header: `{ kind u16, length u16, bytes }`, one behind the
//! other. Kinds that a reader does not know are passed over; a newer program may have written them.

/// Times and peers of the block's events: see `meta`.
pub const META: u16 = 1;
/// Its words: see `tokens`. It stands first, so that it is found without the others.
pub const TOKENS: u16 = 2;
/// Its hash, and that of all before it: see `chain`. It stands last, and covers the others.
pub const CHAIN: u16 = 3;
/// What ends a chain, in the last block of a file: see `seal`.
pub const SEAL: u16 = 4;

const HEAD_BYTES: usize = 4;

/// Appends a field whose bytes `fill` appends.
pub(super) fn put_field(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    fill(out);
    let bytes = u16::try_from(out.len() - start - HEAD_BYTES).expect("a field is under 64 KiB");
    out[start + 2..start + HEAD_BYTES].copy_from_slice(&bytes.to_le_bytes());
}

/// The first field of a kind; None also where lengths contradict each other before it.
pub fn find(mut fields: &[u8], kind: u16) -> Option<&[u8]> {
    while let Some((head, rest)) = fields.split_first_chunk::<HEAD_BYTES>() {
        let [a, b, c, d] = *head;
        let (field, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([c, d])))?;
        if u16::from_le_bytes([a, b]) == kind {
            return Some(field);
        }
        fields = rest;
    }
    None
}

/// The last field, and all before it; None also where lengths contradict each other.
pub(super) fn last(fields: &[u8]) -> Option<(&[u8], u16, &[u8])> {
    let (mut at, mut found) = (0, None);
    while at < fields.len() {
        let (head, rest) = fields[at..].split_first_chunk::<HEAD_BYTES>()?;
        let [a, b, c, d] = *head;
        let field = rest.get(..usize::from(u16::from_le_bytes([c, d])))?;
        found = Some((&fields[..at], u16::from_le_bytes([a, b]), field));
        at += HEAD_BYTES + field.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_behind_others_and_none_in_what_is_cut() {
        let mut fields = Vec::new();
        put_field(&mut fields, 700, |out| out.extend_from_slice(b"unknown"));
        put_field(&mut fields, META, |out| out.extend_from_slice(b"known"));
        put_field(&mut fields, 2, |_| {});
        assert_eq!(find(&fields, META), Some(&b"known"[..]));
        assert_eq!(find(&fields, 2), Some(&b""[..]));
        assert_eq!(find(&fields, 3), None);
        for cut in 0..20 {
            assert_eq!(find(&fields[..cut], META).is_some(), cut == 20, "{cut}");
        }
        assert_eq!(find(b"garbage of some kind", META), None);
        assert_eq!(last(&fields), Some((&fields[..20], 2, &b""[..])));
        assert_eq!(last(&fields[..20]), Some((&fields[..11], META, &b"known"[..])));
        for cut in (0..20).filter(|cut| *cut != 11) {
            assert_eq!(last(&fields[..cut]), None, "{cut}");
        }
    }
}
