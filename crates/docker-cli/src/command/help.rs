//! Help pages in Docker's shape.

use std::fmt::Write as _;

use super::flag::{Flag, Kind};
use super::tree::COMMON;
use super::{Command, Daemons, Path, globals};
use crate::plugin::Plugin;

/// Width when the output is no terminal.
pub const DEFAULT_WIDTH: usize = 80;
/// Narrower than this, the text of a flag gets a line of its own.
const NARROW: usize = 24;
/// How far a line may pass the edge rather than be broken.
const SLOP: usize = 5;
/// Least width of a command's name in a list.
const NAME_WIDTH: usize = 11;
/// Behind the page of `docker` itself.
const MORE_HELP: &str = "For more help on how to use Docker, head to https://docs.docker.com/go/guides/";

/// What is known of the daemon that a page is for; one that is not reached may know everything.
#[derive(Debug, Clone, Default)]
pub struct Daemon {
    pub os: String,
    /// Whether it has experimental features.
    pub experimental: Option<bool>,
    /// Whether it manages a swarm.
    pub manager: Option<bool>,
}

impl Daemon {
    pub fn knows(&self, daemons: Daemons) -> bool {
        match daemons {
            Daemons::All => true,
            Daemons::Windows => self.os.is_empty() || self.os == "windows",
            Daemons::Experimental => self.experimental.unwrap_or(true),
            Daemons::SwarmManager => self.manager.unwrap_or(true),
        }
    }
}

/// Whether a page differs from daemon to daemon.
pub fn depends_on_daemon(command: &Command) -> bool {
    let mut flags = command.flags.iter().flat_map(|group| group.iter());
    flags.any(|flag| flag.daemon != Daemons::All) || command.children.iter().any(|child| child.daemon != Daemons::All)
}

/// The nouns whose own line in Docker's client names the COMMAND behind them.
const WITH_COMMAND: [&str; 3] = ["docker", "docker manifest", "docker volume"];

/// `Usage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]`, as errors show it.
pub fn usage_line(path: &Path) -> String {
    let is_bare = path.command.is_noun() && !WITH_COMMAND.contains(&path.words.as_str());
    let usage = if is_bare { "" } else { path.command.usage };
    format!("Usage:  {} {usage}", path.words).trim_end().to_owned()
}

/// The whole page of a command; only that of `docker` itself lists plugins.
pub fn page(path: &Path, plugins: &[Plugin], daemon: &Daemon, width: usize) -> String {
    let command = path.command;
    if path.words == "docker" {
        return root_page(path, plugins, width);
    }
    if command.is_noun() {
        return noun_page(path, daemon);
    }
    let mut page = format!("{}\n\n{}\n{}", usage_line(path), description(command), warning(path));
    if !command.aliases.is_empty() {
        let _ = write!(page, "\nAliases:\n  {}\n", command.aliases);
    }
    let rows = flag_rows(command.flags, daemon, width);
    if !rows.is_empty() {
        let _ = write!(page, "\nOptions:\n{rows}");
    }
    page
}

/// What the page of a command says that may change.
fn warning(path: &Path) -> String {
    if !path.command.experimental {
        return String::new();
    }
    format!(
        "\nEXPERIMENTAL:\n  {} is an experimental feature.\n  Experimental features provide early access to product \
         functionality. These\n  features may change between releases without warning, or can be removed from a\n  future \
         release. Learn more about experimental features in our documentation:\n  \
         https://docs.docker.com/go/experimental/\n",
        path.words
    )
}

/// What the page of a command says of it.
pub fn description(command: &Command) -> &'static str {
    if command.long.is_empty() { command.about.trim() } else { command.long.trim() }
}

/// The page of a noun: its commands.
fn noun_page(path: &Path, daemon: &Daemon) -> String {
    let words = &path.words;
    let mut page = format!("Usage:  {words} COMMAND\n\n{}\n{}", description(path.command), warning(path));
    let (nouns, commands): (Vec<&Command>, Vec<&Command>) =
        listed(path.command).filter(|child| daemon.knows(child.daemon)).partition(|child| child.is_noun());
    let sections = [("Management Commands", rows(&nouns)), ("Commands", rows(&commands))];
    write_sections(&mut page, &sections);
    let _ = write!(page, "\nRun '{words} COMMAND --help' for more information on a command.\n");
    page
}

