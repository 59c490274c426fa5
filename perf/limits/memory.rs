//! No socket: the lines of a text, round and round. What is left is the cost of the output alone,
//! or of making sure of it.

use crate::block::Block;
use std::io;
use std::path::Path;

/// `window`: so many lines are on the disk before the next ones come.
pub(crate) fn run(
    text: Option<&Path>,
    events: u64,
    window: Option<usize>,
    block: &mut Block,
) -> io::Result<u64> {
    let text = std::fs::read(text.ok_or_else(|| io::Error::other("of what? --text FILE"))?)?;
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let count = usize::try_from(events).unwrap_or(usize::MAX);
    for (line, sent) in lines.iter().cycle().take(count).zip(1..) {
        block.push(line.strip_suffix(b"\n").unwrap_or(line))?;
        if window.is_some_and(|window| sent % window == 0) {
            block.put_out()?;
            block.sync()?;
        }
    }
    block.put_out()?;
    Ok(block.events())
}
