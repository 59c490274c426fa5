//! What a network source takes beside its pages.

use super::{
    Counter, Datagrams, Expander, MemoryLine, Network, Reverse, SESSION_BYTES_MAX, Worker,
};

impl Network {
    pub(super) fn memory_lines(&self, part: &str) -> Vec<MemoryLine> {
        let threads = self.threads as u64;
        let mut lines = Vec::new();
        if self.has_datagrams() {
            let what = format!("datagram slots × {threads} threads");
            let bytes = Datagrams::memory_bytes() as u64 * threads;
            lines.push(MemoryLine::new(part, what, bytes));
        }
        if self.has_streams() {
            let what = format!("unfinished lines × {threads} threads");
            lines.push(MemoryLine::new(part, what, self.carry_budget() as u64 * threads));
            let connections = self.at_most(self.tcp.connections_max) as u64;
            let what = format!("{connections} connections");
            lines.push(MemoryLine::new(part, what, connections * self.connection_bytes()));
        }
        if let Some(tls) = &self.tls {
            let what = format!("buffer of TLS × {threads} threads");
            lines.push(MemoryLine::new(part, what, Worker::BYTES as u64 * threads));
            let connections = self.at_most(tls.connections_max) as u64;
            let what = format!("{connections} TLS connections");
            let each = self.connection_bytes() + SESSION_BYTES_MAX as u64;
            lines.push(MemoryLine::new(part, what, connections * each));
        }
        if self.reverse_dns || self.headers.wants_hostname() {
            let bytes = Reverse::memory_bytes() as u64;
            lines.push(MemoryLine::new(part, "names of senders".to_owned(), bytes));
        }
        if self.expands_singly() {
            let what = format!("expanded messages × {threads} threads");
            let bytes = Expander::memory_bytes(self.event_bytes_max) as u64;
            lines.push(MemoryLine::new(part, what, bytes * threads));
        }
        if self.warden.limits() {
            let what = format!("rate limits of peers × {threads} threads");
            lines.push(MemoryLine::new(part, what, self.warden.memory_bytes() as u64 * threads));
        }
        if self.has_acknowledging() {
            let what = format!("messages that wait for their mark × {threads} threads");
            let bytes = Counter::memory_bytes(self.event_bytes_max) as u64;
            lines.push(MemoryLine::new(part, what, bytes * threads));
        }
        lines.extend(self.http.as_ref().map(|http| http.memory(part)));
        lines
    }
}
