//! The global allocator, the command, its exit code; nothing else.

use std::process::ExitCode;

use flumen::cli;
use flumen::memory::gate::Gated;

#[global_allocator]
static ALLOCATOR: Gated<mimalloc::MiMalloc> = Gated(mimalloc::MiMalloc);

fn main() -> ExitCode {
    cli::main()
}