fn root_page(path: &Path, plugins: &[Plugin], width: usize) -> String {
    let root = path.command;
    let mut page = format!("Usage:  docker [OPTIONS] COMMAND\n\n{}\n", root.about);
    let is_common = |command: &&Command| COMMON.contains(&command.name);
    let common: Vec<&Command> = COMMON.iter().filter_map(|name| root.child(name)).collect();
    let nouns: Vec<&Command> = listed(root).filter(|child| child.is_noun()).collect();
    let mut management = rows(&nouns);
    let (valid, broken): (Vec<&Plugin>, Vec<&Plugin>) = plugins.iter().partition(|plugin| plugin.error.is_none());
    management.extend(valid.iter().map(|plugin| (format!("{}*", plugin.name), plugin.short_description.clone())));
    management.sort();
    // Docker calls commands legacy that a noun has too.
    let hides = !globals::env("DOCKER_HIDE_LEGACY_COMMANDS").is_empty();
    let is_other = |child: &&Command| !hides && !child.is_noun() && !is_common(child);
    let others: Vec<&Command> = listed(root).filter(is_other).collect();
    let broken = broken.iter().map(|plugin| (plugin.name.clone(), plugin.error.clone().unwrap_or_default()));
    let sections = [
        ("Common Commands", rows(&common)),
        ("Management Commands", management),
        ("Commands", rows(&others)),
        ("Invalid Plugins", broken.collect()),
    ];
    write_sections(&mut page, &sections);
    let _ = write!(page, "\nGlobal Options:\n{}", flag_rows(&[globals::flags()], &Daemon::default(), width));
    page.push_str("\nRun 'docker COMMAND --help' for more information on a command.\n");
    let _ = write!(page, "\n{MORE_HELP}\n");
    page
}

/// The commands below one that are shown, by name.
pub fn listed(command: &Command) -> impl Iterator<Item = &'static Command> + use<> {
    let mut children: Vec<&'static Command> = command.children.iter().copied().filter(|child| !child.hidden).collect();
    children.sort_by_key(|child| child.name);
    children.into_iter()
}

fn rows(commands: &[&Command]) -> Vec<(String, String)> {
    commands.iter().map(|command| (command.name.to_owned(), command.about.to_owned())).collect()
}

/// Blocks of names with their one-line descriptions in one column; a block of none is left out.
fn write_sections(page: &mut String, sections: &[(&str, Vec<(String, String)>)]) {
    let names = sections.iter().flat_map(|(_, rows)| rows).map(|(name, _)| name.trim_end_matches('*').len());
    let width = names.max().unwrap_or(0).max(NAME_WIDTH) + 1;
    for (title, rows) in sections.iter().filter(|(_, rows)| !rows.is_empty()) {
        let _ = write!(page, "\n{title}:\n");
        for (name, about) in rows {
            let _ = writeln!(page, "  {name:<width$}{about}");
        }
    }
}

/// The table of flags, sorted by long name.
pub fn flag_rows(groups: &[&'static [Flag]], daemon: &Daemon, width: usize) -> String {
    let mut flags: Vec<&Flag> = groups.iter().flat_map(|group| group.iter()).collect();
    flags.retain(|flag| !flag.hidden && daemon.knows(flag.daemon));
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

/// ` (default …)`, where the default is not the kind's zero value.
pub fn shown_default(flag: &Flag) -> String {
    match (flag.default_value(), flag.kind) {
        ("", _) => String::new(),
        ("0", Kind::Bytes) => String::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_blocks_of_a_page_have_one_column_whose_stars_do_not_count() {
        let row = |name: &str, about: &str| (name.to_owned(), about.to_owned());
        let mut page = String::new();
        let sections = [
            ("Commands", vec![row("ps", "List containers"), row("twelveletter*", "A plugin")]),
            ("None", Vec::new()),
            ("Invalid Plugins", vec![row("bad", "why")]),
        ];
        write_sections(&mut page, &sections);
        let expected = "\nCommands:\n  ps           List containers\n  twelveletter*A plugin\n\nInvalid Plugins:\n  bad          why\n";
        assert_eq!(page, expected);
    }
}
