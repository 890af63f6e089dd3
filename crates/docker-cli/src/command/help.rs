//! Help pages in Docker's shape.

use std::fmt::Write as _;

use super::flag::{Flag, Kind};
use super::{Command, Path};

/// Width when the output is no terminal.
pub const DEFAULT_WIDTH: usize = 80;
/// Narrower than this, the text of a flag gets a line of its own.
const NARROW: usize = 24;
/// How far a line may pass the edge rather than be broken.
const SLOP: usize = 5;

/// `Usage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]`.
pub fn usage_line(path: &Path) -> String {
    format!("Usage:  {} {}", path.words, path.command.usage).trim_end().to_owned()
}

/// The whole page of a command.
pub fn page(path: &Path, width: usize) -> String {
    let command = path.command;
    if !command.children.is_empty() {
        return noun_page(path);
    }
    let mut page = format!("{}\n\n{}\n", usage_line(path), command.about);
    if !command.aliases.is_empty() {
        let _ = write!(page, "\nAliases:\n  {}\n", command.aliases);
    }
    let rows = flag_rows(command.flags, width);
    if !rows.is_empty() {
        let _ = write!(page, "\nOptions:\n{rows}");
    }
    page
}

/// The page of a noun: its commands.
fn noun_page(path: &Path) -> String {
    let words = &path.words;
    let mut page = format!("Usage:  {words} COMMAND\n\n{}\n", path.command.about);
    section(&mut page, "Commands", path.command.children);
    let _ = write!(page, "\nRun '{words} COMMAND --help' for more information on a command.\n");
    page
}

/// One block of commands with their one-line descriptions.
pub fn section(page: &mut String, title: &str, commands: &[&Command]) {
    let _ = write!(page, "\n{title}:\n");
    for command in commands {
        let _ = writeln!(page, "  {:<12}{}", command.name, command.about);
    }
}

/// The table of flags, sorted by long name.
pub fn flag_rows(groups: &[&'static [Flag]], width: usize) -> String {
    let mut flags: Vec<&Flag> = groups.iter().flat_map(|group| group.iter()).filter(|flag| !flag.hidden).collect();
    flags.sort_by_key(|flag| flag.long);
    let heads: Vec<String> = flags.iter().map(|flag| head(flag)).collect();
    let column = heads.iter().map(|head| head.chars().count()).max().unwrap_or(0) + 3;
    let mut rows = String::new();
    for (flag, head) in flags.iter().zip(&heads) {
        let text = format!("{}{}", flag.usage, shown_default(flag));
        let _ = writeln!(rows, "{head:<column$}{}", wrap(&text, column, width));
    }
    rows
}

fn head(flag: &Flag) -> String {
    let short = flag.short.map_or("      ".to_owned(), |short| format!("  -{short}, "));
    let value = flag.value_name();
    let gap = if value.is_empty() { "" } else { " " };
    format!("{short}--{}{gap}{value}", flag.long)
}

fn shown_default(flag: &Flag) -> String {
    match (flag.default, flag.kind) {
        ("", _) => String::new(),
        (default, Kind::Text) => format!(" (default \"{default}\")"),
        (default, _) => format!(" (default {default})"),
    }
}

/// Breaks a flag's text into lines that start at a column.
fn wrap(text: &str, column: usize, width: usize) -> String {
    let (indent, first) = if width < column + NARROW + 1 { (16, "\n                ") } else { (column, "") };
    // The last column stays free, as in Docker.
    let room = width.saturating_sub(indent + 1);
    let margin = format!("\n{}", " ".repeat(indent));
    if room < NARROW {
        return text.replace('\n', &margin);
    }
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let (line, behind) = break_line(rest, room - SLOP);
        lines.push(line.replace('\n', &margin));
        if behind.is_empty() {
            break;
        }
        rest = behind;
    }
    format!("{first}{}", lines.join(&margin))
}

/// At the last blank before the edge; at a line end if one comes first; not at all if what is left fits with a little slop.
fn break_line(text: &str, edge: usize) -> (&str, &str) {
    if text.len() < edge + SLOP {
        return (text, "");
    }
    let mut edge = edge;
    while !text.is_char_boundary(edge) {
        edge -= 1;
    }
    let head = &text[..edge];
    let Some(blank) = head.rfind([' ', '\t', '\n']).filter(|at| *at > 0) else { return (text, "") };
    let at = match head.find('\n') {
        Some(_) => head.rfind('\n').filter(|end| *end > 0).unwrap_or(blank),
        None => blank,
    };
    (&text[..at], &text[at + 1..])
}
