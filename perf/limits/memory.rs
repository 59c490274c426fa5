//! No socket: the lines of a text, round and round. What is left is the output's cost alone.

use crate::block::Block;
use std::io;
use std::path::Path;

pub(crate) fn run(text: Option<&Path>, events: u64, block: &mut Block) -> io::Result<u64> {
    let text = std::fs::read(text.ok_or_else(|| io::Error::other("of what? --text FILE"))?)?;
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    for line in lines.iter().cycle().take(usize::try_from(events).unwrap_or(usize::MAX)) {
        block.push(line.strip_suffix(b"\n").unwrap_or(line))?;
    }
    block.put_out()?;
    Ok(block.events())
}
