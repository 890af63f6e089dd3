//! Folders in fsutil's packets (`types/wire.proto`), which builders and their clients send each other.
//!
//! [`Names`] checks the names of a folder as they come: sorted, each below a folder that came before it, none leading out.
//! [`send`] is the sender's side: all names, then the files that the receiver asks for. [`Receiving`] is the receiver's; what
//! becomes of what comes is its [`Destination`]'s affair: `buildkit-session` keeps contents under their digests,
//! `buildkit-client` writes a folder.
//!
//! Invariant: whatever the other side sends is bounded before it is kept.

pub mod go_mode;
mod names;
mod receiving;
mod sending;

pub use names::{Kind, NameError, Names, Taken, compare};
pub use receiving::{Destination, MAX_COMING, Receiving, TransferError};
pub use sending::{FolderSource, MAX_ASKED, Outgoing, OutgoingName, send};
