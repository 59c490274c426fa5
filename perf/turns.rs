//! All runs of a case: the parties in turn, the order turned round every time.

use crate::cases::{Bound, Case, Goal, Load, MINUTE, RESIDENT};
use crate::figures::{Figures, Key, Spread};
use crate::measure::{self, Bench};
use crate::party::Party;
use std::io;

pub(crate) struct Results {
    pub(crate) case: &'static Case,
    /// One for each party that was there, with its runs in the order of the turns.
    pub(crate) parties: Vec<(&'static str, Vec<Figures>)>,
    /// The others, and what they would have needed.
    pub(crate) skipped: Vec<(&'static str, &'static str)>,
}

/// What became of a goal.
pub(crate) struct Verdict {
    pub(crate) reached: bool,
    pub(crate) text: String,
}

pub(crate) fn run(bench: &mut Bench, case: &'static Case, pairs: usize) -> io::Result<Results> {
    let here: Vec<_> = case.parties.iter().filter(|party| party.missing().is_none()).collect();
    let missing = case.parties.iter().filter_map(|party| Some((party.name, party.missing()?)));
    let skipped: Vec<_> = missing.collect();
    for (name, needs) in &skipped {
        println!("{:18} {name:16} skipped: needs {needs}", case.name);
    }
    let mut parties: Vec<_> = here.iter().map(|party| (party.name, Vec::new())).collect();
    for turn in 0..pairs {
        let mut order: Vec<usize> = (0..here.len()).collect();
        if turn % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let party = here[index];
            let figures = measure::run(bench, case, party).map_err(|error| {
                io::Error::other(format!("{}: {}: {error}", case.name, party.name))
            })?;
            let shown: Vec<String> = figures
                .iter()
                .map(|(key, value)| format!("{} {}", key.title(), key.show(*value)))
                .collect();
            println!("{:18} {:16} {}", case.name, party.name, shown.join(", "));
            parties[index].1.push(figures);
        }
    }
    Ok(Results { case, parties, skipped })
}

impl Results {
    /// Nobody of ours lost an event where none may be lost.
    pub(crate) fn is_complete(&self) -> bool {
        let lossless = matches!(
            self.case.load,
            Load::Lines(_)
                | Load::Secure(_)
                | Load::Acknowledged
                | Load::Answered(_)
                | Load::Latency { .. }
        );
        if matches!(self.case.load, Load::Read) && !self.all_find_the_same() {
            return false;
        }
        let ours = |name: &str| {
            let party = self.case.parties.iter().find(|party| party.name == name);
            party.is_some_and(Party::is_ours)
        };
        !lossless
            || self
                .parties
                .iter()
                .filter(|(name, _)| ours(name))
                .flat_map(|(_, runs)| runs)
                .all(|run| run.get(&Key::Lost).is_none_or(|lost| *lost == 0.0))
    }

    /// Whoever looked for the same found the same, every time; a part of the time finds less.
    fn all_find_the_same(&self) -> bool {
        let whole = self.parties.iter().filter(|(name, _)| *name != MINUTE);
        let mut found = whole.flat_map(|(_, runs)| runs).map(|run| run.get(&Key::Found).copied());
        let first = found.next().flatten();
        first.is_some_and(|count| count > 0.0) && found.all(|count| count == first)
    }

    pub(crate) fn runs(&self, party: &str) -> Option<&[Figures]> {
        let found = self.parties.iter().find(|(name, _)| *name == party);
        found.map(|(_, runs)| runs.as_slice())
    }

    /// The median of a party's figure, and how far it spreads.
    pub(crate) fn spread(&self, party: &str, key: Key) -> Option<Spread> {
        Spread::of(self.runs(party)?.iter().filter_map(|run| run.get(&key).copied()))
    }

    /// The first party's figure as a multiple of another's, turn by turn.
    pub(crate) fn ratio(&self, of: &str, key: Key) -> Option<Spread> {
        self.compared(of, key, |own, other| own / other)
    }

