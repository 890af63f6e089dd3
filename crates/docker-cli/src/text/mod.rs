//! Text as people read it: durations, sizes, times, tables, quotes.

pub mod duration;
pub mod ellipsis;
mod quote;
pub mod size;
pub mod table;
pub mod time;

pub use quote::quote;
