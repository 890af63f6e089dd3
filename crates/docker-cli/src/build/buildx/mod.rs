//! `docker buildx`: the commands of Docker's plugin that one engine's own builder has. The plugin goes before them where it is
//! installed (`command/plan.rs`).

mod du;
mod imagetools;
mod nodes;
mod prune;

use buildkit_client::SolveFailure;

use super::COMMAND as BUILD;
use crate::command::{Args, Command};
use crate::failure::Failure;

/// `docker buildx`.
pub const NOUN: Command = Command {
    name: "buildx",
    usage: "COMMAND",
    about: "Docker Buildx",
    hidden: true,
    args: Args::None,
    children: &[
        &BUILD,
        &du::COMMAND,
        &imagetools::NOUN,
        &nodes::INSPECT,
        &nodes::LIST,
        &prune::COMMAND,
        &nodes::VERSION,
    ],
    ..Command::EMPTY
};

/// What the builder refuses.
fn refused(failure: SolveFailure) -> Failure {
    Failure::Text(format!("ERROR: {failure}"))
}
