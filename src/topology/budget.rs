//! The memory sum: what `agent.memory` is spent on, and how large a batch can be.
//!
//! ```text
//! fixed lines of all parts
//!   + batches of each channel: its `capacity`, or an equal share of what is left
//!   + batches in hands that hold no channel's credit
//!   ≤ agent.memory
//! ```
//! A batch is 1 MiB. When memory is so small that a channel would get fewer batches than its
//! threads need to keep moving, batches are halved, down to 64 KiB and to what every source can
//! work with.

use crate::limits;
use crate::memory::MemoryLine;

/// What the sum is made from; pure numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    pub(super) memory_bytes: u64,
    pub(super) fixed: Vec<MemoryLine>,
    /// The smallest batch that every source can work with.
    pub(super) page_bytes_min: usize,
    pub(super) channels: Vec<ChannelDemand>,
    /// Batches that may be in hands without a channel's credit, and whose.
    pub(super) in_hands: Vec<(String, String, u64)>,
}

#[derive(Clone, Debug)]
pub(super) struct ChannelDemand {
    pub(super) name: String,
    pub(super) capacity_bytes: Option<u64>,
    /// One batch a thread on either side, and two that travel.
    pub(super) batches_min: u64,
}

/// How `agent.memory` is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub memory_bytes: u64,
    /// Size of a batch's body.
    pub page_bytes: usize,
    /// All batches of the pool.
    pub pages: u64,
    /// Each channel's credit in batches, in the order of the channels.
    pub credits: Vec<u64>,
    /// Everything, the batches too.
    pub lines: Vec<MemoryLine>,
}

impl Budget {
    pub fn bytes(&self) -> u64 {
        self.lines.iter().map(|line| line.bytes).sum()
    }
}

/// Why there is no sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// These channels' `capacity` holds too few batches even of the smallest size; what would do.
    Capacity(Vec<(usize, u64)>),
    /// The capacities alone are more than all memory.
    Capacities { bytes: u64 },
    /// Everything together is too much; so much would do.
    Memory { least_bytes: u64, lines: Vec<MemoryLine> },
}

/// Batch sizes from the largest down to the smallest that will do.
fn sizes(page_bytes_min: usize) -> Vec<usize> {
    let mut sizes = vec![limits::BATCH_BYTES_DEFAULT];
    let mut size = limits::BATCH_BYTES_DEFAULT / 2;
    while size >= limits::BATCH_BYTES_MIN && size >= page_bytes_min {
        sizes.push(size);
        size /= 2;
    }
    sizes
}

/// What a batch costs: its body and the header room in front.
fn cost(page_bytes: usize) -> u64 {
    (page_bytes + limits::PAGE_HEADER_BYTES) as u64
}

/// Spends the memory with the largest batches that fit.
pub(super) fn spend(demand: &Demand) -> Result<Budget, Refusal> {
    let sizes = sizes(demand.page_bytes_min);
    let smallest = *sizes.last().expect("one size is always there");
    let least_bytes = |channel: &ChannelDemand| channel.batches_min * smallest as u64;
    let small = demand.channels.iter().enumerate().filter(|(_, channel)| {
        channel.capacity_bytes.is_some_and(|capacity| capacity < least_bytes(channel))
    });
    let small: Vec<_> = small.map(|(index, channel)| (index, least_bytes(channel))).collect();
    if !small.is_empty() {
        return Err(Refusal::Capacity(small));
    }
    let capacities = demand.channels.iter().filter_map(|channel| channel.capacity_bytes);
    let bytes = capacities.fold(0u64, u64::saturating_add);
    if bytes > demand.memory_bytes {
        return Err(Refusal::Capacities { bytes });
    }
    if let Some(budget) = sizes.iter().find_map(|size| with(demand, *size)) {
        return Ok(budget);
    }
    let least = sizes.iter().filter_map(|size| least(demand, *size)).min_by_key(|it| it.0);
    let (least_bytes, lines) = least.expect("the smallest size satisfies every capacity");
    Err(Refusal::Memory { least_bytes: round_up(least_bytes), lines })
}

/// People write whole mebibytes.
fn round_up(bytes: u64) -> u64 {
    bytes.next_multiple_of(1 << 20)
}

fn fixed_bytes(demand: &Demand) -> u64 {
    demand.fixed.iter().map(|line| line.bytes).sum()
}

fn in_hands(demand: &Demand) -> u64 {
    demand.in_hands.iter().map(|(_, _, batches)| batches).sum()
}

/// The sum with batches of this size; None when some channel would get too few.
fn with(demand: &Demand, page_bytes: usize) -> Option<Budget> {
    let left = demand.memory_bytes.checked_sub(fixed_bytes(demand))? / cost(page_bytes);
    let given = demand.channels.iter().filter_map(|channel| own(channel, page_bytes)).sum::<u64>();
    let mut share = left.checked_sub(in_hands(demand))?.checked_sub(given)?;
    let mut sharers =
        demand.channels.iter().filter(|channel| channel.capacity_bytes.is_none()).count() as u64;
    let mut credits = Vec::new();
    for channel in &demand.channels {
        let credit = own(channel, page_bytes).unwrap_or_else(|| {
            // Equal shares; what does not divide goes to the first ones.
            let equal = share.div_ceil(sharers);
            share -= equal;
            sharers -= 1;
            equal
        });
        if credit < channel.batches_min {
            return None;
        }
        credits.push(credit.min(u64::from(u32::MAX / 2)));
    }
    Some(budget(demand, page_bytes, credits))
}

