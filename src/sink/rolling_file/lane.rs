//! One path, one file at a time: the blocks that wait for it and the segment they go to.

use std::collections::VecDeque;

use super::block::{Block, Place};
use super::clerk::{Segment, Unsynced};
use super::roll_policy::Turn;
use crate::memory::gate::exempt;
use crate::time::Mono;

pub(super) struct Lane {
    pub(super) place: Place,
    /// When it is finished, among many.
    pub(super) turn: Turn,
    /// Blocks not yet appended, in order.
    pub(super) parked: VecDeque<Block>,
    pub(super) state: State,
    /// No attempt before this time, after a failure.
    pub(super) retry_at: Mono,
    pub(super) appended_at: Mono,
    pub(super) failing: bool,
    /// A handle of its segment is at the clerk's.
    pub(super) tending: bool,
    /// Rolling was ordered, and could not be done at once.
    pub(super) roll_ordered: bool,
}

pub(super) enum State {
    Closed,
    /// Asked of the clerk.
    Opening,
    Open(Box<Open>),
    /// Its sync failed; the clerk saves what it can. The segment is here between two attempts.
    Rescuing {
        unsynced: Unsynced,
        segment: Option<Box<Segment>>,
    },
}

/// A segment being written.
pub(super) struct Open {
    pub(super) segment: Segment,
    pub(super) opened_at: Mono,
    pub(super) synced_at: Mono,
    /// When the clerk last looked whether the file is still there.
    pub(super) looked_at: Mono,
    /// Appended since the last sync was asked for.
    pub(super) fresh: Unsynced,
    /// What the sync that was asked for will make durable.
    pub(super) asked: Unsynced,
    /// On the list of those whose sync somebody waits for.
    pub(super) awaited: bool,
    /// With `sync = "block"`: the first of those parked was appended, and stays until it is synced.
    pub(super) held: bool,
}

impl Lane {
    pub(super) fn new(place: Place, turn: Turn, now: Mono) -> Self {
        Self {
            place,
            turn,
            parked: VecDeque::new(),
            state: State::Closed,
            retry_at: Mono(0),
            appended_at: now,
            failing: false,
            tending: false,
            roll_ordered: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parked.is_empty() && matches!(self.state, State::Closed) && !self.tending
    }
}

impl Open {
    pub(super) fn new(segment: Segment, now: Mono) -> Self {
        Self {
            segment,
            opened_at: now,
            synced_at: now,
            looked_at: now,
            fresh: Unsynced::default(),
            asked: Unsynced::default(),
            awaited: false,
            held: false,
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.segment.synced_bytes < self.segment.bytes
    }

    /// Dirty, and may be synced together with others.
    pub(super) fn joins_a_round(&self) -> bool {
        self.is_dirty() && self.segment.volume.is_some()
    }
}

impl Unsynced {
    /// Takes what `newer` holds behind what is here.
    pub(super) fn absorb(&mut self, newer: &mut Self) {
        self.events += std::mem::take(&mut newer.events);
        // Grows to as many as one sync has, and stays.
        exempt(|| self.slips.append(&mut newer.slips));
    }
}
