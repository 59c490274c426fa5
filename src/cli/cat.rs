//! `flumen cat`: events back out, exactly as stored, as one JSON object a line, or as a capture.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::follow::{Followed, drain, report};
use super::form::Form;
use super::output::{finish, tell};
use super::pipe::{is_pipe, open_pipe};
use crate::archive::{ArchiveError, Reader, segments};
use crate::storage::OsDisk;

/// Writes the events of archives to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen cat /var/log/flumen --json | jq -r .message\n\n\
    Reads finished and unfinished files of any codec; directories are walked, dotfiles left out.\n\
    A dash is standard input; from a pipe events come without the times of their blocks.\n\
    --pcap writes datagrams (encoder = \"datagram\") as pcapng, for tshark and Wireshark:\n  \
    flumen cat --pcap --follow /var/log/flows | wireshark -k -i -\n\
    --follow ends when every file named is finished; of a directory it never is.\n\
    With --json an event without a time of its own carries its block's last receive time,\n\
    and says so: \"time_of\":\"block\".")]
pub struct CatArgs {
    /// Files, directories to walk, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// One JSON object a line: time, peer, message (or message_base64), file
    #[arg(long)]
    pub json: bool,
    /// Datagrams as a pcapng capture, with IP and UDP headers made anew
    #[arg(long, conflicts_with = "json")]
    pub pcap: bool,
    /// Goes on with new blocks and new files as they appear
    #[arg(long, short)]
    pub follow: bool,
}

/// Large enough that a block is a few writes.
const OUTPUT_BYTES: usize = 256 << 10;

pub fn run(args: &CatArgs) -> ExitCode {
    let once_only = args.paths.iter().find(|path| args.follow && is_pipe(path));
    if let Some(path) = once_only {
        let why = "is read to its end as it is: leave out --follow";
        tell("cat", format_args!("{}: {why}", path.display()));
        return ExitCode::from(2);
    }
    if args.pcap && io::stdout().is_terminal() {
        tell("cat", "a capture is nothing for a terminal: flumen cat --pcap … > traffic.pcapng");
        return ExitCode::from(2);
    }
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let mut form = if args.pcap { Form::Capture(Box::default()) } else { Form::new(args.json) };
    let outcome = form.begin(&mut out).and_then(|()| match args.follow {
        true => Followed::new("cat").follow(&args.paths, &mut form, &mut out),
        false => once(args, &mut form, &mut out),
    });
    let outcome = outcome.and_then(|code| out.flush().map(|()| code));
    let left_out = form.left_out();
    if left_out == 0 {
        return finish("cat", outcome);
    }
    let why = "are left out: a capture holds datagrams (encoder = \"datagram\")";
    tell("cat", format_args!("{left_out} events {why}"));
    finish("cat", outcome.map(|_| ExitCode::FAILURE))
}

fn once(args: &CatArgs, form: &mut Form, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut failed = false;
    for path in &args.paths {
        if is_pipe(path) {
            failed |= !whole(open_pipe(path), form, out)?;
            continue;
        }
        match segments(std::slice::from_ref(path)) {
            Ok(files) => {
                for file in files {
                    failed |= !whole(Reader::open(&OsDisk, &file), form, out)?;
                }
            }
            Err(error) => {
                tell("cat", error);
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One file from its beginning to its end; true when nothing of it is missing.
fn whole(
    reader: Result<Reader, ArchiveError>,
    form: &mut Form,
    out: &mut impl Write,
) -> io::Result<bool> {
    match reader {
        Ok(mut reader) => {
            let drained = drain("cat", &mut reader, form, out)?;
            Ok(!report("cat", reader.summary()) && drained)
        }
        Err(error) => {
            tell("cat", error);
            Ok(false)
        }
    }
}
