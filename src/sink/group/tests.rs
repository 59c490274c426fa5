//! Whose turn it is, stepped by hand.

#[cfg(test)]
mod refused;

use super::*;
use crate::channel::memory::MemoryChannel;
use crate::channel::{Inlet, Valve, WhenFull};
use crate::event::{EventHead, Marks, Origin};
use crate::memory::{Pool, ReceiptSlip};
use crate::runtime::parker::Parker;
use crate::sink::dead_letters::DeadLetters;
use crate::telemetry::Incidents;
use crate::time::Wall;

struct Scene {
    valve: Valve,
    group: Arc<Group>,
    members: Vec<Arc<Member>>,
    counters: Vec<Arc<SinkCounters>>,
    /// Of what nobody takes.
    asides: Vec<Arc<SinkCounters>>,
    incidents: Arc<Incidents>,
    now: Now,
}

const EVERY_SECOND: Penalty = Penalty { max: Duration::from_secs(30), grows: true };

fn scene(course: Course, members: usize) -> Scene {
    scene_with(course, members, None)
}

fn scene_with(course: Course, members: usize, letters: Option<Arc<DeadLetters>>) -> Scene {
    let credit = Arc::new(Credit::new(32));
    let channel = MemoryChannel::new("main".to_owned(), credit, Arc::default());
    let channel: Arc<dyn Channel> = Arc::new(channel);
    let inlet = Inlet {
        channel: Arc::clone(&channel),
        when_full: WhenFull::Wait,
        counters: Arc::default(),
    };
    let waker = Parker::default().waker();
    let valve = Valve::new(Pool::new(32, 64 << 10), vec![inlet], &waker);
    let incidents = Incidents::new();
    let refuse = Refuse { copies: Pool::new(1, 64 << 10), watch: incidents.watch("group out") };
    let group = Group::new("out".to_owned(), channel, course, EVERY_SECOND, 7, refuse);
    let counters: Vec<Arc<SinkCounters>> = (0..members).map(|_| Arc::default()).collect();
    let asides: Vec<Arc<SinkCounters>> = (0..members).map(|_| Arc::default()).collect();
    let join = |(index, own): (usize, &Arc<SinkCounters>)| {
        let aside = Aside { letters: letters.clone(), counters: Arc::clone(&asides[index]) };
        group.join(format!("sink{index}"), vec![Arc::clone(own)], aside)
    };
    let members = counters.iter().enumerate().map(join).collect();
    Scene { valve, group, members, counters, asides, incidents, now: Now::default() }
}

impl Scene {
    /// Offers batches of one event each, which is a number.
    fn offer(&self, numbers: std::ops::Range<u8>) {
        numbers.for_each(|number| self.offer_batch(&[number], None));
    }

    fn offer_batch(&self, numbers: &[u8], slip: Option<ReceiptSlip>) {
        let mut page = self.valve.open().expect("room");
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        for number in numbers {
            let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
            page.append_event(&[*number], head).expect("room");
        }
        self.valve.offer(page, slip, Mono(0), Now::default());
    }

    fn poll(&self, member: usize) -> Option<Parcel> {
        self.members[member].tick(self.now);
        self.members[member].poll()
    }

    /// The number that a member gets, and delivers.
    fn deliver(&self, member: usize) -> Option<u8> {
        let parcel = self.poll(member)?;
        self.counters[member].written_events.add(1);
        Some(number(&parcel))
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono.after(time);
    }
}

fn number(parcel: &Parcel) -> u8 {
    parcel.batch.events().next().expect("one").bytes[0]
}

