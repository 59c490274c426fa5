//! One RELP session, and what was acknowledged in it: the rate is that of the answers.

use crate::cases::Case;
use crate::figures::{Figures, Key};
use crate::kept;
use crate::measure::{self, Bench, Part, end, sum_up};
use crate::party::{Party, Place, Sender, omrelp};
use crate::receiver::{Receiver, Transport};
use flumen::load::{Extent, Framing, Plan, Rate, Target, blast};
use flumen::syslog::compose::Shape;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a sender may take to say its first word.
const START_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// Of processor time, more than a receiver spends on being there.
const BEGUN: Duration = Duration::from_millis(20);

pub(crate) fn run(bench: &Bench, case: &Case, party: &Party, dir: &Path) -> io::Result<Figures> {
    let place = measure::place(bench, case, dir)?;
    let events = party.events(bench.events);
    let mut receiver = Receiver::start(&mut party.command(&place)?, dir)?;
    receiver.wait_listening(Transport::Tcp, place.port)?;
    let before = receiver.settle()?.processor();
    let (sent, took) = match party.sender {
        Sender::Blast => blasted(&place, party, events)?,
        Sender::Omrelp => forwarded(bench, &place, &receiver, events)?,
    };
    let rest = receiver.settle()?;
    let peak = receiver.peak_bytes()?;
    let usage = end(receiver, party)?;
    let kept = kept::read(&dir.join("out"))?;
    let part = Part { events, processor: rest.processor() - before, took };
    let mut figures = sum_up(kept, usage, part, peak);
    figures.insert(Key::Sent, sent as f64);
    figures.insert(Key::Lost, sent as f64 - kept.events as f64);
    Ok(figures)
}

/// Events that were acknowledged, and how long that took.
fn blasted(place: &Place<'_>, party: &Party, events: u64) -> io::Result<(u64, Duration)> {
    let target = Target::parse(&format!("relp://127.0.0.1:{}", place.port));
    let plan = Plan {
        targets: vec![target.map_err(io::Error::other)?],
        connections: 1,
        rate: Rate::Max,
        extent: Extent::Count(events),
        shape: Shape::default(),
        framing: Framing::Newline,
        gso: false,
        run: 1,
        tls: None,
        window: party.window,
    };
    let outcome = blast::run(&plan, &Arc::default(), &mut |_| ()).map_err(io::Error::other)?;
    Ok((outcome.manifest.sent(), outcome.passed))
}

/// rsyslogd does not say when it has its answers: the receiver is watched until it is at rest.
fn forwarded(
    bench: &Bench,
    place: &Place<'_>,
    receiver: &Receiver,
    events: u64,
) -> io::Result<(u64, Duration)> {
    let file = place.dir.join("lines");
    let mut lines = File::create(&file)?;
    let (text, mut left) = (&bench.lines, events);
    while left > 0 {
        let count = left.min(text.messages());
        lines.write_all(&text.bytes()[..text.start(count as usize)])?;
        left -= count;
    }
    let folder = place.dir.join("sender");
    std::fs::create_dir(&folder)?;
    let idle = receiver.processor()?;
    let sender = Receiver::start(&mut omrelp(place, &file)?, &folder)?;
    let started = Instant::now();
    while receiver.processor()? < idle + BEGUN {
        if started.elapsed() > START_MAX {
            return Err(io::Error::other("rsyslogd sends nothing"));
        }
        std::thread::sleep(POLL);
    }
    let began = Instant::now();
    let rest = receiver.settle()?;
    let took = rest.done(idle) - began;
    sender.stop(true)?;
    Ok((events, took))
}
