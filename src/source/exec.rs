//! `exec`: a program's output, each line an event: `tail -F`, `vmstat 5`, a script.
//!
//! What it writes to its standard output is read as it comes; what it complains of is read too, or
//! it would wait for that. It has a process group of its own. When we stop, the group is asked to
//! end, what it still says is read, and who is left after a while is killed; nobody stays behind.
//! While there is no room it is not read, so it waits where Flume gives up.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::carry::Carries;
use super::child::{self, Child};
use super::connection::{Desk, Stream, Visit, page_bytes_min};
use super::framing::{Cut, Rules};
use super::input::Input;
use super::multiline::{self, Multiline};
use super::network::EVENT_MAX;
use super::{BuildError, Built, Received, Source, SourceContext, SourceKind, SourcePlan};
use crate::config::{OptionDoc, Section};
use crate::event::{HeaderMap, Names, Origin, Page};
use crate::limits;
use crate::memory::receipt::Reached;
use crate::memory::{MemoryLine, ReceiptSlip};
use crate::ring::Wake;
use crate::telemetry::SourceCounters;
use crate::telemetry::incident::Watch;
use crate::time::{Mono, Now};

pub(super) const KIND: SourceKind = SourceKind {
    name: "exec",
    aliases: &[],
    summary: "the output of a program, line by line",
    options: OPTIONS,
    plan: |section| Box::new(Plan::read(section)),
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "command",
        default: None,
        doc: "what is run, such as \"tail -F /var/log/app\"",
    },
    OptionDoc {
        name: "shell",
        default: Some(""),
        doc: "run it by this, such as \"/bin/sh -c\"; unset: the command is split at blanks",
    },
    OptionDoc {
        name: "restart",
        default: Some("false"),
        doc: "start it again when it ends; else its end is the end of the source",
    },
    OptionDoc {
        name: "restart_throttle",
        default: Some("10s"),
        doc: "so long after its end it is started again",
    },
    OptionDoc { name: "log_std_err", default: Some("false"), doc: "log what it complains of" },
    OptionDoc {
        name: "batch_timeout",
        default: Some("3s"),
        doc: "a line waits so long at most for others to travel with",
    },
    EVENT_MAX,
    multiline::MULTILINE,
];

/// Bytes of one `receive`, a quarter of a batch: then the clock is read again.
const VISIT_BYTES: usize = 256 << 10;

/// Between the end of its output and its own: then it is killed.
const END: Duration = Duration::from_secs(1);
/// So long it has for its last words when we stop.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// So often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

struct Plan {
    /// Program and arguments.
    words: Vec<String>,
    restart: Option<Duration>,
    tells: bool,
    batch_timeout: Duration,
    event_bytes_max: usize,
    multiline: Option<Arc<Multiline>>,
}

impl Plan {
    fn read(section: &Section) -> Self {
        let command = section.text("command");
        let shell = section.optional_text("shell");
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let words = match &shell {
            Some(shell) => split(shell).into_iter().chain([command.clone()]).collect(),
            None => split(&command),
        };
        if section.explicit("command") && words.is_empty() {
            let remedy = "name a program, such as \"tail -F /var/log/app.log\"";
            section.fail("command", "`command` is empty", remedy);
        }
        if let Some(special) = command.chars().find(|c| "|<>;&*?$`'\"~".contains(*c))
            && shell.is_none()
        {
            let what = format!("`{special}` means nothing without a shell, and is given as it is");
            section.warn("command", what, "add `shell = \"/bin/sh -c\"`");
        }
        let restarts = section.flag("restart");
        let throttle = section.duration("restart_throttle");
        if !restarts && section.explicit("restart_throttle") {
            let what = "`restart_throttle` is for `restart = true`";
            section.fail("restart_throttle", what, "add that, or leave this out");
        }
        let events = limits::EVENT_BYTES_MIN as u64..=limits::EVENT_BYTES_MAX as u64;
        Self {
            words,
            restart: restarts.then_some(throttle),
            tells: section.flag("log_std_err"),
            batch_timeout: section.duration("batch_timeout"),
            event_bytes_max: section.size_in("event_max", events) as usize,
            multiline: Multiline::plan(section).map(Arc::new),
        }
    }

    /// The longest frame that may wait for its rest.
    fn frame_bytes_max(&self) -> usize {
        match self.multiline {
            None => self.event_bytes_max,
            Some(_) => multiline::frame_bytes_max(self.event_bytes_max),
        }
    }
}

