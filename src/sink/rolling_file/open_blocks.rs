//! The open blocks of one thread of the keyed sink, and the keys it has met.
//!
//! A key keeps its slot, with the path rendered once, when its block goes: the next block of the
//! key finds both. Keys without an open block are forgotten when room for another is needed, the
//! one whose block went first before the others. So in steady state nothing is allocated, and
//! memory is bounded by chunks and slots, however many keys come.
//!
//! Nothing here looks at all blocks: the largest is found by lists of blocks with equally many
//! chunks, the oldest by a heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use super::ahead::{AHEAD, Ahead, Key};
use super::arena::{Arena, Chain};
use super::block::{Contents, Place};
use super::keys::Keys;
use super::path::Template;
use super::records::{self, RECORDS_MAX};
use crate::channel::Amount;
use crate::codec::encoders::Encoder;
use crate::event::Event;
use crate::limits::BLOCK_RECEIPTS_MAX;
use crate::memory::ReceiptSlip;
use crate::memory::gate::exempt;
use crate::storage::meta::{MetaCoder, Received};
use crate::time::{Mono, Now, Wall};

/// What a key costs: its slot, its place in table and heap, its text, and a path of 100 bytes.
pub(super) const KEY_BYTES: usize = 512;

/// Lists: keys without a block, then blocks by their chunks; the last has all that are larger.
const LISTS: usize = 66;
const NONE: u32 = u32::MAX;

/// What is decided at build.
pub(super) struct Bounds {
    /// Of all open blocks.
    pub(super) bytes: usize,
    /// Of one block, before compression.
    pub(super) block_bytes: usize,
    /// Of one encoded event.
    pub(super) event_bytes: usize,
    pub(super) keys: usize,
    /// How long an event may wait in its block.
    pub(super) patience: Duration,
    /// What senders cannot know and all threads of the sink share.
    pub(super) seed: u64,
}

pub(super) struct OpenBlocks {
    template: Arc<Template>,
    slice_ns: Option<i64>,
    bounds: Bounds,
    /// The keys of the events at hand.
    ahead: Ahead,
    by_key: Keys,
    slots: Vec<Slot>,
    lists: [List; LISTS],
    /// Blocks by age, and some that are gone: those whose turn is not their slot's any more.
    ages: BinaryHeap<Reverse<(Mono, u32, u32)>>,
    arena: Arena,
    /// One event, encoded.
    encoded: Vec<u8>,
    open: usize,
    due: Mono,
    /// Blocks that somebody waits for and has no other copy of, and some that are gone.
    awaited: Vec<u32>,
    /// Times and peers are kept: they stand in front of each event until its block goes.
    meta: Option<MetaCoder>,
}

/// A batch whose events are put.
pub(super) struct Deal<'a> {
    pub(super) number: u64,
    /// Its events wait since then.
    pub(super) since: Mono,
    /// Of each block that has events of it, somebody wants to hear.
    pub(super) slip: Option<&'a ReceiptSlip>,
    /// No log of the channel has it.
    pub(super) passes: bool,
}

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    Done,
    /// This block must go first.
    After(u32),
}

struct Slot {
    hash: u64,
    slice: i64,
    text: Box<[u8]>,
    place: Place,
    chain: Chain,
    events: u32,
    event_bytes: u64,
    passing: Amount,
    time_min: Wall,
    time_max: Wall,
    /// Those who wait for the block, and the last deal that one was taken of.
    slips: Vec<ReceiptSlip>,
    deal: u64,
    /// Stands in `awaited`.
    listed: bool,
    /// Counts the blocks of this slot.
    turn: u32,
    list: u8,
    before: u32,
    after: u32,
}

#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

