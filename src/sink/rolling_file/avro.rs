//! The encoder `avro_event`: files are Avro's own, which any reader of Avro opens.

use crate::codec::Codec;
use crate::config::Section;
use crate::storage::avro::{MARKER_BYTES, Marker};

/// What has no meaning for such files is told. Says what ends each block: nobody who sends events
/// can know it.
pub(super) fn plan(section: &Section, codec: Codec) -> Marker {
    if codec.avro_name().is_none() {
        let what = format!("Avro has no codec `{codec}`, and what it compresses is inside");
        section.fail("codec", what, "write \"zstd\", \"gzip\" (Avro's deflate) or \"none\"");
    }
    if section.explicit("control") && section.text("control") != "keep" {
        let what = "`control` has no effect on the encoder `avro_event`: every byte is kept";
        section.warn("control", what, "leave it out");
    }
    for key in ["keep_meta", "tokens", "chain"].into_iter().filter(|key| section.flag(key)) {
        let what = format!("an Avro file has no room for `{key}`");
        section.fail(key, what, "leave it out, or take the encoder \"json\"");
    }
    let mut marker = [0; MARKER_BYTES];
    let mut filled = 0;
    while filled < MARKER_BYTES {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut marker[filled..], flags) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel has no random bytes: {error}"),
        }
    }
    marker
}
