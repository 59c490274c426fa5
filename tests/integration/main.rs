//! The built binary against the world: real clients, stock tools, signals, files.
//!
//! Every test starts its own agent on ports the kernel picks, waits for conditions and not for
//! luck, and asserts exact counts. A test whose peer is missing prints `skipped: needs X`; under
//! `CI=true` that is a failure. `scripts/peers` brings the peers to a Debian machine.

mod archive;
mod avro;
mod capture;
mod chain;
mod commands;
mod crash;
mod crowd;
mod datagrams;
mod dead_letters;
mod durable;
mod durable_full;
mod durable_kill;
mod exec;
mod faults;
mod files;
mod filters;
mod flume;
mod follow;
mod formats;
mod forward;
mod forward_acknowledged;
mod forward_secure;
mod grep;
mod groups;
mod harness;
mod hosts;
mod http;
mod http_hop;
mod http_sink;
mod included;
mod journal;
mod life;
mod local;
mod logger;
#[cfg(feature = "lzo")]
mod lzo;
mod many;
mod memcached;
mod merged;
mod misplaced;
mod mistakes;
mod multicast;
mod multiline;
mod netcat;
mod numbered;
mod overload;
mod papers;
mod parse;
mod peers;
mod proxy;
mod python;
mod readme;
mod received;
mod refused;
mod reload;
mod relp;
mod relps;
mod reverse_dns;
mod rsyslog;
mod selectors;
mod small_disk;
mod spooldir;
mod stock_tools;
mod stuck;
mod taildir;
mod tls;
mod wire;
