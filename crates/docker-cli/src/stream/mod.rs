//! Bytes between the user and a container.

mod copy;
mod demux;
pub mod download;
mod escape;
mod input;
pub mod output_file;
pub mod resize;
pub mod upload;

pub use copy::{End, Wiring, run};
pub use demux::{Demux, DemuxError, Stream};
pub use escape::parse_keys;
