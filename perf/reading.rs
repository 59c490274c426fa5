//! How fast an archive is searched: by the agent's commands, by a limit program, by stock tools.
//!
//! The archive is written once a run of the harness: blocks of a mebibyte, zstd level 1, with the
//! headers and the index of a finished file, as if they had come in over one day. It has just been
//! written when it is read, so no disk is measured. A party is a command of the shell.

use crate::cases::Case;
use crate::figures::{Figures, Key};
use crate::measure::{Bench, place};
use crate::party::{Party, Program};
use crate::text::Text;
use flumen::codec::Codec;
use flumen::storage::Container;
use flumen::storage::block::{BlockFacts, seal_block, stamp};
use flumen::storage::index::index_frames;
use flumen::storage::segment::BlockEntry;
use flumen::time::Wall;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;
use wait4::Wait4;

/// The archive that is searched.
pub(crate) struct Archive {
    pub(crate) path: PathBuf,
    events: u64,
    raw_bytes: u64,
    stored_bytes: u64,
}

/// Events of the archive, for one of a run.
const SHARE: u64 = 3;
const BLOCK_BYTES: usize = 1 << 20;
/// When the day of the archive begins: 2026-11-21T00:00:00Z.
const BEGIN_NS: i64 = 1_795_219_200_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

pub(crate) fn run(
    bench: &mut Bench,
    case: &Case,
    party: &Party,
    dir: &Path,
) -> io::Result<Figures> {
    if bench.archive.is_none() {
        let folder = bench.text.parent().expect("the text lies in a folder");
        bench.archive = Some(write(&bench.lines, bench.events * SHARE, folder)?);
    }
    let place = place(bench, case, dir)?;
    let mut command = party.command(&place)?;
    command.stdin(Stdio::null()).stderr(File::create(dir.join("log"))?);
    let began = Instant::now();
    let ended = command.spawn()?.wait4()?;
    let took = began.elapsed().as_secs_f64();
    // 1 says that nothing was found; that is seen below.
    if !matches!(ended.status.code(), Some(0 | 1)) {
        return Err(io::Error::other(std::fs::read_to_string(dir.join("log"))?));
    }
    let archive = bench.archive.as_ref().expect("written above");
    let used = (ended.rusage.utime + ended.rusage.stime).as_secs_f64();
    let mut figures = Figures::from([
        (Key::Rate, archive.events as f64 / took),
        (Key::Megabytes, archive.raw_bytes as f64 / 1e6 / took),
        (Key::Processor, used * 1e6 / archive.events as f64),
        (Key::Ratio, archive.raw_bytes as f64 / archive.stored_bytes as f64),
        (Key::Found, found(party, dir)? as f64),
    ]);
    if party.program == case.parties[0].program {
        figures.insert(Key::Peak, ended.rusage.maxrss as f64 / (1 << 20) as f64);
    }
    Ok(figures)
}

/// Lines that were written; the limit program says a number.
fn found(party: &Party, dir: &Path) -> io::Result<u64> {
    let said = std::fs::read(dir.join("stdout"))?;
    match party.program {
        Program::Shell(command) if command.starts_with("{limit}") => {
            let number = said.split(|byte| *byte == b' ').next().unwrap_or_default();
            let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
            number.ok_or_else(|| io::Error::other("it does not say what it found"))
        }
        _ => Ok(memchr::memchr_iter(b'\n', &said).count() as u64),
    }
}

fn write(lines: &Text, events: u64, folder: &Path) -> io::Result<Archive> {
    let path = folder.join("archive.log.zst");
    let mut file = BufWriter::new(File::create(&path)?);
    let raw_bytes = lines.bytes_of(events);
    let mut compressor = Codec::Zstd.compressor(1);
    let (mut blocks, mut at) = (Vec::new(), 0);
    let (mut raw, mut sealed) = (Vec::with_capacity(BLOCK_BYTES), Vec::new());
    let (mut count, mut passed) = (0, 0_u64);
    for event in 0..events {
        let index = (event % lines.messages()) as usize;
        raw.extend_from_slice(&lines.bytes()[lines.start(index)..lines.ends()[index]]);
        count += 1;
        if raw.len() + 4096 < BLOCK_BYTES && event + 1 < events {
            continue;
        }
        let time = |bytes: u64| {
            Wall(BEGIN_NS + (i128::from(DAY_NS) * i128::from(bytes) / i128::from(raw_bytes)) as i64)
        };
        let facts = BlockFacts {
            container: Container::Zstd,
            encoder: 0,
            event_count: count,
            time_min: time(passed),
            time_max: time(passed + raw.len() as u64 - 1),
        };
        sealed.clear();
        seal_block(&mut sealed, &facts, &raw, |raw, out| compressor.compress(raw, out))
            .map_err(io::Error::other)?;
        stamp(Container::Zstd, &mut sealed, 1, blocks.len() as u64);
        let entry = BlockEntry::of_block(at, &sealed).map_err(io::Error::other)?;
        at = entry.end_offset();
        blocks.push(entry);
        file.write_all(&sealed)?;
        passed += raw.len() as u64;
        (count, raw) = (0, {
            raw.clear();
            raw
        });
    }
    let mut index = Vec::new();
    index_frames(Container::Zstd, 1, &blocks, &mut index);
    file.write_all(&index)?;
    file.flush()?;
    Ok(Archive { path, events, raw_bytes, stored_bytes: at + index.len() as u64 })
}
