//! What the reactor does for those who wait for an answer.

use super::super::acks::Settled;
use super::{Connection, Reactor, list};
use crate::memory::Outcome;

impl Reactor {
    /// Batches have settled: who waits is told, and who waited for a receipt is read again.
    pub(super) fn tell_settled(&mut self) {
        if !self.counter.iter().any(|counter| counter.acks.has_settled()) {
            return;
        }
        while let Some(settled) = self.counter.as_mut().and_then(|counter| counter.acks.settle()) {
            self.tell(settled);
        }
        let base = self.base();
        while let Some(index) = self.told.pop() {
            self.part(index);
            if self.attends {
                // Its next request may have come long ago.
                list(&mut self.ready, &mut self.listed, base + index);
            }
        }
        while let Some(index) = self.starved.pop() {
            let connection = self.connections[index].as_mut();
            connection.into_iter().for_each(|connection| connection.starved = false);
            list(&mut self.ready, &mut self.listed, base + index);
        }
    }

    /// Says what there is to say, and closes a connection that has said the last. While stopping,
    /// nobody waits for a peer who does not listen.
    pub(super) fn part(&mut self, index: usize) {
        let Some(Connection { link, protocol, .. }) = &mut self.connections[index] else { return };
        if !protocol.lingers(link) || self.stopping && protocol.is_stuck() {
            self.close(index);
        }
    }

    /// A batch has settled: its messages are acknowledged, or never will be.
    fn tell(&mut self, settled: Settled) {
        let Settled { owner, count, outcome, .. } = settled;
        let Some(Some(connection)) = self.connections.get_mut(owner.index) else { return };
        if connection.protocol.settled(owner, count, outcome).is_none() {
            return;
        }
        if outcome == Outcome::Failed {
            let peer = connection.origin.peer;
            tracing::warn!("events of {peer:?} were lost: it is to send them again");
            self.counters.errors.add(1);
        }
        if self.told.last() != Some(&owner.index) {
            self.told.push(owner.index);
        }
    }
}
