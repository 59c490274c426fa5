//! What the outside was promised: configurations and what is said about them, messages
//! and what they say.

mod config;
mod differential;
mod flume;
mod guide;
mod interceptors;
mod printed;
mod syslog;
