//! The CRC-32 of gzip and of lzop.

pub(super) fn crc32(bytes: &[u8]) -> u32 {
    // The 32-bit CRCs of crc-fast come in the low half of a u64.
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes) as u32
}
