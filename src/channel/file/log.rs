//! The log: segments one behind the other in one or several directories, written at their end only.
//!
//! ```text
//!   dirs[0]/segment.000000000007   │state│batch│batch│state│batch│ …   the oldest one
//!   dirs[1]/segment.000000000008   │state│batch│ …
//!   dirs[0]/segment.000000000009   │state│batch│ ◀── end              written now
//! ```
//! Every segment begins with a state: what was delivered when it was begun, and which batch comes
//! first in it. A batch stands for ever where it was written, with one exception: after a failed
//! sync those not known to be on the disk are written again to the next segment, and whatever the
//! older one has from that number on counts no more. Nothing else is needed to read a log.
//!
//! Threading: the keeper owns it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::delivered::Delivered;
use super::record::{self, COUNT_MAX, FRAME, HEAD_BYTES, Head, Kind};
use super::wrap::{Wrapper, Wrapping, stands_behind_head};
use crate::event::{Outline, Page};
use crate::limits::usize_of;
use crate::storage::{DiskFile, write_all_at, write_all_parts_at};

/// Batches up to this size are copied behind their head and written as one piece.
pub(super) const PACKED_BYTES_MAX: usize = 32 << 10;
/// Kept free at the end of a segment for states: delivery goes on when the disk is full.
pub(super) const STATE_ROOM: u64 = 256 << 10;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: Arc<Path>,
    /// The batches it was begun with and ends before.
    pub(super) first_seq: u64,
    pub(super) end_seq: u64,
    /// What had been put before its first batch.
    pub(super) events_before: u64,
    pub(super) bytes_before: u64,
    /// Its length as far as anybody needs to read.
    pub(super) bytes: u64,
    /// Something in it could not be read: it is set aside, not removed.
    pub(super) damaged: bool,
}

/// What was put since the log began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Put {
    /// Number of the next batch.
    pub(super) seq: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
}

pub(super) struct Log {
    /// The channel's random number.
    pub(super) id: u64,
    pub(super) dirs: Vec<PathBuf>,
    pub(super) segments: VecDeque<Segment>,
    /// The file of the last segment; none while there is nothing to write to.
    pub(super) file: Option<Arc<dyn DiskFile>>,
    pub(super) put: Put,
    /// Batches below are known to be on the disk.
    pub(super) synced: u64,
    pub(super) segment_bytes: u64,
    /// Memory aligned to frames, for heads and small records.
    scratch: Page,
    wrapper: Wrapper,
    /// Of all segments.
    bytes: u64,
    /// Behind the newest state of the current segment.
    state_end: u64,
}

/// A record that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) place: Place,
    pub(super) record_bytes: u64,
}

/// What a record of the kind says: `synced` and `put` as u64, then what was delivered.
pub(super) struct State {
    pub(super) synced: u64,
    /// All that was put when it was written, also what is to be written again behind it: numbers
    /// below are taken.
    pub(super) put: Put,
    pub(super) delivered: Delivered,
}

const STATE_FIXED_BYTES: usize = 32;

impl State {
    fn encoded_bytes(delivered: &Delivered) -> usize {
        STATE_FIXED_BYTES + delivered.encoded_bytes()
    }

    fn encode(synced: u64, put: Put, delivered: &Delivered, out: &mut [u8]) {
        let (front, rest) = out.split_at_mut(STATE_FIXED_BYTES);
        let values = [synced, put.seq, put.events, put.bytes];
        for (own, value) in front.chunks_mut(8).zip(values) {
            own.copy_from_slice(&value.to_le_bytes());
        }
        delivered.encode(rest);
    }

    pub(super) fn decode(raw: &[u8]) -> Option<Self> {
        let (fixed, rest) = raw.split_first_chunk::<STATE_FIXED_BYTES>()?;
        let long = |at: usize| {
            u64::from_le_bytes(*fixed[8 * at..].first_chunk().expect("32 bytes hold 4 × 8"))
        };
        if (0..4).any(|at| long(at) > COUNT_MAX) {
            return None;
        }
        let put = Put { seq: long(1), events: long(2), bytes: long(3) };
        Some(Self { synced: long(0), put, delivered: Delivered::decode(rest)? })
    }
}

impl Log {
    pub(super) fn new(
        id: u64,
        dirs: Vec<PathBuf>,
        segments: VecDeque<Segment>,
        put: Put,
        segment_bytes: u64,
        wrapping: Wrapping,
    ) -> Self {
        Self {
            id,
            dirs,
            file: None,
            put,
            synced: put.seq,
            segment_bytes,
            scratch: Page::new(STATE_ROOM as usize),
            wrapper: Wrapper::new(wrapping),
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            state_end: 0,
            segments,
        }
    }

