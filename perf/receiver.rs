//! A receiver under measurement: a child process, what it has used, and when it is at rest.
//!
//! Two measures of processor time. The whole life, from `wait4`: exact, start and drain included.
//! And marks while it lives: the scheduler's nanoseconds of its threads (`schedstat`), or the
//! clock ticks of the process when those are more, because they include threads that have ended.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use wait4::Wait4;

const POLL: Duration = Duration::from_millis(5);
/// Java starts in seconds on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
const REST_MAX: Duration = Duration::from_secs(120);
/// At rest: no thread runs or waits for a disk, and hardly any processor time goes by, so long.
const QUIET: Duration = Duration::from_millis(300);
const STOP_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// A free port of the loopback.
pub(crate) fn free_port(transport: Transport) -> io::Result<u16> {
    let any = (Ipv4Addr::LOCALHOST, 0);
    let address = match transport {
        Transport::Tcp => TcpListener::bind(any)?.local_addr()?,
        Transport::Udp => UdpSocket::bind(any)?.local_addr()?,
    };
    Ok(address.port())
}

pub(crate) struct Receiver {
    child: Option<Child>,
    id: u32,
    log: PathBuf,
}

/// What the operating system booked on a receiver from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

/// How a receiver came to rest: processor time at moments, the first when that was asked for.
pub(crate) struct Rest {
    samples: Vec<(Instant, Duration)>,
}

impl Rest {
    /// Processor time at rest.
    pub(crate) fn processor(&self) -> Duration {
        self.samples.iter().map(|sample| sample.1).max().unwrap_or_default()
    }

    /// When all but a hundredth of the work since `before` was done. The very last of it may be a
    /// timer's: a last small block a second later, a sync.
    pub(crate) fn done(&self, before: Duration) -> Instant {
        let enough = before + self.processor().saturating_sub(before).mul_f64(0.99);
        let found = self.samples.iter().find(|sample| sample.1 >= enough);
        found.expect("the last sample is at rest").0
    }
}

impl Receiver {
    /// Starts the command, its output going to files in `dir`.
    pub(crate) fn start(command: &mut Command, dir: &Path) -> io::Result<Self> {
        let log = dir.join("log");
        command.stdin(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn()?;
        Ok(Self { id: child.id(), child: Some(child), log })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("it is taken when it is stopped")
    }

    /// Waits until it listens on the port.
    pub(crate) fn wait_listening(&mut self, transport: Transport, port: u16) -> io::Result<()> {
        let began = Instant::now();
        while !is_bound(transport, port)? {
            if let Some(status) = self.child().try_wait()? {
                return Err(self.error(&format!("it ended at its start: {status}")));
            }
            if began.elapsed() > START_MAX {
                return Err(self.error("it does not listen"));
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// Processor time until now: the larger of two figures neither of which is too large.
    pub(crate) fn processor(&self) -> io::Result<Duration> {
        let folder = format!("/proc/{}", self.id);
        let mut threads = 0;
        for entry in fs::read_dir(format!("{folder}/task"))? {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(entry?.path().join("schedstat")) else { continue };
            threads += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        let stat = fs::read_to_string(format!("{folder}/stat"))?;
        let ticks: u64 = fields(&stat).skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        Ok(Duration::from_nanos(threads).max(Duration::from_millis(ticks * 10)))
    }

    /// The most it has held in memory until now. `wait4` would say what the process that started
    /// it held, when that was more.
    pub(crate) fn peak_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.unwrap_or(0) << 10)
    }

    /// A thread of it runs, or waits for a disk.
    fn is_running(&self) -> io::Result<bool> {
        for entry in fs::read_dir(format!("/proc/{}/task", self.id))? {
            let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
            if matches!(fields(&stat).next(), Some("R" | "D")) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until it has nothing more to do.
    pub(crate) fn settle(&self) -> io::Result<Rest> {
        let began = Instant::now();
        let mut samples = vec![(began, self.processor()?)];
        let mut busy = began;
        loop {
            sleep(POLL);
            let (now, used) = (Instant::now(), self.processor()?);
            // A tenth of a core: timers that tick are no work.
            let step = used.saturating_sub(samples[samples.len() - 1].1);
            samples.push((now, used));
            if is_over(self.id)? {
                return Ok(Rest { samples });
            }
            if step > POLL / 10 || self.is_running()? {
                busy = now;
            }
            if now - busy > QUIET {
                return Ok(Rest { samples });
            }
            if now - began > REST_MAX {
                return Err(self.error("it never comes to rest"));
            }
        }
    }

    /// Waits for its end, told or not.
    pub(crate) fn stop(mut self, tell: bool) -> io::Result<Usage> {
        let mut child = self.child.take().expect("it is taken only here");
        if tell {
            signal(self.id, Signal::TERM);
        }
        let began = Instant::now();
        loop {
            if let Some(ended) = child.try_wait4()? {
                let usage = ended.rusage;
                return Ok(Usage { user: usage.utime, system: usage.stime });
            }
            if began.elapsed() > STOP_MAX {
                signal(self.id, Signal::KILL);
                return Err(self.error("it does not end when told to"));
            }
            sleep(POLL);
        }
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    fn error(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        io::Error::other(format!("{what}\n{}", tail.join("\n")))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Only after an error: nothing more is to be had from either call failing.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// It has ended and its usage is still there: `try_wait` would take it away.
fn is_over(id: u32) -> io::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    Ok(fields(&stat).next() == Some("Z"))
}

fn signal(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id of ours");
    // It may have ended by itself; it is still ours to wait for.
    let _ = kill_process(id, signal);
}

/// The fields of a `stat` line behind the name, the state being the first.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ')
}

/// Looks for the port in the kernel's table: a connection on trial would be one more event.
fn is_bound(transport: Transport, port: u16) -> io::Result<bool> {
    let (tables, listening) = match transport {
        Transport::Tcp => (["tcp", "tcp6"], Some("0A")),
        Transport::Udp => (["udp", "udp6"], None),
    };
    let end = format!(":{port:04X}");
    for table in tables {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        let bound = text.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            let local = words.next().is_some_and(|address| address.ends_with(&end));
            local && listening.is_none_or(|state| words.nth(1) == Some(state))
        });
        if bound {
            return Ok(true);
        }
    }
    Ok(false)
}
