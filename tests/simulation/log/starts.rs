//! What a start reads of a log that many batches wait in.

use super::{Clock, Crash, Duration, EventHead, Life, Marks, Origin, Story, is_segment};

/// Room for it in a batch, beside its head.
const EVENT_BYTES: usize = 60_000;
const BATCHES: usize = 500;

/// Offers a batch with one large event; the keeper works until there is credit for it.
fn offer(story: &Story, life: &mut Life) {
    for _ in 0..100 {
        let now = story.clock.now();
        if let Some(mut page) = life.valve.open() {
            let origin = page.push_origin(Origin::LOCAL).expect("room");
            let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
            page.append_event(&[b'x'; EVENT_BYTES], head).expect("room");
            return life.valve.offer(page, None, now.mono, now);
        }
        story.clock.advance(Duration::from_millis(2));
        story.all_work(life);
    }
    panic!("no credit: {:?}", life.incidents.blocking());
}

/// The sinks are away, so nothing is delivered, and there is nothing else to write down; a start
/// verifies some megabytes of the last segment all the same, not all of it.
#[test]
fn a_start_reads_little_of_a_large_segment() {
    let mut story = Story::new(1, false);
    story.spill = false;
    story.options =
        "path = '/log'\nsync = '10ms'\ncapacity = '1GiB'\nsegment = '48MiB'\nreserve = '0'".into();
    let mut life = story.build().expect("a fresh disk");
    (0..BATCHES).for_each(|_| offer(&story, &mut life));
    for _ in 0..50 {
        story.clock.advance(Duration::from_millis(5));
        story.all_work(&mut life);
    }
    assert_eq!(life.counters.gauge.events(), BATCHES as i64);
    drop(life);
    story.disk.crash(Crash::Killed);
    let files = story.disk.files();
    let segments: Vec<_> = files.iter().filter(|(path, _)| is_segment(path)).collect();
    assert_eq!(segments.len(), 1);
    let log = segments[0].1.len() as u64;
    drop(files);

    let before = story.disk.read_bytes();
    let life = story.build().expect("it is whole");
    let read = story.disk.read_bytes() - before;
    assert_eq!(life.counters.recovered_events.get(), BATCHES as u64);
    assert!(life.channel.is_empty(), "nothing is read back yet");
    assert!(log > 29 << 20 && read < 10 << 20, "{read} bytes read of a log of {log}");
}
