//! After a crash: every `.open` file nobody holds is cut to its last whole block, indexed, sealed.
//!
//! ```text
//!   held by another open file      left alone
//!   not ours, or newer than we     left alone
//!   whole blocks, then torn bytes  cut, sealed
//!   no whole block                 set aside as .bad
//!   … and whole blocks after those cut bytes go to a .bad file first, then cut, sealed
//!   plain text                     cut to its last LF, sealed
//!   a file of Avro's or lzop's     cut to its last whole block, sealed
//!   empty                          removed
//! ```
//! What was cut is reported in bytes; nothing goes silently. A second recovery finds nothing to do.
//! Finished files are never opened. Memory: one buffer and 48 bytes a block.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::block::HeaderError;
use super::catalog::{self, State, segment_name, walk};
use super::segment::{Check, Damage, End, Scan, scan, seal, whole_blocks_after};
use super::{Container, Disk, DiskFile, ReadAt, avro, lzop, read_full_at, write_all_at};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Repair,
    /// Says what would be done and changes nothing.
    DryRun,
}

/// What was found and done with one `.open` file.
#[derive(Debug)]
pub struct Recovered {
    pub path: PathBuf,
    pub outcome: Outcome,
    /// Whole blocks kept; 0 for plain text, which has none.
    pub blocks: u64,
    /// None: only who decodes the blocks can count them.
    pub events: Option<u64>,
    pub kept_bytes: u64,
    pub cut_bytes: u64,
    pub why: Option<Damage>,
    /// Where cut bytes were copied because whole blocks stand among them.
    pub cut_to: Option<PathBuf>,
}

#[derive(Debug)]
pub enum Outcome {
    /// Under this name. In a dry run: it would be, unless the name is taken by then.
    Sealed(PathBuf),
    SetAside(PathBuf),
    RemovedEmpty,
    Locked,
    Foreign,
    /// Written by a newer program: only that one may cut it.
    Newer(u8),
    /// Gone or renamed while we looked: somebody else is at work.
    Gone,
    Failed(io::Error),
}

/// Recovers every `.open` file below `root` that `belongs` owns to, in the order of their names.
pub fn recover(
    disk: &dyn Disk,
    root: &Path,
    belongs: &dyn Fn(&Path) -> bool,
    mode: Mode,
) -> io::Result<Vec<Recovered>> {
    let mut recovered = Vec::new();
    for path in walk(disk, root)? {
        if segment_name(&path)?.state == State::Open && belongs(&path) {
            recovered.push(recover_file(disk, &path, mode));
        }
    }
    Ok(recovered)
}

/// Recovers one file. An error of the disk is an outcome, so that one file stops no other.
pub fn recover_file(disk: &dyn Disk, path: &Path, mode: Mode) -> Recovered {
    let mut recovered = Recovered {
        path: path.to_owned(),
        outcome: Outcome::Gone,
        blocks: 0,
        events: Some(0),
        kept_bytes: 0,
        cut_bytes: 0,
        why: None,
        cut_to: None,
    };
    recovered.outcome = match look_and_act(disk, path, mode, &mut recovered) {
        Ok(outcome) => outcome,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Gone,
        Err(error) => Outcome::Failed(error),
    };
    recovered
}

fn look_and_act(
    disk: &dyn Disk,
    path: &Path,
    mode: Mode,
    recovered: &mut Recovered,
) -> io::Result<Outcome> {
    let name = segment_name(path)?;
    let file = disk.open_write(path)?;
    if !file.try_lock_exclusive()? {
        return Ok(Outcome::Locked);
    }
    // Between open and lock its owner may have sealed it.
    if !file.linked(path)? {
        return Ok(Outcome::Gone);
    }
    if file.bytes()? == 0 {
        return empty(disk, path, mode);
    }
    if name.container == Container::Plain {
        return plain(disk, &*file, path, mode, recovered);
    }
    if name.container == Container::Lzo {
        return of_lzop(disk, &*file, path, mode, recovered);
    }
    let found = scan(&*file, Check::Stored)?;
    recovered.blocks = found.blocks.len() as u64;
    recovered.events = Some(found.event_count());
    match found.end {
        End::Foreign => Ok(Outcome::Foreign),
        End::Torn { why: Damage::Header(HeaderError::Version(version)), .. } => {
            Ok(Outcome::Newer(version))
        }
        End::Torn { at, bytes, why } => {
            recovered.why = Some(why);
            recovered.cut_bytes = bytes;
            recovered.kept_bytes = at;
            cut_and_seal(disk, &*file, path, &found, mode, recovered)
        }
        End::Open | End::Sealed => {
            recovered.kept_bytes = found.whole_bytes;
            cut_and_seal(disk, &*file, path, &found, mode, recovered)
        }
    }
}

