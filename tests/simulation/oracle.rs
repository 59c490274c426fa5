//! What must hold, and what is known so far to hold it against.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use flumen::channel::WhenFull;
use flumen::memory::receipt::Reached;
use flumen::storage::catalog::State;
use flumen::telemetry::{Equation, LostReason};

use crate::archive::{Archivist, Excuse, FileView, in_order};
use crate::dealing::{Way, all_dealt};
use crate::disk::Crash;
use crate::event::Id;
use crate::hop::LETTERS;
use crate::life::{Life, World, sink_plan};

type Ids = BTreeSet<Id>;
pub(crate) type Checked<T = ()> = Result<T, String>;

#[derive(Default)]
pub(crate) struct Oracle {
    archivist: Archivist,
    /// Finished files, and their length and checksum.
    finished: BTreeMap<PathBuf, (usize, u32)>,
    /// By sink: removed by retention, or taken away by somebody else.
    gone: Vec<Ids>,
    /// By source: told to be synced, and told to be written.
    synced: Vec<Ids>,
    written: Vec<Ids>,
    /// By sink: what was safe when this life began.
    base: Vec<Ids>,
    /// By channel, when this life began.
    missing: Vec<usize>,
    /// By sink: what stood only in files set aside when this life began. It counted as lost in an
    /// earlier one; a later failed sync of the same disk may drop it from there, too.
    doubtful: Vec<Ids>,
    /// By sink: what this life had counted when it crashed.
    counted: Vec<(u64, u64)>,
    /// By channel: dead letters that were there when it crashed.
    letters: Vec<Vec<Id>>,
    /// Between a crash and the end of recovery.
    crashed: bool,
    ever_crashed: bool,
    pub(crate) ever_killed: bool,
    pub(crate) meddled: bool,
}

/// What is there now.
pub(crate) struct View {
    files: Vec<FileView>,
    /// By sink; files set aside and files taken away included.
    present: Vec<Ids>,
    /// By sink, only in files set aside or moved away: nobody promises what stands there. Events
    /// that a failed sync lost may; what was appended to a file after it was moved may be lost.
    aside: Vec<Ids>,
    /// By channel, what the next hop of its group took, and what nobody did.
    taken: Vec<Ids>,
    letters: Vec<Vec<Id>>,
}

impl Oracle {
    pub(crate) fn new(world: &World) -> Self {
        let sinks = world.plan.sinks.len();
        let sources = world.plan.sources.len();
        Self {
            gone: vec![Ids::new(); sinks],
            synced: vec![Ids::new(); sources],
            written: vec![Ids::new(); sources],
            base: vec![Ids::new(); sinks],
            missing: vec![0; world.plan.channels.len()],
            doubtful: vec![Ids::new(); sinks],
            ..Self::default()
        }
    }

    /// Reads everything. Files are valid, in order, and finished ones are as they were.
    pub(crate) fn look(&mut self, world: &World, excuse: Excuse) -> Checked<View> {
        let excuse = match () {
            () if self.forgotten(world) => Excuse::Forgotten,
            () if dropped(world) || self.crashed => Excuse::Holes,
            () => excuse,
        };
        let sinks = &world.plan.sinks;
        for (path, bytes) in world.disk.take_removed() {
            self.finished.remove(&path);
            let file = self.archivist.look(path, &bytes, sinks, Excuse::Holes)?;
            self.gone[file.sink].extend(file.ids.iter());
        }
        let mut aside = vec![Ids::new(); sinks.len()];
        for (path, bytes) in world.disk.deleted() {
            let file = self.archivist.look(path, &bytes, sinks, Excuse::Holes)?;
            self.gone[file.sink].extend(file.ids.iter());
        }
        let mut present = self.gone.clone();
        let mut files = Vec::new();
        for (path, bytes) in world.disk.files().into_iter().filter(|it| !it.0.starts_with(LETTERS))
        {
            files.push(self.archivist.look(path, &bytes, sinks, excuse)?);
        }
        for file in &files {
            // What a sink of a group gives back, or refuses, comes behind what others have by then.
            let group = world.plan.group_of(&sinks[file.sink]);
            if group.is_none_or(|group| !world.plan.faults && !world.plan.groups[group].hop) {
                in_order(file)?;
            }
            let ours = file.path.starts_with(&sinks[file.sink].root);
            let safe = ours && file.state != State::Bad;
            let at = if safe { &mut present } else { &mut aside };
            at[file.sink].extend(file.ids.iter());
        }
        for (aside, present) in aside.iter_mut().zip(&mut present) {
            aside.retain(|id| !present.contains(id));
            present.extend(aside.iter());
        }
        self.compare_finished(&files)?;
        let lists = world.taken.iter().map(|ids| ids.lock().expect("one thread").clone());
        let letters = (0..world.plan.channels.len()).map(|channel| world.letters(channel));
        Ok(View { files, present, aside, taken: lists.collect(), letters: letters.collect() })
    }

