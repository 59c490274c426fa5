//! Addresses in place of addresses: Crypto-PAn (Xu, Fan, Ammar, Moon, "Prefix-preserving IP address
//! anonymization", ICNP 2002).
//!
//! Two addresses that share their first n bits have pseudonyms that share exactly their first n
//! bits, under one key always the same. Bit n of a pseudonym is the address's own, turned over or
//! not as AES says of the n bits before it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use crate::config::hex;

const BLOCK_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const ADDRESS_BITS_MAX: usize = 128;

pub(super) struct Pseudonyms {
    cipher: Aes128,
    /// What stands behind the bits of an address that are looked at.
    pad: u128,
}

impl Pseudonyms {
    /// Takes the text of a key file, which is 64 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        hex(text.trim()).map(Self::under)
    }

    /// The first half of the key is the cipher's, the second makes the pad.
    pub(super) fn under(key: [u8; KEY_BYTES]) -> Self {
        let (front, back) = key.split_at(BLOCK_BYTES);
        let mut pad = [0; BLOCK_BYTES];
        pad.copy_from_slice(back);
        let key: [u8; BLOCK_BYTES] = front.try_into().expect("half of the key");
        let cipher = Aes128::new(&Array::from(key));
        let mut block = Array::from(pad);
        cipher.encrypt_block(&mut block);
        Self { cipher, pad: u128::from_be_bytes(block.into()) }
    }

    pub(super) fn of(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(address) => IpAddr::V4(self.v4(address)),
            // As the same host is written elsewhere.
            IpAddr::V6(address) => IpAddr::V6(match address.to_ipv4_mapped() {
                Some(mapped) => self.v4(mapped).to_ipv6_mapped(),
                None => Ipv6Addr::from_bits(self.turn(address.to_bits(), ADDRESS_BITS_MAX)),
            }),
        }
    }

    fn v4(&self, address: Ipv4Addr) -> Ipv4Addr {
        let bits = u128::from(address.to_bits()) << 96;
        Ipv4Addr::from_bits((self.turn(bits, 32) >> 96) as u32)
    }

    /// The first `bits` of an address, which stands at the front, turned over as the cipher says.
    fn turn(&self, address: u128, bits: usize) -> u128 {
        let mut blocks = [Array::from([0; BLOCK_BYTES]); ADDRESS_BITS_MAX];
        let blocks = &mut blocks[..bits];
        for (known, block) in blocks.iter_mut().enumerate() {
            // The first `known` bits are the address's own.
            let own = !u128::MAX.checked_shr(known as u32).unwrap_or(0);
            *block = Array::from(((address & own) | (self.pad & !own)).to_be_bytes());
        }
        self.cipher.encrypt_blocks(blocks);
        let turned = blocks.iter().enumerate().fold(0, |turned, (index, block)| {
            turned | (u128::from(block[0] >> 7) << (ADDRESS_BITS_MAX - 1 - index))
        });
        address ^ turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The key and addresses of the authors' sample, whose pseudonyms are known.
    const KEY: [u8; KEY_BYTES] = [
        21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16, 216, 152, 143, 131,
        121, 121, 101, 39, 98, 87, 76, 45, 42, 132, 34, 2,
    ];

    #[test]
    fn the_sample_comes_out_as_the_authors_say() {
        let pseudonyms = Pseudonyms::under(KEY);
        for (address, expected) in [
            ("128.11.68.132", "135.242.180.132"),
            ("129.118.74.4", "134.136.186.123"),
            ("130.132.252.244", "133.68.164.234"),
            ("141.223.7.43", "141.167.8.160"),
            ("141.233.145.108", "141.129.237.235"),
            ("152.163.225.39", "151.140.114.167"),
            ("156.29.3.236", "147.225.12.42"),
            ("165.247.96.84", "162.9.99.234"),
            ("166.107.77.190", "160.132.178.185"),
            ("192.102.249.13", "252.138.62.131"),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(pseudonyms.of(address).to_string(), expected);
        }
    }

    #[test]
    fn a_key_is_so_many_digits_and_nothing_else() {
        for text in ["", "00", &"0g".repeat(32), &"00".repeat(33)] {
            assert!(Pseudonyms::parse(text).is_none(), "{text}");
        }
        assert!(Pseudonyms::parse(&("0f".repeat(32) + "\n")).is_some());
    }

    proptest! {
        #[test]
        fn as_many_bits_are_shared_as_before(a: u128, b: u128, front in 0_u32..128) {
            let pseudonyms = Pseudonyms::under(KEY);
            // Alike in so many bits at least.
            let own = !u128::MAX.checked_shr(front).unwrap_or(0);
            let b = (a & own) | (b & !own);
            let of = |bits: u128| pseudonyms.turn(bits, ADDRESS_BITS_MAX);
            prop_assert_eq!((a ^ b).leading_zeros(), (of(a) ^ of(b)).leading_zeros());
            let (a, b) = ((a >> 96) as u32, (b >> 96) as u32);
            let of = |bits: u32| pseudonyms.v4(Ipv4Addr::from_bits(bits)).to_bits();
            prop_assert_eq!((a ^ b).leading_zeros(), (of(a) ^ of(b)).leading_zeros());
        }
    }
}
