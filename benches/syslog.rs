//! What a message of 200 bytes costs to take apart: all fields, the instant, and only a part.
//!
//! One message alone shows the code, branches foreseen; `mixed` goes through a thousand composed
//! ones and shows what the branches cost.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flumen::syslog::compose::{Composer, Format, Shape};
use flumen::syslog::parse::{Arrival, Expect, Fields, Zone, parse};
use flumen::syslog::stamp::Stamp;
use flumen::time::Wall;
use std::hint::black_box;

const MESSAGE_BYTES: usize = 200;

/// A message with `text` to fill it up.
fn filled(header: &str) -> Vec<u8> {
    let mut message = header.as_bytes().to_vec();
    let text = b"Accepted publickey for deploy from 192.0.2.17 port 50022 ssh2: ED25519 SHA256:";
    message.extend(text.iter().cycle().take(MESSAGE_BYTES - header.len()));
    message
}

fn rfc3164() -> Vec<u8> {
    filled("<38>Oct 11 22:14:15 web-017 sshd[41231]: ")
}

fn rfc5424() -> Vec<u8> {
    filled(
        "<38>1 2026-10-11T22:14:15.003123Z web-017 sshd 41231 AUTH \
         [origin@32473 ip=\"192.0.2.17\" port=\"50022\"][meta sequenceId=\"4711\"] ",
    )
}

fn mixed(format: Format) -> Vec<Vec<u8>> {
    let size_bytes = MESSAGE_BYTES as u32;
    let mut composer = Composer::new(Shape { format, size_bytes, ..Shape::default() });
    let mut out = vec![0; composer.room_bytes()];
    let message = |sequence: u64| {
        let at = Wall(1_795_231_188_000_000_000 + sequence as i64 * 1_000_000);
        let length = composer.compose(Stamp { run: 7, stream: 3, sequence, at }, &mut out);
        out[..length].to_vec()
    };
    (0..1000).map(message).collect()
}

fn one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("syslog");
    for (name, message) in [("rfc3164", rfc3164()), ("rfc5424", rfc5424())] {
        assert_eq!(message.len(), MESSAGE_BYTES);
        let parts = [("all", Fields::ALL), ("pri", Fields::PRI), ("hostname", Fields::HOSTNAME)];
        for (part, wanted) in parts {
            group.bench_with_input(BenchmarkId::new(name, part), &message, |bencher, message| {
                bencher.iter(|| parse(black_box(message), Expect::Auto, wanted));
            });
        }
        let mut arrival = Arrival::new(
            Wall(1_795_231_188_000_000_000),
            Zone::named("Europe/Berlin").expect("IANA has it"),
        );
        group.bench_with_input(BenchmarkId::new(name, "instant"), &message, |bencher, message| {
            bencher.iter(|| {
                let message = parse(black_box(message), Expect::Auto, Fields::ALL);
                message.time.map(|time| arrival.resolve(&time).wall())
            });
        });
    }
    group.finish();
}

fn thousand(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("syslog/mixed");
    for (name, format) in [("rfc3164", Format::Rfc3164), ("rfc5424", Format::Rfc5424)] {
        let messages = mixed(format);
        group.throughput(Throughput::Elements(messages.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for message in &messages {
                    black_box(parse(black_box(message), Expect::Auto, Fields::ALL));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, one, thousand);
criterion_main!(benches);
