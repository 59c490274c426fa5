//! The next hop of those who send on: it reads and counts lines, in a thread of the harness.

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

pub(crate) struct Hop {
    pub(crate) port: u16,
    lines: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<()>>,
}

const READ_BYTES: usize = 256 << 10;

impl Hop {
    /// Takes one connection.
    pub(crate) fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let lines = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lines);
        let thread = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept()?;
            let mut bytes = vec![0; READ_BYTES];
            loop {
                let count = socket.read(&mut bytes)?;
                if count == 0 {
                    return Ok(());
                }
                let fresh = memchr::memchr_iter(b'\n', &bytes[..count]).count();
                // Relaxed: read behind the thread's end.
                counted.fetch_add(fresh as u64, Ordering::Relaxed);
            }
        });
        Ok(Self { port, lines, thread })
    }

    /// How many lines came, when the connection has ended; whoever sent on has.
    pub(crate) fn finish(self) -> io::Result<u64> {
        self.thread.join().map_err(|_| io::Error::other("the next hop panicked"))??;
        Ok(self.lines.load(Ordering::Relaxed))
    }
}
