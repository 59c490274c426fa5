//! What the outside was promised: configurations and what is said about them.

mod config;
