//! What Go's libraries write and read in text, and Docker with them: durations, sizes, quotes.

pub mod duration;
mod quote;
pub mod size;

pub use quote::quote;
