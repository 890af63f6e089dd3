//! Identifiers: container ids, digests, image references, generated names.
//!
//! Values are checked when they are made and never again: a [`Digest`] or a [`Reference`] in hand is well formed. This
//! crate does no I/O and draws no random numbers; who needs an id passes the bytes in.

mod container_id;
mod digest;
mod names;
mod reference;

pub use container_id::{ContainerId, short};
pub use digest::{Digest, DigestError, Hasher};
pub use names::{NameError, check_container_name, generated_name};
pub use reference::{Reference, ReferenceError};