/// The least bytes that batches of this size need; None when some capacity holds too few of them.
fn least(demand: &Demand, page_bytes: usize) -> Option<(u64, Vec<MemoryLine>)> {
    let credits = demand.channels.iter().map(|channel| {
        let credit = own(channel, page_bytes).unwrap_or(channel.batches_min);
        (credit >= channel.batches_min).then_some(credit)
    });
    let credits: Vec<u64> = credits.collect::<Option<_>>()?;
    // Shares are dealt one by one: every sharer needs what the neediest one needs.
    let sharers = demand.channels.iter().filter(|channel| channel.capacity_bytes.is_none());
    let most = sharers.map(|channel| channel.batches_min).max().unwrap_or(0);
    let credits = demand.channels.iter().zip(credits);
    let credits =
        credits.map(|(it, credit)| if it.capacity_bytes.is_none() { most } else { credit });
    let budget = budget(demand, page_bytes, credits.collect());
    Some((budget.bytes(), budget.lines))
}

/// The batches that a capacity of its own gives a channel.
fn own(channel: &ChannelDemand, page_bytes: usize) -> Option<u64> {
    channel.capacity_bytes.map(|bytes| bytes / page_bytes as u64)
}

fn budget(demand: &Demand, page_bytes: usize, credits: Vec<u64>) -> Budget {
    let size = crate::config::units::show_size(page_bytes as u64);
    let mut lines = demand.fixed.clone();
    for (channel, credit) in demand.channels.iter().zip(&credits) {
        let what = format!("{credit} batches of {size} + 4KiB");
        let part = format!("channels.{}", channel.name);
        lines.push(MemoryLine::new(part, what, credit * cost(page_bytes)));
    }
    for (part, why, batches) in demand.in_hands.iter().filter(|(_, _, batches)| *batches > 0) {
        let what = format!("{batches} batches {why}");
        lines.push(MemoryLine::new(part.clone(), what, batches * cost(page_bytes)));
    }
    let pages = credits.iter().sum::<u64>() + in_hands(demand);
    Budget { memory_bytes: demand.memory_bytes, page_bytes, pages, credits, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn demand(memory_bytes: u64, channels: &[(Option<u64>, u64)]) -> Demand {
        let channels = channels.iter().enumerate().map(|(index, channel)| ChannelDemand {
            name: format!("c{index}"),
            capacity_bytes: channel.0,
            batches_min: channel.1,
        });
        Demand {
            memory_bytes,
            fixed: vec![MemoryLine::new("sources.a", "slots", 3 * MIB)],
            page_bytes_min: 200 << 10,
            channels: channels.collect(),
            in_hands: vec![("sources.a".into(), "that drop".into(), 1)],
        }
    }

    #[test]
    fn capacities_first_then_equal_shares() {
        let spent = spend(&demand(64 * MIB, &[(None, 4), (Some(16 * MIB), 4), (None, 4)]));
        let spent = spent.expect("fits");
        // 61 MiB hold 60 batches and their headers; one is in a hand, 16 have an owner.
        assert_eq!((spent.page_bytes, spent.credits.as_slice()), (1 << 20, &[22, 16, 21][..]));
        assert_eq!(spent.pages, 60);
        assert_eq!(spent.lines.len(), 5);
        assert!(spent.bytes() <= 64 * MIB);
    }

    #[test]
    fn little_memory_makes_small_batches_but_none_too_small_for_a_source() {
        let spent = spend(&demand(6 * MIB, &[(None, 4)])).expect("fits");
        assert_eq!((spent.page_bytes, spent.credits[0]), (512 << 10, 4));
        assert_eq!(sizes(200 << 10), [1 << 20, 512 << 10, 256 << 10]);
        assert_eq!(sizes(256 << 10), [1 << 20, 512 << 10, 256 << 10]);
        assert_eq!(*sizes(100).last().expect("some"), limits::BATCH_BYTES_MIN);
        assert_eq!(sizes(limits::BATCH_BYTES_DEFAULT), [1 << 20]);
    }

    #[test]
    fn the_least_memory_that_is_told_will_do_and_less_will_not() {
        for channels in
            [&[(None, 4)][..], &[(None, 4), (None, 9)], &[(Some(5 * MIB), 9), (None, 4)]]
        {
            let refused = spend(&demand(5 * MIB, channels));
            let Err(Refusal::Memory { least_bytes, lines }) = refused else {
                assert!(channels.len() == 1 && refused.is_ok(), "{refused:?}");
                continue;
            };
            assert!(lines.iter().map(|line| line.bytes).sum::<u64>() <= least_bytes);
            assert!(spend(&demand(least_bytes, channels)).is_ok(), "{least_bytes}");
            assert!(spend(&demand(least_bytes - MIB, channels)).is_err(), "{least_bytes}");
        }
    }

    #[test]
    fn capacities_that_cannot_be() {
        let refused = spend(&demand(64 * MIB, &[(Some(MIB), 5)]));
        assert_eq!(refused, Err(Refusal::Capacity(vec![(0, 5 * MIB / 4)])));
        let refused = spend(&demand(8 * MIB, &[(Some(6 * MIB), 5), (Some(6 * MIB), 5)]));
        assert_eq!(refused, Err(Refusal::Capacities { bytes: 12 * MIB }));
    }
}
