//! Bytes between the user and a container.

mod copy;
mod demux;
mod escape;
mod input;
pub mod resize;

pub use copy::{End, Wiring, run};
pub use demux::{Demux, DemuxError, Stream};
pub use escape::parse_keys;
