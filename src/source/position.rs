//! How far a source has read, kept in a file across restarts.
//!
//! The file holds two lines of a fixed length, written in turn, each with its number and checksum:
//! whatever happens while one is written, the other stands.
//!
//! What is saved is some seconds old on purpose: events behind the saved position may still be on
//! their way into a file when the power goes, and then they must be read again. A clean stop saves
//! the very end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::storage::{Disk, DiskFile, read_full_at, write_all_at};
use crate::time::{Mono, Now};

/// A line: checksum, number, position, blanks, a newline.
const LINE_BYTES: usize = 1024;
/// The longest position: a journal's cursor has some 150 bytes.
pub const POSITION_BYTES_MAX: usize = LINE_BYTES - 32;

/// A position is saved when it is so old. By then a file sink with its defaults has synced what
/// stands before it (`block.age` and `sync`, a second each).
const AGE: Duration = Duration::from_secs(5);

pub struct Position {
    file: Arc<dyn DiskFile>,
    turn: u64,
    /// Where we are, and where we were when the last one was put down to be saved.
    now: Vec<u8>,
    put_down: Vec<u8>,
    put_down_at: Option<Mono>,
    saved: Vec<u8>,
}

impl Position {
    /// Opens or makes the file, and says what it holds.
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<(Self, Option<Vec<u8>>)> {
        let file = match disk.create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.open_write(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.create_dir_all(path.parent().unwrap_or(path))?;
                disk.create_new(path)?
            }
            other => other?,
        };
        if !file.try_lock_exclusive()? {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another source uses it"));
        }
        let mut both = [0; 2 * LINE_BYTES];
        let bytes = read_full_at(&*file, 0, &mut both)?;
        let lines = both[..bytes].chunks(LINE_BYTES).filter_map(read);
        let found = lines.max_by_key(|(turn, _)| *turn);
        if found.is_none() && bytes > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds something else"));
        }
        let (turn, saved) = found.unwrap_or_default();
        let position = Self {
            file,
            turn,
            now: saved.clone(),
            put_down: Vec::new(),
            put_down_at: None,
            saved: saved.clone(),
        };
        Ok((position, (!saved.is_empty()).then_some(saved)))
    }

    /// Events up to here are on their way.
    pub fn reach(&mut self, position: &[u8]) {
        if position.len() <= POSITION_BYTES_MAX {
            self.now.clear();
            self.now.extend_from_slice(position);
        }
    }

    /// Saves what has become old enough. Says when to be asked again.
    pub fn tick(&mut self, now: Now) -> io::Result<Mono> {
        match self.put_down_at {
            Some(at) if now.mono < at.after(AGE) => return Ok(at.after(AGE)),
            Some(_) => {
                let position = std::mem::take(&mut self.put_down);
                let outcome = self.save(&position);
                self.put_down = position;
                self.put_down_at = None;
                outcome?;
            }
            None => {}
        }
        if self.now == self.saved {
            return Ok(Mono::MAX);
        }
        self.put_down.clone_from(&self.now);
        self.put_down_at = Some(now.mono);
        Ok(now.mono.after(AGE))
    }

    /// Saves the very end: everything that was read will be delivered.
    pub fn finish(&mut self) -> io::Result<()> {
        let position = std::mem::take(&mut self.now);
        let outcome = self.save(&position);
        self.now = position;
        outcome
    }

    fn save(&mut self, position: &[u8]) -> io::Result<()> {
        if *position == *self.saved {
            return Ok(());
        }
        let turn = self.turn + 1;
        let mut line = line(turn, position);
        line.resize(LINE_BYTES - 1, b' ');
        line.push(b'\n');
        write_all_at(&*self.file, turn % 2 * LINE_BYTES as u64, &line)?;
        self.file.sync_data()?;
        self.turn = turn;
        self.saved.clear();
        self.saved.extend_from_slice(position);
        Ok(())
    }
}

/// `crc number position`.
fn line(turn: u64, position: &[u8]) -> Vec<u8> {
    let mut text = format!("{turn} ").into_bytes();
    text.extend_from_slice(position);
    let crc = crc_fast::crc32_iscsi(&text);
    [format!("{crc:08x} ").as_bytes(), &text].concat()
}

fn read(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let end = bytes.iter().rposition(|byte| !b" \n".contains(byte))? + 1;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut parts = text.splitn(3, ' ').skip(1);
    let turn = parts.next()?.parse().ok()?;
    let position = parts.next()?.as_bytes().to_vec();
    (line(turn, &position) == bytes[..end]).then_some((turn, position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsDisk;
    use crate::time::Wall;

    fn at(seconds: u64) -> Now {
        Now { mono: Mono(seconds * 1_000_000_000), wall: Wall(0) }
    }

    #[test]
    fn what_is_saved_is_old_enough_and_a_stop_saves_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/position");
        let saved = || Position::open(&OsDisk, &path).map(|(_, saved)| saved);
        let (mut position, none) = Position::open(&OsDisk, &path).unwrap();
        assert_eq!(none, None);
        assert_eq!(position.tick(at(0)).unwrap(), Mono::MAX);
        position.reach(b"s=1;i=2");
        assert_eq!(position.tick(at(10)).unwrap(), at(15).mono);
        position.reach(b"s=1;i=3");
        assert_eq!(position.tick(at(14)).unwrap(), at(15).mono);
        assert_eq!(position.tick(at(15)).unwrap(), at(20).mono);
        assert_eq!(position.saved, b"s=1;i=2");
        let error = saved().unwrap_err();
        assert!(error.to_string().contains("another source"), "{error}");
        drop(position);
        assert_eq!(saved().unwrap().unwrap(), b"s=1;i=2");
        let (mut position, _) = Position::open(&OsDisk, &path).unwrap();
        position.reach(b"the end");
        position.finish().unwrap();
        drop(position);
        assert_eq!(saved().unwrap().unwrap(), b"the end");
    }

    #[test]
    fn a_torn_line_leaves_the_one_before_and_foreign_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("position");
        let (mut position, _) = Position::open(&OsDisk, &path).unwrap();
        for text in ["one", "two", "three"] {
            position.reach(text.as_bytes());
            position.finish().unwrap();
        }
        drop(position);
        let whole = std::fs::read(&path).unwrap();
        let three = whole.windows(5).position(|window| window == b"three").unwrap();
        for at in [three, three - 5, 3] {
            let mut torn = whole.clone();
            let at = if at == 3 { three / LINE_BYTES * LINE_BYTES + 3 } else { at };
            torn[at] = b'x';
            std::fs::write(&path, torn).unwrap();
            assert_eq!(Position::open(&OsDisk, &path).unwrap().1.unwrap(), b"two");
        }
        std::fs::write(&path, "my important notes").unwrap();
        assert!(Position::open(&OsDisk, &path).is_err());
    }
}
