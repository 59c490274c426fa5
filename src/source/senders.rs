//! Places of senders in the page: a small cache, so that a sender's address stands there about
//! once, and a flood of senders costs what it must.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::event::{Full, HeaderMap, Names, Origin, OriginIndex, Page};

/// Senders whose place in the page is remembered.
const PLACES: usize = 256;

/// Who sent it, and whereto where that is noted.
pub type Whence = (Origin, Option<SocketAddr>);

pub struct Senders {
    /// Of the page that the places are in.
    serial: u64,
    places: Vec<Option<(Whence, OriginIndex)>>,
    labels: HeaderMap,
}

impl Default for Senders {
    fn default() -> Self {
        Self { serial: 0, places: vec![None; PLACES], labels: HeaderMap::default() }
    }
}

impl Senders {
    /// `told` says what the sender is called, and sets headers for all that comes from it; asked
    /// once a page.
    pub fn find(
        &mut self,
        page: &mut Page,
        whence: Whence,
        told: impl FnOnce(&mut HeaderMap) -> Option<Arc<str>>,
    ) -> Result<OriginIndex, Full> {
        if self.serial != page.serial() {
            self.serial = page.serial();
            self.places.fill(None);
        }
        let place = &mut self.places[hash(whence.0) % PLACES];
        if let Some((known, index)) = place
            && *known == whence
        {
            return Ok(*index);
        }
        let host = told(&mut self.labels);
        let names = Names { host: host.as_deref().unwrap_or_default(), ..Names::NONE };
        let index = page.push_full_origin(whence.0, names, whence.1, &self.labels)?;
        *place = Some((whence, index));
        Ok(index)
    }
}

fn hash(origin: Origin) -> usize {
    let address = match origin.peer.map(|peer: SocketAddr| (peer.ip(), peer.port())) {
        None => origin.credentials.map_or(0, |process| u64::from(process.pid)),
        Some((IpAddr::V4(ip), port)) => u64::from(u32::from(ip)) << 16 | u64::from(port),
        Some((IpAddr::V6(ip), port)) => {
            let bits = u128::from(ip);
            (bits >> 64) as u64 ^ bits as u64 ^ u64::from(port) << 48
        }
    };
    // Fibonacci hashing: neighbouring addresses and ports spread; the upper bits are the good ones.
    let mixed = (address ^ u64::from(origin.listener)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn a_sender_stands_once_in_a_page_for_each_address_it_sends_to() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let mut senders = Senders::default();
        let from = Origin::new(Some("10.0.0.9:9".parse().unwrap()), 1);
        let to = Some("10.0.0.1:2055".parse().unwrap());
        let first = senders.find(&mut page, (from, None), |_| None).unwrap();
        let free = page.free_bytes();
        assert_eq!(senders.find(&mut page, (from, None), |_| None), Ok(first));
        assert_eq!(page.free_bytes(), free);
        let other = senders.find(&mut page, (from, to), |_| None).unwrap();
        assert_ne!(other, first);
        assert_eq!(page.free_bytes(), free - 4 * 16);
        page.clear(7);
        assert!(senders.find(&mut page, (from, to), |_| None).is_ok());
        assert!(page.free_bytes() < page.capacity());
    }
}
