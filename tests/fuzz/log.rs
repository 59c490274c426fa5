//! Any bytes may lie as a segment of the durable channel's log. A target of libFuzzer of its own,
//! and as a test mutations of a log that the channel wrote, the same ones each time:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run log --fuzz-dir tests/fuzz`.
//!
//! Promises: no panic, no endless loop, no more memory than a record may take, whoever reads:
//! `flumen channel`, or a channel that starts with it, delivers what it finds, and ends. Nothing
//! is delivered that nobody sent, unless it was forged with right checksums; and those
//! cannot make it fail either.

#![cfg_attr(fuzzing, no_main)]

use flumen::channel::file::record::{FRAME, HEAD_BYTES, RECORD_BYTES_MAX, payload_crc};
use flumen::channel::file::{self, Keys, LogReader};
use flumen::channel::{Built, ChannelContext, ChannelKind};
use flumen::config::Section;
use flumen::memory::Credit;
use flumen::memory::receipt::Reached;
use flumen::runtime::clock::{Clock, ManualClock};
use flumen::runtime::{Progress, Worker};
use flumen::storage::block::crc32c;
use flumen::storage::{DirEntry, FileFacts};
use flumen::storage::{Disk, DiskFile, ReadAt, Space, Volume};
use flumen::telemetry::{ChannelCounters, Incidents};
use flumen::time::Wall;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if first % 2 == 1 {
        forge(&mut bytes, 0);
    }
    let kind = if first % 8 < 4 { file::KIND } else { file::SPILL };
    log(&if first % 4 < 2 { vec![bytes] } else { in_two(&bytes) }, &kind);
});

/// As two segments, which then contradict each other.
pub(crate) fn in_two(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (front, back) = bytes.split_at((bytes.len() / 2).next_multiple_of(FRAME).min(bytes.len()));
    vec![front.to_vec(), back.to_vec()]
}

const DIR: &str = "/log";

/// Keeps every promise about a log of these segments; the texts that a channel of this kind has
/// delivered.
pub(crate) fn log(segments: &[Vec<u8>], kind: &ChannelKind) -> Vec<Vec<u8>> {
    let disk = Memory::with(segments);
    let bytes: usize = segments.iter().map(Vec::len).sum();
    // Each frame may be looked at some times, and each record's content read some times.
    let reads_max = 200 + 100 * (bytes / FRAME) as u64;
    let exported = look(&disk);
    assert!(disk.reads() <= reads_max, "{} reads of {bytes} bytes", disk.reads());
    let delivered = deliver(&disk, kind);
    assert!(disk.reads() <= 4 * reads_max, "{} reads of {bytes} bytes", disk.reads());
    if let Some(delivered) = &delivered {
        let known = |text: &Vec<u8>| exported.contains(text);
        assert!(delivered.iter().all(known), "delivered, and not seen by who only looks");
    }
    delivered.unwrap_or_default()
}

/// As `flumen channel` does; all texts that can be read, also those that were delivered.
fn look(disk: &Memory) -> Vec<Vec<u8>> {
    let Ok(reader) = LogReader::open(disk, &[DIR.into()]) else { return Vec::new() };
    let totals = reader.totals();
    assert!(totals.segments <= 2);
    let mut whole = true;
    let verified = reader.verify(|report| {
        whole &= report.damage.is_empty() && report.torn_bytes <= report.bytes;
        Ok(())
    });
    verified.expect("memory can be read");
    let mut texts = [Vec::new(), Vec::new()];
    for (all, texts) in [false, true].into_iter().zip(&mut texts) {
        let mut failed = 0;
        let take = |page: &flumen::event::Page| {
            texts.extend(page.events().map(|event| event.bytes.to_vec()));
            Ok(())
        };
        reader
            .export(all, Arc::new(Keys::none()), take, |_| failed += 1)
            .expect("nothing refuses them");
    }
    let [waiting, all] = texts;
    assert!(waiting.len() <= all.len());
    all
}

