//! What a file is, by its first bytes and by its name.

use std::path::Path;

use crate::codec::{Codec, Encoding};
use crate::storage::block::glance;
use crate::storage::catalog::OPEN_SUFFIX;
use crate::storage::{Container, avro};

/// Enough of a file to know it by.
pub(super) const HEAD_BYTES: usize = 512;

/// What a file is, by its first bytes; a name decides about a skippable frame that is not ours.
pub(super) fn sniff(head: &[u8], path: &Path) -> Codec {
    if let Some(header) = glance(head)
        && let Some(codec) = Codec::from_wire_id(header.container.wire_id())
    {
        return codec;
    }
    match head {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Codec::Zstd,
        [0x04, 0x22, 0x4d, 0x18, ..] => Codec::Lz4,
        [0x1f, 0x8b, ..] => Codec::Gzip,
        [0x89, b'L', b'Z', b'O', 0, b'\r', b'\n', 0x1a, b'\n', ..] => Codec::Lzo,
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let name = path.as_os_str().to_string_lossy();
            let container = Container::from_name(name.trim_end_matches(OPEN_SUFFIX));
            if container == Container::Lz4 { Codec::Lz4 } else { Codec::Zstd }
        }
        _ => Codec::None,
    }
}

/// Whether a file of ours holds records of datagrams.
pub(super) fn has_records(head: &[u8]) -> bool {
    let datagram = Encoding::Datagram.wire_id();
    glance(head).is_some_and(|header| header.encoder == datagram)
}

/// Whether it is, or may be, a container file of Avro's.
pub(super) fn is_container(head: &[u8]) -> bool {
    avro::begins(head)
}

pub(super) fn plain_name(path: &Path) -> bool {
    let name = path.as_os_str().to_string_lossy();
    Container::from_name(name.trim_end_matches(OPEN_SUFFIX)) == Container::Plain
}

pub(super) fn is_open(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(OPEN_SUFFIX)
}
