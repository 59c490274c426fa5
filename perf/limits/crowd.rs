//! Many connections under one level-triggered epoll: each readable one is read once a turn,
//! straight into the block that all of them share.
//!
//! The senders write whole lines, so nothing is kept for a connection between two reads unless the
//! block ended in mid-line: a line that two reads cut is joined with whatever came between, which
//! costs the same and does not matter to a program that only says what the work costs at least.

use crate::block::Block;
use rustix::event::epoll::{self, EventData, EventFlags};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};

const EVENTS_A_WAIT: usize = 256;
/// The listener's place among the connections.
const LISTENER: u64 = u64::MAX;

pub(crate) fn run(address: SocketAddr, block: &mut Block) -> io::Result<u64> {
    let listener = listen(address)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut open = 0;
    let mut ready = Vec::with_capacity(EVENTS_A_WAIT);
    loop {
        ready.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut ready), None)?;
        for event in &ready {
            let place = event.data.u64();
            if place == LISTENER {
                while let Ok((connection, _)) = listener.accept() {
                    connection.set_nonblocking(true)?;
                    let data = EventData::new_u64(connections.len() as u64);
                    epoll::add(&poll, &connection, data, EventFlags::IN)?;
                    connections.push(Some(connection));
                    open += 1;
                }
                continue;
            }
            let Some(connection) = &mut connections[place as usize] else { continue };
            match connection.read(block.spare()) {
                Ok(0) => {
                    connections[place as usize] = None;
                    open -= 1;
                }
                Ok(count) => block.filled(count)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if open == 0 && !connections.is_empty() {
            block.put_out()?;
            return Ok(block.events());
        }
    }
}

/// std's backlog of 128 refuses some of a thousand connections that come at once.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    socket.listen(4096)?;
    Ok(socket.into())
}
