//! When can an event be read? Every message bears the time it was sent; a reader looks into the
//! growing file, or at the pipe, once a millisecond or sooner, and takes the difference.
//!
//! The sender composes each message anew, a millisecond's worth at a time. Its own lag is part of
//! the figure: what is stamped late was sent late.

use crate::cases::Case;
use crate::figures::{Figures, Key};
use crate::kept;
use crate::measure::{Bench, place};
use crate::party::Party;
use crate::receiver::{Receiver, Transport};
use flumen::archive::Reader;
use flumen::storage::OsDisk;
use flumen::syslog::compose::{Composer, Shape};
use flumen::syslog::stamp::{self, Reading, Stamp};
use flumen::time::Wall;
use hdrhistogram::Histogram;
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const LOOK: Duration = Duration::from_micros(500);
/// After the last event was sent: `block.age`, and as much again.
const REST: Duration = Duration::from_secs(3);

pub(crate) fn run(
    bench: &Bench,
    case: &Case,
    party: &Party,
    dir: &Path,
    rate: f64,
) -> io::Result<Figures> {
    let place = place(bench, case, dir)?;
    let mut receiver = Receiver::start(&mut party.command(&place)?, dir)?;
    receiver.wait_listening(Transport::Tcp, place.port)?;
    let pipe = receiver.child().stdout.take();
    let over = AtomicBool::new(false);
    let port = place.port;
    let (seen, sent) = scope(|threads| {
        let over = &over;
        let reader = threads.spawn(move || match pipe {
            Some(pipe) => read_pipe(pipe),
            None => read_files(&dir.join("out"), over),
        });
        let sent = send(port, rate, Duration::from_secs(bench.seconds));
        sleep(REST);
        over.store(true, Ordering::Relaxed);
        receiver.stop(true)?;
        let seen = reader.join().map_err(|_| io::Error::other("the reader panicked"))??;
        io::Result::Ok((seen, sent?))
    })?;
    let ms = |ns: u64| ns as f64 / 1e6;
    Ok(Figures::from([
        (Key::P50, ms(seen.value_at_quantile(0.5))),
        (Key::P99, ms(seen.value_at_quantile(0.99))),
        (Key::P999, ms(seen.value_at_quantile(0.999))),
        (Key::Max, ms(seen.max())),
        (Key::Sent, sent as f64),
        (Key::Lost, sent as f64 - seen.len() as f64),
    ]))
}

fn send(port: u16, rate: f64, duration: Duration) -> io::Result<u64> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    let mut composer = Composer::new(Shape::default());
    let mut message = vec![0; composer.room_bytes()];
    let (mut lines, mut sent) = (Vec::new(), 0);
    let began = Instant::now();
    while began.elapsed() < duration {
        let due = (began.elapsed().as_secs_f64() * rate) as u64;
        lines.clear();
        // Not more at a time than a socket buffer holds: a stamp shall not wait for its write.
        let count = (due - sent).min(1000);
        let at = now();
        for sequence in sent..sent + count {
            let length = composer.compose(Stamp { run: 1, stream: 1, sequence, at }, &mut message);
            lines.extend_from_slice(&message[..length]);
            lines.push(b'\n');
        }
        stream.write_all(&lines)?;
        sent += count;
        if count < 1000 {
            sleep(Duration::from_micros(200));
        }
    }
    Ok(sent)
}

fn read_pipe(mut pipe: impl Read) -> io::Result<Histogram<u64>> {
    let mut seen = histogram();
    let mut bytes = vec![0; 1 << 20];
    let mut used = 0;
    loop {
        let count = pipe.read(&mut bytes[used..])?;
        if count == 0 {
            return Ok(seen);
        }
        let at = now();
        used += count;
        let whole = memchr::memrchr(b'\n', &bytes[..used]).map_or(0, |end| end + 1);
        for line in bytes[..whole].split(|byte| *byte == b'\n') {
            take(&mut seen, line, at);
        }
        bytes.copy_within(whole..used, 0);
        used -= whole;
    }
}

/// Follows the newest file, and the one before it to its end.
fn read_files(out: &Path, over: &AtomicBool) -> io::Result<Histogram<u64>> {
    let mut seen = histogram();
    let (mut opened, mut reader) = (HashSet::new(), None);
    loop {
        let last = over.load(Ordering::Relaxed);
        // Looked for before the reading: what stands in the old file then was all of it.
        let next = next_file(out, &mut opened)?;
        if let Some(reader) = &mut reader {
            read_blocks(reader, &mut seen)?;
        }
        match next {
            Some(next) => reader = Some(next),
            None if last => return Ok(seen),
            None => sleep(LOOK),
        }
    }
}

/// A file that was not opened yet. Its name may change, its inode does not.
fn next_file(out: &Path, opened: &mut HashSet<u64>) -> io::Result<Option<Reader>> {
    for file in kept::files(out)? {
        // A file that is renamed, or has no header yet, is there at the next look.
        let Ok(inode) = file.metadata().map(|it| it.ino()) else { continue };
        if opened.contains(&inode) {
            continue;
        }
        if let Ok(reader) = Reader::open(&OsDisk, &file) {
            opened.insert(inode);
            return Ok(Some(reader));
        }
    }
    Ok(None)
}

fn read_blocks(reader: &mut Reader, seen: &mut Histogram<u64>) -> io::Result<()> {
    while let Some(block) = reader.next_block().map_err(io::Error::other)? {
        let at = now();
        for event in block.events() {
            take(seen, &event.text(), at);
        }
    }
    Ok(())
}

fn take(seen: &mut Histogram<u64>, message: &[u8], at: Wall) {
    if let Reading::Whole(stamp) = stamp::read(message) {
        seen.saturating_record((at.0 - stamp.at.0).max(0).cast_unsigned());
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("three digits up to a minute")
}

fn now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
