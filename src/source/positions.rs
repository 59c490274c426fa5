//! How far each file was read, in Flume's JSON:
//! `[{"inode":131,"pos":4096,"file":"/var/log/app.log"}, …]`.
//!
//! Behind each entry stands a second one of which the `file` begins with `flumen:`: the device, and
//! checksums of the file's front and of what was read last, by which the file is known again when
//! its inode has gone to another, or when it was copied or compressed; of a file that is read in
//! blocks also how many events behind `pos` were passed. Flume passes over entries of files that
//! it does not find, so it reads these files too.
//!
//! The file is written anew beside itself, synced and renamed: whatever happens, one of both is
//! there, whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::file_lines::Mark;
use super::former::{Former, Head};
use crate::storage::{Disk, DiskFile, FileId, read_file, write_all_at};

/// Files whose positions are kept, a few hundred bytes each.
const BYTES_MAX: usize = 64 << 20;

const OURS: &str = "flumen:";

pub struct Positions {
    path: PathBuf,
    /// Held against others who would write there.
    _lock: Arc<dyn DiskFile>,
    written: String,
}

impl Positions {
    /// Says what the file holds; it may be Flume's, or not be there yet.
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<(Self, Vec<Former>)> {
        let beside = beside(path, ".lock");
        let lock = match disk.create_new(&beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.open_write(&beside)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.create_dir_all(path.parent().unwrap_or(path))?;
                disk.create_new(&beside)?
            }
            other => other?,
        };
        if !lock.try_lock_exclusive()? {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another source uses it"));
        }
        let saved = match read_file(disk, path, BYTES_MAX) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Vec::new(),
            Ok(bytes) => read(&bytes).ok_or_else(|| {
                let what = "it is no list of positions as flumen or Flume write it";
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok((Self { path: path.to_owned(), _lock: lock, written: String::new() }, saved))
    }

    /// Writes these, unless the file has them already.
    pub fn save<'a>(
        &mut self,
        disk: &dyn Disk,
        all: impl Iterator<Item = Entry<'a>>,
    ) -> io::Result<()> {
        let text = write(all);
        if text == self.written {
            return Ok(());
        }
        let beside = beside(&self.path, ".new");
        match disk.remove(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create_new(&beside)?;
        write_all_at(&*file, 0, text.as_bytes())?;
        file.sync_data()?;
        disk.rename_over(&beside, &self.path)?;
        disk.sync_dir(self.path.parent().unwrap_or_else(|| Path::new("")))?;
        self.written = text;
        Ok(())
    }
}

/// What is saved of a file.
pub struct Entry<'a> {
    pub id: FileId,
    pub path: &'a Path,
    pub head: Head,
    pub mark: Mark,
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn write<'a>(all: impl Iterator<Item = Entry<'a>>) -> String {
    let mut rows = Vec::new();
    for Entry { id, path, head, mark } in all {
        let file = path.to_string_lossy();
        rows.push(json!({"inode": id.inode, "pos": mark.offset, "file": file}).to_string());
        let mut ours = format!(
            "{OURS}device={};front={}:{:08x};last={}:{:08x}",
            id.device, head.bytes, head.crc, mark.last_bytes, mark.last_crc
        );
        if mark.events > 0 {
            ours.push_str(&format!(";events={}", mark.events));
        }
        rows.push(json!({"inode": id.inode, "pos": mark.offset, "file": ours}).to_string());
    }
    format!("[{}]\n", rows.join(",\n "))
}

fn read(bytes: &[u8]) -> Option<Vec<Former>> {
    let document: Value = serde_json::from_slice(bytes).ok()?;
    let mut formers: Vec<Former> = Vec::new();
    for row in document.as_array()? {
        let inode = row.get("inode")?.as_u64()?;
        let offset = row.get("pos")?.as_u64()?;
        let file = row.get("file")?.as_str()?;
        match (file.strip_prefix(OURS), formers.last_mut()) {
            (Some(ours), Some(last)) if last.id.inode == inode => {
                // What is damaged is as good as Flume's entry, which has none of it.
                let _ = learn(last, ours);
            }
            (Some(_), _) => {}
            (None, _) => formers.push(Former {
                key: 0,
                id: FileId { device: 0, inode },
                path: PathBuf::from(file),
                head: Head::default(),
                read: Mark { offset, ..Mark::default() },
                confirmed: Mark { offset, ..Mark::default() },
            }),
        }
    }
    Some(formers)
}

fn learn(former: &mut Former, text: &str) -> Option<()> {
    let mut parts = text.split(';');
    let device = parts.next()?.strip_prefix("device=")?.parse().ok()?;
    let sum = |part: &str| {
        let (bytes, crc) = part.split_once(':')?;
        Some((bytes.parse::<u32>().ok()?, u32::from_str_radix(crc, 16).ok()?))
    };
    let (bytes, crc) = sum(parts.next()?.strip_prefix("front=")?)?;
    let (last_bytes, last_crc) = sum(parts.next()?.strip_prefix("last=")?)?;
    let events = match parts.next() {
        Some(events) => events.strip_prefix("events=")?.parse().ok()?,
        None => 0,
    };
    former.id.device = device;
    former.head = Head { bytes, crc };
    former.confirmed = Mark { last_bytes, last_crc, events, ..former.confirmed };
    former.read = former.confirmed;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsDisk;

    #[test]
    fn flumes_own_file_is_read_and_ours_comes_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/position.json");
        let (mut positions, none) = Positions::open(&OsDisk, &path).unwrap();
        assert!(none.is_empty());
        assert!(Positions::open(&OsDisk, &path).is_err(), "it is ours");
        std::fs::write(
            &path,
            r#"[{"inode":2496272,"pos":12,"file":"/tmp/a"},
            {"inode":2496275,"pos":0,"file":"/tmp/b"}]"#,
        )
        .unwrap();
        drop(positions);
        let saved;
        (positions, saved) = Positions::open(&OsDisk, &path).unwrap();
        let told: Vec<_> =
            saved.iter().map(|it| (it.id.inode, it.read.offset, it.path.to_str())).collect();
        assert_eq!(told, [(2496272, 12, Some("/tmp/a")), (2496275, 0, Some("/tmp/b"))]);
        let (id, path_b) = (FileId { device: 9, inode: 7 }, Path::new("/tmp/\"b"));
        let head = Head { bytes: 4, crc: 0xAB };
        let mark = Mark { offset: 99, last_bytes: 6, last_crc: 0xFF00, events: 17 };
        let entry = || [Entry { id, path: path_b, head, mark }].into_iter();
        positions.save(&OsDisk, entry()).unwrap();
        let at = std::fs::metadata(&path).unwrap().modified().unwrap();
        positions.save(&OsDisk, entry()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), at);
        drop(positions);
        let (_, saved) = Positions::open(&OsDisk, &path).unwrap();
        assert_eq!(saved.len(), 1);
        let only = &saved[0];
        assert_eq!((only.id, &*only.path, only.head), (id, path_b, head));
        assert_eq!((only.read, only.confirmed), (mark, mark));
    }

    #[test]
    fn what_is_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("position.json");
        for text in ["my notes", "{}", "[1]", r#"[{"inode":1,"pos":-2,"file":"/a"}]"#] {
            std::fs::write(&path, text).unwrap();
            assert!(Positions::open(&OsDisk, &path).is_err(), "{text}");
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(Positions::open(&OsDisk, &path).unwrap().1.is_empty());
    }
}
