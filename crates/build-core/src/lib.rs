//! What a build decides, from what it is told: no I/O, no clock, no randomness.
//!
//! Entry points: [`needed`] (which stages a target needs, and in which order they can be built), [`KeyMaker`] (the key
//! under which a step's result is found again), [`Arguments`] (what ARG means where), [`to_forget`] (what of the cache
//! goes when it has grown too large).
//!
//! Invariants: a key follows from what a step reads, never from a time or a random name, and no two different steps have
//! the same bytes before the digest.

mod arguments;
mod collect;
mod graph;
mod key;

pub use arguments::{Arguments, EPOCH, PROXIES};
pub use collect::{Kept, Limits, to_forget};
pub use graph::{Needed, inputs, needed};
pub use key::KeyMaker;
