//! What is listed, what is told, and when.

use super::*;

fn at(seconds: u64) -> Now {
    let ns = seconds * 1_000_000_000;
    Now { mono: Mono(ns), wall: Wall(i64::try_from(ns).expect("small") + 7) }
}

#[test]
fn a_fault_lasts_from_detection_to_recovery() {
    let incidents = Incidents::new();
    let mut watch = incidents.watch("sink archive");
    watch.recovered(at(0));
    assert!(watch.blocked(at(1), "No space left on device"));
    assert!(!watch.blocked(at(2), "No space left on device"));
    assert!(!watch.blocked(at(3), "Input/output error"));
    assert_eq!(incidents.blocking(), ["sink archive: Input/output error"]);
    assert!(watch.is_open());
    watch.recovered(at(5));
    assert_eq!(incidents.blocking(), Vec::<String>::new());
    let expected = Incident {
        number: 1,
        component: "sink archive".to_owned(),
        what: "Input/output error".to_owned(),
        blocks: true,
        began: at(1).wall,
        ended: Some((at(5).wall, Duration::from_secs(4))),
        times: 3,
    };
    assert_eq!(incidents.list(), [expected]);
    incidents.look(at(15));
    assert!(watch.fault(at(16), "again"), "a new incident after recovery");
}

/// What the log is told, without the times before each line.
fn told(work: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let log = log.with_ansi(false).without_time().with_target(false).finish();
    tracing::subscriber::with_default(log, work);
    let text = String::from_utf8(locked(&lines.0).clone()).expect("text");
    text.lines().map(|line| line.trim().to_owned()).collect()
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        locked(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A disk at its edge: room, no room, once a second. Readiness follows; the log does not.
#[test]
fn what_fails_again_and_again_is_told_once() {
    const FULL: &str = "No space left on device";
    let lines = told(|| {
        let incidents = Incidents::new();
        let looks = Arc::new(AtomicU64::new(0));
        let counted = looks.clone();
        incidents.when_calm(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let mut watch = incidents.watch("channel main");
        for second in 0..60 {
            assert_eq!(watch.blocked(at(2 * second), FULL), second == 0);
            assert_eq!(incidents.blocking().len(), 1);
            assert_eq!(incidents.look(at(2 * second)), Mono::MAX);
            watch.recovered(at(2 * second + 1));
            watch.recovered(at(2 * second + 1));
            assert!(incidents.blocking().is_empty() && !watch.is_open());
            assert_eq!(incidents.look(at(2 * second + 1)), at(2 * second + 11).mono);
        }
        assert_eq!(looks.load(Ordering::Relaxed), 60, "at each turn, and at none besides");
        assert_eq!(incidents.look(at(128)), at(129).mono);
        assert_eq!(incidents.look(at(129)), Mono::MAX);
        assert_eq!(incidents.look(at(500)), Mono::MAX);
        let list = incidents.list();
        assert_eq!((list.len(), list[0].times), (1, 60));
        assert_eq!(list[0].ended, Some((at(119).wall, Duration::from_secs(119))));
        // After that it is another one; who goes has what works by then told.
        assert!(watch.blocked(at(129), FULL));
        watch.recovered(at(130));
        incidents.close();
        incidents.close();
    });
    let over = |after: &str| format!("INFO channel main: recovered after {after}: {FULL}");
    let expected = [
        format!("ERROR channel main: {FULL}"),
        over("1 min 59 s (60 times)"),
        format!("ERROR channel main: {FULL}"),
        over("1.0 s (1 times)"),
    ];
    assert_eq!(lines, expected);
}

/// A lesser fault soon after a blocking one is of the same incident, and does not block.
#[test]
fn what_only_hinders_after_a_block_does_not_block() {
    let lines = told(|| {
        let incidents = Incidents::new();
        let mut watch = incidents.watch("sink archive");
        watch.blocked(at(1), "full");
        watch.recovered(at(2));
        assert!(!watch.fault(at(3), "a sync failed"));
        assert!(incidents.blocking().is_empty() && watch.is_open());
        assert_eq!(incidents.look(at(100)), Mono::MAX, "it lasts");
        assert!(!watch.blocked(at(101), "full again"));
        assert_eq!(incidents.blocking(), ["sink archive: full again"]);
        watch.recovered(at(102));
        // The other way round the worse is one of its own.
        incidents.look(at(112));
        watch.fault(at(113), "slow");
        watch.recovered(at(114));
        assert!(watch.blocked(at(115), "stuck"));
        assert_eq!(incidents.list().len(), 3);
    });
    let expected = [
        "ERROR sink archive: full",
        "INFO sink archive: recovered after 1 min 41 s (3 times): full again",
        "WARN sink archive: slow",
        "INFO sink archive: recovered after 1.0 s (1 times): slow",
        "ERROR sink archive: stuck",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_hindrance_does_not_block_until_it_becomes_worse() {
    let incidents = Incidents::new();
    let mut watch = incidents.watch("source net");
    watch.fault(at(1), "out of descriptors");
    assert!(incidents.blocking().is_empty());
    watch.blocked(at(2), "cannot listen");
    assert_eq!(incidents.blocking(), ["source net: cannot listen"]);
    let list = incidents.list();
    assert_eq!(list.len(), 2);
    assert!(list[0].ended.is_some() && list[1].ended.is_none());
    // A file of the same part that is well again does not make the whole part well.
    watch.fault(at(3), "a sync failed");
    assert_eq!(incidents.blocking(), ["source net: cannot listen"]);
    watch.recovered(at(4));
    assert!(incidents.blocking().is_empty());
}

#[test]
fn what_is_over_is_forgotten_first() {
    let incidents = Incidents::new();
    let mut lasting = incidents.watch("sink a");
    lasting.blocked(at(1), "stuck");
    let mut brief = incidents.watch("storage");
    for second in 0..1000 {
        brief.once(at(second), "cut");
    }
    let list = incidents.list();
    assert_eq!(list.len(), REMEMBERED_MAX);
    assert_eq!((list[0].number, list[0].what.as_str()), (1, "stuck"));
    assert_eq!(list[1].number, 1001 - 254);
    assert_eq!(list[255].number, 1001);
    assert_eq!(incidents.blocking(), ["sink a: stuck"]);
    // One that is calm goes when nothing is over, and is another when it fails again.
    let mut many: Vec<Watch> = (0..255).map(|_| incidents.watch("sink b")).collect();
    many.iter_mut().for_each(|watch| assert!(watch.fault(at(1001), "slow")));
    assert_eq!(incidents.list().len(), REMEMBERED_MAX);
    many[7].recovered(at(1002));
    brief.once(at(1003), "cut");
    assert!(many[7].fault(at(1004), "slow"), "it had been forgotten");
    assert!(!many[8].fault(at(1004), "slow"));
}

#[test]
fn durations_read_well() {
    let texts = [850, 12_345, 250_000, 7_500_000].map(|ms| human(Duration::from_millis(ms)));
    assert_eq!(texts, ["850 ms", "12.3 s", "4 min 10 s", "2 h 5 min"]);
}