#[test]
fn the_first_that_works_has_everything_and_has_it_again() {
    let mut scene = scene(Course::Failover, 2);
    scene.offer(1..6);
    assert_eq!(scene.deliver(1), None);
    assert_eq!(scene.deliver(0), Some(1));
    let failed = scene.poll(0).expect("the second");
    assert!(scene.members[0].give_back(failed, scene.now).is_none());
    // What came back is first, and the one that failed rests.
    assert_eq!((scene.deliver(0), scene.deliver(1)), (None, Some(2)));
    let back = scene.members[0].look_at();
    assert!(back > Mono(0).after(PENALTY / 2 - Duration::from_nanos(1)));
    assert!(back <= Mono(0).after(PENALTY));
    scene.pass(PENALTY);
    assert_eq!((scene.deliver(1), scene.deliver(0)), (None, Some(3)));
    // One that says that it cannot takes nothing, however long ago that was.
    scene.members[0].failing(scene.now);
    scene.pass(Duration::from_secs(3600));
    assert_eq!((scene.deliver(0), scene.deliver(1)), (None, Some(4)));
    scene.members[0].working();
    assert_eq!((scene.deliver(1), scene.deliver(0)), (None, Some(5)));
}

#[test]
fn a_first_that_says_nothing_is_passed_over() {
    let mut scene = scene(Course::Failover, 2);
    scene.offer(1..3);
    assert_eq!(scene.deliver(1), None);
    assert_eq!(scene.members[1].look_at(), Mono(0).after(SILENT));
    scene.pass(SILENT);
    assert_eq!(scene.deliver(1), Some(1));
    assert_eq!(scene.deliver(0), Some(2));
}

#[test]
fn they_take_turns_and_a_busy_one_is_passed_over() {
    let scene = scene(Course::RoundRobin, 2);
    for member in [0, 1] {
        assert_eq!(scene.deliver(member), None);
    }
    scene.offer(1..9);
    assert_eq!(scene.deliver(1), None, "the first is free");
    assert_eq!(scene.deliver(0), Some(1));
    assert_eq!(scene.deliver(0), None, "the second is free");
    assert_eq!(scene.deliver(1), Some(2));
    assert_eq!(scene.deliver(0), Some(3));
    // The second has not come for another one: it is busy.
    assert_eq!(scene.deliver(0), Some(4));
    // One that was free and does not come is not waited for longer than that.
    let mut scene = self::scene(Course::RoundRobin, 2);
    assert_eq!(scene.deliver(0), None);
    scene.offer(1..3);
    assert_eq!(scene.deliver(1), None);
    assert_eq!(scene.members[1].look_at(), Mono(0).after(CALLED));
    scene.pass(CALLED);
    assert_eq!(scene.deliver(1), Some(1));
    scene.pass(CALLED);
    assert_eq!(scene.deliver(1), Some(2));
}

#[test]
fn the_one_with_less_to_do_is_preferred() {
    let scene = scene(Course::LeastWaiting, 2);
    scene.offer(1..4);
    let held = scene.poll(0).expect("the first");
    assert_eq!(scene.deliver(1), Some(2));
    // The second is free, and the first has one in hand.
    scene.group.lock().members[1].hungry = true;
    assert!(scene.poll(0).is_none());
    assert_eq!(scene.deliver(1), Some(3));
    drop(held);
}

#[test]
fn a_rest_grows_until_something_is_delivered() {
    let mut scene = scene(Course::Failover, 1);
    scene.offer(1..2);
    let mut rests = Vec::new();
    for _ in 0..7 {
        let parcel = scene.poll(0).expect("it has rested");
        scene.members[0].give_back(parcel, scene.now);
        let rest = scene.members[0].look_at().since(scene.now.mono);
        rests.push(rest.as_millis());
        scene.pass(rest);
    }
    for (rest, most) in rests.iter().zip([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
        assert!((most / 2..=most).contains(rest), "{rests:?}");
    }
    assert_eq!(scene.deliver(0), Some(1));
    scene.offer(2..3);
    let parcel = scene.poll(0).expect("one more");
    scene.members[0].give_back(parcel, scene.now);
    assert!(scene.members[0].look_at().since(scene.now.mono) <= PENALTY);
}

#[test]
fn nobody_leaves_while_another_may_give_something_back() {
    let scene = scene(Course::Failover, 2);
    scene.offer(1..2);
    let parcel = scene.poll(0).expect("one");
    assert!(!scene.members[1].is_drained(), "the first has something in hand");
    scene.members[0].give_back(parcel, scene.now);
    assert!(!scene.members[0].is_drained() && !scene.members[1].is_drained());
    assert_eq!(scene.deliver(1), Some(1));
    assert!(scene.members[0].is_drained() && scene.members[1].is_drained());
}
