//! How a command line could go on: the protocol that Cobra's programs have with their shells.
//!
//! `docker __complete WORDS… LAST` answers a line a candidate, with a description behind a tab, then `:NUMBER`, which
//! tells the shell what else to do. Docker's own completion scripts work with this program as ours do.

pub mod scripts;
mod sources;
mod values;

use crate::command::globals::{self, Globals};
use crate::command::tree::ROOT;
use crate::command::{Command, Flag, Kind, Order, Path, help};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::plugin;

/// What the shell is to do besides: nothing, and files where there is no candidate.
const DEFAULT: u8 = 0;
/// Something went wrong: no candidates, no files.
const ERROR: u8 = 1;
/// No blank behind the candidate: a value follows.
const NO_SPACE: u8 = 2;
/// No files.
const NO_FILES: u8 = 4;

/// Candidates, and what the shell does besides.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    candidates: Vec<(String, String)>,
    directive: u8,
}

impl Answer {
    fn new(directive: u8, candidates: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { candidates: candidates.into_iter().collect(), directive }
    }

    fn words(directive: u8, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(directive, words.into_iter().map(|word| (word.into(), String::new())))
    }
}

/// Answers for the words behind `docker`, the last of which is to be completed.
pub fn run(globals: &Globals, words: &[String], described: bool) -> Result<u8, Failure> {
    let Some((last, before)) = words.split_last() else { return Ok(1) };
    let place = match Place::find(before) {
        Ok(place) => place,
        Err(name) => match plugin::find(&plugin::folders(globals), name) {
            // The plugin knows the rest, and the protocol.
            Some(found) => {
                let words = [&["__complete".to_owned()], words].concat();
                return plugin::replace_by(&found, &words);
            }
            None => Place { unknown: true, ..Place::default() },
        },
    };
    let globals = place.globals(globals);
    let answer = answer(&globals, &place, last)?;
    let mut text = String::new();
    for (candidate, about) in &answer.candidates {
        text.push_str(candidate);
        if described && !about.is_empty() {
            text.push('\t');
            text.push_str(about.lines().next().unwrap_or_default());
        }
        text.push('\n');
    }
    context::print(&format!("{text}:{}\n", answer.directive))?;
    context::say(&format!("Completion ended with directive: {}", directive_name(answer.directive)));
    Ok(0)
}

fn directive_name(directive: u8) -> &'static str {
    match directive {
        DEFAULT => "ShellCompDirectiveDefault",
        ERROR => "ShellCompDirectiveError",
        NO_SPACE => "ShellCompDirectiveNoSpace",
        NO_FILES => "ShellCompDirectiveNoFileComp",
        _ => "ShellCompDirectiveNoSpace, ShellCompDirectiveNoFileComp",
    }
}

/// Where on the line the last word stands.
#[derive(Debug, Default)]
struct Place {
    path: Option<Path>,
    /// Positional arguments of the command so far.
    args: Vec<String>,
    /// Flags so far, by long name, with their values.
    seen: Vec<(&'static str, String)>,
    /// The flag whose value the last word is.
    pending: Option<&'static Flag>,
    /// No more flags: behind `--`, or in the line of another program.
    flags_ended: bool,
    /// Nothing that we know.
    unknown: bool,
}

impl Place {
    /// Goes down the words; the name of what may be a plugin when they lead nowhere.
    fn find(words: &[String]) -> Result<Self, &str> {
        let root = Path { words: "docker".to_owned(), command: &ROOT };
        let mut place = Self { path: Some(root), ..Self::default() };
        for word in words {
            place.pass(word)?;
        }
        Ok(place)
    }

    fn pass<'a>(&mut self, word: &'a str) -> Result<(), &'a str> {
        if let Some(flag) = self.pending.take() {
            self.seen.push((flag.target, word.to_owned()));
            return Ok(());
        }
        if !self.flags_ended && word.len() > 1 && word.starts_with('-') {
            self.pass_flag(word);
            return Ok(());
        }
        let Some(path) = &self.path else { return Ok(()) };
        if path.command.is_noun() && self.args.is_empty() {
            if let Some(next) = path.child(word) {
                self.path = Some(next);
                return Ok(());
            }
            if path.words == "docker" {
                return Err(word);
            }
        }
        self.args.push(word.to_owned());
        self.flags_ended |= path.command.order == Order::FlagsFirst;
        Ok(())
    }

    fn pass_flag(&mut self, word: &str) {
        if word == "--" {
            self.flags_ended = true;
            return;
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let Some(flag) = self.flags().into_iter().find(|flag| flag.long == name) else { return };
            match value {
                Some(value) => self.seen.push((flag.target, value.to_owned())),
                None if flag.kind == Kind::Bool => self.seen.push((flag.target, "true".to_owned())),
                None => self.pending = Some(flag),
            }
            return;
        }
        for (at, letter) in word[1..].char_indices() {
            let Some(flag) = self.flags().into_iter().find(|flag| flag.short == Some(letter)) else { return };
            let rest = &word[1 + at + letter.len_utf8()..];
            if flag.kind == Kind::Bool {
                self.seen.push((flag.target, "true".to_owned()));
                continue;
            }
            match rest {
                "" => self.pending = Some(flag),
                value => self.seen.push((flag.target, value.trim_start_matches('=').to_owned())),
            }
            return;
        }
    }

    fn flags(&self) -> Vec<&'static Flag> {
        match &self.path {
            Some(path) if path.words == "docker" => globals::flags().iter().collect(),
            Some(path) => path.command.flags.iter().flat_map(|group| group.iter()).collect(),
            None => Vec::new(),
        }
    }

    fn words(&self) -> &str {
        self.path.as_ref().map(|path| path.words.trim_start_matches("docker").trim_start()).unwrap_or_default()
    }

    fn is_set(&self, long: &str) -> bool {
        self.seen.iter().any(|(name, value)| *name == long && value != "false")
    }

    /// What stands in front of the command counts for the daemon that is asked.
    fn globals(&self, read: &Globals) -> Globals {
        let mut globals = read.clone();
        for (name, value) in &self.seen {
            match *name {
                "host" => globals.hosts.push(value.clone()),
                "context" => globals.context.clone_from(value),
                _ => {}
            }
        }
        globals
    }
}

