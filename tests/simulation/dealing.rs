//! How a plan deals events out: selectors, channels that drop the oldest, sinks in groups; and that
//! each event came to its channels or is counted as lost there, to the event.

use std::collections::BTreeSet;
use std::time::Duration;

use flumen::channel::WhenFull;
use flumen::channel::selector::{Lanes, Mapping, SELECTOR, Selector};
use flumen::codec::Codec;
use flumen::config::{OptionDoc, Section};
use flumen::sink::group::{Course, Penalty};
use flumen::telemetry::LostReason;

use crate::event::Id;
use crate::life::{Life, World};
use crate::oracle::Checked;
use crate::plan::{ChannelShape, Plan, SinkShape, SourceShape, of_codec};
use crate::random::Random;

/// The header by which events are dealt out.
pub(crate) const HEADER: &[u8] = b"lane";

/// How much of a plan is dealt out. What is drawn later than the rest was added later: a seed is
/// the same plan for ever in the manner in which it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dealing {
    Nothing,
    /// Not by headers what somebody waits for.
    Unanswered,
    /// Everything into files whose blocks have headers, or into text; and nothing is refused.
    Headed,
    All,
}

/// Which of a source's channels an event goes to.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// All; nobody waits for these.
    All { optional: u64 },
    /// One for each batch.
    Balanced { random: bool },
    /// By the header: values a, b, and anything else. Bits of the source's own list.
    Mapped([Lanes; 3]),
}

#[derive(Debug)]
pub(crate) struct GroupShape {
    pub(crate) channel: usize,
    pub(crate) course: Course,
    pub(crate) penalty: Penalty,
    /// There is a next hop in it, which refuses some events.
    pub(crate) hop: bool,
}

/// What an event's header says, if it has one.
pub(crate) fn value(number: u32) -> Option<&'static [u8]> {
    [Some(&b"a"[..]), Some(b"b"), Some(b"c"), None][(number % 4) as usize]
}

fn place(number: u32) -> usize {
    (number % 4).min(2) as usize
}

impl Way {
    fn draw(random: &mut Random, channels: usize, acknowledging: bool) -> Self {
        let several = channels > 1;
        match random.below(6) {
            0 if several => Self::All { optional: 1 << random.index(channels) },
            1 if several => Self::Balanced { random: random.once_in(2) },
            2 | 3 if !acknowledging => Self::draw_mapped(random, channels),
            _ => Self::All { optional: 0 },
        }
    }

    fn draw_mapped(random: &mut Random, channels: usize) -> Self {
        let all = (1_u64 << channels) - 1;
        let mut lanes = |least: u64| {
            let required = random.below(all + 1).max(least);
            Lanes { required, optional: random.below(all + 1) & !required }
        };
        let own = [lanes(1), lanes(1)];
        Self::Mapped([own[0], own[1], Lanes { optional: 0, ..lanes(0) }])
    }

    pub(crate) fn mapping(&self, channels: usize) -> Option<Mapping> {
        let Self::Mapped([a, b, other]) = self else { return None };
        const DOCS: &[OptionDoc] =
            &[OptionDoc { name: "channels", default: None, doc: "" }, SELECTOR];
        let names = |bits: u64| {
            let own = (0..channels).filter(|channel| bits >> channel & 1 == 1);
            let names: Vec<String> = own.map(|channel| format!("'{channel}'")).collect();
            format!("[{}]", names.join(", "))
        };
        let optional = |name: &str, lanes: &Lanes| match lanes.optional {
            0 => String::new(),
            bits => format!("{name} = {}, ", names(bits)),
        };
        let optional = [optional("a", a), optional("b", b)].concat();
        let text = format!(
            "channels = {}\nselector = {{ type = 'multiplexing', header = 'lane', \
             mapping = {{ a = {}, b = {} }}, optional = {{ {} }}, default = {} }}",
            names(u64::MAX),
            names(a.required),
            names(b.required),
            optional.trim_end_matches(", "),
            names(other.required),
        );
        let section = Section::parse(&text, DOCS);
        let selector = Selector::plan(&section, &section.texts("channels"));
        // A warning may say that nothing goes to one of them.
        assert!(!section.diagnostics().has_errors(), "{text}");
        match selector {
            Selector::Multiplexing(mapping) => Some(mapping),
            other => panic!("{text}: {other:?}"),
        }
    }

