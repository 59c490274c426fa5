//! Reading a segment: from record to record, over whatever is damaged.
//!
//! Where no record begins that belongs here, the next whole frame is tried, and so on: nothing an
//! event contains can be taken for one, for it would have to know the log's random number.

use std::io;

use super::log::State;
use super::record::{self, Damage, FRAME, Head, Kind};
use super::wrap::Unwrapper;
use crate::event::Page;
use crate::limits::usize_of;
use crate::storage::{ReadAt, read_full_at};

/// Which records of a file are meant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The channel's number; none takes the first record's.
    pub(super) log: Option<u64>,
    pub(super) segment: u64,
}

/// Something found on the way through a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) offset: u64,
    pub(super) head: Head,
    /// Frames in front of it in which no record begins.
    pub(super) skipped_bytes: u64,
}

impl Step {
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::from(self.head.record_bytes)
    }
}

/// The next record from `from` on, which ends before `limit`.
pub(super) fn next(
    file: &dyn ReadAt,
    from: u64,
    limit: u64,
    wanted: Wanted,
) -> io::Result<Option<Step>> {
    let mut raw = [0; record::HEAD_BYTES];
    let mut offset = from;
    while offset + FRAME as u64 <= limit {
        let read = read_full_at(file, offset, &mut raw)?;
        if let Ok(head) = Head::decode(&raw[..read])
            && wanted.log.is_none_or(|log| log == head.log)
            && wanted.segment == head.segment
            && offset + u64::from(head.record_bytes) <= limit
        {
            return Ok(Some(Step { offset, head, skipped_bytes: offset - from }));
        }
        offset += FRAME as u64;
    }
    Ok(None)
}

/// Why a record could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Damaged(#[from] Damage),
}

/// Brings a batch into a page, which has room for the largest.
pub(super) fn read_batch(
    file: &dyn ReadAt,
    step: &Step,
    page: &mut Page,
    unwrapper: &mut Unwrapper,
) -> Result<(), ReadError> {
    let Step { offset, head, .. } = step;
    if head.kind != Kind::Batch {
        return Err(Damage::Contradiction.into());
    }
    let (bytes, slots) = page.image_mut(&head.outline).ok_or(Damage::Contradiction)?;
    let payload_at = offset + u64::from(head.payload_at);
    if head.is_plain() {
        read_exactly(file, payload_at, bytes)?;
        read_exactly(file, offset + u64::from(head.slots_at), slots)?;
        if record::payload_crc(bytes, slots) != head.payload_crc {
            return Err(Damage::Payload.into());
        }
    } else {
        let stored = unwrapper.stored_mut(head);
        read_exactly(file, payload_at, stored)?;
        if record::payload_crc(stored, &[]) != head.payload_crc {
            return Err(Damage::Payload.into());
        }
        unwrapper.unwrap(head, bytes, slots)?;
    }
    Ok(page.adopt(&head.outline).map_err(|_| Damage::Contradiction)?)
}

/// Whether a record's content is as its checksum says.
pub(super) fn verify(file: &dyn ReadAt, step: &Step) -> Result<(), ReadError> {
    let Step { offset, head, .. } = step;
    let plain = head.kind == Kind::Batch && head.is_plain();
    let (bytes, slots) = match plain {
        true => (usize_of(head.outline.tail), head.outline.slot_bytes()),
        false => (usize_of(head.stored_bytes), 0),
    };
    let (mut first, mut second) = (vec![0; bytes], vec![0; slots]);
    read_exactly(file, offset + u64::from(head.payload_at), &mut first)?;
    if plain {
        read_exactly(file, offset + u64::from(head.slots_at), &mut second)?;
    }
    match record::payload_crc(&first, &second) == head.payload_crc {
        true => Ok(()),
        false => Err(Damage::Payload.into()),
    }
}

/// What a state says.
pub(super) fn read_state(file: &dyn ReadAt, step: &Step) -> Result<State, ReadError> {
    let Step { offset, head, .. } = step;
    if head.kind != Kind::State {
        return Err(Damage::Contradiction.into());
    }
    let mut raw = vec![0; usize_of(head.stored_bytes)];
    read_exactly(file, offset + u64::from(head.payload_at), &mut raw)?;
    if record::payload_crc(&raw, &[]) != head.payload_crc {
        return Err(Damage::Payload.into());
    }
    Ok(State::decode(&raw).ok_or(Damage::Contradiction)?)
}

fn read_exactly(file: &dyn ReadAt, offset: u64, out: &mut [u8]) -> Result<(), ReadError> {
    match read_full_at(file, offset, out)? == out.len() {
        true => Ok(()),
        false => Err(Damage::Cut.into()),
    }
}