    /// The number and directory of the segment to come.
    pub(super) fn next_segment(&self) -> (u64, PathBuf) {
        let number = self.segments.back().map_or(0, |last| last.number + 1);
        let dir = &self.dirs[(number % self.dirs.len() as u64) as usize];
        (number, dir.join(name_of(number)))
    }

    pub(super) fn current(&self) -> &Segment {
        self.segments.back().expect("asked only when there is a file to write to")
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a batch of this size still goes into the current segment.
    pub(super) fn has_room(&self, record_bytes: u64) -> bool {
        let room = self.segment_bytes - STATE_ROOM;
        self.file.is_some() && {
            let current = self.current();
            // Whatever its size, one batch goes into an empty segment.
            current.bytes + record_bytes <= room || current.end_seq == current.first_seq
        }
    }

    /// Bytes that a page will take at most.
    pub(super) fn record_bytes(page: &Page) -> u64 {
        let (front, back) = page.frames();
        let packed = HEAD_BYTES + page.outline().body_bytes();
        if packed <= PACKED_BYTES_MAX {
            return packed.next_multiple_of(FRAME) as u64;
        }
        (FRAME + front.len() + back.len()) as u64
    }

    /// Begins the next segment: its first record is the state.
    pub(super) fn begin(
        &mut self,
        number: u64,
        path: Arc<Path>,
        file: Arc<dyn DiskFile>,
        first: Put,
        delivered: &Delivered,
    ) -> io::Result<()> {
        let bytes = self.write_state(&*file, number, 0, first, delivered)?;
        // What older segments have from here on was written again, or never promised.
        self.segments.iter_mut().for_each(|older| older.end_seq = older.end_seq.min(first.seq));
        self.put = first;
        self.bytes += bytes;
        self.state_end = bytes;
        self.segments.push_back(Segment {
            number,
            path,
            first_seq: first.seq,
            end_seq: first.seq,
            events_before: first.events,
            bytes_before: first.bytes,
            bytes,
            damaged: false,
        });
        self.file = Some(file);
        Ok(())
    }

    /// Appends a batch; on error nothing has changed, and the same may be tried again.
    pub(super) fn append(&mut self, page: &Page) -> io::Result<Written> {
        let file = Arc::clone(self.file.as_ref().expect("there is room"));
        let (segment, offset) = (self.current().number, self.current().bytes);
        let (log, put) = (self.id, self.put);
        let fill = |head| Head {
            log,
            segment,
            seq: put.seq,
            events_before: put.events,
            bytes_before: put.bytes,
            ..head
        };
        let outline = page.outline();
        let record_bytes = if !self.wrapper.is_none() {
            let (head, payload) = self.wrapper.wrap(page, fill);
            let stored = usize_of(head.stored_bytes);
            match stands_behind_head(stored) {
                true => write_packed(
                    &mut self.scratch,
                    &*file,
                    offset,
                    head,
                    [&payload[..stored], &[]],
                )?,
                false => write_spread(&mut self.scratch, &*file, offset, head, [payload, &[]])?,
            }
        } else if HEAD_BYTES + outline.body_bytes() <= PACKED_BYTES_MAX {
            let crc = record::payload_crc(page.used(), page.slot_image());
            let head = fill(Head::packed(Kind::Batch, outline, outline.body_bytes()));
            let parts = [page.used(), page.slot_image()];
            let head = Head { payload_crc: crc, ..head };
            write_packed(&mut self.scratch, &*file, offset, head, parts)?
        } else {
            let (front, back) = page.frames();
            let crc = record::payload_crc(page.used(), page.slot_image());
            let head = fill(Head::spread(outline, (front.len(), back.len())));
            let head = Head { payload_crc: crc, ..head };
            write_spread(&mut self.scratch, &*file, offset, head, [front, back])?
        };
        self.put.seq += 1;
        self.put.events += u64::from(outline.events);
        self.put.bytes += outline.event_bytes;
        self.grow(record_bytes).end_seq = put.seq + 1;
        Ok(Written { place: Place { segment, offset }, record_bytes })
    }

    fn grow(&mut self, record_bytes: u64) -> &mut Segment {
        self.bytes += record_bytes;
        let current = self.segments.back_mut().expect("there is a file");
        current.bytes += record_bytes;
        current
    }

    /// Appends what was delivered so far; false when there is no room for it here.
    pub(super) fn append_state(&mut self, delivered: &Delivered) -> io::Result<bool> {
        let Some(file) = self.file.clone() else { return Ok(false) };
        let (number, offset) = (self.current().number, self.current().bytes);
        let payload = State::encoded_bytes(delivered);
        let bytes = (HEAD_BYTES + payload).next_multiple_of(FRAME) as u64;
        if offset + bytes > self.segment_bytes {
            return Ok(false);
        }
        let written = self.write_state(&*file, number, offset, self.put, delivered)?;
        self.state_end = self.grow(written).bytes;
        Ok(true)
    }

    /// What a start would have to verify: it takes the newest state's word for what is before it.
    pub(super) fn bytes_since_state(&self) -> u64 {
        self.file.as_ref().map_or(0, |_| self.current().bytes - self.state_end)
    }

    fn write_state(
        &mut self,
        file: &dyn DiskFile,
        segment: u64,
        offset: u64,
        next: Put,
        delivered: &Delivered,
    ) -> io::Result<u64> {
        let payload = State::encoded_bytes(delivered);
        let whole = (HEAD_BYTES + payload).next_multiple_of(FRAME);
        assert!(whole <= STATE_ROOM as usize, "receipts bound the ranges");
        let scratch = &mut self.scratch.spare_mut()[..whole];
        State::encode(
            self.synced,
            self.put,
            delivered,
            &mut scratch[HEAD_BYTES..HEAD_BYTES + payload],
        );
        scratch[HEAD_BYTES + payload..].fill(0);
        let mut head = Head {
            log: self.id,
            segment,
            seq: next.seq,
            events_before: next.events,
            bytes_before: next.bytes,
            payload_crc: record::payload_crc(&scratch[HEAD_BYTES..HEAD_BYTES + payload], &[]),
            ..Head::packed(Kind::State, Outline::default(), payload)
        };
        self.wrapper.sign(&mut head);
        scratch[..HEAD_BYTES].copy_from_slice(&head.encode());
        write_all_at(file, offset, scratch)?;
        Ok(whole as u64)
    }

    /// The first segment from a number on that has this batch, or later ones.
    pub(super) fn segment_with(&self, seq: u64, from: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.end_seq > seq && segment.number >= from)
    }

