//! Commands as data, and the way from a command line to the one that is meant.

#[cfg(test)]
mod conformance;
pub mod flag;
pub mod globals;
pub mod help;
pub mod parse;
pub mod plan;
pub mod tree;

use std::future::Future;
use std::pin::Pin;

use crate::context::Context;
use crate::failure::Failure;
pub use flag::{Daemons, Flag, Kind, NONE, flag};
pub use parse::{Matches, Order};

/// What a command does; its number is the exit status.
pub type Action = for<'a> fn(&'a Context, &'a Matches) -> Running<'a>;
/// A command under way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<u8, Failure>> + 'a>>;

/// How many positional arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Args {
    None,
    Exactly(usize),
    AtLeast(usize),
    /// So many, refused in the words of Docker's library.
    Plainly(usize),
    AtMost(usize),
    Between(usize, usize),
}

/// A command, or a noun with commands below it.
#[derive(Debug)]
pub struct Command {
    /// The word that is typed.
    pub name: &'static str,
    /// Other words for it.
    pub names: &'static [&'static str],
    /// Behind the command's words in the usage line.
    pub usage: &'static str,
    /// One line, for lists of commands.
    pub about: &'static str,
    /// What the command's own page says instead, where it says more.
    pub long: &'static str,
    /// Works and is not listed.
    pub hidden: bool,
    /// Which daemons know it.
    pub daemon: Daemons,
    /// May change; its page says so.
    pub experimental: bool,
    /// Needs no daemon: runs even where none could be reached.
    pub local: bool,
    /// All spellings, for the help; empty when there is one.
    pub aliases: &'static str,
    pub flags: &'static [&'static [Flag]],
    pub args: Args,
    pub order: Order,
    pub action: Option<Action>,
    pub children: &'static [&'static Command],
}

impl Command {
    /// What the rest of a row is filled with.
    pub const EMPTY: Self = Self {
        name: "",
        names: &[],
        usage: "",
        about: "",
        long: "",
        hidden: false,
        daemon: Daemons::All,
        experimental: false,
        local: false,
        aliases: "",
        flags: &[],
        args: Args::None,
        order: Order::Interspersed,
        action: None,
        children: &[],
    };

    /// Whether it only holds other commands.
    pub fn is_noun(&self) -> bool {
        !self.children.is_empty()
    }

    pub fn child(&self, word: &str) -> Option<&'static Command> {
        self.children.iter().copied().find(|child| child.name == word || child.names.contains(&word))
    }
}

/// A command with the words that led to it: `docker container ls`.
#[derive(Debug, Clone)]
pub struct Path {
    pub words: String,
    pub command: &'static Command,
}

impl Path {
    /// One word further down.
    pub fn child(&self, word: &str) -> Option<Self> {
        let command = self.command.child(word)?;
        Some(Self { words: format!("{} {}", self.words, command.name), command })
    }
}

impl Args {
    /// Refuses another number, in Docker's words.
    pub fn check(self, count: usize, path: &Path) -> Result<(), Failure> {
        let plural = |number: usize| if number == 1 { "argument" } else { "arguments" };
        let (wanted, verb) = match self {
            Self::None if count > 0 => ("accepts no arguments".to_owned(), "Run"),
            Self::Exactly(n) if count != n => (format!("requires {n} {}", plural(n)), "Run"),
            Self::Plainly(n) if count != n => {
                return Err(Failure::Text(format!("accepts {n} arg(s), received {count}")));
            }
            Self::AtLeast(n) if count < n => (format!("requires at least {n} {}", plural(n)), "See"),
            // Docker's own word.
            Self::AtMost(n) if count > n => (format!("requires at most {n} {}", plural(n)), "SRun"),
            Self::Between(low, high) if count < low || count > high => {
                (format!("requires at least {low} and at most {high} {}", plural(high)), "Run")
            }
            _ => return Ok(()),
        };
        let words = &path.words;
        let usage = help::usage_line(path);
        Err(Failure::Status {
            code: 1,
            message: format!("docker: '{words}' {wanted}\n\n{usage}\n\n{verb} '{words} --help' for more information"),
        })
    }
}
