//! Through a channel on the disk: what goes from memory to the sinks, and what is read back.

use super::{Line, SINKS, generated, nothing};

/// A generator at full speed through a log into nothing; segments are small, so that many are
/// begun, and go, while it is measured.
fn through(dir: &std::path::Path, more: &str) -> Line {
    let channel = format!(
        "[channels.main]\ntype = 'file'\npath = '{}'\nsegment = '16MiB'\nreserve = '0'\n{more}",
        dir.join("log").display()
    );
    Line::build(&(generated("type = 'null'") + &channel), SINKS)
}

#[test]
fn a_batch_through_a_log_allocates_nothing() {
    for more in ["", "sync = 'batch'", "sync = '1s'\ncodec = 'lz4'"] {
        let dir = tempfile::tempdir().expect("a folder");
        let mut line = through(dir.path(), more);
        let spent = line.measure(|| {});
        nothing(&format!("a log, {more}"), spent);
        // Nothing but segments that are begun.
        assert!(spent.exempted <= 100, "{spent:?}");
    }
}

/// The sink is slow: batches give their memory back, and are read when their turn comes.
#[test]
fn a_batch_that_is_read_back_allocates_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut line = through(dir.path(), "memory = '4MiB'");
    line.sinks_every = 4;
    let spent = line.measure(|| {});
    nothing("a log that is read back", spent);
    let waiting = line.assembly.handles.ledger.snapshot().channels[0].waiting_bytes;
    assert!(waiting > 16 << 20, "{waiting} bytes wait: memory holds them");
}
