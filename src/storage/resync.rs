//! Finding blocks behind a damaged place: a header knows itself by its checksum, so the next whole
//! one is where reading goes on.

use std::io;

use super::block::{BlockHeader, HeaderError, MAGIC, decode_frame};
use super::container::Container;
use super::segment::BlockEntry;
use super::{ReadAt, read_full_at};
use crate::limits::BLOCK_HEADER_BYTES_MAX;

const WINDOW_BYTES: usize = 256 << 10;
/// The last bytes of a window are looked at again in the next: a header's front may lie across.
const OVERLAP_BYTES: usize = 256;

/// The first block at or behind `from` whose header is whole and which ends within the file.
pub fn next_block(file: &dyn ReadAt, from: u64) -> io::Result<Option<(BlockEntry, BlockHeader)>> {
    next_block_before(file, from, u64::MAX)
}

/// The same, looked for up to about `to`.
pub fn next_block_before(
    file: &dyn ReadAt,
    from: u64,
    to: u64,
) -> io::Result<Option<(BlockEntry, BlockHeader)>> {
    let file_bytes = file.bytes()?;
    let mut at = from;
    let mut buffer = vec![0; WINDOW_BYTES];
    while at < file_bytes.min(to) {
        let read = read_full_at(file, at, &mut buffer)?;
        let window = &buffer[..read];
        for payload_at in memchr::memmem::find_iter(window, &MAGIC) {
            for lead in [Container::Zstd.lead_bytes(), Container::Gzip.lead_bytes()] {
                let Some(start) = payload_at.checked_sub(lead) else { continue };
                let offset = at + start as u64;
                let Some((header, bytes)) = header_at(file, offset, &window[start..])? else {
                    continue;
                };
                let entry = BlockEntry::new(offset, bytes, &header);
                if entry.end_offset() <= file_bytes {
                    return Ok(Some((entry, header)));
                }
            }
        }
        if read <= OVERLAP_BYTES {
            break;
        }
        at += (read - OVERLAP_BYTES) as u64;
    }
    Ok(None)
}

/// The header at the start of `window`; one that is longer than the window is read whole.
fn header_at(
    file: &dyn ReadAt,
    offset: u64,
    window: &[u8],
) -> io::Result<Option<(BlockHeader, usize)>> {
    match decode_frame(window) {
        Ok(found) => Ok(Some(found)),
        Err(HeaderError::Short) => {
            let Some(lead) = Container::lead(window) else { return Ok(None) };
            if lead.frame_bytes > BLOCK_HEADER_BYTES_MAX {
                return Ok(None);
            }
            let mut frame = vec![0; lead.frame_bytes];
            let read = read_full_at(file, offset, &mut frame)?;
            Ok(decode_frame(&frame[..read]).ok())
        }
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::HEADER_BYTES;
    use super::super::container::{SKIPPABLE_MAGIC, skippable_lead};
    use super::super::segment::tests::{TEXTS, segment};
    use super::super::segment::{Check, scan};
    use super::*;

    #[test]
    fn behind_a_damaged_header_the_next_block_is_found() {
        for container in [Container::Gzip, Container::Lz4, Container::Zstd] {
            let mut file = segment(container, &TEXTS);
            let blocks = scan(&&file[..], Check::Stored).unwrap().blocks;
            file[blocks[0].offset as usize + 30] ^= 1;
            let found = next_block(&&file[..], 0).unwrap().unwrap().0;
            assert_eq!(found, blocks[1]);
            let found = next_block(&&file[..], found.data_offset()).unwrap().unwrap().0;
            assert_eq!(found, blocks[2]);
            assert_eq!(next_block(&&file[..], found.data_offset()).unwrap(), None);
            file.pop();
            let cut = next_block(&&file[..], blocks[1].data_offset()).unwrap();
            assert_eq!(cut, None, "a block that the file does not hold");
        }
    }

    #[test]
    fn a_header_across_windows_and_one_longer_than_a_window_are_found() {
        let block = segment(Container::Zstd, &TEXTS[..1]);
        for front in [0, WINDOW_BYTES - 300, WINDOW_BYTES - 256, WINDOW_BYTES - 8, WINDOW_BYTES] {
            let file = [&vec![7; front][..], &block].concat();
            let found = next_block(&&file[..], 0).unwrap().unwrap().0;
            assert_eq!(found.offset, front as u64);
        }
        let mut payload = vec![7; HEADER_BYTES + 2 * WINDOW_BYTES];
        let (header, _) = decode_frame(&block).unwrap();
        let optional_bytes = 2 * WINDOW_BYTES as u32;
        BlockHeader { optional_bytes, ..header }.encode(&mut payload);
        let mut file = vec![1; 1000];
        skippable_lead(SKIPPABLE_MAGIC, payload.len() as u32, &mut file);
        file.extend_from_slice(&payload);
        file.extend_from_slice(TEXTS[0]);
        assert_eq!(next_block(&&file[..], 0).unwrap().unwrap().0.offset, 1000);
    }
}
