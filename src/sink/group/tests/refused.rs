//! Events that a member refuses: who has them next, and that each has one end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::channel::Refusal;
use crate::memory::receipt::Reached;
use crate::memory::{Outcome, ReceiptPool, Shared};
use crate::sink::leaving::{self, Fate, Rest};
use crate::storage::{Disk, OsDisk};
use crate::telemetry::LostReason;

impl Scene {
    /// The member refuses these of a batch, and is through with those in front of `settled`.
    fn hand_on(
        &self,
        member: usize,
        parcel: Parcel,
        settled: u32,
        refused: &[u32],
        failed: bool,
    ) -> Result<(), Parcel> {
        let (sink, reason) = (format!("sink{member}"), format!("no, says {member}"));
        let refusal = Refusal { sink, attempts: 3, reason };
        let left = refused.iter().map(|index| (*index, Some(refusal.clone()))).collect();
        let rest = Rest { settled, left, failed, ..Rest::default() };
        let channel = self.members[member].as_ref();
        leaving::hand_on(parcel, &rest, &self.counters[member], channel, self.now)
    }

    /// It refuses these of a whole batch.
    fn refuse(&self, member: usize, parcel: Parcel, refused: &[u32]) {
        let all = parcel.batch.event_count();
        assert!(self.hand_on(member, parcel, all, refused, false).is_ok(), "a page is free");
    }

    /// It has delivered all of it but what nobody takes.
    fn finish(&self, member: usize, parcel: Parcel, lost: u64) {
        let refused = Amount { events: lost, bytes: lost };
        let fate = Fate { refused, ..Fate::default() };
        let channel = self.members[member].as_ref();
        leaving::finish(parcel, fate, self.now, &self.counters[member], channel, self.now);
    }

    /// Written, and lost{refused}, or set aside, of each member and of what the group settled.
    fn fates(&self) -> Vec<[u64; 3]> {
        let count = |(own, aside): (&Arc<SinkCounters>, &Arc<SinkCounters>)| {
            let lost = |of: &SinkCounters| of.lost[LostReason::Refused].get();
            let dead = own.dead_lettered_events.get() + aside.dead_lettered_events.get();
            [own.written_events.get() + aside.written_events.get(), lost(own) + lost(aside), dead]
        };
        self.counters.iter().zip(&self.asides).map(count).collect()
    }

    fn waiting(&self) -> i64 {
        self.group.inner.counters().gauge.events()
    }

    fn is_drained(&self) -> bool {
        self.members.iter().all(|member| member.is_drained())
    }
}

fn numbers(parcel: &Parcel) -> Vec<u8> {
    parcel.batch.events().map(|event| event.bytes[0]).collect()
}

#[test]
fn what_one_refuses_the_next_has_and_the_last_is_left_with_it() {
    let scene = scene(Course::Failover, 3);
    scene.offer_batch(&[1, 2, 3, 4], None);
    let first = scene.poll(0).expect("all of it");
    assert!(scene.members[0].asks(&first));
    scene.refuse(0, first, &[1, 3]);
    assert_eq!((scene.fates()[0], scene.waiting()), ([2, 0, 0], 2));
    assert!(!scene.is_drained(), "somebody is yet to have it");
    assert!(scene.members[0].is_empty() && scene.members[2].is_empty());
    assert!(scene.poll(0).is_none() && scene.poll(2).is_none(), "it is the second's");
    assert!(!scene.members[1].is_empty());
    let second = scene.poll(1).expect("two of them");
    assert_eq!(numbers(&second), [2, 4]);
    scene.refuse(1, second, &[1]);
    let third = scene.poll(2).expect("one of them");
    assert_eq!(numbers(&third), [4]);
    assert!(!scene.members[2].asks(&third), "nobody is left");
    let said = third.refusal(0).expect("both have said why");
    assert_eq!((said.attempts, said.sink.as_str()), (6, "sink1"));
    assert_eq!(said.reason, "sink0: no, says 0; no, says 1");
    scene.finish(2, third, 1);
    assert_eq!(scene.fates(), [[2, 0, 0], [1, 0, 0], [0, 1, 0]]);
    assert!(scene.waiting() == 0 && scene.is_drained());
}

