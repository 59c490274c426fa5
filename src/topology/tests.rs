//! Agents in this process, with sources and sinks of the tests' own.
