//! Which thread runs on which core: the key `cores`, and the round robin.

use crate::config::Section;

/// What the plan knows of the machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The cores this process may use, in order; empty when the system does not say.
    pub cores: Vec<usize>,
}

/// The value of a key `cores`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cores {
    All,
    None,
    List(Vec<usize>),
}

/// Deals cores out: parts with a list of their own take from that one, the others take turns.
pub(super) struct Dealer {
    common: Vec<usize>,
    next: usize,
}

impl Machine {
    /// The machine we run on.
    pub fn here() -> Self {
        Self { cores: crate::runtime::thread::cores() }
    }
}

impl Cores {
    /// Reads `cores` of a section; a part without one has no wish.
    pub(super) fn read(section: &Section, machine: &Machine) -> Option<Self> {
        let text = section.optional_text("cores")?;
        let cores = match text.as_str() {
            "all" => return Some(Self::All),
            "none" => return Some(Self::None),
            list => parse_list(list),
        };
        let Some(cores) = cores else {
            let what = format!("`cores`: \"{text}\" is no set of cores");
            section.fail("cores", what, "write \"all\", \"none\", or a list such as \"0-3,5\"");
            return None;
        };
        let foreign: Vec<usize> =
            cores.iter().copied().filter(|core| !machine.cores.contains(core)).collect();
        if !foreign.is_empty() && !machine.cores.is_empty() {
            let plural = if foreign.len() == 1 { "" } else { "s" };
            let what = format!("`cores`: this process may not use core{plural} {}", show(&foreign));
            section.fail("cores", what, format!("it may use {}", show(&machine.cores)));
        }
        Some(Self::List(cores))
    }
}

impl Dealer {
    pub(super) fn new(common: Option<&Cores>, machine: &Machine) -> Self {
        Self { common: resolve(common.unwrap_or(&Cores::All), machine), next: 0 }
    }

    /// A core for each of a part's threads; none for threads that may run anywhere.
    pub(super) fn deal(
        &mut self,
        own: Option<&Cores>,
        threads: usize,
        machine: &Machine,
    ) -> Vec<Option<usize>> {
        if let Some(own) = own {
            let own = resolve(own, machine);
            return (0..threads).map(|thread| pick(&own, thread)).collect();
        }
        let dealt = (self.next..self.next + threads).map(|turn| pick(&self.common, turn)).collect();
        self.next += threads;
        dealt
    }
}

fn pick(cores: &[usize], turn: usize) -> Option<usize> {
    (!cores.is_empty()).then(|| cores[turn % cores.len()])
}

fn resolve(cores: &Cores, machine: &Machine) -> Vec<usize> {
    match cores {
        Cores::All => machine.cores.clone(),
        Cores::None => Vec::new(),
        Cores::List(list) => list.clone(),
    }
}

/// Machines have at most a few thousand cores; a typing error asks for billions.
const CORE_MAX: usize = 4095;

/// `0-3,5`, each core once, in the order given.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for range in text.split(',') {
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(range)?, number(range)?),
        };
        if first > last || last > CORE_MAX {
            return None;
        }
        for core in first..=last {
            if !cores.contains(&core) {
                cores.push(core);
            }
        }
    }
    Some(cores)
}

fn number(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

/// `0-3,5`.
pub(super) fn show(cores: &[usize]) -> String {
    let mut sorted = cores.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for core in sorted {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => ranges.push((core, core)),
        }
    }
    let shown = ranges.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_shown() {
        assert_eq!(parse_list("0-3,5"), Some(vec![0, 1, 2, 3, 5]));
        assert_eq!(parse_list("2, 0"), Some(vec![2, 0]));
        for bad in ["", "a", "3-1", "1-", "-1", "0,,2", "99999999999", "0-99999999"] {
            assert_eq!(parse_list(bad), None, "{bad}");
        }
        assert_eq!(show(&[5, 0, 1, 2]), "0-2,5");
    }

    #[test]
    fn threads_take_turns_and_a_list_of_ones_own_does_not_count() {
        let machine = Machine { cores: vec![0, 1, 2] };
        let mut dealer = Dealer::new(None, &machine);
        assert_eq!(dealer.deal(None, 2, &machine), [Some(0), Some(1)]);
        let own = Cores::List(vec![1]);
        assert_eq!(dealer.deal(Some(&own), 2, &machine), [Some(1), Some(1)]);
        assert_eq!(dealer.deal(Some(&Cores::None), 1, &machine), [None]);
        assert_eq!(dealer.deal(None, 2, &machine), [Some(2), Some(0)]);
        let mut free = Dealer::new(Some(&Cores::None), &machine);
        assert_eq!(free.deal(None, 1, &machine), [None]);
    }
}
