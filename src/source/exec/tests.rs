//! Real programs, the source stepped by hand.

use super::*;
use crate::source::SourcePlan;
use crate::telemetry::Incidents;
use crate::time::Wall;
use std::time::Instant;

struct Rig {
    source: Box<dyn Source>,
    texts: Vec<String>,
    page: Page,
    serial: u64,
    start: Instant,
    finished: bool,
    incidents: Arc<Incidents>,
    counters: Arc<SourceCounters>,
}

fn plan(body: &str) -> (Plan, Vec<String>) {
    let section = Section::parse(body, OPTIONS);
    let plan = Plan::read(&section);
    section.finish();
    (plan, section.diagnostics().lines())
}

fn build(body: &str) -> Result<Rig, BuildError> {
    let (plan, told) = plan(body);
    assert!(told.is_empty(), "{told:?}");
    let (counters, incidents) = (Arc::new(SourceCounters::default()), Incidents::new());
    let context = SourceContext {
        name: "run".to_owned(),
        want_pri: false,
        want_host: false,
        exact: false,
        want_headers: false,
        page_bytes: 1 << 20,
        channels: 1,
        furthest: crate::memory::receipt::Reached::Synced,
        counters: vec![Arc::clone(&counters)],
        incidents: Arc::clone(&incidents),
    };
    let mut page = Page::new(1 << 20);
    page.clear(1);
    let source = plan.build(&context)?.sources.remove(0);
    let (texts, start) = (Vec::new(), Instant::now());
    Ok(Rig { source, texts, page, serial: 1, start, finished: false, incidents, counters })
}

fn shell(script: &str, more: &str) -> Rig {
    build(&format!("command = '''{script}'''\nshell = '/bin/sh -c'\n{more}")).unwrap()
}

impl Rig {
    fn now(&self) -> Now {
        let elapsed = self.start.elapsed().as_nanos();
        Now { mono: Mono(elapsed as u64), wall: Wall(elapsed as i64) }
    }

    fn step(&mut self) {
        let now = self.now();
        let received = self.source.receive(&mut self.page, now);
        self.finished = received.finished;
        if received.full || received.finished || self.source.wanted().is_some() {
            self.source.slip();
            let texts = self.page.events().map(|it| String::from_utf8_lossy(it.bytes).into_owned());
            self.texts.extend(texts);
            self.serial += 1;
            self.page.clear(self.serial);
        }
        if !received.more && !received.finished {
            self.source.wait(now, now.mono.after(Duration::from_secs(10)), true);
        }
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            assert!(self.start.elapsed() < Duration::from_secs(30), "{:?}", self.texts);
            self.step();
        }
    }
}

#[test]
fn its_lines_are_events_and_its_end_is_the_end() {
    let mut rig = build("command = 'printf one\\ntwo\\nthree'").unwrap();
    rig.until(|rig| rig.finished);
    assert_eq!(rig.texts, ["one", "two", "three"]);
    assert_eq!(rig.counters.errors.get(), 0);
    let mut failing = shell("echo a; exit 3", "");
    failing.until(|rig| rig.finished);
    assert_eq!((failing.texts.len(), failing.counters.errors.get()), (1, 1));
    let refused = build("command = '/no/such/program'").err().expect("it cannot be run");
    assert!(refused.to_string().contains("/no/such/program"), "{refused}");
}

#[test]
fn it_is_started_again_and_again_and_its_status_is_named() {
    let mut rig = shell(
        "echo one; echo why >&2; exit 3",
        "restart = true\nrestart_throttle = '1ms'\nbatch_timeout = '1ms'",
    );
    rig.until(|rig| rig.texts.len() >= 3);
    let told = format!("{:?}", rig.incidents.list());
    assert!(told.contains("exit status: 3: why"), "{told}");
    assert!(!rig.finished);
}

#[test]
fn complaints_without_end_do_not_hold_it_up() {
    // Far more than a pipe holds, before the first line.
    let mut rig = shell("head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; echo done", "");
    rig.until(|rig| rig.finished);
    assert_eq!(rig.texts, ["done"]);
}

#[test]
fn lines_wait_for_others_as_long_as_asked() {
    let mut rig = shell("echo one; exec sleep 1000", "batch_timeout = '200ms'");
    rig.until(|rig| rig.texts.len() == 1);
    assert!(rig.start.elapsed() >= Duration::from_millis(200));
    // And a new line begins anew.
    assert!(rig.source.wanted().is_none());
}

#[test]
fn a_stop_hears_its_last_words_and_leaves_nobody() {
    let mut rig = shell(
        "sleep 1000 & trap 'echo bye; exit 0' TERM; echo $$ $!; while :; do sleep 0.01; done",
        "batch_timeout = '1ms'",
    );
    rig.until(|rig| rig.texts.len() == 1);
    let now = rig.now();
    rig.source.stop(now);
    rig.until(|rig| rig.finished);
    assert_eq!(rig.texts[1..], ["bye"]);
    gone(&rig.texts[0]);
}

#[test]
fn who_does_not_listen_is_killed() {
    let mut rig =
        shell("trap '' TERM; echo $$; while :; do echo more; done", "batch_timeout = '1ms'");
    rig.until(|rig| rig.texts.len() > 1000);
    let (now, began) = (rig.now(), Instant::now());
    rig.source.stop(now);
    rig.until(|rig| rig.finished);
    assert!(began.elapsed() >= LAST_WORDS);
    gone(&rig.texts[0]);
}

/// None of these processes lives any more.
fn gone(numbers: &str) {
    let began = Instant::now();
    for number in numbers.split_whitespace() {
        let lives = || match std::fs::read_to_string(format!("/proc/{number}/stat")) {
            Ok(stat) => !stat.contains(") Z "),
            Err(_) => false,
        };
        while lives() {
            assert!(began.elapsed() < Duration::from_secs(20), "{number} lives");
            std::thread::yield_now();
        }
    }
}

#[test]
fn mistakes_are_told_with_a_remedy() {
    let told = |body: &str| plan(body).1.join("\n");
    assert!(told("").contains("command"));
    assert!(told("command = ' '").contains("name a program"));
    assert!(told("command = 'tail -F /x | grep y'").contains("shell = \"/bin/sh -c\""));
    assert!(told("command = 'a'\nrestart_throttle = '1s'").contains("restart = true"));
    assert_eq!(told("command = 'a | b'\nshell = '/bin/bash -c'"), "");
}

#[test]
fn the_rows_are_what_is_asked_for() {
    crate::config::check_docs(OPTIONS, "command = 'true'", |section| {
        (KIND.plan)(section);
    });
}
