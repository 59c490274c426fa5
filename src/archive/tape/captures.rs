//! Datagrams of captures: of several files the earliest comes first.

use std::io::{self, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Findings;
use crate::storage::{Disk, DiskFile, OsDisk, read_full_at};
use crate::wire::capture::{Heard, Reader, is_capture};

/// Captures that are read at once: tcpdump's rotated ones of an hour.
const FILES_MAX: usize = 256;
const BUFFER_BYTES: usize = 64 << 10;

pub(super) struct Captures {
    files: Vec<File>,
}

struct File {
    path: PathBuf,
    reader: Reader<BufReader<Cursor>>,
    /// The next datagram; none before the first was looked for.
    next: Option<Datagram>,
    begun: bool,
}

struct Datagram {
    at: i64,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// A file with a place of its own.
struct Cursor {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.at, out)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Whether a path is a capture; a directory is none.
pub(super) fn looks_like_one(path: &Path) -> io::Result<bool> {
    if OsDisk.facts(path)?.is_dir {
        return Ok(false);
    }
    let mut head = [0; 4];
    let read = read_full_at(&*OsDisk.open_read(path)?, 0, &mut head)?;
    Ok(is_capture(&head[..read]))
}

impl Captures {
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, String> {
        if paths.len() > FILES_MAX {
            return Err(format!("{} captures at once: at most {FILES_MAX}", paths.len()));
        }
        let open = |path: &PathBuf| {
            let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let file = OsDisk.open_read(path).map_err(|error| told(&error))?;
            let cursor = BufReader::with_capacity(BUFFER_BYTES, Cursor { file, at: 0 });
            let reader = Reader::new(cursor).map_err(|error| told(&error))?;
            Ok(File { path: path.clone(), reader, next: None, begun: false })
        };
        Ok(Self { files: paths.iter().map(open).collect::<Result<_, String>>()? })
    }

    /// One datagram more. False: there are none.
    pub(super) fn next(
        &mut self,
        findings: &mut Findings,
        push: &mut impl FnMut(i64, Option<u16>, &[u8], &mut Findings),
    ) -> bool {
        for file in &mut self.files {
            if !std::mem::replace(&mut file.begun, true) {
                file.look(findings);
            }
        }
        let earliest = self.files.iter().enumerate();
        let earliest = earliest.filter_map(|(at, file)| Some((file.next.as_ref()?.at, at))).min();
        let Some((_, index)) = earliest else { return false };
        let file = &mut self.files[index];
        if let Some(next) = &file.next {
            push(next.at, Some(next.to.port()), &next.bytes, findings);
        }
        file.look(findings);
        true
    }
}

impl File {
    /// Looks for the next datagram; there is none behind a damaged place.
    fn look(&mut self, findings: &mut Findings) {
        let mut bytes = self.next.take().map_or_else(Vec::new, |last| last.bytes);
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return,
                Err(error) => {
                    return findings.trouble(format!("{}: {error}", self.path.display()));
                }
            };
            match (packet.heard(), packet.at_ns) {
                (Heard::Datagram { to, bytes: heard, .. }, Some(at)) => {
                    bytes.clear();
                    bytes.extend_from_slice(heard);
                    self.next = Some(Datagram { at, to, bytes });
                    return;
                }
                (Heard::Datagram { .. }, None) => findings.untimed += 1,
                (Heard::Segment, _) => findings.segments += 1,
                (Heard::Fragment, _) => findings.fragments += 1,
                (Heard::Cut, _) => findings.cut += 1,
                (Heard::Other, _) => findings.others += 1,
            }
        }
    }
}
