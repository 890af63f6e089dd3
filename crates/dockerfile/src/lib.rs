//! Dockerfiles (docs.docker.com/reference/dockerfile): text becomes stages of typed instructions, each with its lines.
//!
//! Entry point: [`Dockerfile::parse`]. Variables are expanded when a build comes to an instruction, by [`Expander`];
//! [`check`] says what is legal and yet probably not meant; [`IgnoreRules`] is `.dockerignore`.
//!
//! Invariants: no I/O, no clock. A Dockerfile is an attacker's: its size, its lines, its words and what an expansion makes
//! of them are bounded, recursion has a limit, and no bytes make it panic. Errors say the line, in Docker's words.

mod checks;
mod directives;
mod error;
mod excerpt;
mod expand;
mod flags;
mod glob;
mod heredoc;
mod ignore;
mod instruction;
mod lines;
mod mount;
mod names;
mod parse;
mod stages;
mod trigger;
mod words;

pub use checks::{Finding, RULES, Rule, check};
pub use directives::Directives;
pub use error::ParseError;
pub use excerpt::{excerpt, is_excerpt};
pub use expand::{ExpandError, Expander};
pub use glob::Glob;
pub use heredoc::Heredoc;
pub use ignore::{Excluding, IgnoreRules};
pub use instruction::{
    Arg, CommandLine, Healthcheck, Instruction, NetworkMode, Pair, Run, SecurityMode, Source, Statement, Transfer,
};
pub use lines::Lines;
pub use mount::{Mount, MountKind, Sharing};
pub use names::closest;
pub use stages::{Dockerfile, Stage};
pub use trigger::parse_trigger;

/// The most bytes of a Dockerfile.
pub const MAX_BYTES: usize = 4 << 20;
/// The most bytes that one word may have after its expansion.
pub const MAX_EXPANDED_BYTES: usize = 1 << 20;
