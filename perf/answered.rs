//! Requests that are answered: events are taken when all of their answers have come, and worked off
//! when the receiver is at rest again.

use crate::cases::Case;
use crate::figures::{Figures, Key};
use crate::kept;
use crate::measure::{self, Bench, Part, end, sum_up};
use crate::party::Party;
use crate::receiver::{Receiver, Transport};
use crate::requests::{Dialect, Requests};
use std::io;
use std::path::Path;
use std::time::Instant;

pub(crate) fn run(
    bench: &Bench,
    case: &Case,
    party: &Party,
    dialect: Dialect,
    dir: &Path,
) -> io::Result<Figures> {
    let mut place = measure::place(bench, case, dir)?;
    (place.transport, place.source) = match dialect {
        Dialect::Lines => ("http", "handler = \"lines\""),
        Dialect::Lists => ("http", "handler = \"json\""),
        Dialect::Stores => ("memcached", ""),
    };
    let mut receiver = Receiver::start(&mut party.command(&place)?, dir)?;
    receiver.wait_listening(Transport::Tcp, place.port)?;
    let mut sender = Requests::open(&bench.lines, place.port, dialect)?;

    let events = party.events(bench.events);
    let warm = sender.send(events / 5)?;
    let before = receiver.settle()?.processor();
    measure::touch(bench, case, party);
    let began = Instant::now();
    let sent = sender.send(events - warm)?;
    let rest = receiver.settle()?;
    let peak = receiver.peak_bytes()?;
    drop(sender);
    let usage = end(receiver, party)?;

    let kept = kept::read(&dir.join("out"))?;
    let processor = rest.processor() - before;
    let part = Part { events: sent, processor, took: rest.done(before) - began };
    let mut figures = sum_up(kept, usage, part, peak);
    let (sent, bytes) = (warm + sent, bench.lines.bytes().len() as f64);
    let each = bytes / bench.lines.messages() as f64;
    figures.insert(Key::Megabytes, figures[&Key::Rate] * each / 1e6);
    figures.insert(Key::Sent, sent as f64);
    figures.insert(Key::Lost, sent as f64 - kept.events as f64);
    Ok(figures)
}
