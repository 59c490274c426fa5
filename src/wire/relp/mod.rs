//! RELP, the Reliable Event Logging Protocol, version 1 and the "experimental" 0 that is spoken.
//!
//! ```text
//!   client                                   server
//!   1 open 57 relp_version=0⏎commands=syslog ▶
//!                                          ◀ 1 rsp 66 200 OK⏎relp_version=0⏎commands=syslog
//!   2 syslog 9 <13>hello                    ▶
//!   3 syslog 9 <13>world                    ▶
//!                                          ◀ 2 rsp 6 200 OK
//!                                          ◀ 3 rsp 6 200 OK
//!   4 close 0                               ▶
//!                                          ◀ 4 rsp 0
//!                                          ◀ 0 serverclose 0
//! ```
//! A reply says that the message will not be lost any more, so the client forgets it. What has no
//! reply when the connection breaks is sent again on the next one. Replies go in order.
//!
//! We never reply 500 to a message: librelp takes it for the end of the matter and forgets the
//! message. Whoever cannot keep a message closes the connection, and it comes again.
//!
//! Specification: doc/relp.md in librelp; where it is silent, librelp is what everybody talks to.

mod client;
mod frame;
mod offers;
mod server;

pub use client::{Answer, Client, Outbox, WINDOW_DEFAULT};
pub use frame::{
    CONTROL_BYTES_MAX, DATA_BYTES_MAX, Frame, HEADER_BYTES_MAX, Item, Reader, TXNR_MAX, Txnr,
};
pub use server::{Heard, Session, acknowledge};

/// What the peer did wrong. The connection is closed; what is not acknowledged comes again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelpError {
    #[error("a frame must begin with a transaction number of 1 to 9 digits and a space")]
    Txnr,
    #[error("a command is 1 to 32 letters and a space")]
    Command,
    #[error("a data length is 1 to 9 digits, followed by a space, or 0 and a newline")]
    Length,
    #[error("the frame of transaction {txnr} does not end with a newline: its length is wrong")]
    Trailer { txnr: Txnr },
    #[error("`{command}` has {bytes} bytes of data; {max} are taken")]
    TooLong { command: String, bytes: usize, max: usize },
    #[error("transaction {got} came where {expected} was due")]
    Sequence { expected: Txnr, got: Txnr },
    #[error("`{0}` came before the session was open")]
    NotOpen(String),
    #[error("the session was opened twice")]
    OpenTwice,
    #[error("the offer has no `{0}`")]
    Offer(&'static str),
    #[error("`{0}` is no command that is spoken here")]
    Unknown(String),
    #[error("a reply to transaction {0}, which waits for none")]
    NoSuchReply(Txnr),
    #[error("a reply must begin with three digits")]
    ReplyCode,
    #[error("the peer refuses the session: {0}")]
    Refused(String),
}