    fn compare_finished(&mut self, files: &[FileView]) -> Checked {
        let now: BTreeMap<PathBuf, (usize, u32)> = files
            .iter()
            .filter(|file| file.state == State::Finished)
            .map(|file| (file.path.clone(), file.print))
            .collect();
        for (path, before) in &self.finished {
            match now.get(path) {
                Some(print) if print == before => {}
                Some(_) => return Err(format!("{}: finished, and changed", path.display())),
                None => return Err(format!("{}: finished, and gone", path.display())),
            }
        }
        self.finished = now;
        Ok(())
    }

    /// Each event once, in everything that drains one channel; files set aside do not count.
    pub(crate) fn no_doubles(&self, world: &World, view: &View) -> Checked {
        // A rescue copies blocks and then cuts the old file: a crash may come between. A block
        // whose sync was waited for when its file was moved away is written again.
        let rescued = world.disk.struck("sync") > 0;
        if self.meddled || self.ever_crashed && rescued {
            return Ok(());
        }
        let mut seen: Vec<BTreeMap<Id, &FileView>> = Vec::new();
        seen.resize_with(world.plan.channels.len(), BTreeMap::new);
        for file in view.files.iter().filter(|file| file.state != State::Bad) {
            let channel = world.plan.sinks[file.sink].channel;
            for &id in file.ids.iter() {
                if let Some(other) = seen[channel].insert(id, file) {
                    let (one, two) = (other.path.display(), file.path.display());
                    return Err(format!("{id:?} stands in {one} and in {two}"));
                }
            }
        }
        for (channel, seen) in seen.iter().enumerate() {
            let mut once: Ids = seen.keys().chain(&view.taken[channel]).copied().collect();
            if once.len() != seen.len() + view.taken[channel].len() {
                return Err(format!("c{channel}: events that a hop took stand in a file, too"));
            }
            // A letter that could not be synced and cannot be cut off is told twice.
            let told_once = world.disk.struck("truncate") == 0;
            let twice = view.letters[channel].iter().find(|id| !once.insert(**id));
            if let Some(id) = twice.filter(|_| told_once) {
                return Err(format!("{id:?} is a dead letter of c{channel}, and not only that"));
            }
        }
        Ok(())
    }

    /// Somebody deletes or moves: what was there is no longer asked for.
    pub(crate) fn somebody_took(&mut self, world: &World, view: &View, taken: &[PathBuf]) {
        self.meddled = true;
        for file in view.files.iter().filter(|file| taken.contains(&file.path)) {
            self.gone[file.sink].extend(file.ids.iter());
            self.finished.remove(&file.path);
        }
        world.trace.say(format!("{} files taken", taken.len()));
    }

