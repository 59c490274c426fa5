//! `flumen inspect`: the blocks of segments, their totals, and how the files end.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::{finish, tell, time_text};
use crate::archive::chain::seal_in;
use crate::archive::{Ending, Reader, segments};
use crate::codec::{Codec, Encoding};
use crate::storage::catalog::{SegmentName, State};
use crate::storage::seal::Seal;
use crate::storage::segment::{BlockEntry, Check, Damage, End, Scan, scan};
use crate::storage::{Container, Disk, OsDisk};

/// Shows the blocks of archive files and whether they are whole
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen inspect /var/log/flumen/app.log.zst\n\n\
    Checks every block's stored bytes against their checksum. Exits 1 when a finished file is\n\
    not whole, or when any file is damaged and not just cut short.")]
pub struct InspectArgs {
    /// Files, or directories to walk
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// One JSON object a file
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &InspectArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = inspect(args, &mut out);
    finish("inspect", outcome.and_then(|code| out.flush().map(|()| code)))
}

fn inspect(args: &InspectArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut failed = false;
    for path in &args.paths {
        match segments(std::slice::from_ref(path)) {
            Ok(files) => {
                for file in files {
                    failed |= !show(&file, args.json, out)?;
                }
            }
            Err(error) => {
                tell("inspect", error);
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One file; true when all is well with it.
fn show(path: &Path, as_json: bool, out: &mut impl Write) -> io::Result<bool> {
    let scanned = OsDisk.open_read(path).and_then(|file| {
        let found = scan(&*file, Check::Stored)?;
        let last = found.blocks.last().map(|last| seal_in(&*file, last)).transpose()?;
        Ok((found, last.flatten()))
    });
    let (found, seal) = match scanned {
        Ok(found) => found,
        Err(error) => {
            tell("inspect", format_args!("{}: {error}", path.display()));
            return Ok(false);
        }
    };
    if plain(path, &found) {
        return stream(path, as_json, out);
    }
    if as_json {
        writeln!(out, "{}", json_of(path, &found, seal.as_ref()))?;
    } else {
        table(path, &found, out)?;
        if let Some(Seal { blocks, events, value, .. }) = &seal {
            let key = signer(seal.as_ref()).unwrap_or_else(|| "no key".to_owned());
            writeln!(
                out,
                "seal: {blocks} blocks, {events} events, hash {value}, signed with {key}"
            )?;
        }
    }
    Ok(is_well(path, &found))
}

/// The fingerprint of the key that a seal names.
fn signer(seal: Option<&Seal>) -> Option<String> {
    seal.and_then(Seal::signer).map(|key| key.to_string())
}

fn is_well(path: &Path, found: &Scan) -> bool {
    let name = path.file_name().map(SegmentName::parse);
    let finished = name.is_none_or(|name| name.state != State::Open);
    match found.end {
        End::Torn { why, .. } => !finished && matches!(why, Damage::Cut | Damage::Index),
        // A finished file of ours has an index; recovery never leaves one without.
        End::Open => !finished || found.blocks.is_empty(),
        End::Sealed | End::Foreign => true,
    }
}

/// No headers to show: text, or a file of another program.
fn plain(path: &Path, found: &Scan) -> bool {
    let name = path.file_name().map(SegmentName::parse);
    let empty = found.blocks.is_empty() && found.file_bytes == 0;
    let text = name.is_none_or(|name| name.container == Container::Plain);
    found.end == End::Foreign || (empty && text)
}

fn state(found: &Scan) -> String {
    let count = found.blocks.len();
    match found.end {
        End::Sealed => "sealed".to_owned(),
        End::Open => "open".to_owned(),
        End::Foreign => "foreign".to_owned(),
        End::Torn { at, bytes, why } => {
            format!("torn after {count} whole blocks: {bytes} bytes at {at}, {why}")
        }
    }
}

struct Totals {
    events: u64,
    raw_bytes: u64,
    stored_bytes: u64,
    header_bytes: u64,
}

impl Totals {
    fn of(blocks: &[BlockEntry]) -> Self {
        let sum = |field: fn(&BlockEntry) -> u32| blocks.iter().map(|b| u64::from(field(b))).sum();
        Self {
            events: sum(|block| block.event_count),
            raw_bytes: sum(|block| block.raw_bytes),
            stored_bytes: sum(|block| block.stored_bytes),
            header_bytes: sum(|block| block.header_bytes),
        }
    }
}

fn codec_name(found: &Scan) -> &'static str {
    let codec = found.container.and_then(|container| Codec::from_wire_id(container.wire_id()));
    codec.map_or("unknown", |codec| codec.kind().name)
}

fn encoder_name(id: u8) -> &'static str {
    Encoding::from_wire_id(id).map_or("unknown", Encoding::name)
}

fn ratio(raw: u64, stored: u64) -> f64 {
    if stored == 0 { 0.0 } else { raw as f64 / stored as f64 }
}

fn table(path: &Path, found: &Scan, out: &mut impl Write) -> io::Result<()> {
    let (codec, id) = (codec_name(found), found.segment_id);
    writeln!(out, "{}: {codec}, segment {id:016x}, {}", path.display(), state(found))?;
    let heads = ["block", "offset", "stored", "raw", "ratio", "events", "encoder"];
    let [block, offset, stored, raw, part, events, encoder] = heads;
    writeln!(
        out,
        "{block:>7} {offset:>12} {stored:>9} {raw:>9} {part:>6} {events:>8} {encoder:>8}  \
         received"
    )?;
    for (number, block) in found.blocks.iter().enumerate() {
        writeln!(
            out,
            "{number:>7} {:>12} {:>9} {:>9} {:>6.2} {:>8} {:>8}  {} … {}",
            block.offset,
            block.stored_bytes,
            block.raw_bytes,
            ratio(u64::from(block.raw_bytes), u64::from(block.stored_bytes)),
            block.event_count,
            encoder_name(block.encoder),
            time_text(block.time_min),
            time_text(block.time_max),
        )?;
    }
    let totals = Totals::of(&found.blocks);
    writeln!(
        out,
        "total: {} blocks, {} events, {} bytes stored as {}, ratio {:.2}; headers {} bytes; \
         file {} bytes",
        found.blocks.len(),
        totals.events,
        totals.raw_bytes,
        totals.stored_bytes,
        ratio(totals.raw_bytes, totals.stored_bytes),
        totals.header_bytes,
        found.file_bytes,
    )
}

fn json_of(path: &Path, found: &Scan, seal: Option<&Seal>) -> Value {
    let totals = Totals::of(&found.blocks);
    let blocks: Vec<Value> = found.blocks.iter().enumerate().map(block_json).collect();
    let (state, torn) = match found.end {
        End::Sealed => ("sealed", Value::Null),
        End::Open => ("open", Value::Null),
        End::Foreign => ("foreign", Value::Null),
        End::Torn { at, bytes, why } => {
            ("torn", json!({ "at": at, "bytes": bytes, "why": why.to_string() }))
        }
    };
    json!({
        "file": path.to_string_lossy(),
        "state": state,
        "torn": torn,
        "codec": codec_name(found),
        "segment_id": format!("{:016x}", found.segment_id),
        "block_count": found.blocks.len(),
        "events": totals.events,
        "raw_bytes": totals.raw_bytes,
        "stored_bytes": totals.stored_bytes,
        "header_bytes": totals.header_bytes,
        "file_bytes": found.file_bytes,
        "time_min": found.blocks.iter().map(|block| block.time_min).min().map(time_text),
        "time_max": found.blocks.iter().map(|block| block.time_max).max().map(time_text),
        "seal": seal.map(|seal| json!({
            "blocks": seal.blocks, "events": seal.events, "hash": seal.value.to_string(),
            "key": signer(Some(seal)),
        })),
        "blocks": blocks,
    })
}

fn block_json((number, block): (usize, &BlockEntry)) -> Value {
    json!({
        "block": number,
        "offset": block.offset,
        "header_bytes": block.header_bytes,
        "stored_bytes": block.stored_bytes,
        "raw_bytes": block.raw_bytes,
        "events": block.event_count,
        "encoder": encoder_name(block.encoder),
        "time_min": time_text(block.time_min),
        "time_max": time_text(block.time_max),
    })
}

/// A file without headers is read through and counted. True when it could be read to its end.
fn stream(path: &Path, as_json: bool, out: &mut impl Write) -> io::Result<bool> {
    let counted = Reader::open(&OsDisk, path).and_then(|mut reader| {
        while reader.next_block()?.is_some() {}
        Ok(reader.into_summary())
    });
    let summary = match counted {
        Ok(summary) => summary,
        Err(error) => {
            tell("inspect", error);
            return Ok(false);
        }
    };
    let torn = match &summary.ending {
        Ending::StreamTorn { why } => Some(why.as_str()),
        _ => None,
    };
    let (events, raw_bytes) = (summary.events, summary.raw_bytes);
    if as_json {
        let file = path.to_string_lossy();
        let line = json!({
            "file": file, "state": "foreign", "torn": torn, "events": events,
            "raw_bytes": raw_bytes, "blocks": [],
        });
        writeln!(out, "{line}")?;
    } else {
        let path = path.display();
        let end = torn.map_or_else(String::new, |why| format!("; ends early: {why}"));
        writeln!(out, "{path}: no block headers; {events} events, {raw_bytes} bytes{end}")?;
    }
    Ok(torn.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/v1").join(name)
    }

    fn told(path: &Path, json: bool) -> String {
        let mut out = Vec::new();
        inspect(&InspectArgs { paths: vec![path.to_owned()], json }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_finished_file_is_sealed_and_a_cut_one_says_after_how_many_blocks() {
        let table = told(&kept("raw.log.zst"), false);
        assert!(table.contains("zstd, segment 0102030405060708, sealed"), "{table}");
        assert!(table.contains("total: 3 blocks, 6 events, 253 bytes stored as"), "{table}");
        let value: Value = serde_json::from_str(&told(&kept("raw.log.gz"), true)).unwrap();
        assert_eq!((&value["state"], &value["events"]), (&json!("sealed"), &json!(6)));
        assert_eq!(value["blocks"][2]["time_min"], "1970-01-01T00:16:42Z");

        let dir = tempfile::tempdir().unwrap();
        let cut = dir.path().join("x.log.lz4.open");
        let bytes = std::fs::read(kept("raw.log.lz4")).unwrap();
        let second = value["blocks"][1]["offset"].as_u64().unwrap() as usize;
        std::fs::write(&cut, &bytes[..second + 20]).unwrap();
        assert!(told(&cut, false).contains("torn after 1 whole blocks"), "{}", told(&cut, false));
        let found = scan(&&bytes[..second + 20], Check::Stored).unwrap();
        assert!(is_well(&cut, &found), "a torn tail is no failure while the file is open");
        assert!(!is_well(&dir.path().join("x.log.lz4"), &found));
    }

    #[test]
    fn plain_text_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        assert!(told(&path, false).contains("2 events, 8 bytes"));
    }
}
