//! What is said of peers that misbehave: about each once a minute, however often it does.

use std::net::IpAddr;
use std::time::Duration;

use crate::time::{Mono, Now};

const EVERY: Duration = Duration::from_secs(60);

/// Peers that are remembered; one more, and the one that was spoken of longest ago is forgotten.
const PEERS_MAX: usize = 64;

#[derive(Debug, Default)]
pub struct Remarks {
    peers: Vec<Peer>,
}

#[derive(Debug)]
struct Peer {
    address: IpAddr,
    spoken: Mono,
    /// Since then.
    times: u64,
}

impl Remarks {
    /// It happened again, so many times. How often it did, if it is time to say so.
    pub fn note(&mut self, address: IpAddr, times: u64, now: Now) -> Option<u64> {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.address == address) {
            peer.times += times;
            if now.mono.since(peer.spoken) < EVERY {
                return None;
            }
            peer.spoken = now.mono;
            return Some(std::mem::take(&mut peer.times));
        }
        if self.peers.len() == PEERS_MAX {
            let oldest = self.peers.iter().enumerate().min_by_key(|(_, peer)| peer.spoken);
            let oldest = oldest.map_or(0, |(index, _)| index);
            self.peers.swap_remove(oldest);
        }
        self.peers.push(Peer { address, spoken: now.mono, times: 0 });
        Some(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    #[test]
    fn each_peer_is_spoken_of_once_a_minute() {
        let mut remarks = Remarks::default();
        let at = |seconds: u64| Now { mono: Mono(seconds * 1_000_000_000), wall: Wall(0) };
        let peer = |number: u32| IpAddr::V4(number.into());
        assert_eq!(remarks.note(peer(1), 1, at(0)), Some(1));
        assert_eq!(remarks.note(peer(2), 3, at(1)), Some(3));
        for second in 1..60 {
            assert_eq!(remarks.note(peer(1), 2, at(second)), None);
        }
        assert_eq!(remarks.note(peer(1), 1, at(60)), Some(119));
        assert_eq!(remarks.note(peer(1), 1, at(61)), None);
        for number in 100..1000 {
            assert_eq!(remarks.note(peer(number), 1, at(62)), Some(1));
        }
        assert_eq!(remarks.peers.len(), PEERS_MAX);
    }
}