impl OpenBlocks {
    pub(super) fn new(template: Arc<Template>, bounds: Bounds, meta: Option<MetaCoder>) -> Self {
        let slice = template.slice().map(|slice| slice.min(Duration::from_secs(900)));
        Self {
            template,
            slice_ns: slice.and_then(|slice| i64::try_from(slice.as_nanos()).ok()),
            ahead: Ahead::new(),
            by_key: Keys::new(bounds.keys),
            slots: Vec::with_capacity(bounds.keys),
            lists: [List { first: NONE, last: NONE }; LISTS],
            ages: BinaryHeap::with_capacity(2 * bounds.keys),
            arena: Arena::new(bounds.bytes),
            encoded: Vec::with_capacity(bounds.event_bytes),
            bounds,
            open: 0,
            due: Mono::MAX,
            awaited: Vec::new(),
            meta,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// When the oldest block is due, or earlier.
    pub(super) fn due(&self) -> Mono {
        self.due
    }

    /// Looks at the keys of `AHEAD` events at most, and fetches what those lead to that are ours.
    pub(super) fn look_ahead<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Event<'a>>,
        ours: impl Fn(usize) -> bool,
    ) {
        self.ahead.look(events, &self.template, self.slice_ns, self.bounds.seed);
        // Each step for all before the next: what is waited for is waited for together.
        let mut likely = [NONE; AHEAD];
        let hashes = self.ahead.hashes().filter(|hash| ours(share(*hash)));
        for (likely, hash) in likely.iter_mut().zip(hashes) {
            *likely = self.by_key.likely(hash);
        }
        let slots = || likely.iter().filter_map(|id| self.slots.get(*id as usize));
        let mut touched = 0;
        for Slot { hash, chain, events, time_max, text, .. } in slots() {
            touched ^= hash ^ chain.bytes as u64 ^ u64::from(*events) ^ time_max.0 as u64;
            touched ^= text.len() as u64;
        }
        for slot in slots() {
            touched ^= u64::from(slot.text.first().copied().unwrap_or(0));
            touched ^= self.arena.touch(&slot.chain);
        }
        black_box(touched);
    }

    /// Turns to one of those events; says a number by which threads share keys out.
    #[inline]
    pub(super) fn turn_to(&mut self, index: usize) -> usize {
        share(self.ahead.turn_to(index))
    }

    /// Takes the event turned to, unless a block must go first: its own is full, or the largest
    /// because there is no room for more.
    pub(super) fn put(&mut self, event: &Event<'_>, deal: &Deal<'_>, encoder: &dyn Encoder) -> Put {
        let known = self.known();
        self.encoded.clear();
        if self.meta.is_some() {
            let received = Received { at: event.at, peer: event.origin.peer };
            records::begin(&mut self.encoded, received);
            let record_bytes = self.encoded.len();
            encoder.encode_event(event, &mut self.encoded);
            records::ended(&mut self.encoded, record_bytes);
        } else {
            encoder.encode_event(event, &mut self.encoded);
        }
        if let Some(full) = self.in_the_way(known, deal) {
            return Put::After(full);
        }
        let id = known.unwrap_or_else(|| exempt(|| self.meet()));
        let opened = self.slots[id as usize].chain.is_empty();
        if opened {
            self.open(id, deal.since);
        }
        if let Some(slip) = deal.slip {
            self.wait_for(id, slip, deal.number);
        }
        let slot = &mut self.slots[id as usize];
        let chunks = slot.chain.chunks;
        self.arena.append(&mut slot.chain, &self.encoded);
        slot.events += 1;
        slot.event_bytes += event.bytes.len() as u64;
        if deal.passes {
            slot.passing.add(Amount { events: 1, bytes: event.bytes.len() as u64 });
        }
        slot.time_min = slot.time_min.min(event.at);
        slot.time_max = slot.time_max.max(event.at);
        if slot.chain.chunks != chunks {
            self.move_to_its_list(id);
        }
        Put::Done
    }

    /// The slot of the key at hand, if it is remembered.
    #[inline]
    fn known(&self) -> Option<u32> {
        let key = self.ahead.key();
        self.by_key.find(key.hash, |id| {
            let slot = &self.slots[id as usize];
            slot.hash == key.hash && slot.slice == key.slice && *slot.text == *key.text
        })
    }

    /// A block that goes at once, for somebody waits for it.
    pub(super) fn first_awaited(&mut self) -> Option<u32> {
        while let Some(id) = self.awaited.last().copied() {
            let slot = &mut self.slots[id as usize];
            if !slot.slips.is_empty() {
                return Some(id);
            }
            slot.listed = false;
            self.awaited.pop();
        }
        None
    }

    /// Somebody waits for a block, or did until it went.
    pub(super) fn is_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Takes a part of the batch's slip to the block, once.
    fn wait_for(&mut self, id: u32, slip: &ReceiptSlip, deal: u64) {
        let slot = &mut self.slots[id as usize];
        if slot.deal == deal && !slot.slips.is_empty() {
            return;
        }
        slot.deal = deal;
        if slot.slips.len() == slot.slips.capacity() {
            exempt(|| slot.slips.reserve(1));
        }
        slot.slips.push(slip.part());
        if slip.hurries() && !std::mem::replace(&mut slot.listed, true) {
            if self.awaited.len() == self.awaited.capacity() {
                exempt(|| self.awaited.reserve(1));
            }
            self.awaited.push(id);
        }
    }

    /// A block that is due; any, with `all`.
    pub(super) fn first_due(&mut self, now: Now, all: bool) -> Option<u32> {
        while let Some(Reverse((first_at, id, turn))) = self.ages.peek().copied() {
            if self.slots[id as usize].turn != turn {
                self.ages.pop();
                continue;
            }
            self.due = first_at.after(self.bounds.patience);
            return (all || self.due <= now.mono).then_some(id);
        }
        self.due = Mono::MAX;
        None
    }

    /// Moves a block's bytes into the empty `raw` and the fields of its header into `fields`; its
    /// key stays. `slips` are for the next block of the key: empty, but with room.
    pub(super) fn take(
        &mut self,
        id: u32,
        raw: &mut Vec<u8>,
        fields: &mut Vec<u8>,
        slips: Vec<ReceiptSlip>,
    ) -> Contents {
        let slot = &mut self.slots[id as usize];
        self.arena.take(&mut slot.chain, raw);
        if let Some(meta) = &mut self.meta {
            records::take_out(raw, meta);
            meta.finish(fields);
        }
        slot.turn = slot.turn.wrapping_add(1);
        self.open -= 1;
        let contents = Contents {
            place: slot.place.clone(),
            events: slot.events,
            event_bytes: slot.event_bytes,
            passing: std::mem::take(&mut slot.passing),
            time_min: slot.time_min,
            time_max: slot.time_max,
            slips: std::mem::replace(&mut slot.slips, slips),
        };
        self.move_to_its_list(id);
        contents
    }

    /// The block that must go before the encoded event can be put.
    fn in_the_way(&self, known: Option<u32>, deal: &Deal<'_>) -> Option<u32> {
        let bytes = self.encoded.len();
        let chain = known.map_or(&Chain::EMPTY, |id| &self.slots[id as usize].chain);
        if !chain.is_empty() && chain.bytes + bytes > self.bounds.block_bytes {
            return known;
        }
        let crowded = |id: &u32| {
            let slot = &self.slots[*id as usize];
            let told = self.meta.is_some() && slot.events >= RECORDS_MAX && !chain.is_empty();
            told || slot.slips.len() >= BLOCK_RECEIPTS_MAX && slot.deal != deal.number
        };
        if let Some(crowded) = known.filter(crowded) {
            return Some(crowded);
        }
        let has_slot =
            known.is_some() || self.slots.len() < self.bounds.keys || self.lists[0].first != NONE;
        if has_slot && self.arena.fits(chain, bytes) {
            return None;
        }
        let largest = self.lists[1..].iter().rev().find(|list| list.first != NONE);
        Some(largest.expect("without open blocks an event fits").first)
    }

    /// A slot for a key seen for the first time, or for the first time in a long while.
    fn meet(&mut self) -> u32 {
        let Key { hash, slice, text, at } = self.ahead.key();
        // A message's time may still come tomorrow, whatever today's date is.
        let ends = self.slice_ns.filter(|_| self.template.follows_the_clock());
        let place = Place {
            stem: Arc::from(self.template.render(at, text)),
            link: self.template.link(text),
            until: ends.map(|ns| Wall((slice + 1).saturating_mul(ns))),
        };
        let text = Box::from(text);
        let id = if self.slots.len() < self.bounds.keys {
            self.slots.push(Slot::new(hash, slice, text, place));
            let id = (self.slots.len() - 1) as u32;
            self.link(id, 0);
            id
        } else {
            let id = self.lists[0].first;
            let slots = &self.slots;
            self.by_key.remove(id, |id| slots[id as usize].hash);
            let slot = &mut self.slots[id as usize];
            (slot.hash, slot.slice, slot.text, slot.place) = (hash, slice, text, place);
            id
        };
        self.by_key.insert(hash, id);
        id
    }

    fn open(&mut self, id: u32, first_at: Mono) {
        let slot = &mut self.slots[id as usize];
        (slot.events, slot.event_bytes) = (0, 0);
        (slot.time_min, slot.time_max) = (Wall::MAX, Wall::MIN);
        let turn = slot.turn;
        if self.ages.len() == 2 * self.bounds.keys {
            let slots = &self.slots;
            self.ages.retain(|Reverse((_, id, turn))| slots[*id as usize].turn == *turn);
        }
        self.ages.push(Reverse((first_at, id, turn)));
        self.open += 1;
        self.due = self.due.min(first_at.after(self.bounds.patience));
    }

    // ── lists ──

    fn move_to_its_list(&mut self, id: u32) {
        let slot = &self.slots[id as usize];
        let list = slot.chain.chunks.min(LISTS - 1);
        if list != usize::from(slot.list) {
            self.unlink(id);
            self.link(id, list);
        }
    }

    fn link(&mut self, id: u32, list: usize) {
        let last = std::mem::replace(&mut self.lists[list].last, id);
        let slot = &mut self.slots[id as usize];
        (slot.before, slot.after, slot.list) = (last, NONE, list as u8);
        match last {
            NONE => self.lists[list].first = id,
            last => self.slots[last as usize].after = id,
        }
    }

    fn unlink(&mut self, id: u32) {
        let Slot { before, after, list, .. } = self.slots[id as usize];
        let list = &mut self.lists[usize::from(list)];
        match before {
            NONE => list.first = after,
            before => self.slots[before as usize].after = after,
        }
        match after {
            NONE => list.last = before,
            after => self.slots[after as usize].before = before,
        }
    }
}

/// By the half of the hash that the table does not use.
fn share(hash: u64) -> usize {
    (hash >> 32) as usize
}

impl Slot {
    fn new(hash: u64, slice: i64, text: Box<[u8]>, place: Place) -> Self {
        Self {
            hash,
            slice,
            text,
            place,
            chain: Chain::EMPTY,
            events: 0,
            event_bytes: 0,
            passing: Amount::default(),
            time_min: Wall::MAX,
            time_max: Wall::MIN,
            slips: Vec::new(),
            deal: 0,
            listed: false,
            turn: 0,
            list: 0,
            before: NONE,
            after: NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr};

    use jiff::tz::TimeZone;

    use super::super::arena::CHUNK_BYTES;
    use super::super::path::Clock;
    use super::*;
    use crate::codec::encoders::Raw;
    use crate::event::{Beside, Marks, Origin};

    const PATIENCE: Duration = Duration::from_secs(1);

    fn blocks(path: &str, bytes: usize, keys: usize) -> OpenBlocks {
        let template = Arc::new(Template::parse(path, TimeZone::UTC, Clock::Received).unwrap());
        let (block_bytes, event_bytes) = (64 << 10, 4 << 10);
        let bounds = Bounds { bytes, block_bytes, event_bytes, keys, patience: PATIENCE, seed: 7 };
        OpenBlocks::new(template, bounds, None)
    }

    fn peer(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + number))
    }