fn cut_and_seal(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    path: &Path,
    found: &Scan,
    mode: Mode,
    recovered: &mut Recovered,
) -> io::Result<Outcome> {
    let Some(container) = found.container else {
        return bad(disk, path, mode);
    };
    // A torn index is not data: it is written anew, and nothing is said to be cut.
    if recovered.why == Some(Damage::Index) && whole_blocks_after(file, found.whole_bytes)? == 0 {
        recovered.cut_bytes = 0;
        recovered.why = None;
    }
    let damaged = recovered.why.is_some_and(|why| why != Damage::Cut);
    if damaged && whole_blocks_after(file, found.whole_bytes)? > 0 {
        let aside = catalog::free_name(disk, path, State::Bad)?;
        if mode == Mode::Repair {
            copy_tail(disk, file, found.whole_bytes, &aside)?;
        }
        recovered.cut_to = Some(aside);
    }
    if mode == Mode::DryRun {
        return Ok(Outcome::Sealed(finished_name(path)?));
    }
    let sealed = if found.end == End::Sealed {
        file.sync_data()?;
        catalog::finish(disk, path)?
    } else {
        file.truncate(found.whole_bytes)?;
        let (id, blocks) = (found.segment_id, &found.blocks);
        seal(disk, file, path, container, id, blocks, found.whole_bytes)?
    };
    Ok(Outcome::Sealed(sealed))
}

/// Plain text knows no blocks: a line is whole when its LF is there.
fn plain(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    path: &Path,
    mode: Mode,
    recovered: &mut Recovered,
) -> io::Result<Outcome> {
    if let Some(whole) = avro::whole_blocks(file)? {
        return of_avro(disk, file, path, &whole, mode, recovered);
    }
    let file_bytes = file.bytes()?;
    let (lines, kept_bytes) = whole_lines(file)?;
    recovered.cut_bytes = file_bytes - kept_bytes;
    recovered.why = (recovered.cut_bytes > 0).then_some(Damage::Cut);
    if kept_bytes == 0 {
        return bad(disk, path, mode);
    }
    (recovered.events, recovered.kept_bytes) = (Some(lines), kept_bytes);
    if mode == Mode::DryRun {
        return Ok(Outcome::Sealed(finished_name(path)?));
    }
    seal(disk, file, path, Container::Plain, 0, &[], kept_bytes).map(Outcome::Sealed)
}

/// Avro's files have blocks of their own, and no room for ours.
fn of_avro(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    path: &Path,
    whole: &avro::Whole,
    mode: Mode,
    recovered: &mut Recovered,
) -> io::Result<Outcome> {
    let file_bytes = file.bytes()?;
    recovered.cut_bytes = file_bytes - whole.bytes;
    recovered.why = (recovered.cut_bytes > 0).then_some(Damage::Cut);
    if whole.blocks == 0 && recovered.cut_bytes == 0 {
        return empty(disk, path, mode);
    }
    if whole.blocks == 0 {
        return bad(disk, path, mode);
    }
    (recovered.blocks, recovered.events) = (whole.blocks, Some(whole.events));
    recovered.kept_bytes = whole.bytes;
    cut_headless(disk, file, path, (Container::Plain, whole.more), mode, recovered)
}

/// The same of lzop's; what says how many events are in a block is compressed, too.
fn of_lzop(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    path: &Path,
    mode: Mode,
    recovered: &mut Recovered,
) -> io::Result<Outcome> {
    let Some(whole) = lzop::whole_blocks(file)? else {
        let mut front = [0; lzop::HEAD.len()];
        let read = read_full_at(file, 0, &mut front)?;
        recovered.cut_bytes = file.bytes()?;
        return match &front[..read] {
            begun if lzop::HEAD.starts_with(begun) => empty(disk, path, mode),
            // A crash may leave a hole of zeroes where bytes were never written back.
            hole if hole.iter().all(|byte| *byte == 0) => bad(disk, path, mode),
            _ => Ok(Outcome::Foreign),
        };
    };
    let tail_bytes = file.bytes()? - whole.bytes;
    recovered.why = whole.why;
    recovered.cut_bytes = if whole.why.is_some() { tail_bytes } else { 0 };
    match (whole.blocks, recovered.cut_bytes) {
        (0, 0) => return empty(disk, path, mode),
        (0, _) => return bad(disk, path, mode),
        _ => {}
    }
    (recovered.blocks, recovered.events) = (whole.blocks, None);
    recovered.kept_bytes = whole.bytes;
    cut_headless(disk, file, path, (Container::Lzo, whole.more), mode, recovered)
}