/// As an agent does that starts with it; none when it is refused.
fn deliver(disk: &Memory, kind: &ChannelKind) -> Option<Vec<Vec<u8>>> {
    let options = format!("path = '{DIR}'\nsegment = '2MiB'\ncapacity = '1GiB'\nreserve = '0'");
    let section = Section::parse(&options, file::OPTIONS);
    let incidents = Incidents::new();
    let context = ChannelContext {
        name: "log".to_owned(),
        credit: Arc::new(Credit::new(4)),
        counters: Arc::new(ChannelCounters::default()),
        incidents: Arc::clone(&incidents),
        disk: Arc::new(disk.clone()),
        sink_threads: 1,
        confirmed: Reached::Synced,
        random: 77,
    };
    let built = (kind.plan)(&section).build(context).ok()?;
    let Built { channel, mut keepers, mut helpers, .. } = built;
    let clock = ManualClock::at(Wall(1_700_000_000_000_000_000));
    let (mut texts, mut turns, mut closing) = (Vec::new(), 0, false);
    loop {
        clock.advance(Duration::from_millis(5));
        while let Some(mut parcel) = channel.poll() {
            texts.extend(parcel.batch.events().map(|event| event.bytes.to_vec()));
            parcel.slip.take().into_iter().for_each(|slip| slip.confirm());
        }
        if channel.is_drained() && !closing {
            closing = true;
            keepers.iter_mut().for_each(|keeper| keeper.close(clock.now()));
        }
        let over = |keeper: &mut Box<dyn Worker>| keeper.work(clock.now()) == Progress::Done;
        if keepers.iter_mut().all(over) {
            return Some(texts);
        }
        for helper in &mut helpers {
            let _ = helper.work(clock.now());
        }
        turns += 1;
        if turns > 2000 && !incidents.blocking().is_empty() {
            // A forged record says that it is encrypted: it waits for the key, and says so.
            return None;
        }
        assert!(turns < 5000, "it never ends: closing {closing}");
    }
}

/// Gives every record's head and content the checksums that they should have, and the number of the
/// log and of the segment: what a forger would do, or a bug of ours.
pub(crate) fn forge(bytes: &mut [u8], segment: u64) {
    let Some(log) = bytes.get(8..16).map(<[u8]>::to_vec) else { return };
    let word = |frame: &[u8], at: usize| {
        u32::from_le_bytes(*frame[at..].first_chunk().expect("a head has it")) as usize
    };
    for at in (0..bytes.len()).step_by(FRAME) {
        let frame = &mut bytes[at..];
        if frame.len() < HEAD_BYTES || !frame.starts_with(b"FLMR") {
            continue;
        }
        frame[8..16].copy_from_slice(&log);
        frame[16..24].copy_from_slice(&segment.to_le_bytes());
        let (payload, slots) = (word(frame, 52), word(frame, 56));
        let (stored, tail) = (word(frame, 60), word(frame, 64));
        let slot_bytes = 16 * word(frame, 68);
        let plain = frame[5] == 1 && frame[6] == 0 && frame[73] == 0;
        let (length, second) = if plain { (tail, slot_bytes) } else { (stored, 0) };
        let first = frame.get(payload..payload + length);
        let rest = if second == 0 { Some(&[][..]) } else { frame.get(slots..slots + second) };
        if let (Some(first), Some(rest)) = (first, rest) {
            let crc = payload_crc(first, rest);
            frame[248..252].copy_from_slice(&crc.to_le_bytes());
        }
        let crc = crc32c(&frame[..252]);
        frame[252..256].copy_from_slice(&crc.to_le_bytes());
    }
}

// ── a disk in memory that counts ──

fn entry(name: &std::ffi::OsStr) -> DirEntry {
    DirEntry { name: name.to_owned(), is_dir: false, is_link: false }
}

type Bytes = Arc<Mutex<Vec<u8>>>;

#[derive(Clone, Default)]
pub(crate) struct Memory {
    files: Arc<Mutex<BTreeMap<PathBuf, Bytes>>>,
    reads: Arc<AtomicU64>,
}

#[derive(Clone)]
struct File(Bytes, Arc<AtomicU64>);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    pub(crate) fn with(segments: &[Vec<u8>]) -> Self {
        let disk = Self::default();
        for (number, bytes) in segments.iter().enumerate() {
            let path = Path::new(DIR).join(format!("segment.{number:012}"));
            *lock(&disk.create_new(&path).expect("it is new").0) = bytes.clone();
        }
        disk
    }

    fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    fn create_new(&self, path: &Path) -> io::Result<File> {
        let mut files = lock(&self.files);
        if files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = Bytes::default();
        files.insert(path.to_owned(), Arc::clone(&bytes));
        Ok(File(bytes, Arc::clone(&self.reads)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let files = lock(&self.files);
        let bytes = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(File(Arc::clone(bytes), Arc::clone(&self.reads))))
    }
}

