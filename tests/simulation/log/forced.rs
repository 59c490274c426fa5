//! Stopped by force, with batches everywhere: what was lost is what nobody ever delivers.

use super::{Amount, Clock, Duration, Life, Progress, Story};
use crate::setting;

const SEEDS_DEFAULT: u64 = 40;

/// The sinks are dropped as they stand, the keeper has a moment, or hangs and is dropped, too: as
/// the agent ends such a life. What was counted as lost.
fn force(story: &mut Story, mut life: Life, hangs: bool) -> Result<u64, String> {
    for (parcel, numbers) in std::mem::take(&mut life.hands) {
        // Some of them a sink has written, and not synced: that is not lost, and not confirmed.
        if story.random.once_in(2) {
            let all = Amount::of(&parcel.batch);
            life.channel.leave(all, all.when(parcel.passes()));
            numbers.iter().for_each(|number| story.fates[*number].counted = true);
        }
    }
    if hangs {
        life.keepers.clear();
    }
    life.keepers.iter_mut().for_each(|keeper| keeper.close(story.clock.now()));
    let mut turns = 0;
    let mut open = true;
    while open {
        life.channel.discard();
        story.clock.advance(Duration::from_millis(1));
        let now = story.clock.now();
        open = false;
        for keeper in &mut life.keepers {
            open |= keeper.work(now) != Progress::Done;
        }
        life.helpers.iter_mut().for_each(|helper| _ = helper.work(now));
        turns += 1;
        if turns > 20_000 {
            return Err("the keeper does not end".to_owned());
        }
    }
    let (lost, bytes) = life.channel.unkept();
    if (lost == 0) != (bytes == 0) {
        return Err(format!("{lost} events of {bytes} bytes are lost"));
    }
    story.take_receipts(&mut life);
    Ok(lost)
}

fn forced(seed: u64) -> Result<u64, String> {
    let mut story = Story::new(seed, false);
    story.faults = false;
    // The other one loses nothing that it was given time to write.
    story.spill |= !seed.is_multiple_of(4);
    let (steps, hangs) = (story.random.within(5..300), story.random.once_in(3));
    let mut life = story.build()?;
    story.live_for(&mut life, steps, false)?;
    let lost = force(&mut story, life, hangs)?;
    let sent = story.fates.len();
    story.forced = true;
    story.fates.iter_mut().for_each(|fate| fate.seen = 0);
    let life = story.build()?;
    story.close(life)?;
    let never = story.fates[..sent].iter().filter(|fate| !fate.counted && fate.seen == 0).count();
    match never as u64 == lost {
        true if !story.spill && !hangs && lost > 0 => {
            Err(format!("{lost} lost, and all is in the log"))
        }
        true => Ok(lost),
        false => Err(format!("{lost} events count as lost, and {never} never came")),
    }
}

#[test]
fn what_a_stop_by_force_loses_is_counted_exactly() {
    let first = setting("FLUMEN_FIRST").unwrap_or(0);
    let count = setting("FLUMEN_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let mut stops_with_losses = 0;
    for seed in first..first + count {
        let lost = forced(seed).unwrap_or_else(|what| panic!("forced seed {seed}: {what}"));
        stops_with_losses += u64::from(lost > 0);
    }
    println!("{stops_with_losses} of {count} stops lost something");
    assert!(stops_with_losses * 5 > count, "{stops_with_losses} of {count}");
}