    /// Collects what acknowledging sources were told.
    pub(crate) fn listen(&mut self, world: &World, life: &Life) {
        for (source, told) in life.told.iter().enumerate() {
            let Some(told) = told else { continue };
            let mut told = told.lock().expect("one thread");
            told.listen();
            let confirmed = std::mem::take(&mut told.confirmed);
            match world.plan.sources[source].wants {
                Some(Reached::Synced) => self.synced[source].extend(confirmed),
                _ => self.written[source].extend(confirmed),
            }
        }
    }

    /// Events dealt out by their headers that a source was told of until now.
    pub(crate) fn answered(&self, world: &World) -> u64 {
        let sources = world.plan.sources.iter().zip(self.synced.iter().zip(&self.written));
        let mapped = sources.filter(|(source, _)| matches!(source.way, Way::Mapped(_)));
        mapped.map(|(_, (synced, written))| (synced.len() + written.len()) as u64).sum()
    }

    /// Both ledger equations of every component, exactly, between any two steps.
    pub(crate) fn ledger(life: &Life) -> Checked {
        let snapshot = life.snapshot();
        let wrong: Vec<String> = snapshot
            .balance()
            .iter()
            .filter(|equation| !equation.holds())
            .map(Equation::to_string)
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// After a failed sync and a kill, recovery reads from the page cache what may not be on the
    /// disk, and its own sync says ok: such a file may still change at a power cut. Nobody was
    /// told that it was synced, and no program can know.
    fn forgotten(&self, world: &World) -> bool {
        self.ever_killed && world.disk.struck("sync") > 0
    }

    fn in_channel(world: &World, view: &View, channel: usize) -> Ids {
        let sinks = world.plan.sinks.iter().zip(&view.present);
        let mine = sinks.filter(|(sink, _)| sink.channel == channel);
        let files = mine.flat_map(|(_, ids)| ids);
        files.chain(&view.taken[channel]).chain(&view.letters[channel]).copied().collect()
    }

    fn aside_of(world: &World, view: &View, channel: usize) -> usize {
        let sinks = world.plan.sinks.iter().zip(&view.aside);
        sinks.filter(|(sink, _)| sink.channel == channel).map(|(_, ids)| ids.len()).sum()
    }

    /// Of what was doubtful when this life began: what nobody finds any more.
    fn vanished(&self, world: &World, view: &View, channel: usize) -> usize {
        let there = Self::in_channel(world, view, channel);
        let sinks = world.plan.sinks.iter().zip(&self.doubtful);
        let mine = sinks.filter(|(sink, _)| sink.channel == channel).flat_map(|(_, ids)| ids);
        mine.collect::<BTreeSet<_>>().into_iter().filter(|id| !there.contains(id)).count()
    }

    fn count_missing(world: &World, view: &View, channel: usize) -> (usize, Option<Id>) {
        let there = Self::in_channel(world, view, channel);
        let accepted = world.accepted[channel].lock().expect("one thread");
        let mut missing = accepted.iter().filter(|id| !there.contains(id));
        let first = missing.next().copied();
        (missing.count() + usize::from(first.is_some()), first)
    }

    /// What was confirmed as synced is in every channel that requires it.
    fn confirmed(&mut self, world: &World, view: &View, written: bool) -> Checked {
        for (index, source) in world.plan.sources.iter().enumerate() {
            let balanced = matches!(source.way, Way::Balanced { .. });
            let all = source.channels.iter().map(|own| Self::in_channel(world, view, *own));
            let mut there: Vec<Ids> = all.collect();
            if balanced {
                // One of them has it.
                there = vec![there.into_iter().flatten().collect()];
            }
            for (place, there) in there.iter().enumerate() {
                let name = match balanced {
                    true => "any".to_owned(),
                    false => format!("c{}", source.channels[place]),
                };
                let absent = |id: &&Id| source.way.requires(**id, place) && !there.contains(id);
                if let Some(id) = self.synced[index].iter().find(absent) {
                    return Err(format!("{id:?} was confirmed as synced to {name}"));
                }
                let lost = self.written[index].iter().find(absent);
                if let Some(id) = lost.filter(|_| written) {
                    return Err(format!("{id:?} was confirmed as written to {name}"));
                }
            }
        }
        if !written {
            // What was only written may be lost by power cuts and failed syncs, and stays lost.
            self.written.iter_mut().for_each(Ids::clear);
        }
        Ok(())
    }

    /// Everything accepted is in a file or counted as lost, to the event.
    pub(crate) fn rest(&mut self, world: &World, life: &Life) -> Checked<View> {
        let view = self.look(world, Excuse::None)?;
        self.no_doubles(world, &view)?;
        self.listen(world, life);
        self.confirmed(world, &view, world.disk.struck("sync") == 0)?;
        let snapshot = life.snapshot();
        for channel in 0..world.plan.channels.len() {
            let (missing, first) = Self::count_missing(world, &view, channel);
            let lost: u64 = snapshot
                .sinks_of(&format!("c{channel}"))
                .map(|sink| sink.lost.get(LostReason::Sync))
                .sum();
            let expected = self.missing[channel] + lost as usize;
            let aside = Self::aside_of(world, &view, channel);
            // What was counted as lost may stand in an old file that could neither be finished,
            // set aside nor cut.
            let stuck = self.meddled || world.disk.struck("truncate") > 0;
            let told = !world.disk.owes_a_failure();
            let vanished = self.vanished(world, &view, channel);
            if missing > expected + vanished && told || missing + aside < expected && !stuck {
                return Err(format!(
                    "channel c{channel}: {missing} events are missing, first {first:?}, and \
                     {lost} counted as lost, {} before this life",
                    self.missing[channel]
                ));
            }
            let there = Self::in_channel(world, &view, channel);
            let evicted = world.evicted[channel].lock().expect("one thread");
            if let Some(id) = evicted.iter().find(|id| there.contains(id)) {
                return Err(format!("{id:?} made room in c{channel}, and stands in a file"));
            }
            let dropped = &snapshot.channels[channel].lost;
            if !world.drops(channel) && dropped.total() > 0 {
                return Err(format!("channel c{channel} waits, and lost {}", dropped.total()));
            }
        }
        Ok(view)
    }

    /// The end of a life: everything home, everything answered, everything finished.
    pub(crate) fn closed(&mut self, world: &World, life: &Life, faultless: bool) -> Checked {
        let view = self.rest(world, life)?;
        Self::ledger(life)?;
        all_dealt(world, life)?;
        if life.pool.free() + life.staged != life.pool.pages() {
            return Err(format!("{} of {} pages home", life.pool.free(), life.pool.pages()));
        }
        for probe in &life.probes {
            use flumen::channel::Channel;
            let credit: &Arc<flumen::memory::Credit> = probe.credit();
            if credit.free() != credit.total() {
                return Err(format!("{} of {} credit home", credit.free(), credit.total()));
            }
        }
        for (index, told) in life.told.iter().enumerate() {
            let Some(told) = told else { continue };
            let told = told.lock().expect("one thread");
            if !told.waiting.is_empty() {
                return Err(format!("{} receipts never settled", told.waiting.len()));
            }
            if faultless && told.failed > 0 && Self::must_confirm(world, index) {
                return Err(format!("{} receipts failed without a fault", told.failed));
            }
        }
        if !faultless {
            return Ok(());
        }
        let ours = |file: &&FileView| world.roots().iter().any(|root| file.path.starts_with(root));
        let mut left = view.files.iter().filter(|file| file.state == State::Open);
        if let Some(open) = left.find(ours) {
            return Err(format!("{} is left", open.path.display()));
        }
        let sinks = life.snapshot().sinks;
        let lagging = sinks
            .iter()
            .find(|sink| sink.name.starts_with("out") && sink.synced_events != sink.written_events);
        lagging.map_or(Ok(()), |sink| {
            let (synced, written) = (sink.synced_events, sink.written_events);
            Err(format!("{}: {synced} synced of {written} written", sink.name))
        })
    }

    /// Every channel of the source waits and ends in sinks that can sync.
    fn must_confirm(world: &World, source: usize) -> bool {
        let source = &world.plan.sources[source];
        source.channels.iter().enumerate().all(|(place, &channel)| {
            let mut sinks = world.plan.sinks.iter().filter(|sink| sink.channel == channel);
            source.way.is_optional(place)
                || world.plan.channels[channel].when_full == WhenFull::Wait
                    && world.plan.groups.iter().all(|it| it.channel != channel || !it.hop)
                    && sinks.all(|sink| sink_plan(sink).confirms().0 == Reached::Synced)
        })
    }

    /// Notes what a crash must leave.
    pub(crate) fn before_crash(&mut self, world: &World, life: &Life, crash: Crash) -> Checked {
        self.listen(world, life);
        let view = self.look(world, Excuse::None)?;
        // A letter whose sync failed is cut off, if that is possible.
        let sure = world.disk.struck("sync") + world.disk.struck("truncate") == 0;
        self.letters = if sure { view.letters } else { Vec::new() };
        let sinks = life.snapshot().sinks.into_iter();
        self.counted = sinks
            .filter(|sink| sink.name.starts_with("out"))
            .map(|sink| (sink.synced_events, sink.written_events))
            .collect();
        self.crashed = true;
        if crash == Crash::Power {
            self.archivist.holes_in_text = true;
            let sure = world.disk.durable_names();
            self.finished.retain(|path, _| sure.contains(path));
        }
        if self.forgotten(world) {
            self.finished.clear();
        }
        Ok(())
    }

    /// After start-up recovery: what was synced (killed: written) is there.
    pub(crate) fn recovered(&mut self, world: &World, crash: Option<Crash>) -> Checked {
        self.crashed = false;
        let view = self.look(world, Excuse::None)?;
        self.ever_crashed |= crash.is_some();
        self.no_doubles(world, &view)?;
        for (before, now) in std::mem::take(&mut self.letters).iter().zip(&view.letters) {
            if let Some(id) = before.iter().find(|id| !now.contains(id)) {
                return Err(format!("{id:?} was set aside, and its letter lost by {crash:?}"));
            }
        }
        let kept = crash != Some(Crash::Power) && world.disk.struck("sync") == 0;
        self.confirmed(world, &view, kept)?;
        for (sink, &(synced, written)) in self.counted.iter().enumerate() {
            let (there, base) = (&view.present[sink], &self.base[sink]);
            let lost = base.iter().find(|id| !there.contains(id));
            if let Some(id) = lost.filter(|_| !self.forgotten(world)) {
                return Err(format!("sink {sink}: {id:?} was safe, and lost by {crash:?}"));
            }
            let base = if self.forgotten(world) { 0 } else { base.len() };
            let expected = if kept { written } else { synced } as usize;
            if there.len() < base + expected {
                return Err(format!(
                    "sink {sink}: {} events after {crash:?}, but {base} were there before \
                     and {synced} were synced, {written} written",
                    there.len()
                ));
            }
        }
        self.begin(world, &view);
        Ok(())
    }

    /// A life begins: what is there, and what is missing by now.
    pub(crate) fn begin(&mut self, world: &World, view: &View) {
        self.counted.clear();
        let safe = view.present.iter().zip(&view.aside);
        self.base = safe.map(|(present, aside)| present - aside).collect();
        self.doubtful = view.aside.clone();
        self.missing = (0..world.plan.channels.len())
            .map(|channel| Self::count_missing(world, view, channel).0)
            .collect();
    }
}

impl View {
    /// Files not yet finished, or all.
    pub(crate) fn paths(&self, open_only: bool) -> Vec<PathBuf> {
        let files = self.files.iter().filter(|file| file.state == State::Open || !open_only);
        files.map(|file| file.path.clone()).collect()
    }
}

/// Reads may find holes where a failed sync dropped bytes.
fn dropped(world: &World) -> bool {
    world.disk.struck("sync") > 0
}
