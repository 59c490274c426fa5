//! One file a codec; each holds its registry row, its compressor and its way back.

pub mod gzip;
pub mod lz4;
mod lz4_stream;
pub mod store;
pub mod zstd;
