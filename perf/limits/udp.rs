//! Datagrams: recvmmsg, and with `gro` the kernel's merged runs of equal ones.

use crate::block::Block;
use flumen::sys::udp_receive::{ReceiveRing, SLOT_BYTES, set_gro, set_receive_buffer};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// As many as the agent asks for at a time.
const SLOTS: usize = 64;

pub(crate) fn run(
    address: SocketAddr,
    gro: bool,
    receive_buffer: usize,
    block: &mut Block,
) -> io::Result<u64> {
    let socket = UdpSocket::bind(address)?;
    set_receive_buffer(socket.as_fd(), receive_buffer)?;
    if gro {
        set_gro(socket.as_fd())?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop))?;
    let mut ring = ReceiveRing::new(SLOTS, SLOT_BYTES);
    loop {
        match ring.receive(socket.as_fd()) {
            Ok(count) => take(&ring, count, block)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if stop.load(Ordering::Relaxed) {
                    block.put_out()?;
                    return Ok(block.events());
                }
                // A signal ends the wait early, and then the socket is read once more.
                let mut watched = [PollFd::new(&socket, PollFlags::IN)];
                match poll(&mut watched, None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn take(ring: &ReceiveRing, count: usize, block: &mut Block) -> io::Result<()> {
    for index in 0..count {
        let slot = ring.slot(index);
        if !block.writes() {
            let bytes = slot.bytes.len().max(1);
            block.count(bytes.div_ceil(slot.stride.unwrap_or(bytes)) as u64);
            continue;
        }
        for datagram in slot.datagrams() {
            block.push(datagram)?;
        }
    }
    Ok(())
}