fn answer(globals: &Globals, place: &Place, last: &str) -> Result<Answer, Failure> {
    if place.unknown {
        return Ok(Answer::default());
    }
    if let Some(flag) = place.pending {
        return sources::of_flag(globals, place, flag);
    }
    if !place.flags_ended && last.starts_with('-') {
        let value_of = last.strip_prefix("--").and_then(|long| long.split_once('='));
        if let Some((name, _)) = value_of {
            let flag = place.flags().into_iter().find(|flag| flag.long == name);
            return flag.map_or_else(|| Ok(Answer::default()), |flag| sources::of_flag(globals, place, flag));
        }
        return Ok(Answer::new(NO_FILES, flag_names(place, last)));
    }
    let Some(path) = &place.path else { return Ok(Answer::default()) };
    if path.command.is_noun() {
        return Ok(if place.args.is_empty() { children(globals, path, last) } else { Answer::default() });
    }
    sources::of_argument(globals, place)
}

/// Commands below a noun that start so; plugins too below `docker` itself.
fn children(globals: &Globals, path: &Path, start: &str) -> Answer {
    let of_command = |command: &Command| (command.name.to_owned(), command.about.to_owned());
    let mut found: Vec<(String, String)> = help::listed(path.command).map(of_command).collect();
    if path.words == "docker" {
        found.extend(path.child("help").map(|help| of_command(help.command)));
        let plugins = plugin::list(&plugin::folders(globals)).into_iter().filter(|plugin| plugin.error.is_none());
        found.extend(plugins.map(|plugin| (plugin.name, plugin.short_description)));
        found.sort();
    }
    found.retain(|(name, _)| name.starts_with(start));
    Answer::new(NO_FILES, found)
}

/// Flags that start so; one that was given and counts once is left out.
fn flag_names(place: &Place, start: &str) -> Vec<(String, String)> {
    let mut flags = place.flags();
    flags.retain(|flag| !flag.hidden);
    let mut found: Vec<(&str, Option<char>, String)> = flags
        .iter()
        .filter(|flag| flag.is_repeatable() || !place.seen.iter().any(|(name, _)| *name == flag.long))
        .map(|flag| (flag.long, flag.short, described(flag)))
        .collect();
    found.sort();
    let mut names = Vec::new();
    for (long, short, usage) in found {
        names.push((format!("--{long}"), usage.clone()));
        names.extend(short.map(|short| (format!("-{short}"), usage)));
    }
    names.retain(|(name, _)| name.starts_with(start));
    names
}

/// The first line of a flag's text; a default that is the kind's zero value stands in Docker's text itself.
fn described(flag: &Flag) -> String {
    let first = flag.usage.lines().next().unwrap_or_default();
    let zero = matches!(flag.default, "0" | "0s");
    if zero { format!("{first}{}", help::shown_default(flag)) } else { first.to_owned() }
}

/// Asks the daemon; whatever goes wrong is no candidate.
fn ask<T>(globals: &Globals, question: impl AsyncFnOnce(&Context) -> Result<T, Failure>) -> Option<T> {
    let context = Context::new(globals, &Command::EMPTY).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(question(&context)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (last, before) = words.split_last().unwrap();
        let place = Place::find(before).unwrap_or_else(|_| Place { unknown: true, ..Place::default() });
        let answer = answer(&Globals::default(), &place, last).unwrap();
        let names: Vec<&str> = answer.candidates.iter().map(|(name, _)| name.as_str()).collect();
        format!("{} :{}", names.join(" "), answer.directive)
    }

    #[test]
    fn commands_flags_and_values_are_completed() {
        assert_eq!(shown("con"), "container context :4");
        assert_eq!(shown("container l"), "logs ls :4");
        assert_eq!(shown("container ls --fi"), "--filter :4");
        assert_eq!(shown("ps -a --a"), " :4");
        assert_eq!(shown("ps --filter x --fi"), "--filter :4");
        assert_eq!(shown("run --pull "), "always missing never :4");
        assert_eq!(shown("run --pull=al"), "always missing never :4");
        assert_eq!(shown("run -it --restart "), "no always on-failure unless-stopped :4");
        assert_eq!(shown("run busybox --"), " :4");
        assert_eq!(shown("foo "), " :0");
        assert_eq!(shown("container foo "), " :0");
        assert_eq!(shown("import "), " :0");
        assert_eq!(shown("-l "), "debug info warn error fatal panic :4");
        assert_eq!(shown("--deb"), "--debug :4");
    }
}
