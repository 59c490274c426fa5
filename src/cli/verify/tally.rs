//! What `flumen verify` found: totals, what is bad in the order of each file, and how the chains
//! of files end.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Bad, Found};
use crate::archive::chain::{End, Follower};
use crate::storage::catalog::OPEN_SUFFIX;
use crate::storage::seal::Seal;
use crate::storage::seal_key::VerifyingKey;
use crate::storage::segment::{Check, End as SegmentEnd, scan};
use crate::storage::{Disk, OsDisk};

/// What was found until now.
pub(super) struct Tally {
    as_json: bool,
    /// Files must be sealed with one of these, if there are any.
    keys: Vec<VerifyingKey>,
    /// By number, as they were listed.
    files: BTreeMap<usize, File>,
    blocks: u64,
    events: u64,
    raw_bytes: u64,
    /// Told with the rest as JSON, or told already.
    bad: Vec<Value>,
    bad_places: u64,
    chains: Chains,
}

struct File {
    path: PathBuf,
    chain: Follower,
    /// Places without a block, to be told when the blocks before them have been.
    gaps: Vec<Bad>,
    /// It has blocks of ours.
    blocks: bool,
    bad: bool,
}

/// How the chains of files end.
#[derive(Default)]
struct Chains {
    files: u64,
    sealed: u64,
    /// With a key that was given.
    signed: u64,
    in_progress: u64,
    unsealed: Vec<String>,
}

impl Tally {
    pub(super) fn new(as_json: bool, keys: Vec<VerifyingKey>) -> Self {
        let (files, bad, chains) = (BTreeMap::new(), Vec::new(), Chains::default());
        let (blocks, events, raw_bytes, bad_places) = (0, 0, 0, 0);
        Self { as_json, keys, files, blocks, events, raw_bytes, bad, bad_places, chains }
    }

    pub(super) fn is_bad(&self) -> bool {
        self.bad_places > 0
    }

    /// Files come in any order, the blocks of each in theirs, and its gaps before them.
    pub(super) fn take(&mut self, found: Found, out: &mut impl Write) -> io::Result<()> {
        let Found { of, block, linked, events, raw_bytes, bad } = found;
        let file = self.files.entry(of.number).or_insert_with(|| File::new(&of.path));
        self.events += events;
        self.raw_bytes += raw_bytes;
        let Some((number, entry)) = block else {
            let Some(bad) = bad else { return Ok(()) };
            file.bad = true;
            if bad.at.is_some() {
                file.gaps.push(bad);
                return Ok(());
            }
            return self.tell(&of.path, &bad, out);
        };
        let mut told = file.gaps_before(entry.offset);
        file.blocks = true;
        match bad {
            Some(bad) => {
                file.chain.bad();
                told.push(bad);
            }
            None => {
                self.blocks += 1;
                let (block, at) = (Some(number), Some(entry.offset));
                let why = file.chain.block(&entry, linked);
                told.extend(why.map(|why| Bad { block, at, why, missing: false }));
            }
        }
        file.bad |= !told.is_empty();
        told.iter().try_for_each(|bad| self.tell(&of.path, bad, out))
    }

    /// Nothing more comes. Of the files `listed` those of which nothing came have no blocks.
    pub(super) fn end(&mut self, listed: &[PathBuf], out: &mut impl Write) -> io::Result<()> {
        let mut files = std::mem::take(&mut self.files);
        let count = files.len();
        for (number, path) in listed.iter().enumerate().filter(|(_, path)| path.exists()) {
            files.entry(number).or_insert_with(|| File::new(path));
        }
        for mut file in files.into_values() {
            for bad in file.gaps_before(u64::MAX) {
                self.tell(&file.path, &bad, out)?;
            }
            if let Some(bad) = self.end_of(&file, out)? {
                self.tell(&file.path, &bad, out)?;
            }
        }
        self.summary(count, out)
    }