#[test]
fn it_stands_before_what_is_newer_and_holds_up_nothing() {
    for course in [Course::RoundRobin, Course::Random, Course::LeastWaiting, Course::Failover] {
        let scene = scene(course, 2);
        scene.offer_batch(&[1, 2], None);
        scene.offer(3..4);
        let parcel = scene.poll(0).expect("the first");
        scene.refuse(0, parcel, &[1]);
        let again = scene.poll(1).expect("another one is there");
        assert_eq!(numbers(&again), [2], "{course:?}");
        assert_eq!(scene.deliver(0), Some(3), "{course:?}");
        scene.finish(1, again, 0);
        assert_eq!(scene.fates(), [[2, 0, 0], [1, 0, 0]], "{course:?}");
    }
}

#[test]
fn who_is_away_is_not_asked_and_not_waited_for() {
    let mut scene = scene(Course::RoundRobin, 3);
    scene.members[1].failing(scene.now);
    scene.offer_batch(&[1, 2], None);
    let parcel = scene.poll(0).expect("both");
    scene.refuse(0, parcel, &[0]);
    // The one that is there has it, and goes away with it.
    let again = scene.poll(2).expect("it is there");
    assert!(scene.members[2].give_back(again, scene.now).is_none());
    assert_eq!(scene.fates(), [[1, 1, 0], [0, 0, 0], [0, 0, 0]]);
    assert!(scene.waiting() == 0 && scene.is_drained());
    // It waits for one that says only then that it is away.
    scene.members[1].working();
    scene.pass(PENALTY);
    scene.offer_batch(&[3], None);
    scene.members[2].failing(scene.now);
    let parcel = scene.poll(0).expect("the next");
    scene.refuse(0, parcel, &[0]);
    assert_eq!(scene.waiting(), 1);
    scene.members[1].failing(scene.now);
    assert_eq!((scene.fates()[0], scene.waiting()), ([1, 2, 0], 0));
}

#[test]
fn what_was_not_tried_is_no_dead_letter() {
    let mut scene = scene(Course::Failover, 2);
    scene.offer_batch(&[1, 2, 3, 4], None);
    let parcel = scene.poll(0).expect("all");
    // It delivers one, refuses one, and is gone.
    assert!(scene.hand_on(0, parcel, 2, &[1], true).is_ok());
    assert_eq!((scene.fates()[0], scene.waiting()), ([1, 0, 0], 3));
    let rest = scene.poll(1).expect("the other three");
    assert_eq!(numbers(&rest), [2, 3, 4]);
    assert!(rest.refusal(0).is_some() && rest.refusal(1).is_none());
    scene.members[1].give_back(rest, scene.now);
    assert_eq!((scene.fates()[0], scene.waiting()), ([1, 1, 0], 2));
    scene.pass(PENALTY);
    let rest = scene.poll(0).expect("it has rested");
    assert!(numbers(&rest) == [3, 4] && rest.refusals.is_none(), "as if nothing had been");
    scene.finish(0, rest, 0);
    assert_eq!(scene.fates(), [[3, 1, 0], [0, 0, 0]]);
    assert!(scene.waiting() == 0 && scene.is_drained());
}

/// A sink goes away before it has tried something as often as it would.
#[test]
fn what_was_to_be_tried_once_more_is_no_dead_letter() {
    for refused in [None, Some(3)] {
        let mut scene = scene(Course::Failover, 2);
        scene.offer_batch(&[1, 2, 3, 4], None);
        let parcel = scene.poll(0).expect("all");
        let refusal = Refusal { sink: "sink0".to_owned(), attempts: 3, reason: "no".to_owned() };
        let over = refused.map(|index| (index, Some(refusal)));
        let left = std::iter::once((1, None)).chain(over).collect();
        let rest = Rest { settled: 4, left, failed: true, ..Rest::default() };
        let channel = scene.members[0].as_ref();
        let own = &scene.counters[0];
        assert!(leaving::hand_on(parcel, &rest, own, channel, scene.now).is_ok());
        scene.members[1].failing(scene.now);
        let lost = u64::from(refused.is_some());
        assert_eq!((scene.fates()[0], scene.waiting()), ([3 - lost, lost, 0], 1));
        scene.pass(PENALTY);
        let rest = scene.poll(0).expect("it has rested");
        assert!(numbers(&rest) == [2] && rest.refusals.is_none(), "as if nothing had been");
        scene.finish(0, rest, 0);
        assert!(scene.waiting() == 0 && scene.is_drained());
    }
}

