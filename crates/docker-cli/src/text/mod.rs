//! Text as people read it: durations, sizes, times, tables.

pub mod duration;
pub mod ellipsis;
pub mod size;
pub mod table;
pub mod time;
