//! The commands of `docker`, and the way to the one that is meant.

use super::flag::{Flag, Kind, NONE, flag};
use super::help::{self, section};
use super::parse::{ParseError, parse};
use super::{Args, Command, Matches, Order, Path};
use crate::context::Globals;
use crate::failure::Failure;
use crate::{container, image, inspect, messages, network, system};

/// `docker`.
pub const ROOT: Command = Command {
    name: "docker",
    usage: "[OPTIONS] COMMAND [ARG...]",
    about: "A self-sufficient runtime for containers",
    args: Args::None,
    children: &[
        &container::run::COMMAND,
        &container::exec::COMMAND,
        &container::list::PS,
        &image::pull::COMMAND,
        &image::push::COMMAND,
        &image::list::IMAGES,
        &system::version::COMMAND,
        &system::info::COMMAND,
        &container::NOUN,
        &image::NOUN,
        &network::NOUN,
        &system::NOUN,
        &container::attach::COMMAND,
        &container::create::COMMAND,
        &system::events::COMMAND,
        &image::history::COMMAND,
        &image::import::COMMAND,
        &inspect::COMMAND,
        &container::operate::KILL,
        &container::logs::COMMAND,
        &container::operate::PAUSE,
        &container::top::PORT,
        &container::operate::RENAME,
        &container::operate::RESTART,
        &container::remove::COMMAND,
        &image::remove::RMI,
        &container::start::COMMAND,
        &container::operate::STOP,
        &image::tag::COMMAND,
        &container::top::TOP,
        &container::operate::UNPAUSE,
        &container::operate::WAIT,
    ],
    ..Command::EMPTY
};

/// Commands that the page of `docker` names first.
const COMMON: &[&str] = &["run", "exec", "ps", "pull", "push", "images", "version", "info"];

#[rustfmt::skip]
const GLOBAL_FLAGS: &[Flag] = &[
    flag("config", NONE, Kind::Text, "", "Location of client config files"),
    flag("context", 'c', Kind::Text, "", "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")"),
    flag("debug", 'D', Kind::Bool, "", "Enable debug mode"),
    flag("host", 'H', Kind::List, "", "Daemon socket to connect to"),
    flag("log-level", 'l', Kind::Text, "info", "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")"),
    flag("version", 'v', Kind::Bool, "", "Print version information and quit"),
];

/// What a command line asks for.
#[derive(Debug)]
pub enum Plan {
    /// Text for standard output, and done.
    Print(String),
    Run {
        globals: Globals,
        command: &'static Command,
        matches: Matches,
    },
}

/// Reads a whole line, without the program's name.
pub fn plan(words: &[String], width: usize) -> Result<Plan, Failure> {
    let root = Path { words: "docker".to_owned(), command: &ROOT };
    let top = match parse(&[GLOBAL_FLAGS], Order::FlagsFirst, words) {
        Ok(top) => top,
        Err(ParseError::Help) => return Ok(Plan::Print(root_page(width))),
        Err(error) => return Err(wrong_flag(&root, &error)),
    };
    if top.is_set("version") {
        return Ok(Plan::Print(format!("Docker version {}, build {}\n", messages::VERSION, messages::COMMIT)));
    }
    let globals = globals(&top)?;
    match top.args.split_first() {
        None => Ok(Plan::Print(root_page(width))),
        Some((word, topic)) if word == "help" => help_for(root, topic, width),
        Some(_) => descend(root, &top.args, globals, width),
    }
}

fn globals(top: &Matches) -> Result<Globals, Failure> {
    let level = top.text("log-level");
    if !matches!(level, "trace" | "debug" | "info" | "warn" | "warning" | "error" | "fatal" | "panic") {
        return Err(Failure::Text(format!("Unable to parse logging level: {level}")));
    }
    if top.list("host").len() > 1 {
        return Err(Failure::text("Specify only one -H"));
    }
    let context = top.text("context");
    if !matches!(context, "" | "default") {
        return Err(Failure::Text(format!(
            "Failed to initialize: unable to resolve docker endpoint: context {context:?}: context not found"
        )));
    }
    Ok(Globals {
        config: top.text("config").to_owned(),
        host: top.list("host").first().cloned().unwrap_or_default(),
        debug: top.is_set("debug"),
    })
}

/// Word by word down the tree.
fn descend(mut path: Path, words: &[String], globals: Globals, width: usize) -> Result<Plan, Failure> {
    let mut rest = words;
    while path.command.action.is_none() {
        let Some((word, behind)) = rest.split_first() else { return Ok(Plan::Print(help::page(&path, width))) };
        if word == "--help" || word == "-h" {
            return Ok(Plan::Print(help::page(&path, width)));
        }
        if word.starts_with('-') {
            let error = parse(&[], Order::FlagsFirst, rest).err();
            return Err(wrong_flag(&path, &error.unwrap_or(ParseError::Syntax(word.clone()))));
        }
        let Some(command) = path.command.child(word) else { return Err(unknown_command(&path, word)) };
        path = Path { words: format!("{} {}", path.words, command.name), command };
        rest = behind;
    }
    let command = path.command;
    match parse(command.flags, command.order, rest) {
        Ok(matches) => {
            command.args.check(matches.args.len(), &path)?;
            Ok(Plan::Run { globals, command, matches })
        }
        Err(ParseError::Help) => Ok(Plan::Print(help::page(&path, width))),
        Err(error) => Err(wrong_flag(&path, &error)),
    }
}

