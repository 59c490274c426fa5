//! What a command that reads many files works on: files in the order of time, and before them what
//! can be read only once.

use std::path::PathBuf;
use std::sync::Arc;

use super::output::tell;
use super::pipe::is_pipe;
use crate::archive::order::{Job, Ordered, Subject};
use crate::archive::query::TimeRange;
use crate::archive::segments;
use crate::storage::OsDisk;

pub(super) enum Work {
    Pipe { of: Subject },
    File(Job),
}

/// The paths of a command line, taken apart.
#[derive(Default)]
pub(super) struct Gathered {
    files: Vec<PathBuf>,
    pipes: Vec<PathBuf>,
    /// By number of a file: found by walking a directory, and so free to go away meanwhile.
    walked: Vec<bool>,
    /// Some path could not be read; it has been told.
    pub(super) failed: bool,
}

impl Gathered {
    pub(super) fn new(command: &str, paths: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for path in paths {
            if is_pipe(path) {
                found.pipes.push(path.clone());
                continue;
            }
            match segments(std::slice::from_ref(path)) {
                Ok(files) => found.add(path, files),
                Err(error) => {
                    tell(command, error);
                    found.failed = true;
                }
            }
        }
        found
    }

    /// Below a directory only ordinary files are read.
    fn add(&mut self, path: &PathBuf, files: Vec<PathBuf>) {
        let walked = files.len() != 1 || files[0] != *path;
        for file in files.into_iter().filter(|file| !walked || file.is_file()) {
            self.files.push(file);
            self.walked.push(walked);
        }
    }

    /// Files by number; not what can be read only once.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether this file may be missing without fault: kept no longer since it was listed.
    pub(super) fn may_be_gone(&self, of: &Subject) -> bool {
        self.walked.get(of.number).is_some_and(|walked| *walked)
    }

    pub(super) fn work(&mut self, range: TimeRange) -> impl Iterator<Item = Work> + Send + use<> {
        let first = self.files.len();
        let pipes = (first..).zip(std::mem::take(&mut self.pipes)).map(|(number, path)| {
            let path = Arc::new(path);
            Work::Pipe { of: Subject { number, path } }
        });
        let files = std::mem::take(&mut self.files);
        pipes.chain(Ordered::new(Arc::new(OsDisk), files, range).map(Work::File))
    }
}
