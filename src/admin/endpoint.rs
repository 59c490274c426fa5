//! The endpoint as an agent opens it: the room above lends itself to the one that assembles.

use super::{Board, Server, Site, bind};
use crate::topology::build::{Endpoint, Handles, StartError};

/// Binds `agent.admin`; nothing for `off`.
pub fn open(address: &str, handles: Handles) -> Result<Option<Endpoint>, StartError> {
    let told = |error: &dyn std::fmt::Display| StartError(error.to_string());
    let Some(bound) = bind(address).map_err(|error| told(&error))? else { return Ok(None) };
    let address = bound.address();
    let Handles { ledger, incidents, readiness } = handles;
    let board = Board { ledger, incidents, readiness };
    let worker = Server::new("admin", bound, Site::Flumen, board);
    let worker = worker.map_err(|error| told(&format!("the admin endpoint: {error}")))?;
    Ok(Some(Endpoint { address, worker: Box::new(worker) }))
}
