//! A lane's TLS connection: the handshake waits, everything after it does not.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::wire::tls::client::Setup;
use crate::wire::tls::session::{SCRATCH_BYTES, Session};

pub(super) struct Secure {
    pub(super) socket: mio::net::TcpStream,
    session: Session,
    scratch: Vec<u8>,
    /// We have said that nothing more comes.
    over: bool,
}

impl Secure {
    /// Agrees with the server, within `time` for each of its answers.
    pub(super) fn connect(
        mut socket: TcpStream,
        setup: &Setup,
        host: &str,
        time: Duration,
    ) -> io::Result<Self> {
        let mut session = setup.session(host).map_err(io::Error::other)?;
        socket.set_read_timeout(Some(time))?;
        socket.set_write_timeout(Some(time))?;
        let mut scratch = vec![0; SCRATCH_BYTES];
        if !session.advance(&mut socket, &mut scratch)? {
            let what = "the server does not answer the TLS handshake: is it a TLS port?";
            return Err(io::Error::new(ErrorKind::TimedOut, what));
        }
        socket.set_nonblocking(true)?;
        let socket = mio::net::TcpStream::from_std(socket);
        Ok(Self { socket, session, scratch, over: false })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.session.write(&mut self.socket, bytes)
    }

    /// Agreed as it is, the server may still say that it does not want us.
    pub(super) fn may_be_refused(&self) -> bool {
        self.session.may_be_refused()
    }

    /// What the server says; `WouldBlock` when that is nothing, 0 at its end.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.session.read(&mut self.socket, &mut self.scratch, bytes)
    }

    /// Whether the kernel has all that was written.
    pub(super) fn is_pushed(&mut self) -> bool {
        self.session.push(&mut self.socket);
        self.session.is_pushed()
    }

    /// Says that nothing more comes.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.session.close(&mut self.socket);
        self.shut()
    }

    /// Reads away what the server says; true when it has closed.
    pub(super) fn is_closed(&mut self) -> io::Result<bool> {
        self.shut()?;
        let mut answer = [0; 4096];
        loop {
            match self.read(&mut answer) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn shut(&mut self) -> io::Result<()> {
        if !self.over && self.is_pushed() {
            self.over = true;
            return self.socket.shutdown(Shutdown::Write);
        }
        Ok(())
    }
}
