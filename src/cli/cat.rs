//! `flumen cat`: events back out, exactly as stored or as one JSON object a line.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::output::{finish, time_text};
use crate::archive::{ArchiveError, BlockView, Ending, EventView, Reader, Summary};
use crate::archive::{base64_encode, segments};
use crate::storage::OsDisk;
use crate::storage::catalog::OPEN_SUFFIX;

/// Writes the events of archives to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen cat /var/log/flumen --json | jq -r .message\n\n\
    Reads finished and unfinished files of any codec; directories are walked, dotfiles left out.\n\
    With --json an event without a time of its own carries its block's last receive time,\n\
    and says so: \"time_of\":\"block\".")]
pub struct CatArgs {
    /// Files, or directories to walk
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// One JSON object a line: time, peer, message (or message_base64), file
    #[arg(long)]
    pub json: bool,
    /// Goes on with new blocks and new files as they appear
    #[arg(long, short)]
    pub follow: bool,
}

/// How often a followed file is looked at: well under `block.age`, its own granularity.
const POLL: Duration = Duration::from_millis(200);
/// Large enough that a block is a few writes.
const OUTPUT_BYTES: usize = 256 << 10;

pub fn run(args: &CatArgs) -> ExitCode {
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let outcome = if args.follow { follow(args, &mut out) } else { once(args, &mut out) };
    finish("cat", outcome.and_then(|code| out.flush().map(|()| code)))
}

fn once(args: &CatArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut failed = false;
    for path in segments(&args.paths).map_err(io_error)? {
        match Reader::open(&OsDisk, &path) {
            Ok(mut reader) => {
                failed |= !drain(&mut reader, args.json, out)?;
                failed |= report(reader.summary());
            }
            Err(error) => {
                eprintln!("flumen cat: {error}");
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Until the pipe closes or a signal comes.
fn follow(args: &CatArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    // By the name a file has or will have once finished, so that a seal does not print it again.
    let mut readers: BTreeMap<PathBuf, Reader> = BTreeMap::new();
    let mut done: BTreeSet<PathBuf> = BTreeSet::new();
    loop {
        for path in segments(&args.paths).map_err(io_error)? {
            let name = finished_name(&path);
            if done.contains(&name) || readers.contains_key(&name) {
                continue;
            }
            // Renamed or removed since it was listed: the next round sees it by its new name.
            if let Ok(reader) = Reader::open(&OsDisk, &path) {
                readers.insert(name, reader);
            }
        }
        let mut ended = Vec::new();
        for (name, reader) in &mut readers {
            if !drain(reader, args.json, out)? || !reader.may_grow() {
                report(reader.summary());
                ended.push(name.clone());
            }
        }
        for name in ended {
            readers.remove(&name);
            done.insert(name);
        }
        out.flush()?;
        std::thread::sleep(POLL);
    }
}

/// Writes what the reader has now; false when the file could not be read on.
fn drain(reader: &mut Reader, json: bool, out: &mut impl Write) -> io::Result<bool> {
    let path = reader.summary().path.clone();
    loop {
        match reader.next_block() {
            Ok(None) => return Ok(true),
            Ok(Some(block)) if json => json_lines(&path, &block, out)?,
            Ok(Some(block)) => out.write_all(block.bytes)?,
            Err(error) => {
                eprintln!("flumen cat: {error}");
                return Ok(false);
            }
        }
    }
}

/// Says on stderr what could not be read. True when that is a failure: a torn tail of a file in
/// progress is none.
fn report(summary: &Summary) -> bool {
    let path = summary.path.display();
    if let Some(first) = &summary.first_damage {
        let count = summary.damaged_blocks;
        eprintln!("flumen cat: {path}: {count} damaged blocks left out; the first: {first}");
    }
    let in_progress = summary.path.as_os_str().to_string_lossy().ends_with(OPEN_SUFFIX);
    match &summary.ending {
        Ending::Torn { at, bytes, why } => {
            eprintln!("flumen cat: {path}: the last {bytes} bytes, from {at} on: {why}");
            !in_progress || summary.damaged_blocks > 0
        }
        Ending::StreamTorn { why } => {
            eprintln!("flumen cat: {path}: the file ends early or is damaged: {why}");
            true
        }
        _ => summary.damaged_blocks > 0,
    }
}

#[derive(serde::Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_of: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_base64: Option<String>,
    file: &'a str,
}

fn json_lines(path: &Path, block: &BlockView<'_>, out: &mut impl Write) -> io::Result<()> {
    let file = path.to_string_lossy();
    let block_time = block.times.map(|(_, last)| time_text(last));
    for event in block.events() {
        json_line(&file, block_time.as_deref(), &event, out)?;
    }
    Ok(())
}

fn json_line(
    file: &str,
    block_time: Option<&str>,
    event: &EventView<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let (fields, text) = event.fields();
    let own = fields.time.is_some();
    let time = fields.time.or_else(|| block_time.map(Cow::Borrowed));
    let message = std::str::from_utf8(&text).ok();
    let line = Line {
        time_of: time.is_some().then_some(if own { "event" } else { "block" }),
        time,
        peer: fields.peer,
        message,
        message_base64: message.is_none().then(|| base64_encode(&text)),
        file,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

fn finished_name(path: &Path) -> PathBuf {
    let open = path.extension().is_some_and(|ending| ending == OPEN_SUFFIX.trim_matches('.'));
    if open { path.with_extension("") } else { path.to_owned() }
}

fn io_error(error: ArchiveError) -> io::Error {
    io::Error::new(error.source.kind(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Encoding;

    fn line(text: &[u8], encoding: Encoding) -> String {
        let event = EventView { line: text, encoding: Some(encoding), block_times: None };
        let mut out = Vec::new();
        json_line("a.zst", Some("2003-10-11T22:14:15Z"), &event, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_says_whose_time_it_is_and_keeps_every_byte() {
        assert_eq!(
            line(b"a \"b\"", Encoding::Raw),
            concat!(
                r#"{"time":"2003-10-11T22:14:15Z","time_of":"block","message":"a \"b\"","#,
                "\"file\":\"a.zst\"}\n"
            )
        );
        assert_eq!(
            line(br#"{"time":"2001-01-01T00:00:00Z","peer":"h:1","message":"x"}"#, Encoding::Json),
            concat!(
                r#"{"time":"2001-01-01T00:00:00Z","time_of":"event","peer":"h:1","#,
                "\"message\":\"x\",\"file\":\"a.zst\"}\n"
            )
        );
        assert!(line(b"\xff", Encoding::Raw).contains(r#""message_base64":"/w==""#));
    }

    #[test]
    fn a_seal_does_not_change_the_name_a_file_is_followed_by() {
        assert_eq!(finished_name(Path::new("a/x.log.1.zst.open")), Path::new("a/x.log.1.zst"));
        assert_eq!(finished_name(Path::new("a/x.log")), Path::new("a/x.log"));
    }
}
