//! The global allocator, the command, its exit code; nothing else.

use std::process::ExitCode;

use flumen::memory::gate::Gated;

#[global_allocator]
static ALLOCATOR: Gated<mimalloc::MiMalloc> = Gated(mimalloc::MiMalloc);

#[cfg(not(loom))]
fn main() -> ExitCode {
    flumen::cli::main()
}

/// Cargo builds the program beside every test; under loom the library has no commands.
#[cfg(loom)]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
