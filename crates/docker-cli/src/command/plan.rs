//! From a command line to what it asks for, the way Docker's client goes down its tree.

use super::globals::{self, Globals};
use super::help;
use super::parse::{ParseError, parse};
use super::tree::{BUILDX, HELP, ROOT};
use super::{Flag, Kind, Matches, Order, Path};
use crate::failure::Failure;
use crate::messages;

/// Where a page goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It was asked for.
    Data,
    /// It is shown because no command was named.
    Hint,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Plan {
    /// Text for standard output, and done.
    Print(String),
    /// A command's page, behind what is said of old spellings.
    Help {
        globals: Globals,
        path: Path,
        notices: String,
        to: Output,
    },
    Run {
        globals: Globals,
        path: Path,
        matches: Matches,
    },
    /// A shell asks how the last word could go on.
    Complete {
        globals: Globals,
        words: Vec<String>,
        described: bool,
    },
    /// No command of ours: a plugin of this name may know it. Without one the failure stands.
    Plugin {
        globals: Globals,
        name: String,
        otherwise: Box<Result<Plan, Failure>>,
    },
}

/// Reads a whole line, without the program's name.
pub fn plan(words: &[String]) -> Result<Plan, Failure> {
    let root = Path { words: "docker".to_owned(), command: &ROOT };
    let top = parse(&[globals::flags()], Order::FlagsFirst, words).map_err(|error| wrong_flag(&root, &error))?;
    // The options are read apart from the command: what is said of an old one goes to standard error at once.
    eprint!("{}", top.notices);
    let globals = globals::read(&top)?;
    let Some((word, rest)) = top.args.split_first() else {
        if top.is_set("version") && !top.wants_help {
            return Ok(Plan::Print(version_line()));
        }
        let to = if top.wants_help { Output::Data } else { Output::Hint };
        return Ok(Plan::Help { globals, path: root, notices: String::new(), to });
    };
    match word.as_str() {
        "__complete" | "__completeNoDesc" => complete(globals, word, rest),
        "help" => help_for(root, rest, globals),
        // A user who has the plugin means the plugin.
        BUILDX => {
            let otherwise = Box::new(descend(root, &top.args, globals.clone(), top.wants_help));
            Ok(Plan::Plugin { globals, name: word.clone(), otherwise })
        }
        _ if root.command.child(word).is_some() => descend(root, &top.args, globals, top.wants_help),
        _ => {
            let otherwise = if top.is_set("version") {
                Ok(Plan::Print(version_line()))
            } else if top.wants_help {
                let notices = String::new();
                Ok(Plan::Help { globals: globals.clone(), path: root, notices, to: Output::Data })
            } else {
                Err(unknown_command(&root, word))
            };
            Ok(Plan::Plugin { globals, name: word.clone(), otherwise: Box::new(otherwise) })
        }
    }
}

fn complete(globals: Globals, word: &str, rest: &[String]) -> Result<Plan, Failure> {
    if rest.is_empty() {
        return Err(Failure::text("requires at least 1 arg(s), only received 0"));
    }
    Ok(Plan::Complete { globals, words: rest.to_vec(), described: word == "__complete" })
}

fn version_line() -> String {
    format!("Docker version {}, build {}\n", messages::VERSION, messages::COMMIT)
}

/// Word by word down the tree. Help that was asked for on the way is the help of where the way ends.
fn descend(mut path: Path, words: &[String], globals: Globals, mut wants_help: bool) -> Result<Plan, Failure> {
    let (mut rest, mut notices) = (words, String::new());
    while path.command.is_noun() {
        let Some((at, next)) = next_command(&path, rest) else {
            let found = parse(&[], Order::Interspersed, rest).map_err(|error| wrong_flag(&path, &error))?;
            notices.push_str(&found.notices);
            let to = match (wants_help || found.wants_help, found.args.first()) {
                (true, _) => Output::Data,
                // Cobra's own noun shows its page whatever follows.
                (false, Some(_)) if path.command.name == "completion" => Output::Data,
                (false, Some(word)) => return Err(unknown_command(&path, word)),
                (false, None) if path.command.name == "completion" => Output::Data,
                (false, None) => Output::Hint,
            };
            return Ok(Plan::Help { globals, path, notices, to });
        };
        let passed = parse(&[], Order::Interspersed, &rest[..at]).map_err(|error| wrong_flag(&path, &error))?;
        wants_help |= passed.wants_help;
        notices.push_str(&passed.notices);
        rest = &rest[at + 1..];
        path = next;
    }
    let command = path.command;
    let mut matches = parse(command.flags, command.order, rest).map_err(|error| wrong_flag(&path, &error))?;
    notices.push_str(&std::mem::take(&mut matches.notices));
    if matches.wants_help || wants_help && !has_own_help(command.flags) {
        return Ok(Plan::Help { globals, path, notices, to: Output::Data });
    }
    matches.notices = notices;
    command.args.check(matches.args.len(), &path)?;
    Ok(Plan::Run { globals, path, matches })
}

