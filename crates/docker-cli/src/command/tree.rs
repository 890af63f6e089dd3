//! The commands of `docker`.

use super::{Args, Command};
use crate::{
    build, completion, container, contexts, image, inspect, manifest, manual, network, registry, system, volume,
};

/// `docker`.
pub const ROOT: Command = Command {
    name: "docker",
    usage: "[OPTIONS] COMMAND [ARG...]",
    about: "A self-sufficient runtime for containers",
    args: Args::None,
    children: &[
        &HELP,
        &completion::scripts::NOUN,
        &manual::COMMAND,
        &container::run::COMMAND,
        &container::exec::COMMAND,
        &container::list::PS,
        &build::COMMAND,
        &image::pull::COMMAND,
        &image::push::COMMAND,
        &image::list::IMAGES,
        &image::search::COMMAND,
        &registry::login::COMMAND,
        &registry::logout::COMMAND,
        &system::version::COMMAND,
        &system::info::COMMAND,
        &build::BUILDER,
        &build::buildx::NOUN,
        &container::NOUN,
        &contexts::NOUN,
        &image::NOUN,
        &manifest::NOUN,
        &network::NOUN,
        &volume::NOUN,
        &system::NOUN,
        &container::attach::COMMAND,
        &container::commit::COMMAND,
        &container::copy::COMMAND,
        &container::create::COMMAND,
        &container::diff::COMMAND,
        &system::events::COMMAND,
        &container::export::COMMAND,
        &image::history::COMMAND,
        &image::import::COMMAND,
        &inspect::COMMAND,
        &container::operate::KILL,
        &image::load::COMMAND,
        &container::logs::COMMAND,
        &container::operate::PAUSE,
        &container::top::PORT,
        &container::operate::RENAME,
        &container::operate::RESTART,
        &container::remove::COMMAND,
        &image::remove::RMI,
        &image::save::COMMAND,
        &container::start::COMMAND,
        &container::stats::COMMAND,
        &container::operate::STOP,
        &image::tag::COMMAND,
        &container::top::TOP,
        &container::operate::UNPAUSE,
        &container::update::COMMAND,
        &container::operate::WAIT,
    ],
    ..Command::EMPTY
};

/// A command of ours that Docker has as a plugin, which goes before it where it is installed.
pub const BUILDX: &str = build::buildx::NOUN.name;

/// Commands that the page of `docker` names first.
pub const COMMON: &[&str] =
    &["run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version", "info"];

/// `docker help`; how a line with it is read stands in `plan`.
pub const HELP: Command = Command {
    name: "help",
    usage: "[command]",
    about: "Help about the command",
    hidden: true,
    args: Args::AtLeast(0),
    local: true,
    action: Some(|_, _| Box::pin(async { Ok(0) })),
    ..Command::EMPTY
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Path, help};

    #[test]
    fn every_command_has_a_page_and_an_action() {
        fn walk(path: &Path) {
            let page = help::page(path, &[], &help::Daemon::default(), 80);
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
