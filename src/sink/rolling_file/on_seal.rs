//! `on_seal`: a command for each finished file, run beside the sink.
//!
//! One at a time, in the order in which files were finished, by a helper of its own: a slow command
//! holds up neither the sink nor its clerk. Whatever it does, the file is finished and stays; a
//! command that fails is an incident and is not repeated. When so many files wait that the queue is
//! full, the command is not run for further ones, and that is said.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::ring::{Ring, Seat, Wake};
use crate::runtime::parker::Parker;
use crate::runtime::{Progress, Worker, command};
use crate::telemetry::Watch;
use crate::time::{Mono, Now};

/// Longer than that a command is hung, and killed.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// Finished files that wait for their command: as many as a sink remembers keys, for all of them
/// may be finished at once. 24 bytes each, and the path of one that waits.
const WAITING_MAX: usize = 16 << 10;

/// The clerks' end.
#[derive(Clone)]
pub(super) struct Finished {
    waiting: Arc<Ring<PathBuf>>,
}

pub(super) struct OnSeal {
    name: String,
    program: String,
    arguments: Vec<String>,
    waiting: Arc<Ring<PathBuf>>,
    watch: Watch,
    parker: Parker,
    seat: Seat,
    closing: bool,
}

impl Finished {
    pub(super) fn tell(&self, file: &Path) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.offer(file.to_owned());
        } else {
            let file = file.display();
            tracing::warn!("on_seal is not run for {file}: {WAITING_MAX} files wait for it");
        }
    }
}

impl OnSeal {
    /// The worker, and the end for its sink's `clerks`.
    pub(super) fn new(
        name: String,
        command: &[String],
        clerks: usize,
        watch: Watch,
    ) -> (Self, Finished) {
        let (program, arguments) = command.split_first().expect("the plan wants a program");
        // Each clerk may have seen the last free place.
        let waiting = Arc::new(Ring::new(WAITING_MAX + clerks));
        let parker = Parker::default();
        let seat = waiting.bell().join(parker.waker());
        let finished = Finished { waiting: Arc::clone(&waiting) };
        let (program, arguments) = (program.clone(), arguments.to_vec());
        let closing = false;
        (Self { name, program, arguments, waiting, watch, parker, seat, closing }, finished)
    }
}

impl Worker for OnSeal {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        let Some(file) = self.waiting.poll() else {
            return if self.closing { Progress::Done } else { Progress::IDLE };
        };
        match command::run(&self.program, &self.arguments, file.as_os_str(), COMMAND_MAX) {
            Ok(()) => self.watch.recovered(now),
            Err(error) => {
                self.watch.fault(now, &format!("{}: {error}", file.display()));
            }
        }
        Progress::Worked
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let bell = self.waiting.bell();
        bell.doze(self.seat);
        if self.waiting.is_empty() {
            self.parker.sleep(now, until);
        }
        bell.rise(self.seat);
    }

    fn close(&mut self, _now: Now) {
        self.closing = true;
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Incidents;

    #[test]
    fn each_file_has_its_turn_and_a_full_queue_is_no_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        let script = format!("echo \"$1\" >> {}; [ \"$1\" != bad ]", log.display());
        let command = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned);
        let incidents = Incidents::new();
        let watch = incidents.watch("sink out");
        let (mut worker, finished) = OnSeal::new("seal.out".to_owned(), &command, 1, watch);
        let now = Now::default();
        assert_eq!(worker.work(now), Progress::IDLE);
        for file in ["one", "bad", "two"] {
            finished.tell(Path::new(file));
        }
        worker.close(now);
        while worker.work(now) != Progress::Done {}
        assert_eq!(std::fs::read_to_string(&log).expect("written"), "one\nbad\ntwo\n");
        for _ in 0..2 * WAITING_MAX {
            finished.tell(Path::new("many"));
        }
        assert_eq!(worker.waiting.len(), WAITING_MAX);
    }
}