/// It takes what another one refused, with something that nobody has tried, and then it goes.
#[test]
fn who_delivers_what_was_refused_leaves_the_rest_as_if_nothing_had_been() {
    let mut scene = scene(Course::Failover, 2);
    scene.offer_batch(&[1, 2, 3], None);
    let parcel = scene.poll(0).expect("all");
    assert!(scene.hand_on(0, parcel, 1, &[0], true).is_ok());
    let rest = scene.poll(1).expect("it is asked");
    assert_eq!(numbers(&rest), [1, 2, 3]);
    let channel = scene.members[1].as_ref();
    leaving::give_back(rest, 1, &scene.counters[1], channel, scene.now);
    assert_eq!((scene.fates(), scene.waiting()), (vec![[0; 3], [1, 0, 0]], 2));
    scene.pass(PENALTY);
    let rest = scene.poll(0).expect("it has rested");
    assert!(numbers(&rest) == [2, 3] && rest.refusals.is_none());
    scene.finish(0, rest, 0);
    assert!(scene.waiting() == 0 && scene.is_drained());
}

#[test]
fn a_batch_that_others_read_is_copied_while_pages_are_free() {
    let scene = scene(Course::RoundRobin, 2);
    let mut shared: Vec<Shared> = Vec::new();
    let mut kept = None;
    for round in 0..2 {
        scene.offer_batch(&[1, 2], None);
        let parcel = scene.poll(0).expect("a batch");
        shared.push(parcel.batch.clone());
        match scene.hand_on(0, parcel, 2, &[0], false) {
            Ok(()) => assert_eq!(round, 0, "there is one page"),
            Err(parcel) => kept = Some(parcel),
        }
    }
    let kept = kept.expect("the page is out");
    assert_eq!((numbers(&kept), scene.waiting()), (vec![1, 2], 3));
    let again = scene.poll(1).expect("the copy");
    assert_eq!(numbers(&again), [1]);
    scene.finish(1, again, 0);
    assert!(scene.hand_on(0, kept, 2, &[0], false).is_ok(), "the page has come home");
    let again = scene.poll(1).expect("the second copy");
    scene.finish(1, again, 0);
    assert_eq!(scene.fates(), [[2, 0, 0], [2, 0, 0]]);
    assert!(shared.iter().all(|batch| batch.event_count() == 2), "the others have all of it");
}

fn letters(file: &Path) -> Arc<DeadLetters> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    DeadLetters::open(file, &disk, "groups.out").expect("it can be written")
}

/// It goes when it is synced, and is acknowledged then.
#[test]
fn a_disk_that_fails_holds_it_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("letters");
    let file = folder.join("dead.ndjson");
    let mut scene = scene_with(Course::RoundRobin, 2, Some(letters(&file)));
    let receipts = ReceiptPool::new(2, Reached::Written);
    let (receipt, slip) = receipts.take(1).expect("free");
    fs::remove_dir_all(&folder).expect("ours");
    fs::write(&folder, "in the way").expect("ours");
    scene.offer_batch(b"12", Some(slip));
    let parcel = scene.poll(0).expect("a batch");
    scene.refuse(0, parcel, &[1]);
    let again = scene.poll(1).expect("it is there");
    scene.members[1].give_back(again, scene.now);
    assert_eq!((scene.fates()[0], scene.waiting()), ([1, 0, 0], 1));
    assert!(!scene.is_drained() && receipts.poll().is_none(), "it is nowhere else yet");
    scene.offer(3..4);
    assert_eq!(scene.deliver(0), Some(3), "what is newer goes on");
    let next = scene.members[0].look_at();
    assert!(next > scene.now.mono && next < Mono::MAX, "it is tried again");
    fs::remove_file(&folder).expect("ours");
    scene.members[0].tick(scene.now);
    assert_eq!(scene.fates()[0][2], 0, "not before its time");
    scene.now.mono = next;
    scene.members[0].tick(scene.now);
    assert_eq!((scene.fates()[0], scene.waiting()), ([2, 0, 1], 1));
    assert_eq!(receipts.poll(), Some((receipt, Outcome::Confirmed)));
    let text = fs::read_to_string(&file).expect("it is there");
    let letter: serde_json::Value = serde_json::from_str(&text).expect("one line");
    let said = ["event.original", "dead_letter.sink", "error.message"].map(|key| &letter[key]);
    assert_eq!(said, ["2", "sink0", "no, says 0"]);
    // Without a file it is lost, and whoever waits for it hears that.
    let scene = self::scene(Course::RoundRobin, 2);
    let (receipt, slip) = receipts.take(1).expect("free");
    scene.offer_batch(&[1, 2], Some(slip));
    let parcel = scene.poll(0).expect("a batch");
    scene.refuse(0, parcel, &[1]);
    scene.members[1].failing(scene.now);
    assert_eq!((scene.fates()[0], scene.waiting()), ([1, 1, 0], 0));
    assert_eq!(receipts.poll(), Some((receipt, Outcome::Failed)));
}

