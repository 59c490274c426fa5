//! Whether data can move now, and if not, every reason: what `/readyz` answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::incident::Incidents;

/// Where an agent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not all listeners are bound yet.
    Starting = 0,
    Running = 1,
    /// Delivering what was accepted; nothing new is.
    Draining = 2,
    Stopped = 3,
}

/// The agent's phase and its blocking incidents.
#[derive(Debug)]
pub struct Readiness {
    phase: AtomicU8,
    incidents: Arc<Incidents>,
}

impl Readiness {
    /// Starts in [`Phase::Starting`].
    pub fn new(incidents: Arc<Incidents>) -> Self {
        Self { phase: AtomicU8::new(Phase::Starting as u8), incidents }
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Why data cannot move; empty when it can.
    pub fn reasons(&self) -> Vec<String> {
        let phase = match self.phase.load(Ordering::Relaxed) {
            phase if phase == Phase::Starting as u8 => Some("agent: starting"),
            phase if phase == Phase::Draining as u8 => Some("agent: draining"),
            phase if phase == Phase::Stopped as u8 => Some("agent: stopped"),
            _ => None,
        };
        let mut reasons: Vec<_> = phase.into_iter().map(str::to_owned).collect();
        reasons.extend(self.incidents.blocking());
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Now;

    #[test]
    fn every_reason_is_named() {
        let incidents = Incidents::new();
        let readiness = Readiness::new(incidents.clone());
        assert_eq!(readiness.reasons(), ["agent: starting"]);
        readiness.enter(Phase::Running);
        assert!(readiness.reasons().is_empty());
        let mut archive = incidents.watch("sink archive");
        let mut copy = incidents.watch("sink copy");
        archive.blocked(Now::default(), "No space left on device");
        copy.blocked(Now::default(), "Permission denied");
        readiness.enter(Phase::Draining);
        let expected = [
            "agent: draining",
            "sink archive: No space left on device",
            "sink copy: Permission denied",
        ];
        assert_eq!(readiness.reasons(), expected);
    }
}
