//! flumen: logs and traffic in, compressed rolling files out, every event accounted for.
//!
//! ```text
//!     source ──full──▶ channel ──full──▶ sink ──▶ codec ──▶ storage
//!        ▲                                 │
//!        └───────────── empty ─────────────┘          (memory::pool)
//! ```
//!
//! **Words** (one meaning each): *event*, one log line or datagram with its headers · *batch*, what
//! travels: one page of memory holding many events · *receipt*, what an acknowledging source waits
//! for · *block*, a compressed unit that decodes alone · *segment*, one output file · *room*, a
//! folder of the spine · *worker*, something with a duty cycle · *agent*, one configured pipeline ·
//! *ledger*, the counts that must add up · *incident*, a fault from detection to recovery.
//!
//! **Verbs**, one a room: receive → intercept → route → offer/poll → write → encode, compress →
//! append, sync, seal. Pool: take/give. Life cycle: plan → build → start → work → drain → close.
//!
//! **As a library**: an agent from standard input to standard output. What a configuration says is
//! all there is to say; `join` waits until the input ends, or until [`topology::Control::stop`].
//!
//! ```standalone_crate
//! # // The test's own input; its output goes where the test can look.
//! # let (read, write) = std::io::pipe().unwrap();
//! # rustix::stdio::dup2_stdin(&read).unwrap();
//! # std::io::Write::write_all(&mut { write }, b"one\ntwo\n").unwrap();
//! # let (read, write) = std::io::pipe().unwrap();
//! # let before = rustix::io::dup(rustix::stdio::stdout()).unwrap();
//! # rustix::stdio::dup2_stdout(&write).unwrap();
//! use flumen::config::Config;
//! use flumen::topology::{Agent, Control, Machine, Parts, plan};
//!
//! let config = Config::parse(
//!     "agent = { admin = 'off' }
//!      sources = { in = { type = 'stdin' } }
//!      sinks = { out = { type = 'stdout' } }",
//! );
//! let plan = config.agent(None).and_then(|it| plan(&it, &Parts::default(), &Machine::here()));
//! let plan = plan.ok_or_else(|| config.diagnostics().render(false))?;
//! let agent = Agent::start(&plan, &Control::default(), flumen::admin::endpoint::open);
//! let outcome = agent.map_err(|errors| format!("{errors:?}"))?.join();
//! assert_eq!((outcome.code, outcome.snapshot.sinks[0].written_events), (0, 2));
//! # rustix::stdio::dup2_stdout(&before).unwrap();
//! # drop(write);
//! # assert_eq!(std::io::read_to_string(read).unwrap(), "one\ntwo\n");
//! # Ok::<(), String>(())
//! ```
//!
//! Which room may know which is a table in `tests/tidy`; any other `use crate::` fails the suite.
//!
//! Under `cfg(loom)` only the rooms that `tests/loom` checks are there, and what they stand on.

#[cfg(not(loom))]
pub mod admin;
#[cfg(not(loom))]
pub mod archive;
pub mod channel;
#[cfg(not(loom))]
pub mod cli;
#[cfg(not(loom))]
pub mod codec;
pub mod config;
pub mod event;
#[cfg(not(loom))]
pub mod interceptor;
pub mod limits;
#[cfg(not(loom))]
pub mod load;
#[cfg(not(loom))]
pub mod manual;
pub mod memory;
pub mod ring;
#[cfg(not(loom))]
pub mod runtime;
#[cfg(not(loom))]
pub mod sink;
#[cfg(not(loom))]
pub mod source;
#[cfg(not(loom))]
pub mod storage;
pub mod sync;
pub mod sys;
#[cfg(not(loom))]
pub mod syslog;
pub mod telemetry;
pub mod time;
#[cfg(not(loom))]
pub mod topology;
#[cfg(not(loom))]
pub mod wire;
