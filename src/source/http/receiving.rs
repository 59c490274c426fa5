//! A body on its way, within the memory that there is for bodies.

use super::bodies::Staged;
use super::request::{self, Asked};
use super::store::Hold;
use super::{Refused, Rules};
use crate::wire::http_body::{Incoming, gunzip};

#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) asked: Asked,
    pub(super) incoming: Incoming,
    pub(super) hold: Hold,
}

impl Receiving {
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let room = self.incoming.room_for(bytes.len());
        if room > self.hold.bytes() {
            if !self.hold.set(room) {
                return Err(Refused::no_memory());
            }
            self.incoming.make_room(room);
        }
        Ok(self.incoming.hear(bytes)?)
    }

    pub(super) fn stage(self, rules: &Rules) -> Result<(Staged, Hold), Refused> {
        let Self { asked, mut incoming, mut hold } = self;
        let mut body = incoming.take();
        if asked.gzip {
            let own = body.capacity();
            let mut grow = |room: usize| hold.set(own + room);
            body = gunzip(&body, rules.body_max, |room| match grow(room) {
                true => Ok(()),
                false => Err(request::NO_MEMORY),
            })?;
            hold.set(body.capacity());
        }
        let own = body.capacity();
        if !hold.set(own + Staged::reading_bytes(rules.shape, body.len())) {
            return Err(Refused::no_memory());
        }
        let staged =
            Staged::read(body, rules.shape, asked.headers).map_err(|why| Refused::new(400, why))?;
        hold.set(staged.held_bytes());
        Ok((staged, hold))
    }
}
