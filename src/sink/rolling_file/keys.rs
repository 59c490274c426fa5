//! Keys found again: a table from a key's hash to its slot, and the hash.
//!
//! The table knows numbers only; whose key it is, the caller says. It has a fixed size, so that
//! neither a new key nor one that is forgotten allocates. The hash has a seed that senders do not
//! know: they choose the names that are hashed.

const NONE: u32 = u32::MAX;

/// Open addressing with linear probing, at most half full.
pub(super) struct Keys {
    places: Vec<u32>,
    mask: usize,
}

impl Keys {
    pub(super) fn new(keys: usize) -> Self {
        let places = (2 * keys).next_power_of_two();
        Self { places: vec![NONE; places], mask: places - 1 }
    }

    /// The slot that `is_it`, among those whose hash may be this one.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = hash as usize & self.mask;
        loop {
            match self.places[at] {
                NONE => return None,
                slot if is_it(slot) => return Some(slot),
                _ => at = (at + 1) & self.mask,
            }
        }
    }

    /// The slot that is most likely this hash's, to be fetched ahead; or any number.
    #[inline]
    pub(super) fn likely(&self, hash: u64) -> u32 {
        self.places[hash as usize & self.mask]
    }

    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        let mut at = hash as usize & self.mask;
        while self.places[at] != NONE {
            at = (at + 1) & self.mask;
        }
        self.places[at] = slot;
    }

    /// Takes a slot out, and moves back those that had to make way for it.
    pub(super) fn remove(&mut self, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let mut hole = hash_of(slot) as usize & self.mask;
        while self.places[hole] != slot {
            assert!(self.places[hole] != NONE, "a slot is taken out that was never put in");
            hole = (hole + 1) & self.mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let next = self.places[at];
            if next == NONE {
                break;
            }
            // How far it stands from where it wants to be, and how far the hole is.
            let home = hash_of(next) as usize & self.mask;
            if at.wrapping_sub(home) & self.mask >= at.wrapping_sub(hole) & self.mask {
                self.places[hole] = next;
                hole = at;
            }
        }
        self.places[hole] = NONE;
    }
}

/// Eight bytes at a time, each folded into the next by a wide multiplication.
#[inline]
pub(super) fn hash(seed: u64, slice: i64, text: &[u8]) -> u64 {
    const ODD: [u64; 3] = [0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93, 0xA076_1D64_78BD_642F];
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        wide as u64 ^ (wide >> 64) as u64
    };
    let mut hash = fold(seed ^ ODD[0], slice as u64 ^ ODD[1]);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        hash = fold(hash ^ u64::from_le_bytes(*word), ODD[1]);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    hash = fold(hash ^ u64::from_le_bytes(last), ODD[2]);
    fold(hash ^ text.len() as u64, ODD[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        // Few hashes, so that they are in each other's way; among them the last place.
        let hashes: Vec<u64> = (0..40).map(|slot| [15, 14, 0, 7][slot % 4] + 16 * 7).collect();
        let mut keys = Keys::new(40);
        let mut model = BTreeMap::new();
        let mut random = 7_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let slot = (random >> 33) as u32 % 40;
            let hash_of = |slot: u32| hashes[slot as usize];
            if model.remove(&slot).is_some() {
                keys.remove(slot, hash_of);
            } else {
                keys.insert(hash_of(slot), slot);
                model.insert(slot, ());
            }
            for slot in 0..40 {
                let found = keys.find(hash_of(slot), |other| other == slot);
                assert_eq!(found, model.get(&slot).map(|()| slot));
            }
        }
    }

    #[test]
    fn hashes_differ_by_every_part() {
        let all = [
            hash(1, 0, b"web01"),
            hash(2, 0, b"web01"),
            hash(1, 1, b"web01"),
            hash(1, 0, b"web02"),
            hash(1, 0, b"web01\0"),
            hash(1, 0, b"web01\0\0\0\0"),
            hash(1, 0, b""),
            hash(1, 0, b"12345678"),
            hash(1, 0, b"123456789"),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
    }

    /// Threads share keys out by the upper half.
    #[test]
    fn threads_get_equal_shares() {
        let mut shares = [0_u32; 7];
        for host in 0..70_000 {
            let hash = hash(3, 0, format!("host-{host}").as_bytes());
            shares[(hash >> 32) as usize % 7] += 1;
        }
        assert!(shares.iter().all(|share| (9_500..10_500).contains(share)), "{shares:?}");
    }
}
