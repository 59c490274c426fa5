//! Requests while nothing can be taken: they are read and, when that lasts, refused. Their senders
//! would else wait without a word.

use std::time::Duration;

use super::{After, Now, Page, Reactor, list};
use crate::limits::BATCH_BYTES_MIN;

impl Reactor {
    /// A round without a page, if the valve is closed and somebody is to be told.
    pub(super) fn attend(&mut self, now: Now) {
        if !self.shut || !self.attends {
            return;
        }
        // Nothing is put into it.
        let mut blank = self.blank.take().unwrap_or_else(|| Page::new(BATCH_BYTES_MIN));
        if !self.polled {
            self.look(Some(Duration::ZERO));
        }
        self.polled = false;
        self.tick(now);
        self.sweep(&mut blank, now);
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { break };
            match self.visit(token, &mut blank, now) {
                After::Rest => self.listed[token] = false,
                After::Again => self.ready.push_back(token),
                // It stays listed: nothing that comes can help it.
                After::Full => self.stuck.push(token),
            }
        }
        self.blank = Some(blank);
    }

    /// The valve is open again: who was stuck comes first.
    pub(super) fn unstick(&mut self) {
        self.shut = false;
        while let Some(token) = self.stuck.pop() {
            self.ready.push_front(token);
        }
    }

    /// Connections whose time has come are visited, though nothing came.
    pub(super) fn ring_alarms(&mut self, now: Now) {
        self.alarm = super::Mono::MAX;
        let base = self.base();
        for (index, connection) in self.connections.iter().enumerate() {
            let Some(connection) = connection else { continue };
            let alarm = connection.protocol.alarm();
            if alarm <= now.mono {
                list(&mut self.ready, &mut self.listed, base + index);
            } else {
                self.alarm = self.alarm.min(alarm);
            }
        }
        self.ready.extend(self.stuck.drain(..));
    }
}
