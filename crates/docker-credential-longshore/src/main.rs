//! `docker-credential-longshore`: keeps this user's credentials of registries for docker, podman, skopeo and whatever else
//! speaks the credential-helper protocol.

mod protocol;

use std::io::{self, Write};
use std::process::ExitCode;

use credential_store::{Places, Store};

use protocol::Outcome;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["version" | "--version" | "-v"] => Outcome::done(protocol::version()),
        ["--help" | "-h"] => Outcome::done(protocol::usage()),
        [action] if protocol::ACTIONS.contains(&action) => match Places::of_user(|name| std::env::var_os(name)) {
            Ok(places) => protocol::perform(action, &Store::new(places), &mut io::stdin().lock()),
            Err(error) => Outcome::failed(errors::chain(&error)),
        },
        [action] => Outcome::failed(format!("{action}: unknown action\n{}", protocol::usage())),
        _ => Outcome::failed(protocol::usage()),
    };
    // The protocol has answers and errors alike on standard output. Nobody is told when it is closed.
    let _ = io::stdout().write_all(outcome.text.as_bytes());
    outcome.code
}