/// What is kept is known; with `more`, whole blocks stand behind it.
fn cut_headless(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    path: &Path,
    (container, more): (Container, bool),
    mode: Mode,
    recovered: &mut Recovered,
) -> io::Result<Outcome> {
    let whole_bytes = recovered.kept_bytes;
    if more {
        let aside = catalog::free_name(disk, path, State::Bad)?;
        if mode == Mode::Repair {
            copy_tail(disk, file, whole_bytes, &aside)?;
        }
        recovered.cut_to = Some(aside);
    }
    if mode == Mode::DryRun {
        return Ok(Outcome::Sealed(finished_name(path)?));
    }
    seal(disk, file, path, container, 0, &[], whole_bytes).map(Outcome::Sealed)
}

/// Nothing was written to it yet.
fn empty(disk: &dyn Disk, path: &Path, mode: Mode) -> io::Result<Outcome> {
    if mode == Mode::Repair {
        disk.remove(path)?;
        disk.sync_dir(catalog::directory(path))?;
    }
    Ok(Outcome::RemovedEmpty)
}

fn bad(disk: &dyn Disk, path: &Path, mode: Mode) -> io::Result<Outcome> {
    let to = match mode {
        Mode::Repair => catalog::set_aside(disk, path)?,
        Mode::DryRun => catalog::free_name(disk, path, State::Bad)?,
    };
    Ok(Outcome::SetAside(to))
}

fn finished_name(open: &Path) -> io::Result<PathBuf> {
    let mut name = segment_name(open)?;
    name.state = State::Finished;
    Ok(catalog::directory(open).join(name.file_name()))
}

/// How many lines end in LF, and where the last of them ends.
fn whole_lines(file: &dyn ReadAt) -> io::Result<(u64, u64)> {
    let (mut lines, mut end, mut at) = (0, 0, 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = read_full_at(file, at, &mut buffer)?;
        if read == 0 {
            return Ok((lines, end));
        }
        lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
        if let Some(last) = memchr::memrchr(b'\n', &buffer[..read]) {
            end = at + last as u64 + 1;
        }
        at += read as u64;
    }
}

