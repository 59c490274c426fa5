//! The limit programs: what the hardware and the libraries allow, with nothing around them.
//!
//! ```text
//!   limit INPUT OUTPUT [--listen PORT] [--text FILE] [--events N] [--file PATH]
//!
//!   tcp      one connection, one thread: read, find the newlines, put out
//!   tls      one TLS connection, else the same       (--certificate PEM --key PEM)
//!   crowd    many connections under one epoll, else the same
//!   udp      recvmmsg, one datagram a slot          (--gro: merged ones, --receive-buffer BYTES)
//!   memory   the lines of a text, round and round: no socket at all
//!   sync     the same, and an fdatasync behind each --window of them
//!   search   the blocks of an archive, decoded and searched   (--needle TEXT)
//!
//!   count    nothing is written: the figure is the input's alone
//!   zstd lz4 gzip none    1 MiB blocks, level 1, appended to a file
//! ```
//!
//! One thread, no ledger, no queue, no sync, no time, no memory limit: what any pipeline must pay
//! at least. The codecs are the agent's own (`flumen::codec`), so that a distance to these programs
//! is never a difference of libraries. They end when the last connection has closed, `udp` at
//! SIGTERM, and say how many events there were. With `--synced` a second thread calls fdatasync
//! every second, as the agent's does.

mod block;
mod crowd;
mod memory;
mod search;
mod tcp;
mod tls;
mod udp;

use block::Block;
use clap::{Parser, ValueEnum};
use flumen::codec::Codec;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Clone, Copy, ValueEnum)]
enum Input {
    Tcp,
    Tls,
    Crowd,
    Udp,
    Memory,
    Sync,
    Search,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Count,
    Zstd,
    Lz4,
    Gzip,
    None,
}

#[derive(Parser)]
struct Arguments {
    input: Input,
    output: Output,
    /// The port of the loopback to receive on
    #[arg(long, default_value_t = 0)]
    listen: u16,
    /// Lines that `sync` makes sure of at once
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// The lines that `memory` repeats
    #[arg(long)]
    text: Option<PathBuf>,
    /// How many of them
    #[arg(long, default_value_t = 0)]
    events: u64,
    /// Where the blocks go
    #[arg(long)]
    file: Option<PathBuf>,
    /// PEM files of `tls`
    #[arg(long)]
    certificate: Option<PathBuf>,
    #[arg(long)]
    key: Option<PathBuf>,
    /// What `search` looks for
    #[arg(long, default_value = "")]
    needle: String,
    /// What is written is on the disk a second later
    #[arg(long)]
    synced: bool,
    #[arg(long)]
    gro: bool,
    #[arg(long, default_value_t = 4 << 20)]
    receive_buffer: usize,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(events) => {
            println!("{events} events");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("limit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> std::io::Result<u64> {
    if let Input::Search = arguments.input {
        return search::run(arguments.file.as_deref(), &arguments.needle);
    }
    let codec = match arguments.output {
        Output::Count => None,
        Output::Zstd => Some(Codec::Zstd),
        Output::Lz4 => Some(Codec::Lz4),
        Output::Gzip => Some(Codec::Gzip),
        Output::None => Some(Codec::None),
    };
    let mut block = Block::new(codec, arguments.file.as_deref())?;
    if let (true, Some(path)) = (arguments.synced, &arguments.file) {
        let file = std::fs::File::open(path)?;
        std::thread::spawn(move || {
            while file.sync_data().is_ok() {
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
        });
    }
    let address = SocketAddr::from(([127, 0, 0, 1], arguments.listen));
    match arguments.input {
        Input::Tcp => tcp::run(address, &mut block),
        Input::Tls => {
            let (Some(certificate), Some(key)) = (&arguments.certificate, &arguments.key) else {
                return Err(std::io::Error::other("tls takes --certificate and --key"));
            };
            tls::run(address, certificate, key, &mut block)
        }
        Input::Crowd => crowd::run(address, &mut block),
        Input::Udp => udp::run(address, arguments.gro, arguments.receive_buffer, &mut block),
        Input::Memory => memory::run(arguments.text.as_deref(), arguments.events, None, &mut block),
        Input::Sync => {
            let window = Some(arguments.window);
            memory::run(arguments.text.as_deref(), arguments.events, window, &mut block)
        }
        Input::Search => unreachable!("it has no block"),
    }
}
