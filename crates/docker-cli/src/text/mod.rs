//! Text as people read it: times, tables, and what Go writes as everywhere.

pub mod ellipsis;
pub mod table;
pub mod time;

pub use go_text::{duration, quote, size};