    fn compared(&self, of: &str, key: Key, how: fn(f64, f64) -> f64) -> Option<Spread> {
        let (own, other) = (&self.parties.first()?.1, self.runs(of)?);
        let pairs = own.iter().zip(other);
        Spread::of(pairs.filter_map(|(own, other)| Some(how(*own.get(&key)?, *other.get(&key)?))))
    }

    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let goals = self.case.goals.iter().chain([&RESIDENT]);
        goals.filter_map(|goal| self.verdict(goal)).collect()
    }

    /// None: the party to compare with was not there.
    fn verdict(&self, goal: &Goal) -> Option<Verdict> {
        let title = goal.figure.title();
        let first = self.parties.first()?.0;
        let more = matches!(goal.bound, Bound::MoreAtMost(_));
        let spread = match goal.of {
            Some(of) if more => self.compared(of, goal.figure, |own, other| own - other)?,
            Some(of) => self.ratio(of, goal.figure)?,
            None => self.spread(first, goal.figure)?,
        };
        let show = |value: f64| match goal.of {
            Some(_) => format!("{value:.3}"),
            None => goal.figure.show(value),
        };
        let (reached, bound) = match goal.bound {
            Bound::AtMost(most) | Bound::MoreAtMost(most) => {
                (spread.median <= most, format!("at most {}", show(most)))
            }
            Bound::AtLeast(least) => (spread.median >= least, format!("at least {}", show(least))),
        };
        let sign = if more { "more than" } else { "×" };
        let of = goal.of.map_or_else(String::new, |of| format!(" {sign} {of}"));
        let (median, least, most) = (show(spread.median), show(spread.least), show(spread.most));
        let text = format!("{title}: {median}{of} ({least} to {most}); goal: {bound}{of}");
        Some(Verdict { reached, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::CASES;

    /// Two turns of the first case, with these rates and losses of the agent and the limit program.
    fn results(own: [(f64, f64); 2], limit: [(f64, f64); 2]) -> Results {
        let run = |(cpu, lost): (f64, f64)| Figures::from([(Key::Steady, cpu), (Key::Lost, lost)]);
        let parties = vec![("flumen", own.map(run).to_vec()), ("limit", limit.map(run).to_vec())];
        Results { case: &CASES[0], parties, skipped: Vec::new() }
    }

    #[test]
    fn ratios_are_taken_turn_by_turn() {
        let results = results([(1.0, 0.0), (9.0, 0.0)], [(2.0, 0.0), (6.0, 0.0)]);
        let ratio = results.ratio("limit", Key::Steady);
        assert_eq!(ratio, Some(Spread { median: 1.0, least: 0.5, most: 1.5 }));
        let verdicts = results.verdicts();
        assert_eq!(verdicts.len(), 1, "rsyslog was not there, memory was not measured");
        assert!(verdicts[0].reached && verdicts[0].text.contains("1.000 × limit"));
    }

    #[test]
    fn a_difference_is_taken_turn_by_turn() {
        let results = results([(1.25, 0.0), (9.0, 0.0)], [(1.0, 0.0), (8.5, 0.0)]);
        let (figure, of) = (Key::Steady, Some("limit"));
        let verdict =
            |most| results.verdict(&Goal { figure, bound: Bound::MoreAtMost(most), of }).unwrap();
        assert!(verdict(0.4).reached && !verdict(0.3).reached);
        let said = "0.375 more than limit (0.250 to 0.500); goal: at most 0.400 more than limit";
        assert!(verdict(0.4).text.contains(said), "{}", verdict(0.4).text);
    }

    #[test]
    fn an_event_that_one_of_ours_lost_is_noticed() {
        let whole = [(1.0, 0.0); 2];
        assert!(results(whole, whole).is_complete());
        assert!(!results([(1.0, 0.0), (1.0, 1.0)], whole).is_complete());
        assert!(!results(whole, [(1.0, -1.0), (1.0, 0.0)]).is_complete(), "doubled");
    }

    #[test]
    fn goals_name_parties_of_their_case() {
        for case in CASES {
            assert_eq!(CASES.iter().filter(|other| other.name == case.name).count(), 1);
            for of in case.goals.iter().filter_map(|goal| goal.of) {
                assert!(case.parties.iter().any(|party| party.name == of), "{}: {of}", case.name);
            }
        }
    }
}