    fn put(open: &mut OpenBlocks, number: u32, text: &str, first_at: u64) -> Put {
        let peer = Some(std::net::SocketAddr::new(peer(number), 514));
        let event = Event {
            bytes: text.as_bytes(),
            at: Wall(0),
            origin: Origin::new(peer, 0),
            pri: None,
            marks: Marks::NONE,
            beside: Beside::NONE,
        };
        open.look_ahead([event].iter(), |_| true);
        open.turn_to(0);
        let deal = Deal { number: 1, since: Mono(first_at), slip: None, passes: false };
        open.put(&event, &deal, &Raw::default())
    }

    fn take(open: &mut OpenBlocks, id: u32) -> (String, String) {
        let mut raw = Vec::new();
        let contents = open.take(id, &mut raw, &mut Vec::new(), Vec::new());
        assert_eq!(contents.events as usize, raw.iter().filter(|byte| **byte == b'\n').count());
        let path = contents.place.stem.display().to_string();
        (path, String::from_utf8(raw).unwrap())
    }

    /// Whatever goes first and whoever is forgotten: each key's events come out in order, once.
    #[test]
    fn every_event_comes_out_once_in_order_and_under_its_path() {
        for (chunks, keys) in [(12, 7), (40, 3), (5, 40), (64, 64)] {
            let mut open = blocks("/l/%{peer}", chunks * CHUNK_BYTES, keys);
            let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
            let mut random = 1_u64;
            for number in 0..4000_u32 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let who = (random >> 40) as u32 % 40;
                let text = format!("{number} {}", "x".repeat((random >> 50) as usize % 300));
                while let Put::After(id) = put(&mut open, who, &text, u64::from(number)) {
                    let largest = open.slots.iter().map(|slot| slot.chain.chunks).max();
                    assert_eq!(Some(open.slots[id as usize].chain.chunks), largest);
                    let (path, text) = take(&mut open, id);
                    *found.entry(path).or_insert_with(String::new) += &text;
                }
                let path = format!("/l/{}", peer(who));
                *expected.entry(path).or_insert_with(String::new) += &format!("{text}\n");
                assert!(open.slots.len() <= keys);
            }
            while let Some(id) = open.first_due(Now::default(), true) {
                let (path, text) = take(&mut open, id);
                *found.entry(path).or_insert_with(String::new) += &text;
            }
            assert!(open.is_empty() && open.due() == Mono::MAX);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_full_block_goes_and_nothing_else() {
        let mut open = blocks("/l/%{peer}", 1 << 20, 10);
        let text = "x".repeat(1023);
        for _ in 0..64 {
            assert_eq!(put(&mut open, 1, &text, 0), Put::Done);
        }
        assert_eq!(put(&mut open, 2, &text, 0), Put::Done);
        assert_eq!(put(&mut open, 1, &text, 0), Put::After(0));
        assert_eq!(take(&mut open, 0).1.len(), 64 << 10);
        assert_eq!(put(&mut open, 1, &text, 0), Put::Done);
    }

    /// Several sources: a later batch may have been begun earlier.
    #[test]
    fn the_oldest_goes_first_and_not_before_its_time() {
        let mut open = blocks("/l/%{peer}", 1 << 20, 10);
        let began = [30, 10, 20];
        for (number, at) in (0..).zip(began) {
            put(&mut open, number, "one", at);
            put(&mut open, number, "two", at + 100);
        }
        let at = |nanos| Now { mono: Mono(nanos).after(PATIENCE), wall: Wall(0) };
        assert_eq!(open.due(), at(10).mono);
        assert_eq!(open.first_due(at(9), false), None);
        for (id, at_least) in [(1, 10), (2, 20), (0, 30)] {
            assert_eq!(open.first_due(at(at_least - 1), false), None);
            assert_eq!(open.first_due(at(at_least), false), Some(id));
            assert_eq!(take(&mut open, id).1, "one\ntwo\n");
        }
        assert_eq!(open.first_due(at(1000), true), None);
    }

    /// The place is rendered at first sight, and again only after its key had to make room.
    #[test]
    fn a_place_is_rendered_once_while_it_is_remembered() {
        let mut open = blocks("/l/%{peer}/%H", 1 << 20, 2);
        let mut stem = |number| {
            assert_eq!(put(&mut open, number, "x", 0), Put::Done);
            let id = open.first_due(Now::default(), true).unwrap();
            open.take(id, &mut Vec::new(), &mut Vec::new(), Vec::new()).place.stem
        };
        let first = stem(1);
        assert!(Arc::ptr_eq(&first, &stem(1)));
        stem(2);
        assert!(Arc::ptr_eq(&first, &stem(1)));
        // Two are remembered: the third takes the place of the second.
        let third = stem(3);
        assert!(Arc::ptr_eq(&first, &stem(1)) && Arc::ptr_eq(&third, &stem(3)));
        stem(2);
        assert!(!Arc::ptr_eq(&first, &stem(1)), "forgotten, and rendered again");
    }

    #[test]
    fn what_a_key_costs_is_within_what_the_memory_sum_says() {
        let table = 4 * size_of::<u32>();
        let heap = 2 * size_of::<(Mono, u32, u32)>();
        let path = 2 * size_of::<usize>() + 100;
        let bytes = size_of::<Slot>() + table + heap + path + 100;
        assert!(bytes <= KEY_BYTES, "{bytes}");
    }
}