impl SourcePlan for Plan {
    fn threads(&self) -> usize {
        1
    }

    fn listeners(&self) -> Vec<String> {
        Vec::new()
    }

    fn memory(&self, name: &str) -> Vec<MemoryLine> {
        let bytes = Carries::budget(self.frame_bytes_max(), 0) as u64;
        vec![MemoryLine::new(format!("sources.{name}"), "an unfinished line", bytes)]
    }

    fn event_bytes_max(&self) -> usize {
        self.event_bytes_max
    }

    fn page_bytes_min(&self) -> usize {
        page_bytes_min(self.frame_bytes_max())
    }

    fn is_patient(&self) -> bool {
        true
    }

    fn build(&self, context: &SourceContext) -> Result<Built, BuildError> {
        assert!(self.page_bytes_min() <= context.page_bytes, "the plan sizes the pages");
        let failed = |error: std::io::Error| BuildError {
            what: format!("sources.{} cannot run {}: {error}", context.name, self.words[0]),
            remedy: "name a program that is there and may be run, with its path".to_owned(),
        };
        let (child, output) = start(&self.words).map_err(failed)?;
        let rules = Rules {
            zipped: false,
            counted: false,
            event_bytes_max: self.event_bytes_max,
            want_pri: context.want_pri,
        };
        let exec = Exec {
            words: self.words.clone(),
            restart: self.restart,
            tells: self.tells,
            batch_timeout: self.batch_timeout,
            child: Some(child),
            input: Input::new(output).map_err(failed)?,
            stream: self.multiline.as_ref().map_or_else(Stream::default, Stream::joined),
            carries: Carries::new(self.frame_bytes_max(), 0),
            rules,
            counters: Arc::clone(&context.counters[0]),
            watch: context.incidents.watch(&format!("source {}", context.name)),
            ended_at: None,
            retry: Mono::MAX,
            heard: Mono(0),
            oldest: Mono::MAX,
            late: false,
            stopped_at: None,
            finished: false,
        };
        Ok(Built { sources: vec![Box::new(exec)], bound: Vec::new() })
    }
}

fn start(words: &[String]) -> std::io::Result<(Child, OwnedFd)> {
    let (program, arguments) = words.split_first().expect("the plan refuses an empty command");
    child::start(program, arguments)
}

struct Exec {
    words: Vec<String>,
    restart: Option<Duration>,
    tells: bool,
    batch_timeout: Duration,
    child: Option<Child>,
    input: Input,
    stream: Stream,
    carries: Carries,
    rules: Rules,
    counters: Arc<SourceCounters>,
    watch: Watch,
    /// When its output ended; it has not.
    ended_at: Option<Mono>,
    /// When it is started again.
    retry: Mono,
    /// When something came last.
    heard: Mono,
    /// When the oldest line came of those that were not offered.
    oldest: Mono,
    /// That was too long ago.
    late: bool,
    /// When we were asked to stop.
    stopped_at: Option<Mono>,
    finished: bool,
}

impl Exec {
    /// When lines that wait to be joined have waited for long enough.
    fn ripe(&self) -> Mono {
        self.stream.patience().map_or(Mono::MAX, |age| self.heard.after(age))
    }

    /// Reads what it complains of.
    fn listen(&mut self) {
        let (tells, program) = (self.tells, &self.words[0]);
        self.child.iter_mut().for_each(|child| {
            child.overhear(|line| {
                if tells {
                    let line = String::from_utf8_lossy(line);
                    tracing::warn!("{program}: {}", line.trim_end().escape_debug());
                }
            });
        });
    }

    /// Its output has ended: once it has ended itself, or should have, that is told.
    fn bury(&mut self, now: Now) {
        let Some(ended_at) = self.ended_at else { return };
        let Some(child) = &mut self.child else { return };
        if !child.has_ended() && now.mono < ended_at.after(END) {
            return;
        }
        let (how, well) = child.end();
        (self.child, self.ended_at) = (None, None);
        let command = self.words.join(" ");
        match self.restart {
            _ if self.stopped_at.is_some() => self.finished = true,
            None => {
                if !well {
                    self.counters.errors.add(1);
                }
                tracing::warn!("`{command}` has ended, and so has its source: {how}");
                self.finished = true;
            }
            Some(throttle) => self.again(&how, well, throttle, now),
        }
    }

