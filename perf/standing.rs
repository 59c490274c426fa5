//! What costs nothing and what takes nothing: an idle agent, and one whose sink is stuck.

use crate::cases::Case;
use crate::figures::{Figures, Key};
use crate::measure::{Bench, place};
use crate::party::Party;
use crate::receiver::{Receiver, Transport};
use crate::send::{Connections, Stream};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// The share of one core that an agent takes when nothing comes.
pub(crate) fn idle(bench: &Bench, case: &Case, party: &Party, dir: &Path) -> io::Result<Figures> {
    let place = place(bench, case, dir)?;
    let mut receiver = Receiver::start(&mut party.command(&place)?, dir)?;
    receiver.wait_listening(Transport::Tcp, place.port)?;
    receiver.settle()?;
    let (began, before) = (Instant::now(), receiver.processor()?);
    sleep(Duration::from_secs(bench.seconds));
    let used = receiver.processor()? - before;
    let share = used.as_secs_f64() / began.elapsed().as_secs_f64();
    let peak = receiver.peak_bytes()?;
    receiver.stop(true)?;
    Ok(Figures::from([(Key::Core, share * 100.0), (Key::Peak, peak as f64 / (1 << 20) as f64)]))
}

/// The most it holds while three connections send and nobody reads its standard output.
pub(crate) fn stuck(bench: &Bench, case: &Case, party: &Party, dir: &Path) -> io::Result<Figures> {
    let mut place = place(bench, case, dir)?;
    place.agent = "drain = \"1s\"";
    let mut receiver = Receiver::start(&mut party.command(&place)?, dir)?;
    receiver.wait_listening(Transport::Tcp, place.port)?;
    let over = AtomicBool::new(false);
    let peak = scope(|threads| {
        for _ in 0..3 {
            let shape = Stream { connections: 1, write_bytes: 64 << 10, rate: None };
            let mut sender = Connections::open(&bench.lines, place.port, shape)?;
            let over = &over;
            threads.spawn(move || {
                // The write that waits is ended by the agent's end, with an error.
                while !over.load(Ordering::Relaxed) && sender.send(1000).is_ok() {}
            });
        }
        sleep(Duration::from_secs(bench.seconds));
        over.store(true, Ordering::Relaxed);
        let peak = receiver.peak_bytes()?;
        receiver.stop(true)?;
        io::Result::Ok(peak)
    })?;
    Ok(Figures::from([(Key::Peak, peak as f64 / (1 << 20) as f64)]))
}
