//! Arguments to commands; one file a command.

pub mod cat;
pub mod inspect;
mod output;
pub mod repair;