    fn again(&mut self, how: &str, well: bool, throttle: Duration, now: Now) {
        let command = self.words.join(" ");
        let told = format!("`{command}`: {how}; it is started again in {throttle:?}");
        if well {
            tracing::info!("{told}");
        } else {
            self.watch.fault(now, &told);
            self.counters.errors.add(1);
        }
        self.retry = now.mono.after(throttle);
    }

    fn start_again(&mut self, now: Now) {
        self.retry = Mono::MAX;
        let Some(throttle) = self.restart else { return };
        match start(&self.words) {
            Ok((child, output)) => {
                self.child = Some(child);
                self.input.replace(Some(output));
            }
            Err(error) => self.again(&error.to_string(), false, throttle, now),
        }
    }

    /// Nothing more is waited for when we stop, and its last words took too long.
    fn give_up(&self, now: Now) -> bool {
        self.stopped_at.is_some_and(|at| self.child.is_none() || now.mono >= at.after(LAST_WORDS))
    }
}

impl Source for Exec {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        let full = Received { full: true, more: true, finished: false };
        if self.finished {
            return Received { finished: true, ..Received::default() };
        }
        if !page.accepts_time(now.wall) {
            return full;
        }
        if now.mono >= self.retry && self.stopped_at.is_none() {
            self.start_again(now);
        }
        self.listen();
        let ripe = now.mono >= self.ripe() && self.input.waiting_bytes() == 0;
        let gives_up = self.give_up(now);
        let before = page.event_count();
        let (input, heard) = (&self.input, &mut self.heard);
        let (carries, rules) = (&mut self.carries, &self.rules);
        let mut desk = Desk {
            page,
            carries,
            rules,
            at: now.wall,
            names: Names::NONE,
            labels: &HeaderMap::NONE,
            counter: None,
        };
        if ripe && !self.stream.end_group(&mut desk, Origin::LOCAL) {
            return full;
        }
        let visit = self.stream.visit(&mut desk, Origin::LOCAL, VISIT_BYTES, |into| {
            let count = input.read(into)?;
            *heard = now.mono;
            Ok(count)
        });
        let drained = matches!(visit, Visit::Drained);
        if gives_up && !matches!(visit, Visit::Full) {
            // Who floods us is not heard to its end.
            if !self.stream.flush(&mut desk, Origin::LOCAL, Cut::End) {
                return full;
            }
            (self.child, self.finished) = (None, true);
        }
        if page.event_count() > before {
            self.watch.recovered(now);
            self.oldest = self.oldest.min(now.mono);
        }
        self.late = now.mono >= self.oldest.after(self.batch_timeout);
        if let Visit::Failed(error) = &visit {
            tracing::warn!("`{}` cannot be read: {error}", self.words.join(" "));
            self.counters.errors.add(1);
        }
        if matches!(visit, Visit::Ended | Visit::Failed(_)) {
            self.input.replace(None);
            self.ended_at = Some(now.mono);
        }
        if drained || self.ended_at.is_some() {
            self.bury(now);
        }
        let full = matches!(visit, Visit::Full);
        Received { full, more: full || matches!(visit, Visit::Bound), finished: self.finished }
    }

    fn wait(&mut self, now: Now, until: Mono, open: bool) {
        let soon = |it: Option<Mono>, after| it.map_or(Mono::MAX, |_| now.mono.after(after));
        let until = match open {
            false => until,
            true => {
                [self.ripe(), self.retry, soon(self.ended_at, LOOK), soon(self.stopped_at, LOOK)]
                    .into_iter()
                    .chain([if self.late {
                        Mono::MAX
                    } else {
                        self.oldest.after(self.batch_timeout)
                    }])
                    .fold(until, Mono::min)
            }
        };
        let errors = self.child.as_ref().and_then(Child::errors);
        self.input.wait_beside(errors, now, until, open);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.input.waker()
    }

    fn wanted(&self) -> Option<Reached> {
        // Nobody is told anything: it is to go, and not only to be as good as received.
        self.late.then_some(Reached::Written)
    }

    fn slip(&mut self) -> Option<ReceiptSlip> {
        (self.oldest, self.late) = (Mono::MAX, false);
        None
    }

    fn stop(&mut self, now: Now) {
        if self.stopped_at.is_none() {
            self.stopped_at = Some(now.mono);
            self.child.iter().for_each(Child::ask_to_end);
        }
    }
}

#[cfg(test)]
mod tests;
