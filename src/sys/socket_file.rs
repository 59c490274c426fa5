//! The file of a Unix socket: made usable, and taken away again.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Who may write to it. What is not said stays as it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub mode: Option<u32>,
    pub user: Option<u32>,
    pub group: Option<u32>,
}

/// A socket's file that is ours: dropped, it is removed, unless somebody has put another there.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Held, so that no other file gets its number.
    made: OwnedFd,
}

impl SocketFile {
    /// The file that binding has just made.
    pub fn adopt(path: &Path, access: Access) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::open(path, flags, Mode::empty())?;
        let file = Self { path: path.to_owned(), made };
        if access.user.is_some() || access.group.is_some() {
            chown(path, access.user, access.group)?;
        }
        if let Some(mode) = access.mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        Ok(file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Ok(made) = rustix::fs::fstat(&self.made) else { return };
        let ours = |found: fs::Metadata| (found.dev(), found.ino()) == (made.st_dev, made.st_ino);
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a socket's file stands there. Anything else that does is an error.
pub fn stands(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(true),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file, no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// The number of a user or group, given as one or by a name in `/etc/passwd` or `/etc/group`.
pub fn number(name: &str, list: &Path) -> io::Result<Option<u32>> {
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let list = fs::read_to_string(list)?;
    let mut entries = list.lines().map(|line| line.split(':'));
    let found = entries.find_map(|mut entry| {
        (entry.next() == Some(name)).then(|| entry.nth(1).and_then(|number| number.parse().ok()))
    });
    Ok(found.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_file_has_its_access_and_goes_only_while_it_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(!stands(&path).unwrap());
        let first = UnixDatagram::bind(&path).unwrap();
        let user = Some(rustix::process::getuid().as_raw());
        let file =
            SocketFile::adopt(&path, Access { mode: Some(0o620), user, group: None }).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620);
        assert!(stands(&path).unwrap());
        remove(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        drop(file);
        assert!(stands(&path).unwrap(), "it is another's by now");
        drop(SocketFile::adopt(&path, Access::default()).unwrap());
        assert!(!stands(&path).unwrap());
        drop((first, second));
        fs::write(&path, "notes").unwrap();
        assert!(stands(&path).is_err());
    }

    #[test]
    fn names_and_numbers_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("group");
        fs::write(&list, "root:x:0:\nadm:x:4:syslog\nbroken\n").unwrap();
        assert_eq!(number("adm", &list).unwrap(), Some(4));
        assert_eq!(number("77", &list).unwrap(), Some(77));
        assert_eq!(number("broken", &list).unwrap(), None);
        assert_eq!(number("nobody-here", &list).unwrap(), None);
    }
}
