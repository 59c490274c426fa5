//! inotify(7): whether something has happened in directories.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};

/// Readable when something has happened. Directories that go away are forgotten.
pub fn watcher() -> io::Result<OwnedFd> {
    Ok(init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?)
}

/// From now on this directory is watched too; once more does no harm.
pub fn watch(watcher: &OwnedFd, directory: &Path) -> io::Result<()> {
    let wanted = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::ONLYDIR;
    add_watch(watcher, directory, wanted)?;
    Ok(())
}

/// Takes note of what has happened: whether names may have come or gone. Never blocks.
pub fn hear(watcher: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(watcher, &mut buffer);
    let mut names = false;
    while let Ok(event) = reader.next() {
        names |= !event.events().intersects(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_told_from_names_that_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let watcher = watcher().unwrap();
        watch(&watcher, dir.path()).unwrap();
        watch(&watcher, dir.path()).unwrap();
        assert!(!hear(&watcher));
        let path = dir.path().join("a");
        std::fs::write(&path, "text").unwrap();
        assert!(hear(&watcher));
        std::fs::write(&path, "more").unwrap();
        assert!(!hear(&watcher));
        std::fs::rename(&path, dir.path().join("b")).unwrap();
        assert!(hear(&watcher) && !hear(&watcher));
        assert!(watch(&watcher, &dir.path().join("b")).is_err());
    }
}