/// Copies what is about to be cut to a new file, and makes sure that it is there.
fn copy_tail(disk: &dyn Disk, file: &dyn ReadAt, from: u64, to: &Path) -> io::Result<()> {
    let copy = disk.create_new(to)?;
    let mut buffer = vec![0; 256 << 10];
    let mut at = from;
    loop {
        let read = read_full_at(file, at, &mut buffer)?;
        if read == 0 {
            break;
        }
        write_all_at(&*copy, at - from, &buffer[..read])?;
        at += read as u64;
    }
    copy.sync_data()?;
    disk.sync_dir(catalog::directory(to))
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.outcome {
            Outcome::Sealed(to) => {
                write!(f, "{} blocks", self.blocks)?;
                self.events.map_or(Ok(()), |events| write!(f, ", {events} events"))?;
                f.write_str(" kept; ")?;
                match self.why {
                    Some(why) => write!(f, "{} bytes cut ({why})", self.cut_bytes)?,
                    None => f.write_str("nothing cut")?,
                }
                if let Some(aside) = &self.cut_to {
                    write!(f, " and copied to {}", aside.display())?;
                }
                write!(f, "; sealed as {}", to.display())
            }
            Outcome::SetAside(to) => {
                let bytes = self.cut_bytes;
                write!(f, "no whole block in {bytes} bytes; set aside as {}", to.display())
            }
            Outcome::RemovedEmpty => f.write_str("empty; removed"),
            Outcome::Locked => f.write_str("held by a running agent; left alone"),
            Outcome::Foreign => f.write_str("not a file of this program; left alone"),
            Outcome::Newer(version) => {
                write!(
                    f,
                    "of format version {version}, which is newer than this program; left alone"
                )
            }
            Outcome::Gone => f.write_str("gone while we looked; left alone"),
            Outcome::Failed(error) => write!(f, "not recovered: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::tests::{TEXTS, segment};
    use super::*;
    use crate::storage::OsDisk;

    struct Bench(tempfile::TempDir);

    impl Bench {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }

        fn names(&self) -> Vec<String> {
            let files = walk(&OsDisk, self.0.path()).unwrap();
            files.iter().map(|f| f.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        }

        /// A second recovery changes nothing.
        fn idle(&self) {
            let before: Vec<_> = self.names();
            let again = recover(&OsDisk, self.0.path(), &|_| true, Mode::Repair).unwrap();
            let calm = |r: &Recovered| matches!(r.outcome, Outcome::Foreign | Outcome::Newer(_));
            assert!(again.iter().all(calm), "{again:?}");
            assert_eq!(self.names(), before);
        }
    }

    #[test]
    fn cut_at_every_byte_the_whole_blocks_are_kept_and_sealed() {
        for (container, open) in [
            (Container::Gzip, "x.log.gz.open"),
            (Container::Lz4, "x.log.lz4.open"),
            (Container::Zstd, "x.log.zst.open"),
        ] {
            let file = segment(container, &TEXTS);
            let whole = scan(&&file[..], Check::Stored).unwrap();
            let bench = Bench::new();
            for cut in 0..=file.len() {
                let path = bench.put(open, &file[..cut]);
                let ends = whole.blocks.iter().map(|block| block.end_offset());
                let kept: Vec<u64> = ends.filter(|end| *end <= cut as u64).collect();
                let kept_bytes = kept.last().copied().unwrap_or(0);
                let told = recover_file(&OsDisk, &path, Mode::DryRun);
                assert!(path.exists());
                let done = recover_file(&OsDisk, &path, Mode::Repair);
                assert!(!path.exists());
                assert_eq!(told.to_string(), done.to_string());
                assert_eq!((done.blocks, done.kept_bytes), (kept.len() as u64, kept_bytes));
                assert_eq!(done.cut_bytes, cut as u64 - kept_bytes);
                match done.outcome {
                    Outcome::RemovedEmpty => assert_eq!(cut, 0),
                    Outcome::SetAside(to) => {
                        assert!(cut > 0 && kept.is_empty());
                        assert_eq!(std::fs::read(&to).unwrap(), &file[..cut]);
                        OsDisk.remove(&to).unwrap();
                    }
                    Outcome::Sealed(to) => {
                        let sealed = std::fs::read(&to).unwrap();
                        assert_eq!(sealed[..kept_bytes as usize], file[..kept_bytes as usize]);
                        let found = scan(&&sealed[..], Check::Stored).unwrap();
                        assert_eq!((found.end, found.blocks.len()), (End::Sealed, kept.len()));
                        bench.idle();
                        OsDisk.remove(&to).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
                assert!(bench.names().is_empty());
            }
        }
    }

    #[test]
    fn a_crash_while_sealing_at_any_byte_of_the_index_loses_nothing() {
        let mut file = segment(Container::Zstd, &TEXTS);
        let open = scan(&&file[..], Check::Stored).unwrap();
        super::super::index::index_frames(Container::Zstd, 42, &open.blocks, &mut file);
        let bench = Bench::new();
        for cut in open.whole_bytes as usize..=file.len() {
            let path = bench.put("x.zst.open", &file[..cut]);
            let done = recover_file(&OsDisk, &path, Mode::Repair);
            let Outcome::Sealed(to) = &done.outcome else { panic!("{done}") };
            assert_eq!(std::fs::read(to).unwrap(), file, "cut at {cut}");
            OsDisk.remove(to).unwrap();
        }
    }

    #[test]
    fn damage_in_the_middle_keeps_the_blocks_behind_it_in_a_bad_file() {
        let mut file = segment(Container::Zstd, &TEXTS);
        let blocks = scan(&&file[..], Check::Stored).unwrap().blocks;
        file[blocks[1].data_offset() as usize] ^= 1;
        let bench = Bench::new();
        let path = bench.put("x.zst.open", &file);
        let done = recover_file(&OsDisk, &path, Mode::Repair);
        assert_eq!((done.blocks, done.why), (1, Some(Damage::Stored)));
        assert_eq!(bench.names(), ["x.zst", "x.zst.bad"]);
        let aside = std::fs::read(done.cut_to.unwrap()).unwrap();
        assert_eq!(aside, file[blocks[1].offset as usize..]);
        bench.idle();
    }

    #[test]
    fn a_file_of_lzop_is_cut_behind_a_block_and_gets_its_end() {
        let (file, ends) = lzop::tests::file();
        let bench = Bench::new();
        for cut in 0..=file.len() {
            let path = bench.put("x.log.lzo.open", &file[..cut]);
            let told = recover_file(&OsDisk, &path, Mode::DryRun);
            assert!(path.exists());
            let done = recover_file(&OsDisk, &path, Mode::Repair);
            assert_eq!(told.to_string(), done.to_string());
            let kept = ends.iter().rfind(|end| **end <= cut).copied().unwrap_or(0);
            match done.outcome {
                Outcome::RemovedEmpty => assert!(cut <= ends[0] + 2, "{cut}"),
                Outcome::SetAside(to) => {
                    assert!(cut > ends[0] && cut < ends[1]);
                    assert_eq!(std::fs::read(&to).unwrap(), &file[..cut]);
                    OsDisk.remove(&to).unwrap();
                }
                Outcome::Sealed(to) => {
                    let whole = [&file[..kept], &lzop::END].concat();
                    assert_eq!(std::fs::read(&to).unwrap(), whole, "{cut}");
                    assert_eq!(done.kept_bytes, kept as u64);
                    bench.idle();
                    OsDisk.remove(&to).unwrap();
                }
                other => panic!("{cut}: {other:?}"),
            }
            assert!(bench.names().is_empty());
        }
        // What a crash left of a seal: the end is written anew.
        for end in 0..=4 {
            let path = bench.put("x.lzo.open", &[&file[..], &lzop::END[..end]].concat());
            let done = recover_file(&OsDisk, &path, Mode::Repair);
            assert_eq!((done.cut_bytes, done.why, done.events), (0, None, None));
            let Outcome::Sealed(to) = &done.outcome else { panic!("{done}") };
            assert_eq!(std::fs::read(to).unwrap(), [&file[..], &lzop::END].concat());
            OsDisk.remove(to).unwrap();
        }
        for (name, bytes, outcome) in [
            ("a.lzo.open", &b"something else that somebody put here, long enough"[..], "Foreign"),
            ("b.lzo.open", &[0; 4096], "SetAside"),
        ] {
            let path = bench.put(name, bytes);
            let done = format!("{:?}", recover_file(&OsDisk, &path, Mode::Repair).outcome);
            assert!(done.starts_with(outcome), "{name}: {done}");
        }
    }

    #[test]
    fn plain_text_is_cut_to_its_last_newline() {
        let text = b"one\ntwo\nthr";
        for cut in 0..=text.len() {
            let bench = Bench::new();
            let path = bench.put("x.log.open", &text[..cut]);
            let done = recover_file(&OsDisk, &path, Mode::Repair);
            let name = bench.names();
            let kept = text[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            match cut {
                0 => assert!(name.is_empty()),
                1..=3 => assert_eq!(name, ["x.log.bad"]),
                _ => {
                    let found = std::fs::read(bench.0.path().join("x.log")).unwrap();
                    assert_eq!(found, &text[..kept]);
                    assert_eq!(done.cut_bytes as usize, cut - kept);
                }
            }
            bench.idle();
        }
    }

    #[test]
    fn files_that_are_held_foreign_newer_or_not_asked_for_stay_as_they_are() {
        let bench = Bench::new();
        let file = segment(Container::Zstd, &TEXTS);
        let held = bench.put("held.zst.open", &file);
        let holder = OsDisk.open_write(&held).unwrap();
        assert!(holder.try_lock_exclusive().unwrap());
        bench.put("foreign.zst.open", b"something else that somebody put here");
        bench.put("other.zst.open", &file);
        bench.put("taken.zst", b"finished");
        bench.put("taken.zst.open", &file);
        let mut newer = file;
        newer[12] = 2;
        let crc = super::super::block::crc32c(&newer[8..8 + 64]);
        newer[8 + 64..8 + 68].copy_from_slice(&crc.to_le_bytes());
        bench.put("newer.zst.open", &newer);
        let belongs = |path: &Path| !path.ends_with("other.zst.open");
        let done = recover(&OsDisk, bench.0.path(), &belongs, Mode::Repair).unwrap();
        let kinds: Vec<_> = done.iter().map(|one| format!("{:?}", one.outcome)).collect();
        assert_eq!(kinds[..3], ["Foreign", "Locked", "Newer(2)"]);
        let names = bench.names();
        let expected = ["foreign.zst.open", "held.zst.open", "newer.zst.open", "other.zst.open"];
        assert_eq!(names[..4], expected);
        assert_eq!(names[4..], ["taken.1.zst", "taken.zst"]);
        assert_eq!(std::fs::read(bench.0.path().join("taken.zst")).unwrap(), b"finished");
    }
}
