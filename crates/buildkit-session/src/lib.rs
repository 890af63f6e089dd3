//! Sessions of build clients: the daemon calls the client's services over the connection that the client opened.
//!
//! Entry points: [`Sessions::admit`] for a client that opens one, [`Sessions::get`] for a build that names one. A
//! [`Session`] then brings files ([`Session::sync`], which asks only for those that [`ContextStore`] has not), credentials,
//! secrets and uploads, reads and writes blobs of the client's folders, forwards an SSH agent, and takes files of the build's result ([`Session::send_file`],
//! [`Session::send_folder`]). The packets are those of fsutil (`types/wire.proto`), the services BuildKit's.
//!
//! Invariants: whatever a client sends is bounded before it is kept, and must come in time ([`Session`]'s limits). A path
//! of a client's names nothing on this host: contents lie under their digests, names stay text.

mod agent;
mod content;
mod context_store;
mod diff_copy;
mod entry;
mod error;
mod file_send;
mod receiving;
mod registry;
mod services;
mod session;

pub use agent::AgentSocket;
pub use context_store::{Contents, ContextStore};
pub use diff_copy::{SyncRequest, Synced};
pub use entry::{Entry, EntryKind};
pub use error::SessionError;
pub use receiving::Receiving;
pub use registry::{Admitted, Introduction, Sessions};
pub use services::Login;
pub use session::Session;
