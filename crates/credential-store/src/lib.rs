//! Credentials of registries, sealed at rest.
//!
//! Entry point: [`Store`]. It owns two files: the sealed one with all entries, and the key that opens it, which lie in
//! different folders so that a copy of one tells nothing. Both are their owner's alone (mode 0600); a key that others may
//! read is refused. A change is made under a lock and takes the old file's place in one step: whoever reads meanwhile
//! finds the one or the other whole.
//!
//! A file that was changed, or sealed with another key, is told as such and never overwritten: what it holds may still be
//! opened by who has its key.

mod entries;
mod error;
mod files;
mod seal;
mod secret;
mod server;

pub use entries::{Entry, Store};
pub use error::StoreError;
pub use files::Places;
pub use secret::Secret;