impl Disk for Memory {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Self::create_new(self, path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(lock(&self.files).contains_key(path))
    }

    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = lock(&self.files);
        if files.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.files).remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<DirEntry>> {
        let files = lock(&self.files);
        let names = files.keys().filter_map(|path| path.file_name());
        Ok(names.map(entry).collect())
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let bytes = self.open(path)?.bytes()?;
        Ok(FileFacts { bytes, modified: Wall(0), is_dir: false })
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space { free_bytes: 1 << 40, total_bytes: 1 << 40 })
    }
}

impl ReadAt for File {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        assert!(out.len() <= RECORD_BYTES_MAX as usize, "{} bytes for one record", out.len());
        self.1.fetch_add(1, Ordering::Relaxed);
        lock(&self.0).as_slice().read_at(offset, out)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }
}

impl DiskFile for File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut own = lock(&self.0);
        let from = usize::try_from(offset).expect("it is in memory");
        let length = own.len().max(from + bytes.len());
        own.resize(length, 0);
        own[from..from + bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn volume(&self) -> Option<Volume> {
        None
    }

    fn sync_volume(&self) -> io::Result<()> {
        Ok(())
    }

    fn written_back(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        lock(&self.0).truncate(usize::try_from(bytes).expect("it is in memory"));
        Ok(())
    }

    fn try_lock_exclusive(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn linked(&self, _path: &Path) -> io::Result<bool> {
        Ok(true)
    }
}

#[cfg(not(fuzzing))]
mod replay {
    use super::{Memory, forge, in_two, log, look};
    use crate::replay::{self, Random, mutate};
    use flumen::channel::file::record::FRAME;
    use flumen::channel::file::{KIND, SPILL};

    /// What stands in heads and states.
    const PIECES: [&[u8]; 9] = [
        b"FLMR\x01\x01\0\x01",
        b"FLMR\x01\x02\0\0",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\x10\0\0",
        b"\0\0\x10\0",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\n",
    ];

    fn corpus() -> Vec<Vec<u8>> {
        replay::corpus("tests/fuzz/logs", 3)
    }

    #[test]
    fn logs_keep_every_promise() {
        let mut delivered = 0;
        for bytes in corpus() {
            for segments in [vec![bytes.clone()], in_two(&bytes)] {
                let [texts, spilled] = [KIND, SPILL].map(|kind| log(&segments, &kind));
                assert_eq!(texts, spilled);
                delivered += texts.len();
                let mut forged = segments;
                for (number, bytes) in forged.iter_mut().enumerate() {
                    forge(bytes, number as u64);
                }
                log(&forged, &KIND);
                log(&forged, &SPILL);
            }
        }
        assert!(delivered >= 10, "{delivered}");
        for kind in [KIND, SPILL] {
            assert!(log(&[], &kind).is_empty() && log(&[Vec::new()], &kind).is_empty());
            assert!(log(&[vec![0; 3 * FRAME]], &kind).is_empty());
        }
    }

    /// A field of some head, or of what stands behind it, becomes something else.
    fn strike(bytes: &mut [u8], random: &mut Random) {
        let frame = random.below(bytes.len() / FRAME) * FRAME;
        let at = frame + 4 * random.below(100);
        let piece = PIECES[random.below(PIECES.len())];
        let end = (at + piece.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&piece[..end - at]);
    }

    #[test]
    fn mutated_logs_keep_every_promise() {
        let corpus = corpus();
        // Without the state that tells so, what was delivered is delivered again.
        let all = |bytes: &Vec<u8>| look(&Memory::with(std::slice::from_ref(bytes)));
        let texts: std::collections::HashSet<Vec<u8>> = corpus.iter().flat_map(all).collect();
        let mut random = Random(0x5EED_0F10_6F11_E5A1);
        for round in 0..3000 {
            let mut bytes = corpus[random.below(corpus.len())].clone();
            let other = &corpus[random.below(corpus.len())];
            if round % 3 == 0 {
                mutate(&mut bytes, other, &PIECES, &mut random);
            } else {
                (0..=random.below(3)).for_each(|_| strike(&mut bytes, &mut random));
            }
            let forged = round % 2 == 0;
            let mut segments = if round % 5 == 0 { in_two(&bytes) } else { vec![bytes] };
            if forged {
                let numbered = segments.iter_mut().zip(0..);
                numbered.for_each(|(bytes, number)| forge(bytes, number));
            }
            let delivered = log(&segments, if round % 4 < 2 { &KIND } else { &SPILL });
            let known = delivered.iter().all(|text| texts.contains(text));
            assert!(forged || known, "round {round}: an event that nobody sent");
        }
    }
}