fn help_for(root: Path, topic: &[String], width: usize) -> Result<Plan, Failure> {
    let mut path = root;
    if topic.is_empty() {
        return Ok(Plan::Print(root_page(width)));
    }
    for word in topic {
        let Some(command) = path.command.child(word) else {
            return Err(Failure::Text(format!("unknown help topic: {}", topic.join(" "))));
        };
        path = Path { words: format!("{} {}", path.words, command.name), command };
    }
    Ok(Plan::Print(help::page(&path, width)))
}

fn wrong_flag(path: &Path, error: &ParseError) -> Failure {
    let usage = help::usage_line(path);
    Failure::Status {
        code: 125,
        message: format!("{error}\n\n{usage}\n\nRun '{} --help' for more information", path.words),
    }
}

fn unknown_command(path: &Path, word: &str) -> Failure {
    let words = &path.words;
    let usage = if words == "docker" { String::new() } else { format!("\n\nUsage:  {words}") };
    Failure::Text(format!(
        "docker: unknown command: {words} {word}{usage}\n\nRun '{words} --help' for more information"
    ))
}

fn root_page(width: usize) -> String {
    let is_common = |command: &&&Command| COMMON.contains(&command.name);
    let pick = |wanted: &dyn Fn(&&&Command) -> bool| -> Vec<&Command> {
        ROOT.children.iter().filter(|command| wanted(command)).copied().collect()
    };
    let mut page = format!("Usage:  docker [OPTIONS] COMMAND\n\n{}\n", ROOT.about);
    section(&mut page, "Common Commands", &pick(&is_common));
    section(&mut page, "Management Commands", &pick(&|command| !command.children.is_empty()));
    section(&mut page, "Commands", &pick(&|command| command.children.is_empty() && !is_common(command)));
    page.push_str(&format!("\nGlobal Options:\n{}", help::flag_rows(&[GLOBAL_FLAGS], width)));
    page.push_str("\nRun 'docker COMMAND --help' for more information on a command.\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(line: &str) -> (u8, String) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let failure = plan(&words, 80).unwrap_err();
        (failure.code(), failure.to_string())
    }

    #[test]
    fn wrong_lines_get_dockers_words_and_numbers() {
        assert_eq!(
            failure("foo"),
            (1, "docker: unknown command: docker foo\n\nRun 'docker --help' for more information".into())
        );
        assert_eq!(
            failure("container foo"),
            (1, "docker: unknown command: docker container foo\n\nUsage:  docker container\n\nRun 'docker container --help' for more information".into())
        );
        assert_eq!(
            failure("run --foo x"),
            (125, "unknown flag: --foo\n\nUsage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'docker run --help' for more information".into())
        );
        assert_eq!(
            failure("run"),
            (1, "docker: 'docker run' requires at least 1 argument\n\nUsage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'docker run --help' for more information".into())
        );
        assert_eq!(
            failure("container ls x"),
            (1, "docker: 'docker container ls' accepts no arguments\n\nUsage:  docker container ls [OPTIONS]\n\nRun 'docker container ls --help' for more information".into())
        );
        assert_eq!(failure("help foo"), (1, "unknown help topic: foo".into()));
        assert_eq!(failure("--log-level x ps"), (1, "Unable to parse logging level: x".into()));
    }

    #[test]
    fn every_command_has_a_page_and_an_action() {
        fn walk(path: &Path) {
            let page = help::page(path, 80);
            assert!(page.starts_with(&format!("Usage:  {}", path.words)), "{page}");
            assert!(!path.command.about.is_empty());
            assert_eq!(path.command.action.is_none(), !path.command.children.is_empty(), "{}", path.words);
            for child in path.command.children {
                walk(&Path { words: format!("{} {}", path.words, child.name), command: child });
            }
        }
        walk(&Path { words: "docker".into(), command: &ROOT });
    }

    #[test]
    fn no_command_has_a_flag_twice() {
        fn walk(command: &Command) {
            let mut names = std::collections::BTreeSet::new();
            for flag in command.flags.iter().flat_map(|group| group.iter()) {
                assert!(names.insert(flag.long.to_owned()), "{} --{}", command.name, flag.long);
                assert!(
                    flag.short.is_none_or(|short| names.insert(format!("-{short}"))),
                    "{} {}",
                    command.name,
                    flag.long
                );
            }
            command.children.iter().for_each(|child| walk(child));
        }
        walk(&ROOT);
    }
}