    /// It could not be removed.
    pub(super) fn put_back(&mut self, segment: Segment) {
        let at = self.segments.partition_point(|other| other.number < segment.number);
        self.bytes += segment.bytes;
        self.segments.insert(at, segment);
    }

    /// Some segment is needed no more.
    pub(super) fn has_finished(&self, delivered: &Delivered) -> bool {
        let older = self.segments.iter().rev().skip(1);
        older.into_iter().any(|it| delivered.covers(&(it.first_seq..it.end_seq)))
    }

    /// Batches that were on the disk could not be read: their segments are worth a look.
    pub(super) fn mark_damaged(&mut self, batches: std::ops::Range<u64>) {
        let overlaps = |it: &Segment| it.first_seq < batches.end && batches.start < it.end_seq;
        for segment in self.segments.iter_mut().filter(|it| overlaps(it)) {
            segment.damaged = true;
        }
    }

    /// Takes out a segment that nobody needs any more; never the one that is written.
    pub(super) fn take_finished(&mut self, delivered: &Delivered) -> Option<Segment> {
        let last = self.segments.len().checked_sub(1)?;
        let done = |segment: &Segment| delivered.covers(&(segment.first_seq..segment.end_seq));
        let at = self.segments.iter().take(last).position(done)?;
        let segment = self.segments.remove(at)?;
        self.bytes -= segment.bytes;
        Some(segment)
    }
}

/// Writes a record in one piece: the parts copied behind their head.
fn write_packed(
    scratch: &mut Page,
    file: &dyn DiskFile,
    offset: u64,
    head: Head,
    parts: [&[u8]; 2],
) -> io::Result<u64> {
    let whole = &mut scratch.spare_mut()[..usize_of(head.record_bytes)];
    whole[..HEAD_BYTES].copy_from_slice(&head.encode());
    let mut at = HEAD_BYTES;
    for part in parts {
        whole[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    whole[at..].fill(0);
    write_all_at(file, offset, whole)?;
    Ok(u64::from(head.record_bytes))
}

/// Writes a record of whole frames from where they lie, behind a frame with its head.
fn write_spread(
    scratch: &mut Page,
    file: &dyn DiskFile,
    offset: u64,
    head: Head,
    frames: [&[u8]; 2],
) -> io::Result<u64> {
    let own = &mut scratch.spare_mut()[..FRAME];
    own[..HEAD_BYTES].copy_from_slice(&head.encode());
    own[HEAD_BYTES..].fill(0);
    let [front, back] = frames;
    let mut parts = [IoSlice::new(own), IoSlice::new(front), IoSlice::new(back)];
    write_all_parts_at(file, offset, &mut parts)?;
    Ok(u64::from(head.record_bytes))
}

const PREFIX: &str = "segment.";

/// `segment.000000000042`
pub(super) fn name_of(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

/// The number in a segment's name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let plain = digits.len() >= 12 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = plain.then(|| digits.parse().ok()).flatten()?;
    (number <= COUNT_MAX).then_some(number)
}
