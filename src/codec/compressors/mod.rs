//! One file a codec; each holds its registry row, its compressor and its way back.

mod crc32;
pub mod gzip;
pub mod lz4;
mod lz4_stream;
#[cfg(feature = "lzo")]
pub mod lzo;
#[cfg(not(feature = "lzo"))]
#[path = "lzo_absent.rs"]
pub mod lzo;
#[cfg(feature = "lzo")]
mod lzo_stream;
pub mod store;
pub mod zstd;
