//! Connections that come in at the gates.

use std::sync::Arc;

use mio::Token;

use super::super::acks::Owner;
use super::super::gate::{Entry, Gate, Places};
use super::super::link::Link;
use super::super::protocol::Speech;
use super::{After, Connection, HeaderMap, Mono, Now, Origin, Reactor, list};

impl Reactor {
    pub(super) fn enter(&mut self, index: usize, now: Now) -> After {
        for _ in 0..Gate::bound() {
            let Some(gate) = &mut self.gates[index] else { return After::Rest };
            match gate.accept(now) {
                Entry::Nobody => {
                    if self.stopping {
                        self.gates[index] = None;
                    }
                    return After::Rest;
                }
                Entry::Later(retry) => {
                    self.retry = self.retry.min(retry);
                    return After::Rest;
                }
                Entry::Came(link, peer) => {
                    if !self.warden.admits(peer.map(|peer| peer.ip()), now) {
                        drop(link);
                        gate.places.give();
                        self.counters.refused_connections.add(1);
                        continue;
                    }
                    let credentials = link.credentials();
                    let origin = Origin { credentials, ..Origin::new(peer, gate.listener_id) };
                    let (speech, places) = (gate.speech, Arc::clone(&gate.places));
                    self.add(link, speech, places, origin, now);
                }
            }
        }
        After::Again
    }

    fn add(
        &mut self,
        mut link: Link,
        speech: Speech,
        places: Arc<Places>,
        origin: Origin,
        now: Now,
    ) {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.listed.push(false);
            self.connections.len() - 1
        });
        let token = self.base() + index;
        self.tenants += 1;
        let owner = Owner { index, tenant: self.tenants };
        let protocol = speech.begin(owner, &self.rules, &self.manner);
        let mut connection = Connection {
            preamble: link.tcp().and_then(|_| self.preambles.begin()),
            link,
            places,
            protocol,
            origin,
            name: String::new(),
            host: None,
            labels: HeaderMap::default(),
            begun: false,
            heard: self.attention.at(now),
            paused: Mono(0),
            ended: false,
            allowance: None,
            starved: false,
            room: 0,
        };
        let registry = self.poll.registry();
        let registered = connection.link.register(registry, Token(token), speech.answers());
        if let Err(error) = registered {
            // fs.epoll.max_user_watches, or no memory: the peer sees a closed connection.
            tracing::warn!("a connection cannot be watched and is closed: {error}");
            self.counters.errors.add(1);
            self.vacant.push(index);
            connection.places.give();
            return;
        }
        self.connections[index] = Some(connection);
        self.count_open();
        // Its first bytes may have come before it was registered.
        list(&mut self.ready, &mut self.listed, token);
    }
}
