//! Sockets that whoever started us has opened for us (systemd's LISTEN_FDS protocol).
//!
//! ```text
//!   LISTEN_PID=us   LISTEN_FDS=2   LISTEN_FDNAMES=syslog:syslog     descriptors 3 and 4
//! ```
//! They stay open and are handed out as copies, so that the protocol may be asked again and again.
#![expect(unsafe_code, reason = "only the environment says that these numbers are descriptors")]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

const FIRST: RawFd = 3;
/// What a manager passes is a handful; a number from a hostile environment is not believed.
const PASSED_MAX: RawFd = 256;

/// Copies of the sockets that were passed under a name; without names each is called `unknown`.
pub fn named(name: &str) -> io::Result<Vec<OwnedFd>> {
    let variable = |name: &str| std::env::var(name).ok();
    let count = count(variable("LISTEN_PID").as_deref(), variable("LISTEN_FDS").as_deref());
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut found = Vec::new();
    for index in 0..count {
        let own = names.split(':').nth(index as usize).filter(|own| !own.is_empty());
        // SAFETY: the manager promises that descriptors from FIRST on are open and ours; a number
        // that is not open makes the calls below fail with EBADF.
        let descriptor = unsafe { BorrowedFd::borrow_raw(FIRST + index) };
        // Programs that we start are not to inherit it.
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
        if own.unwrap_or("unknown") == name {
            found.push(descriptor.try_clone_to_owned()?);
        }
    }
    Ok(found)
}

fn count(pid: Option<&str>, count: Option<&str>) -> RawFd {
    let ours = pid.is_some_and(|pid| pid == std::process::id().to_string());
    let count = count.filter(|_| ours).and_then(|count| count.parse().ok()).unwrap_or(0);
    if (0..=PASSED_MAX).contains(&count) { count } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_ours_only_when_the_manager_says_so() {
        let ours = std::process::id().to_string();
        assert_eq!(count(Some(&ours), Some("2")), 2);
        assert_eq!(count(Some("1"), Some("2")), 0);
        assert_eq!(count(None, Some("2")), 0);
        assert_eq!(count(Some(&ours), None), 0);
        for wrong in ["", "x", "-1", "100000"] {
            assert_eq!(count(Some(&ours), Some(wrong)), 0, "{wrong}");
        }
    }
}
