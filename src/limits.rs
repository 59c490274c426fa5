//! Every bound in the program, each with its reason; const asserts tie neighbours together.

/// One batch: big enough to amortise a hand-over, small enough for a few to live in a 2 MiB cache.
pub const BATCH_BYTES_DEFAULT: usize = 1 << 20;
pub const BATCH_BYTES_MIN: usize = 64 << 10;
/// A slot's origin index is a u16, and 1 MiB holds exactly 65,536 slots.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Header room in front of a page, so that a durable channel can write it with O_DIRECT.
pub const PAGE_HEADER_BYTES: usize = 4096;

/// The longest datagram, that of IPv6; of IPv4 it is 65,507.
pub const DATAGRAM_BYTES_MAX: usize = 65_527;

/// The longest event; longer ones are split. Any datagram is whole.
pub const EVENT_BYTES_DEFAULT: usize = 64 << 10;
pub const EVENT_BYTES_MIN: usize = 64;
/// A whole event, its carry and a read must fit into one page.
pub const EVENT_BYTES_MAX: usize = 256 << 10;

/// A block of an Avro container file. Writers end theirs at 16 KiB to a few MiB; one is held whole,
/// stored and unpacked, and has room for the longest event.
pub const AVRO_BLOCK_BYTES_MIN: u64 = 2 * EVENT_BYTES_MAX as u64;
pub const AVRO_BLOCK_BYTES_MAX: u64 = 256 << 20;

/// Headers of one event, its origin's labels among them: what HTTP servers take, and no more.
pub const HEADERS_BYTES_MAX: usize = 16 << 10;

/// Sleepers on one bell are bits of a u64.
pub const SLEEPERS_MAX: usize = 64;

/// Threads of one source or sink: a part with more would not fit a bell beside its neighbours.
pub const THREADS_MAX: usize = 32;

/// A lingering partial batch: while the sink is busy a source fills for this long at least.
pub const LINGER_NS: u64 = 1_000_000;

/// While its sink moves, a source whose senders can wait keeps no more than this in a channel: an
/// ordinary cache of the last level holds it, and a sink is never without work.
pub const BACKLOG_BYTES: usize = 16 << 20;

/// The largest pipe an ordinary user can have (fs.pipe-max-size).
pub const PIPE_BYTES_MAX: u64 = 1 << 20;

/// Receipts a block can carry; a block that would carry more is closed.
pub const BLOCK_RECEIPTS_MAX: usize = 64;

/// Receipts of a source thread: batches that wait for their mark at once. A sync takes some
/// milliseconds, in which a thread offers a few dozen small batches at most.
pub const RECEIPTS: usize = 256;

/// Connections times batches whose messages wait to be acknowledged, a thread: above it nobody is
/// read who would have to be added. 10,000 connections in six batches each.
pub const ACKS_WAITING_MAX: usize = 64 << 10;

/// Syncs that receipts ask for are at least so far apart, so that many share one; unless as many
/// events wait as senders may send without an answer.
pub const COMMIT_APART_NS: u64 = 2_000_000;

/// Fewer events are not worth a block of their own before that time: each costs a header and an
/// index entry of 112 bytes, and compresses by itself.
pub const COMMIT_EVENTS_MIN: u64 = 64;

/// Decoded bytes of a block, four times what `block.bytes` allows: what a reader believes a header
/// before it makes room.
pub const BLOCK_RAW_BYTES_MAX: usize = 64 << 20;
/// A header frame with all its optional fields: as far as a reader follows a length in a lead.
pub const BLOCK_HEADER_BYTES_MAX: usize = 16 << 20;
/// What a block header says of its events' times and peers: with the header and its other fields it
/// fits a gzip extra field, which ends at 64 KiB. A block whose events need more is ended.
pub const META_BYTES_MAX: usize = 48 << 10;
/// Peers of one block: what the table that numbers them has room for.
pub const META_PEERS_MAX: usize = 2048;

/// Dirty files that are synced one by one; above it one sync of their file system is cheaper
/// (ten thousand fdatasync take seconds, one syncfs tenths of one), though it also writes what
/// others have there.
pub const FILES_SYNCED_SINGLY_MAX: usize = 64;

/// A request head (line and fields): what common servers take, and no more per connection.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;

/// Connections to the admin endpoint. A scraper, a balancer and some browsers need a dozen; above
/// it the one that has been silent longest is closed, so that a new one always gets in.
pub const ADMIN_CONNECTIONS_MAX: usize = 128;

const _: () = assert!(BATCH_BYTES_MIN >= 2 * PAGE_HEADER_BYTES);
const _: () = assert!(BATCH_BYTES_MAX / 16 <= 1 << 16, "origin index is a u16");
const _: () = assert!(EVENT_BYTES_DEFAULT >= DATAGRAM_BYTES_MAX);
const _: () = assert!(EVENT_BYTES_MAX * 4 <= BATCH_BYTES_MAX);
const _: () = assert!(2 * THREADS_MAX <= SLEEPERS_MAX);

/// A length that is known to fit a u32 because every page and block is smaller than 4 GiB.
#[track_caller]
pub fn u32_of(value: usize) -> u32 {
    u32::try_from(value).expect("pages and blocks are smaller than 4 GiB")
}

/// An index or length as usize; lossless on every platform we build for.
pub const fn usize_of(value: u32) -> usize {
    value as usize
}
