//! What stands for lzo in a build without the feature of that name: its row, and a clear no.

use std::io::{self, Read};

use crate::codec::{Around, Codec, CompressorKind};

/// None of its parts is asked for, but the one that reads files.
pub const KIND: CompressorKind = CompressorKind {
    codec: Codec::Lzo,
    name: "lzo",
    aliases: &["lzop"],
    summary: "lzop's files: not in this build",
    levels: None,
    level_default: 1,
    around: Around::NOTHING,
    build: |_| unreachable!("what is absent has no name in a configuration"),
    decompressor: || unreachable!("its files have no headers that tell of it"),
    stream: |_| Box::new(Absent),
};

struct Absent;

impl Read for Absent {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let why = "this flumen was built without its feature `lzo`: read it with lzop -dc";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }
}
