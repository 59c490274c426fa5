//! One connection, read straight into the block.

use crate::block::Block;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};

pub(crate) fn run(address: SocketAddr, block: &mut Block) -> io::Result<u64> {
    let (mut connection, _) = TcpListener::bind(address)?.accept()?;
    loop {
        match connection.read(block.spare()) {
            Ok(0) => break,
            Ok(count) => block.filled(count)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    block.put_out()?;
    Ok(block.events())
}