/// A disk that cannot take a letter hinders nobody any more when somebody takes the event.
#[test]
fn a_member_that_comes_back_ends_what_a_disk_could_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("letters");
    let file = folder.join("dead.ndjson");
    let mut scene = scene_with(Course::Failover, 2, Some(letters(&file)));
    fs::remove_dir_all(&folder).expect("ours");
    fs::write(&folder, "in the way").expect("ours");
    scene.members[1].failing(scene.now);
    scene.offer_batch(b"12", None);
    let parcel = scene.poll(0).expect("a batch");
    scene.refuse(0, parcel, &[1]);
    assert_eq!((scene.incidents.blocking().len(), scene.waiting()), (1, 1));
    scene.members[1].working();
    scene.pass(PENALTY);
    let again = scene.poll(1).expect("it is back, and has not had it");
    scene.finish(1, again, 0);
    scene.members[0].tick(scene.now);
    assert_eq!(scene.incidents.blocking(), Vec::<String>::new(), "nothing waits for the disk");
    assert!(scene.waiting() == 0 && scene.is_drained());
}

/// Members that refuse and go away as chance has it. The third is always there, so an event is
/// lost exactly when all three refuse it.
#[test]
fn whatever_happens_each_event_has_one_end() {
    let courses = [Course::Failover, Course::RoundRobin, Course::Random, Course::LeastWaiting];
    for seed in 1..400_u64 {
        let course = courses[(seed % 4) as usize];
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut scene = scene(course, 3);
        let mut delivered: BTreeMap<u8, u32> = BTreeMap::new();
        let mut offered = 0_u8;
        for step in 0.. {
            if offered == EVENTS && scene.waiting() == 0 {
                break;
            }
            assert!(step < 20_000, "seed {seed}: {} go round for ever", scene.waiting());
            if offered < EVENTS && chance.once_in(4) {
                scene.offer_batch(&[0, 1, 2, 3, 4].map(|number| offered + number), None);
                offered += 5;
            }
            scene.pass(Duration::from_millis(chance.below(200)));
            let member = chance.below(3) as usize;
            if let Some(parcel) = scene.poll(member) {
                let taken = scene.turn(&mut chance, member, parcel);
                taken.iter().for_each(|number| *delivered.entry(*number).or_default() += 1);
            }
        }
        let expected: BTreeMap<u8, u32> = (0..EVENTS)
            .filter(|number| !is_refused(2, *number))
            .map(|number| (number, 1))
            .collect();
        assert_eq!(delivered, expected, "seed {seed}, {course:?}");
        let fates = scene.fates();
        let sum = |place: usize| fates.iter().map(|fate| fate[place]).sum::<u64>();
        assert_eq!((sum(0), sum(1)), (108, 12), "seed {seed}, {course:?}: {fates:?}");
        assert!(scene.is_drained(), "seed {seed}");
    }
}

const EVENTS: u8 = 120;

/// The first two refuse every fifth, the third every tenth.
fn is_refused(member: usize, number: u8) -> bool {
    number % if member < 2 { 5 } else { 10 } == 4
}

impl Scene {
    /// A member does what it can with a batch; what it has delivered.
    fn turn(&self, chance: &mut Chance, member: usize, parcel: Parcel) -> Vec<u8> {
        let all = numbers(&parcel);
        let failed = member < 2 && chance.once_in(4);
        let settled = if failed { chance.below(all.len() as u64) as usize } else { all.len() };
        let tried = (0..).zip(&all[..settled]);
        let (refused, taken): (Vec<_>, Vec<_>) =
            tried.partition(|(_, number)| is_refused(member, **number));
        let refused: Vec<u32> = refused.into_iter().map(|(index, _)| index).collect();
        let settled = settled as u32;
        let channel = self.members[member].as_ref();
        if failed && refused.is_empty() {
            leaving::give_back(parcel, settled, &self.counters[member], channel, self.now);
        } else if failed || !refused.is_empty() && channel.asks(&parcel) {
            assert!(self.hand_on(member, parcel, settled, &refused, failed).is_ok());
        } else {
            self.finish(member, parcel, refused.len() as u64);
        }
        taken.into_iter().map(|(_, number)| *number).collect()
    }
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, count: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % count
    }

    fn once_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