/// The first word that is no flag, if it names a command below.
fn next_command(path: &Path, words: &[String]) -> Option<(usize, Path)> {
    let at = words.iter().position(|word| !word.starts_with('-') || word == "-")?;
    Some((at, path.child(&words[at])?))
}

fn has_own_help(flags: &[&[Flag]]) -> bool {
    flags.iter().any(|group| group.iter().any(|flag| flag.long == "help" && flag.kind == Kind::Bool))
}

fn help_for(root: Path, topic: &[String], globals: Globals) -> Result<Plan, Failure> {
    let own = root.child(HELP.name).unwrap_or_else(|| root.clone());
    let found = parse(&[], Order::Interspersed, topic).map_err(|error| wrong_flag(&own, &error))?;
    if found.wants_help {
        return Ok(Plan::Help { globals, path: own, notices: found.notices, to: Output::Data });
    }
    let mut path = root;
    let known = found.args.iter().all(|word| match path.child(word) {
        Some(next) => {
            path = next;
            true
        }
        None => false,
    });
    let page = |globals| Plan::Help { globals, path, notices: String::new(), to: Output::Data };
    match found.args.first() {
        Some(first) if !known && root_lacks(first) => {
            let failure = unknown_topic(&found.args);
            Ok(Plan::Plugin { globals, name: first.clone(), otherwise: Box::new(Err(failure)) })
        }
        _ if known => Ok(page(globals)),
        _ => Err(unknown_topic(&found.args)),
    }
}

fn root_lacks(word: &str) -> bool {
    ROOT.child(word).is_none()
}

fn unknown_topic(words: &[String]) -> Failure {
    // Docker names the words that its tree did not know.
    let mut command = &ROOT;
    let rest = words.iter().skip_while(|word| match command.child(word) {
        Some(child) => {
            command = child;
            true
        }
        None => false,
    });
    let rest: Vec<&str> = rest.map(String::as_str).collect();
    Failure::Text(format!("unknown help topic: {}", rest.join(" ")))
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
    let usage = if words == "docker" { String::new() } else { format!("\n\n{}", help::usage_line(path)) };
    Failure::Text(format!(
        "docker: unknown command: {words} {word}{usage}\n\nRun '{words} --help' for more information"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(line: &str) -> (u8, String) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let failure = match plan(&words) {
            Err(failure) => failure,
            Ok(Plan::Plugin { otherwise, .. }) => otherwise.unwrap_err(),
            Ok(other) => panic!("{other:?}"),
        };
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
        assert_eq!(
            failure("-c x -H y ps"),
            (1, "conflicting options: cannot specify both --host and --context".into())
        );
    }

    #[test]
    fn help_is_that_of_where_the_words_end() {
        let page = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            match plan(&words) {
                Ok(Plan::Help { path, to, .. }) => (path.words, to),
                other => panic!("{line}: {other:?}"),
            }
        };
        assert_eq!(page(""), ("docker".into(), Output::Hint));
        assert_eq!(page("--help"), ("docker".into(), Output::Data));
        assert_eq!(page("container"), ("docker container".into(), Output::Hint));
        assert_eq!(page("container --help ls"), ("docker container ls".into(), Output::Data));
        assert_eq!(page("container foo --help"), ("docker container".into(), Output::Data));
        assert_eq!(page("help container ls"), ("docker container ls".into(), Output::Data));
        assert_eq!(page("help help"), ("docker help".into(), Output::Data));
        assert_eq!(page("ps x --help"), ("docker ps".into(), Output::Data));
    }
}