    /// Channels that a receipt waits for.
    pub(crate) fn required(&self, channels: usize) -> usize {
        match self {
            Self::All { optional } => channels - optional.count_ones() as usize,
            Self::Balanced { .. } | Self::Mapped(_) => 1,
        }
    }

    /// The channel of that place in the source's list is one that this event must come to.
    pub(crate) fn requires(&self, id: Id, place: usize) -> bool {
        self.lanes(id).required >> place & 1 == 1
    }

    /// The channel of that place in the source's list is optional to every event.
    pub(crate) fn is_optional(&self, place: usize) -> bool {
        matches!(self, Self::All { optional } if optional >> place & 1 == 1)
    }

    /// Where an event goes; one that is balanced goes to one of them.
    fn lanes(&self, id: Id) -> Lanes {
        match self {
            Self::All { optional } => Lanes { required: !optional, optional: *optional },
            Self::Balanced { .. } => Lanes { required: u64::MAX, optional: 0 },
            Self::Mapped(lanes) => lanes[place(id.number())],
        }
    }
}

impl Plan {
    /// Draws what a plan has beside the plain one; `random` is a stream of its own.
    pub(crate) fn deal(&mut self, random: &mut Random, dealing: Dealing) {
        if dealing == Dealing::Nothing {
            return;
        }
        for channel in &mut self.channels {
            if random.once_in(if channel.when_full == WhenFull::Wait { 8 } else { 2 }) {
                channel.when_full = WhenFull::DropOldest;
            }
        }
        for source in &mut self.sources {
            source.way = Way::draw(random, source.channels.len(), source.wants.is_some());
        }
        for channel in 0..self.channels.len() {
            let sinks = self.sinks.iter().filter(|sink| sink.channel == channel).count();
            if sinks > 1 && random.once_in(2) {
                let courses =
                    [Course::Failover, Course::RoundRobin, Course::Random, Course::LeastWaiting];
                let max = Duration::from_secs(random.within(1..6));
                let penalty = Penalty { max, grows: random.once_in(2) };
                let course = *random.pick(&courses);
                self.groups.push(GroupShape { channel, course, penalty, hop: false });
            }
        }
        if dealing >= Dealing::Headed {
            self.deal_answered(random);
        }
        if dealing >= Dealing::All {
            self.deal_codecs(random);
            self.groups.iter_mut().for_each(|group| group.hop = random.once_in(2));
        }
    }

    /// Some sinks write files of lzop's, if this build has the codec.
    fn deal_codecs(&mut self, random: &mut Random) {
        let known = Codec::from_name("lzo").is_some();
        for sink in &mut self.sinks {
            if random.once_in(5) && known {
                let old = sink.codec;
                sink.options = sink.options.replace(&of_codec(old), &of_codec("lzo"));
                sink.codec = "lzo";
            }
        }
    }

    /// Half of the sources that somebody waits for, if they are not dealt out yet.
    fn deal_answered(&mut self, random: &mut Random) {
        for source in self.sources.iter_mut().filter(|source| source.wants.is_some()) {
            if matches!(source.way, Way::All { optional: 0 }) && random.once_in(2) {
                source.way = Way::draw_mapped(random, source.channels.len());
            }
        }
    }

    pub(crate) fn group_of(&self, sink: &SinkShape) -> Option<usize> {
        self.groups.iter().position(|group| group.channel == sink.channel)
    }
}

impl ChannelShape {
    /// Some event of a source that has it at this place may be lost for want of room.
    pub(crate) fn drops_for(&self, source: &SourceShape, place: usize) -> bool {
        let optional = match &source.way {
            Way::Mapped(lanes) => lanes.iter().any(|lanes| lanes.optional >> place & 1 == 1),
            way => way.is_optional(place),
        };
        optional || self.when_full != WhenFull::Wait
    }
}

impl Life {
    /// Events that were given up for newer ones.
    pub(crate) fn evicted(&self, world: &World) -> u64 {
        let all = world.evicted.iter().map(|list| list.lock().expect("one thread").clone());
        all.flatten().filter(|id| self.is_of_this(*id)).count() as u64
    }

