//! A second reader, written from `src/manual/formats.md` alone: what the page says is in the file
//! is in the file. It shares no code with the first one.

use crate::harness::{Agent, SYSLOG_TO_FILE};
use crate::peers::texts;
use std::io::Write;
use std::net::TcpStream;

const COUNT: usize = 3000;

/// A walk over a file's bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    /// The payload of the frame that stock tools skip, from the page's table.
    fn hidden(&mut self, suffix: &str) -> &'a [u8] {
        if suffix == ".gz" {
            assert_eq!(self.take(10), [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff]);
            let extra = usize::from(u16::from_le_bytes(self.take(2).try_into().unwrap()));
            assert_eq!(self.take(2), b"FL");
            let length = usize::from(u16::from_le_bytes(self.take(2).try_into().unwrap()));
            assert_eq!(extra, length + 4);
            let payload = self.take(length);
            assert_eq!(self.take(10), [3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            payload
        } else {
            assert_eq!(self.take(4), [0x5b, 0x2a, 0x4d, 0x18]);
            let length = self.u32() as usize;
            self.take(length)
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn crc32c(bytes: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(crc).unwrap()
}

/// One block as the header has it, and where it stands.
struct Block {
    offset: u64,
    header_frame_bytes: u32,
    header: Vec<u8>,
}

fn check_block(header: &[u8], data: &[u8], codec: u8, sequence: usize, segment: u64) {
    assert_eq!(&header[..4], b"FLMB");
    assert_eq!(header[4..8], [1, codec, 0, 0], "version, codec, encoder raw, reserved");
    assert_eq!(u64_at(header, 8), segment);
    assert_eq!(u64_at(header, 16), sequence as u64);
    assert!(u64_at(header, 40) <= u64_at(header, 48), "time min, time max");
    assert_eq!(u32_at(header, 60), crc32c(data), "the stored bytes");
    let mut covered = header[..64].to_vec();
    covered.extend_from_slice(&header[68..]);
    assert_eq!(u32_at(header, 64), crc32c(&covered), "the header");
    assert_eq!(u32_at(header, 36) as usize, header.len() - 68, "optional fields");
}

/// All blocks, then the index parts, both compared; returns where the index ends.
fn check_file(bytes: &[u8], suffix: &str, codec: u8) -> (Vec<Block>, usize, usize) {
    let mut reader = Reader { bytes, at: 0 };
    let mut blocks: Vec<Block> = Vec::new();
    let (mut listed, mut index_at) = (0, 0);
    while reader.at < bytes.len() {
        let offset = reader.at;
        let payload = reader.hidden(suffix);
        if payload.starts_with(b"FLMB") {
            let segment = u64_at(blocks.first().map_or(payload, |first| &first.header), 8);
            let header_frame_bytes = u32::try_from(reader.at - offset).unwrap();
            let data = reader.take(u32_at(payload, 32) as usize);
            check_block(payload, data, codec, blocks.len(), segment);
            let header = payload.to_vec();
            blocks.push(Block { offset: offset as u64, header_frame_bytes, header });
            continue;
        }
        index_at = if listed == 0 { offset } else { index_at };
        listed += check_index(payload, &blocks, listed, codec);
        let index_bytes = u32_at(payload, payload.len() - 12) as usize;
        if listed == blocks.len() {
            assert_eq!(index_bytes, reader.at - index_at, "length of the whole index");
            return (blocks, index_at, reader.at);
        }
    }
    panic!("no index ends the file");
}

/// One index part against the headers; how many blocks it lists.
fn check_index(payload: &[u8], blocks: &[Block], first: usize, codec: u8) -> usize {
    assert_eq!(&payload[..4], b"FLMI");
    assert_eq!(payload[4..8], [1, codec, 48, 0], "version, codec, entry bytes");
    assert_eq!(u64_at(payload, 8), u64_at(&blocks[0].header, 8), "segment id");
    assert_eq!(u32_at(payload, 16) as usize, first);
    let count = u32_at(payload, 20) as usize;
    assert_eq!(u32_at(payload, 24) as usize, blocks.len());
    for (entry, block) in payload[32..].chunks_exact(48).zip(&blocks[first..first + count]) {
        assert_eq!(u64_at(entry, 0), block.offset);
        assert_eq!(u32_at(entry, 8), block.header_frame_bytes);
        // (offset in the entry, offset in the header)
        for (ours, theirs) in [(12, 32), (16, 28), (20, 24), (40, 56)] {
            assert_eq!(u32_at(entry, ours), u32_at(&block.header, theirs));
        }
        for (ours, theirs) in [(24, 40), (32, 48)] {
            assert_eq!(u64_at(entry, ours), u64_at(&block.header, theirs));
        }
        assert_eq!(entry[44], block.header[6], "encoder");
    }
    let tail = payload.len() - 8;
    assert_eq!(tail + 8, 32 + count * 48 + 12, "nothing else in the payload");
    assert_eq!(u32_at(payload, tail), crc32c(&payload[..tail]));
    assert_eq!(&payload[tail + 4..], b"FLMI");
    count
}

/// Two lots of lines, a block each at the least; the bytes of the finished file.
fn written(codec: &str, suffix: &str) -> Vec<u8> {
    let agent = Agent::start(&SYSLOG_TO_FILE.replace(r#""zstd""#, &format!("{codec:?}")));
    let texts = texts(COUNT);
    for (half, lot) in texts.chunks(COUNT / 2).enumerate() {
        let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
        stream.write_all((lot.join("\n") + "\n").as_bytes()).unwrap();
        agent.wait_for(((half + 1) * COUNT / 2) as u64);
    }
    let ended = agent.stop().well();
    std::fs::read(ended.dir.path().join(format!("out.log{suffix}"))).unwrap()
}

fn check(codec: &str, suffix: &str, number: u8) -> (Vec<u8>, Vec<Block>, usize, usize) {
    let bytes = written(codec, suffix);
    let (blocks, index_at, end) = check_file(&bytes, suffix, number);
    assert!(blocks.len() >= 2, "two lots were two blocks at the least");
    let events: u32 = blocks.iter().map(|block| u32_at(&block.header, 24)).sum();
    assert_eq!(events as usize, COUNT);
    let raw: u32 = blocks.iter().map(|block| u32_at(&block.header, 28)).sum();
    assert_eq!(raw as usize, texts(COUNT).iter().map(|text| text.len() + 1).sum::<usize>());
    (bytes, blocks, index_at, end)
}

/// zstd: behind the index stands the public seek table, which covers every frame before it.
#[test]
fn a_zstd_file_is_as_the_page_says() {
    let (bytes, blocks, index_at, end) = check("zstd", ".zst", 3);
    let mut reader = Reader { bytes: &bytes, at: end };
    assert_eq!(reader.take(4), [0x5e, 0x2a, 0x4d, 0x18]);
    let length = reader.u32() as usize;
    let frames = 2 * blocks.len() + 1;
    assert_eq!(length, frames * 8 + 9);
    let entries: Vec<(u32, u32)> = (0..frames).map(|_| (reader.u32(), reader.u32())).collect();
    for (index, block) in blocks.iter().enumerate() {
        assert_eq!(entries[2 * index], (block.header_frame_bytes, 0));
        let data = (u32_at(&block.header, 32), u32_at(&block.header, 28));
        assert_eq!(entries[2 * index + 1], data);
    }
    assert_eq!(entries[frames - 1], (u32::try_from(end - index_at).unwrap(), 0));
    assert_eq!(reader.u32() as usize, frames);
    assert_eq!(reader.take(1), [0]);
    assert_eq!(reader.u32(), 0x8F92_EAB1);
    assert_eq!(reader.at, bytes.len());
}

#[test]
fn a_gzip_file_is_as_the_page_says() {
    let (bytes, _, _, end) = check("gzip", ".gz", 1);
    assert_eq!(end, bytes.len());
}

#[test]
fn an_lz4_file_is_as_the_page_says() {
    let (bytes, _, _, end) = check("lz4", ".lz4", 2);
    assert_eq!(end, bytes.len());
}
