//! What Avro's files hold: a [`Schema`] says where each datum ends, [`Packing`] how blocks are
//! compressed. The files themselves, their begin and their markers, are `storage::avro`'s.

mod datum;
mod packing;
mod schema;

pub use datum::{EventHeaders, EventRecord, Fault};
pub use packing::{CONTEXT_BYTES_MAX, NotUnpacked, Packing, Unpacker};
pub use schema::{NoSchema, Schema};
