//! What a seed builds: sources, channels, sinks and their options.

use flumen::channel::WhenFull;
use flumen::memory::receipt::Reached;

use crate::dealing::{GroupShape, Way};
use crate::random::Random;
use crate::source::WANTED;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) sources: Vec<SourceShape>,
    pub(crate) channels: Vec<ChannelShape>,
    pub(crate) sinks: Vec<SinkShape>,
    /// Of all sinks of a channel, each.
    pub(crate) groups: Vec<GroupShape>,
    /// Pages more or less than the sum says.
    pub(crate) fewer_pages: usize,
    pub(crate) faults: bool,
    pub(crate) meddling: bool,
}

#[derive(Debug)]
pub(crate) struct SourceShape {
    pub(crate) connections: usize,
    pub(crate) channels: Vec<usize>,
    /// An acknowledging source, and what it wants.
    pub(crate) wants: Option<Reached>,
    pub(crate) way: Way,
}

#[derive(Debug)]
pub(crate) struct ChannelShape {
    pub(crate) credit: u32,
    pub(crate) when_full: WhenFull,
}

#[derive(Debug)]
pub(crate) struct SinkShape {
    pub(crate) channel: usize,
    /// TOML, as in a configuration.
    pub(crate) options: String,
    pub(crate) root: String,
    pub(crate) codec: &'static str,
    pub(crate) json: bool,
}

impl Plan {
    pub(crate) fn new(random: &mut Random) -> Self {
        let channels = 1 + random.index(2);
        let source = |random: &mut Random| {
            let all = channels > 1 && random.once_in(2);
            let channels = if all { (0..channels).collect() } else { vec![random.index(channels)] };
            let connections = 1 + random.index(6);
            let wants = random.once_in(3).then(|| *random.pick(&WANTED));
            SourceShape { connections, channels, wants, way: Way::All { optional: 0 } }
        };
        let sources = (0..1 + random.index(3)).map(|_| source(random)).collect();
        let mut sinks = Vec::new();
        for channel in 0..channels {
            for _ in 0..1 + random.index(2) {
                let shape = sink(random, channel, sinks.len());
                sinks.push(shape);
            }
        }
        let channels = (0..channels).map(|_| channel(random)).collect();
        let fewer_pages = if random.once_in(3) { random.index(3) } else { 0 };
        let faults = !random.once_in(3);
        Self {
            sources,
            channels,
            sinks,
            groups: Vec::new(),
            fewer_pages,
            faults,
            meddling: faults && random.once_in(3),
        }
    }
}

fn channel(random: &mut Random) -> ChannelShape {
    let when_full = if random.once_in(4) { WhenFull::DropNewest } else { WhenFull::Wait };
    ChannelShape { credit: random.within(2..9) as u32, when_full }
}

fn sink(random: &mut Random, channel: usize, number: usize) -> SinkShape {
    let root = format!("/s{number}");
    let path = *random.pick(&[
        "all.log",
        "all.log",
        "all.log",
        "%Y%m%d/%H%M.log",
        "%{peer}.log",
        "%{peer}/%H%M.log",
    ]);
    let codec = *random.pick(&["zstd", "zstd", "gzip", "lz4", "none"]);
    let encoder = *random.pick(&["raw", "raw", "line", "json"]);
    let sync = *random.pick(&["100ms", "1s", "1s", "block", "never"]);
    let keep = match random.below(8) {
        0 => format!("keep = {{ files = {} }}\n", random.within(1..5)),
        _ => String::new(),
    };
    let mut choose = |from: &[&'static str]| *random.pick(from);
    let options = format!(
        "path = '{root}/{path}'\nzone = 'UTC'\nthreads = {}\n{}\n\
         encoder = '{encoder}'\nsync = '{sync}'\nopen_files = {}\n{keep}\
         block = {{ bytes = '{}', age = '{}' }}\n\
         roll = {{ bytes = '{}', age = '{}', idle = '{}' }}",
        choose(&["1", "1", "2", "3", "4"]),
        of_codec(codec),
        choose(&["1", "2", "8", "1024"]),
        choose(&["4KiB", "16KiB", "64KiB"]),
        choose(&["10ms", "100ms", "1s"]),
        choose(&["64KiB", "64KiB", "256KiB", "1GiB"]),
        choose(&["1s", "5s", "1h"]),
        choose(&["1s", "10m"]),
    );
    SinkShape { channel, options, root, codec, json: encoder == "json" }
}

/// The row of a sink's options that says its codec.
pub(crate) fn of_codec(codec: &str) -> String {
    format!("codec = '{codec}'")
}