    /// How the chain of a file ends, and what is bad about that.
    fn end_of(&mut self, file: &File, out: &mut impl Write) -> io::Result<Option<Bad>> {
        let open = file.path.as_os_str().to_string_lossy().ends_with(OPEN_SUFFIX);
        let must = !self.keys.is_empty() && !file.bad;
        let chains = &mut self.chains;
        let whole = |why: &str| Ok(Some(Bad::of_file(why.to_owned())));
        match file.chain.end() {
            End::Unchained if must && !open => whole(match file.blocks {
                true => "not chained: nothing tells whether it was altered",
                false => "without blocks that tell whether it was altered",
            }),
            End::Unchained => Ok(None),
            End::Unsealed if open => {
                chains.files += 1;
                chains.in_progress += 1;
                Ok(None)
            }
            End::Unsealed => {
                chains.files += 1;
                chains.unsealed.push(file.path.to_string_lossy().into_owned());
                if must {
                    return whole(
                        "not sealed: the agent did not finish it, or its end was cut off",
                    );
                }
                if !file.bad && !self.as_json {
                    let path = file.path.display();
                    writeln!(out, "{path}: not sealed: the agent did not finish it")?;
                }
                Ok(None)
            }
            End::Sealed { seal, segment_id } => {
                chains.files += 1;
                chains.sealed += 1;
                if file.bad {
                    return Ok(None);
                }
                match signed(&self.keys, &seal, segment_id) {
                    Ok(signed) => chains.signed += u64::from(signed),
                    Err(why) => return whole(&why),
                }
                Ok(if open { None } else { behind_the_seal(&file.path) })
            }
        }
    }

    fn tell(&mut self, path: &Path, bad: &Bad, out: &mut impl Write) -> io::Result<()> {
        self.bad_places += 1;
        if !self.as_json {
            return writeln!(out, "{}: {}", path.display(), bad.text());
        }
        let file = path.to_string_lossy();
        self.bad.push(json!({ "file": file, "block": bad.block, "at": bad.at, "why": bad.why }));
        Ok(())
    }

    fn summary(&self, files: usize, out: &mut impl Write) -> io::Result<()> {
        let Self { blocks, events, raw_bytes, bad, bad_places, chains, .. } = self;
        if self.as_json {
            let totals = json!({
                "files": files, "blocks": blocks, "events": events, "raw_bytes": raw_bytes,
                "chained": {
                    "files": chains.files, "sealed": chains.sealed, "signed": chains.signed,
                    "in_progress": chains.in_progress, "unsealed": chains.unsealed,
                },
                "bad": bad,
            });
            return writeln!(out, "{totals}");
        }
        if chains.files > 0 {
            let signed = match self.keys.is_empty() {
                true => "signatures not checked, for want of --key".to_owned(),
                false => format!("{} of them signed with the key", chains.signed),
            };
            let Chains { files, sealed, in_progress, unsealed, .. } = chains;
            let unsealed = unsealed.len();
            writeln!(
                out,
                "chained: {files} files, {sealed} sealed ({signed}), {unsealed} not sealed, \
                 {in_progress} in progress"
            )?;
        }
        let verdict = match bad_places {
            0 => "all is well".to_owned(),
            1 => "1 place is bad".to_owned(),
            more => format!("{more} places are bad"),
        };
        writeln!(
            out,
            "{files} files, {blocks} blocks, {events} events, {raw_bytes} bytes: {verdict}"
        )
    }
}

impl File {
    fn new(path: &Path) -> Self {
        let (path, chain, gaps) = (path.to_owned(), Follower::default(), Vec::new());
        Self { path, chain, gaps, blocks: false, bad: false }
    }

    fn gaps_before(&mut self, offset: u64) -> Vec<Bad> {
        let before = self.gaps.iter().take_while(|gap| gap.at.is_some_and(|at| at < offset));
        let count = before.count();
        self.gaps.drain(..count).collect()
    }
}

/// Whether one of the keys signed it; false when there are none.
fn signed(keys: &[VerifyingKey], seal: &Seal, segment_id: u64) -> Result<bool, String> {
    if keys.is_empty() {
        return Ok(false);
    }
    let Some(signer) = seal.signer() else {
        return Err("its seal is not signed".to_owned());
    };
    let Some(key) = keys.iter().find(|key| key.fingerprint() == signer) else {
        return Err(format!("its seal is signed with another key, {signer}"));
    };
    if seal.is_signed_by(key, segment_id) {
        return Ok(true);
    }
    Err("its seal's signature is not the key's: it was altered, and its hashes made anew"
        .to_owned())
}

/// What no block's hash covers: the index, and zstd's seek table, are what blocks say again.
fn behind_the_seal(path: &Path) -> Option<Bad> {
    let found = OsDisk.open_read(path).and_then(|file| scan(&*file, Check::Headers));
    match found {
        Ok(found) if found.end == SegmentEnd::Sealed => None,
        Ok(found) => {
            let why = "the index does not say what the blocks say".to_owned();
            Some(Bad { at: Some(found.whole_bytes), ..Bad::of_file(why) })
        }
        // Kept no longer.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(Bad::of_file(error.to_string())),
    }
}