    pub(crate) fn unrouted(&self) -> u64 {
        self.sources.iter().map(|counters| counters.lost[LostReason::Unrouted].get()).sum()
    }

    /// Groups whose first sink was to have everything, and another one had something.
    pub(crate) fn failovers(&self, world: &World) -> u64 {
        let sinks = self.snapshot().sinks;
        let wrote = |index: usize| {
            let name = format!("out{index}");
            sinks.iter().any(|sink| sink.name == name && sink.written_events > 0)
        };
        let groups = world.plan.groups.iter().filter(|group| group.course == Course::Failover);
        let failed_over = groups.filter(|group| {
            let shapes = world.plan.sinks.iter().enumerate();
            let mut own = shapes.filter(|(_, sink)| sink.channel == group.channel);
            own.next();
            own.any(|(index, _)| wrote(index))
        });
        failed_over.count() as u64
    }
}

/// Of a source's events in one life: where they should have come, and did.
#[derive(Default)]
struct Share {
    due: u64,
    required: u64,
    came: u64,
    required_came: u64,
}

/// Every event that was sent in this life came to its channels, or is counted as lost there: the
/// sources are closed and everything is through.
pub(crate) fn all_dealt(world: &World, life: &Life) -> Checked {
    let plan = &world.plan;
    let lists = |all: &[crate::probe::Accepted]| -> Vec<BTreeSet<Id>> {
        all.iter().map(|list| list.lock().expect("one thread").clone()).collect()
    };
    let (accepted, evicted) = (lists(&world.accepted), lists(&world.evicted));
    let mut lost = vec![0; plan.channels.len()];
    for (index, source) in plan.sources.iter().enumerate() {
        let mut shares: Vec<Share> = source.channels.iter().map(|_| Share::default()).collect();
        let (mut unrouted, mut sent) = (0, 0);
        for id in life.sent(world, index) {
            let lanes = source.way.lanes(id);
            sent += 1;
            unrouted += u64::from(lanes.required | lanes.optional == 0);
            for (place, (&channel, share)) in source.channels.iter().zip(&mut shares).enumerate() {
                let came = accepted[channel].contains(&id) || evicted[channel].contains(&id);
                let required = lanes.required >> place & 1 == 1;
                let own = required || lanes.optional >> place & 1 == 1;
                if came && !own {
                    return Err(format!("{id:?} came to c{channel}, and is none of its events"));
                }
                share.due += u64::from(own);
                share.required += u64::from(required);
                share.came += u64::from(came);
                share.required_came += u64::from(came && required);
            }
        }
        let balanced = matches!(source.way, Way::Balanced { .. });
        let puts = life.puts(index);
        for (place, share) in shares.iter().enumerate() {
            let channel = source.channels[place];
            if balanced {
                lost[channel] += puts[place] - share.came;
                continue;
            }
            if puts[place] != share.due {
                let put = puts[place];
                return Err(format!("in{index}: {put} put to c{channel}, {} due", share.due));
            }
            let waits = plan.channels[channel].when_full == WhenFull::Wait
                && !source.way.is_optional(place);
            if waits && share.required != share.required_came {
                let missing = share.required - share.required_came;
                return Err(format!("in{index}: {missing} never came to c{channel}, which waits"));
            }
            lost[channel] += share.due - share.came;
        }
        let put: u64 = puts.iter().sum();
        if balanced && put != sent {
            return Err(format!("in{index}: {put} of {sent} events put to one channel each"));
        }
        let counted = life.sources[index].lost[LostReason::Unrouted].get();
        if counted != unrouted {
            return Err(format!("in{index}: {unrouted} have no channel, {counted} are counted so"));
        }
    }
    for (channel, missed) in lost.iter().enumerate() {
        let gone = evicted[channel].iter().filter(|id| life.is_of_this(**id)).count() as u64;
        let counted = life.snapshot().channels[channel].lost.get(LostReason::ChannelFull);
        if counted != missed + gone {
            return Err(format!(
                "c{channel}: {missed} found no room and {gone} made room, {counted} are counted so"
            ));
        }
    }
    Ok(())
}
