//! Unix sockets: their files, and who may write to them.
//!
//! A file that is left from somebody who is gone is taken away; one at which somebody listens is
//! not. Ours goes when we do.

use std::io;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{OptionDoc, Section};
use crate::sys::socket_file::{self, Access, SocketFile};

pub const SOCKET_MODE: OptionDoc = OptionDoc {
    name: "socket_mode",
    default: Some("0666"),
    doc: "permissions of Unix sockets' files; who may write may send",
};
pub const SOCKET_USER: OptionDoc = OptionDoc {
    name: "socket_user",
    default: Some(""),
    doc: "owner of Unix sockets' files: a name or a number; unset: ours",
};
pub const SOCKET_GROUP: OptionDoc = OptionDoc {
    name: "socket_group",
    default: Some(""),
    doc: "group of Unix sockets' files: a name or a number; unset: ours",
};
pub const SOCKET: &[OptionDoc] = &[SOCKET_MODE, SOCKET_USER, SOCKET_GROUP];

/// Reads who may write to Unix sockets.
pub fn plan(section: &Section) -> Access {
    let text = section.text("socket_mode");
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
    if mode.is_none() && section.usable("socket_mode") {
        let what = format!("`socket_mode`: \"{text}\" are no permissions");
        section.fail("socket_mode", what, "write \"0666\" for everybody, \"0660\" for the group");
    }
    let number = |key: &'static str, list: &str| {
        let name = section.optional_text(key)?;
        let found = socket_file::number(&name, Path::new(list)).ok().flatten();
        if found.is_none() {
            let what = format!("`{key}`: {list} has no `{name}`");
            section.fail(key, what, "name one that is there, or write its number");
        }
        found
    };
    let user = number("socket_user", "/etc/passwd");
    let group = number("socket_group", "/etc/group");
    Access { mode, user, group }
}

/// Binds a socket that connections or datagrams come in by.
pub fn bind(path: &Path, kind: Type, access: Access) -> io::Result<(Socket, SocketFile)> {
    if socket_file::stands(path)? {
        if is_heard(path)? {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        socket_file::remove(path)?;
    }
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    if kind == Type::DGRAM {
        // Every datagram says who sent it.
        socket.set_passcred(true)?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::adopt(path, access)?;
    Ok((socket, file))
}

/// Whether somebody has the socket open: then even a connection of the wrong kind is not refused.
fn is_heard(path: &Path) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => Ok(true),
        other => other.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_left_is_taken_away_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let access = Access { mode: Some(0o600), ..Access::default() };
        for (first, second) in
            [(Type::DGRAM, Type::DGRAM), (Type::STREAM, Type::DGRAM), (Type::DGRAM, Type::STREAM)]
        {
            let (socket, file) = bind(&path, first, access).unwrap();
            if first == Type::STREAM {
                socket.listen(1).unwrap();
            }
            let error = bind(&path, second, access).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            // As after kill -9: the socket is gone, its file is not.
            drop(socket);
            let (_socket, _file) = bind(&path, second, access).unwrap();
            drop(file);
            assert!(socket_file::stands(&path).unwrap(), "the second one's");
        }
        assert!(!socket_file::stands(&path).unwrap());
        std::fs::write(&path, "notes").unwrap();
        assert!(bind(&path, Type::DGRAM, access).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"notes");
    }

    #[test]
    fn bad_permissions_and_unknown_names_are_told() {
        const DOCS: &[OptionDoc] = &[SOCKET_MODE, SOCKET_USER, SOCKET_GROUP];
        let read = |body: &str| {
            let section = Section::parse(body, DOCS);
            (plan(&section), section.diagnostics().lines())
        };
        assert_eq!(read("").0, Access { mode: Some(0o666), user: None, group: None });
        let (access, told) = read("socket_mode = '620'\nsocket_user = 'root'\nsocket_group = '7'");
        assert_eq!(access, Access { mode: Some(0o620), user: Some(0), group: Some(7) });
        assert!(told.is_empty(), "{told:?}");
        for body in ["socket_mode = 'rw'", "socket_mode = '1777'", "socket_user = 'no such user'"] {
            assert_eq!(read(body).1.len(), 1, "{body}");
        }
    }
}
