//! Whether the blocks of a file are chained as they were written: see `storage::chain`.
//!
//! A [`Follower`] is told each block of a file in order, and names the first that does not follow
//! from the one before it. After it, it goes on with what that block says, so that one place is
//! named once. What is damaged anyway is named by its checksums, and followed from behind it.

use std::io;

use crate::storage::block::decode_whole;
use crate::storage::chain::{self, Hash, Link};
use crate::storage::fields::{SEAL, find};
use crate::storage::seal::Seal;
use crate::storage::segment::BlockEntry;
use crate::storage::{ReadAt, read_full_at};

/// What a block says of its file's chain; its own bytes are as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    pub link: Link,
    pub seal: Option<Seal>,
}

/// How the chain of a file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its blocks have no hashes.
    Unchained,
    /// There is no seal: it is being written, a crash ended it, or its end was cut off.
    Unsealed,
    /// With this seal, in the segment of this number.
    Sealed { seal: Seal, segment_id: u64 },
}

/// Follows the chain of one file.
#[derive(Default)]
pub struct Follower {
    before: Before,
    /// Whether its blocks have hashes; None before the first.
    chained: Option<bool>,
    /// Something was missing or bad: the seal tells of more than was seen.
    broken: bool,
    events: u64,
    seal: Option<(Seal, u64)>,
}

/// What the next block follows from.
#[derive(Default)]
enum Before {
    #[default]
    Start,
    Unknown,
    Block {
        link: Link,
        end: u64,
    },
}

/// The seal that a block holds, as it stands there.
pub fn seal_in(file: &dyn ReadAt, entry: &BlockEntry) -> io::Result<Option<Seal>> {
    if entry.event_count > 0 {
        return Ok(None);
    }
    let mut frame = vec![0; entry.header_bytes as usize];
    let read = read_full_at(file, entry.offset, &mut frame)?;
    let fields = decode_whole(&frame[..read]).ok().and_then(|(_, fields)| find(fields, SEAL));
    Ok(fields.and_then(Seal::decode))
}

impl Linked {
    /// Of a block whose header frame is whole and has these fields; or what is wrong with it.
    pub(super) fn read(frame: &[u8], fields: &[u8], data: &[u8]) -> Result<Option<Self>, String> {
        let link = chain::read(frame, data).map_err(|error| error.to_string())?;
        let seal = match find(fields, SEAL).map(Seal::decode) {
            Some(None) => return Err("its seal is of a kind that is not known".to_owned()),
            Some(seal) => seal,
            None => None,
        };
        match (link, seal) {
            (None, Some(_)) => Err("a seal without a chain".to_owned()),
            (link, seal) => Ok(link.map(|link| Self { link, seal })),
        }
    }
}

impl Follower {
    /// The next block, which is whole; or why it does not belong here.
    pub fn block(&mut self, entry: &BlockEntry, linked: Option<Linked>) -> Option<String> {
        let contiguous = match &self.before {
            Before::Start => entry.offset == 0,
            Before::Unknown => false,
            Before::Block { end, .. } => entry.offset == *end,
        };
        if !contiguous {
            // What stands between is named as a gap, or as a bad block.
            self.bad();
        }
        let why = match &linked {
            Some(linked) => self.misplaced(linked),
            None => (self.chained == Some(true))
                .then(|| "it has no hash, as the blocks before it have".to_owned()),
        };
        self.broken |= why.is_some();
        self.chained = Some(linked.is_some() || self.chained == Some(true));
        self.events += u64::from(entry.event_count);
        self.before = Before::Unknown;
        if let Some(Linked { link, seal }) = linked {
            self.before = Before::Block { link, end: entry.end_offset() };
            if let Some(seal) = seal {
                self.seal = Some((seal, link.segment_id));
            }
        }
        why
    }

    /// The next block is bad, and that is told.
    pub fn bad(&mut self) {
        self.before = Before::Unknown;
        self.broken = true;
    }

    /// There is no block any more.
    pub fn end(&self) -> End {
        match &self.seal {
            _ if self.chained != Some(true) => End::Unchained,
            Some((seal, segment_id)) => End::Sealed { seal: seal.clone(), segment_id: *segment_id },
            None => End::Unsealed,
        }
    }

    fn misplaced(&self, linked: &Linked) -> Option<String> {
        let link = &linked.link;
        if self.chained == Some(false) {
            return Some("it has a hash, and the blocks before it have none".to_owned());
        }
        if self.seal.is_some() {
            return Some("it stands behind the seal".to_owned());
        }
        let (before, expected) = match &self.before {
            Before::Unknown => return None,
            Before::Start => (Hash::START, 0),
            Before::Block { link: last, .. } if last.segment_id != link.segment_id => {
                return Some("it is a block of another file".to_owned());
            }
            Before::Block { link: last, .. } => (last.value, last.sequence + 1),
        };
        if link.sequence != expected {
            let found = link.sequence;
            return Some(format!("it is block {found} and stands where {expected} belongs"));
        }
        if chain::next(&before, link.segment_id, link.sequence, &link.hash) != link.value {
            return Some(match expected {
                0 => "it is not the first block that was written".to_owned(),
                _ => "it does not follow from the block before it: one of the two was altered, \
                      or what stood between them is gone"
                    .to_owned(),
            });
        }
        let seal = linked.seal.as_ref()?;
        let (blocks, events) = (seal.blocks, seal.events);
        let of_these = blocks == link.sequence && seal.value == before;
        let whole = self.broken || events == self.events;
        (!of_these || !whole)
            .then(|| format!("the seal is of another file, of {blocks} blocks, {events} events"))
    }
}
