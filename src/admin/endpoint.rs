//! The endpoint as an agent opens it: the room above lends itself to the one that assembles.

use super::{Board, Server, Site, bind};
use crate::topology::build::{Endpoint, Handles, StartError};
use crate::topology::{Admin, Pages};

/// Binds `agent.admin`; nothing for `off`.
pub fn open(admin: &Admin, handles: Handles) -> Result<Option<Endpoint>, StartError> {
    let told = |error: &dyn std::fmt::Display| StartError(error.to_string());
    let Some(bound) = bind(&admin.address).map_err(|error| told(&error))? else { return Ok(None) };
    let address = bound.address();
    let site = match admin.pages {
        Pages::Flumen => Site::Flumen,
        Pages::Flume => Site::Flume,
    };
    let Handles { ledger, incidents, readiness } = handles;
    let board = Board { ledger, incidents, readiness };
    let worker = Server::new("admin", bound, site, board);
    let worker = worker.map_err(|error| told(&format!("the admin endpoint: {error}")))?;
    Ok(Some(Endpoint { address, worker: Box::new(worker) }))
}
