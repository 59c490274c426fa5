//! A small disk of a test's own: a tmpfs in a mount namespace that a child holds, so that nothing
//! of it is left behind whatever happens. Needs root, or user namespaces.

use crate::harness::Agent;
use crate::peers::able;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub(crate) struct Disk {
    holder: Child,
    place: TempDir,
    /// Without root the mount namespace stands in a user namespace.
    in_user_namespace: bool,
}

impl Disk {
    /// A disk of this size, `4m`. Where nobody may mount one: says so and gives nothing.
    #[track_caller]
    pub(crate) fn of(size: &str) -> Option<Self> {
        let in_user_namespace = !rustix::process::geteuid().is_root();
        let user: &[&str] = if in_user_namespace { &["--map-root-user"] } else { &[] };
        let mut command = able("unshare", &[user, &["--mount"]].concat())?;
        let place = TempDir::new().expect("a folder");
        // `cat` ends with our end of its input: the namespace does not outlive us.
        let script = "mount -t tmpfs -o size=$1 none \"$2\" && echo mounted && exec cat";
        command.args(["sh", "-c", script, "sh", size]).arg(place.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = command.spawn().expect("it was tried");
        let mut line = String::new();
        let output = holder.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a pipe can be read");
        assert_eq!(line, "mounted\n", "a tmpfs where mounts are ours");
        Some(Self { holder, place, in_user_namespace })
    }

    /// A program that executes its arguments where they see the disk.
    fn nsenter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if self.in_user_namespace {
            command.args(["--user", "--preserve-credentials"]);
        }
        command
    }

    /// `size=16m`, `ro`, `rw`; whether it was done.
    pub(crate) fn remount(&self, options: &str) -> bool {
        let mut command = self.nsenter();
        command.args(["mount", "-o", &format!("remount,{options}")]).arg(self.place.path());
        command.stderr(Stdio::null());
        command.status().expect("util-linux has mount").success()
    }

    /// The disk as we see it, from outside.
    pub(crate) fn path(&self) -> PathBuf {
        let inside = self.place.path().strip_prefix("/").expect("absolute");
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(inside)
    }

    /// An agent that sees the disk as `{disk}`.
    pub(crate) fn start(&self, configuration: &str) -> Agent {
        let place = self.place.path().to_str().expect("UTF-8");
        let dir = TempDir::new().expect("a folder");
        Agent::start_through(self.nsenter(), dir, &configuration.replace("{disk}", place))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
