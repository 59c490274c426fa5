//! Telling the service manager how we are (sd_notify): a datagram to the socket in NOTIFY_SOCKET.
//! Without one nothing is said; a manager that does not listen is no failure of ours.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A way to the manager, and how often it wants to hear that we live.
pub struct Manager {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
}

impl Manager {
    /// As the environment names it.
    pub fn here() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let path = variable("NOTIFY_SOCKET")?;
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| ours).and_then(|text| text.parse().ok());
        Self::at(&path, micros)
    }

    fn at(path: &str, watchdog_micros: Option<u64>) -> Option<Self> {
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok()?,
            None => SocketAddr::from_pathname(path).ok()?,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect_addr(&address).ok()?;
        // A manager that is busy is not waited for.
        socket.set_nonblocking(true).ok()?;
        let watchdog = watchdog_micros.filter(|micros| *micros > 0).map(Duration::from_micros);
        Some(Self { socket, watchdog })
    }

    /// Half of what the manager allows between two signs of life, as it advises.
    pub fn watchdog(&self) -> Option<Duration> {
        Some(self.watchdog? / 2)
    }

    /// `READY=1`, `STOPPING=1`, `WATCHDOG=1`.
    pub fn tell(&self, state: &str) {
        let _ = self.socket.send(state.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_told_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("flumen-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        for (place, listening) in
            [(path.to_str().unwrap().to_owned(), by_path), (format!("@{name}"), by_name)]
        {
            let manager = Manager::at(&place, Some(3_000_000)).unwrap();
            assert_eq!(manager.watchdog(), Some(Duration::from_millis(1500)));
            manager.tell("READY=1");
            let mut said = [0; 100];
            let count = listening.recv(&mut said).unwrap();
            assert_eq!(&said[..count], b"READY=1");
        }
        assert!(Manager::at("/no/such/socket", None).is_none());
    }
}
