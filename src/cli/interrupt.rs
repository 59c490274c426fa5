//! Ctrl-C, for commands that end by themselves: the first one asks, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use super::output::tell;

/// A flag that is set when somebody asks `command` to stop.
pub(super) fn flag(command: &str) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first one finds the flag not yet set.
        let hooks = register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| register(signal, Arc::clone(&stop)));
        if let Err(error) = hooks {
            tell(command, format_args!("signals cannot be caught: {error}"));
        }
    }
    stop
}
