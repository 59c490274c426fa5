//! Through a channel on the disk: what goes from memory to the sinks, and what is read back.

use super::{Line, SINKS, generated, nothing};

/// A generator at full speed through a log into nothing; segments are small, so that many are
/// begun, and go, while it is measured.
fn through(kind: &str, dir: &std::path::Path, more: &str) -> Line {
    let channel = format!(
        "[channels.main]\ntype = '{kind}'\npath = '{}'\nsegment = '16MiB'\nreserve = '0'\n{more}",
        dir.join("log").display()
    );
    Line::build(&(generated("type = 'null'") + &channel), SINKS)
}

#[test]
fn a_batch_through_a_log_allocates_nothing() {
    for more in ["", "sync = 'batch'", "sync = '1s'\ncodec = 'lz4'"] {
        let dir = tempfile::tempdir().expect("a folder");
        let mut line = through("file", dir.path(), more);
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
    let mut line = through("file", dir.path(), "memory = '4MiB'");
    line.sinks_every = 4;
    let spent = line.measure(|| {});
    nothing("a log that is read back", spent);
    let waiting = line.assembly.handles.ledger.snapshot().channels[0].waiting_bytes;
    assert!(waiting > 16 << 20, "{waiting} bytes wait: memory holds them");
}

/// Memory alone while the sink keeps up; both when it is slow; and from the log to memory again.
#[test]
fn a_batch_through_a_spill_channel_allocates_nothing() {
    for more in ["", "codec = 'lz4'"] {
        let dir = tempfile::tempdir().expect("a folder");
        let mut line = through("spill", dir.path(), &format!("memory = '8MiB'\n{more}"));
        nothing("a spill channel that needs no log", line.measure(|| {}));
        let segments = || std::fs::read_dir(dir.path().join("log")).expect("a folder").count() - 1;
        assert_eq!(segments(), 0, "but for the lock the folder is empty");
        line.sinks_every = 4;
        nothing(&format!("a spill channel, {more}"), line.measure(|| {}));
        let waiting =
            |line: &Line| line.assembly.handles.ledger.snapshot().channels[0].waiting_bytes;
        assert!(segments() > 1 && waiting(&line) > 16 << 20, "{} bytes wait", waiting(&line));
        (line.sinks_every, line.sources_every) = (1, 4);
        nothing("a spill channel that is drained", line.measure(|| {}));
        assert!(waiting(&line) < 8 << 20, "{} bytes wait", waiting(&line));
    }
}
