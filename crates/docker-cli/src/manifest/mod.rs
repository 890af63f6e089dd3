//! `docker manifest`: lists of images for several platforms, put together here and pushed.
//!
//! The client speaks with registries itself; the daemon has no part in it. A list is a folder below `manifests/` in the
//! client's configuration, one file an image, in the format of Docker's client: each goes on with what the other began.

pub mod annotate;
pub mod create;
pub mod inspect;
pub mod list;
pub mod push;
pub mod remote;
pub mod remove;
pub mod store;

use ids::Reference;

use crate::command::{Args, Command};
use crate::failure::Failure;

/// `docker manifest`.
pub const NOUN: Command = Command {
    name: "manifest",
    usage: "COMMAND",
    about: "Manage Docker image manifests and manifest lists",
    long: "The **docker manifest** command has subcommands for managing image manifests and\nmanifest lists. A manifest list allows you to use one name to refer to the same image\nbuilt for multiple architectures.\n\nTo see help for a subcommand, use:\n\n    docker manifest CMD --help\n\nFor full details on using docker manifest lists, see the registry v2 specification.",
    args: Args::None,
    experimental: true,
    children: &[&annotate::COMMAND, &create::COMMAND, &inspect::COMMAND, &push::COMMAND, &remove::COMMAND],
    ..Command::EMPTY
};

/// A reference that names one thing: by digest, by tag, or `latest`.
fn parse(text: &str) -> Result<Reference, Failure> {
    Reference::parse_familiar(text).map(Reference::with_default_tag).map_err(|error| Failure::Text(error.to_string()))
}
