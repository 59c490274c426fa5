//! Opening what is read as it comes: a device, a pipe, a file. Not blocking, so that a device
//! answers "nothing yet" and a pipe that nobody writes to can be opened.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, SeekFrom};

/// What was opened.
#[derive(Debug)]
pub struct Readable {
    pub descriptor: OwnedFd,
    /// A device: each read brings one record, whole.
    pub is_device: bool,
}

pub fn open(path: &Path) -> io::Result<Readable> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode);
    if kind == FileType::Directory {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(Readable { descriptor, is_device: kind == FileType::CharacterDevice })
}

impl Readable {
    /// Behind all that stands there now.
    pub fn skip_to_end(&self) -> io::Result<()> {
        rustix::fs::seek(&self.descriptor, SeekFrom::End(0))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_pipes_and_files_are_opened_and_folders_are_not() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path()).is_err());
        assert!(open(&dir.path().join("none")).is_err());
        assert!(open(Path::new("/dev/null")).unwrap().is_device);
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(!open(&path).unwrap().is_device, "nobody writes to it, and it does not hang");
        let path = dir.path().join("file");
        std::fs::write(&path, "text").unwrap();
        let file = open(&path).unwrap();
        file.skip_to_end().unwrap();
        assert_eq!(rustix::io::read(&file.descriptor, &mut [0; 8]).unwrap(), 0);
    }
}
