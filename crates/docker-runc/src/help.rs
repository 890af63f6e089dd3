//! Help and version.

use crate::arguments::{Flag, Kind};
use crate::flags::{self, Command};
use runtime_core::template::OCI_VERSION;
use std::fmt::Write;

/// The lines that dockerd, podman and others take apart.
pub fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("runc version {version}+longshore\ncommit: v{version}\nspec: {OCI_VERSION}\n")
}

pub fn overview() -> String {
    let mut text = String::from(
        "NAME:\n   docker-runc - Open Container Initiative runtime\n\n\
         USAGE:\n   docker-runc [global options] command [command options] [arguments...]\n\nCOMMANDS:\n",
    );
    for command in flags::COMMANDS {
        let _ = writeln!(text, "   {:<12}{}", command.word, command.usage);
    }
    text.push_str("\nGLOBAL OPTIONS:\n");
    options(&mut text, flags::GLOBAL);
    text
}

pub fn command(word: &str) -> Option<String> {
    let command = flags::find(word)?;
    let mut text = format!(
        "NAME:\n   docker-runc {word} - {}\n\nUSAGE:\n   docker-runc {word} [command options] {}\n\nOPTIONS:\n",
        command.usage, command.operand_text
    );
    options(&mut text, command.flags);
    Some(text)
}

fn options(text: &mut String, list: &[Flag]) {
    let name = |flag: &Flag| {
        let value = if flag.kind == Kind::Switch { "" } else { " value" };
        let short = if flag.short.is_empty() { String::new() } else { format!(", -{}{value}", flag.short) };
        format!("--{}{value}{short}", flag.name)
    };
    let width = list.iter().map(|flag| name(flag).len()).max().unwrap_or(0);
    for flag in list {
        let _ = writeln!(text, "   {:<width$}  {}", name(flag), flag.usage);
    }
}

/// How many operands a command wants, in words.
pub fn operands(command: &Command) -> String {
    match command.operands {
        (least, most) if least == most => format!("exactly {least} argument(s)"),
        (least, usize::MAX) => format!("a minimum of {least} argument(s)"),
        (least, most) => format!("between {least} and {most} arguments"),
    }
}
