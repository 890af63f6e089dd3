//! What a build decides, from what it is told: no I/O, no clock, no randomness.
//!
//! Entry points: [`needed`] (which stages a target needs, and in which order they can be built), [`KeyMaker`] (the key
//! under which a step's result is found again), [`Arguments`] (what ARG means where), [`to_forget`] (what of the cache
//! goes when it has grown too large), [`write_cache_config`] and [`read_cache_config`] (a cache on its way to another engine).
//!
//! Invariants: a key follows from what a step reads, never from a time or a random name, and no two different steps have
//! the same bytes before the digest.

mod arguments;
mod cache_config;
mod collect;
mod graph;
mod key;

pub use arguments::{Arguments, EPOCH, INLINE_CACHE, PROXIES};
pub use cache_config::{
    CACHE_CONFIG, CacheConfigError, CachedLayer, CachedStep, MAX_CACHE_CONFIG_BYTES, read_cache_config,
    write_cache_config,
};
pub use collect::{Kept, Limits, to_forget};
pub use graph::{Needed, inputs, needed};
pub use key::KeyMaker;
