//! Words that Docker's users know, word by word.

/// The engine whose behaviour this client has, and this project's own version behind it.
pub const VERSION: &str = concat!("28.5.2+longshore", env!("CARGO_PKG_VERSION"));
/// What it was built from.
pub const COMMIT: &str = match option_env!("LONGSHORE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
/// When; RFC 3339.
pub const BUILT: &str = match option_env!("LONGSHORE_BUILD_TIME") {
    Some(built) => built,
    None => "",
};
/// In the place of Go's version.
pub const LANGUAGE: &str = "none (Rust)";

pub const NOT_A_TTY: &str = "the input device is not a TTY";
pub const ATTACH_AND_DETACH: &str = "conflicting options: cannot specify both --attach and --detach";
pub const RESTART_AND_RM: &str = "conflicting options: cannot specify both --restart and --rm";
pub const MIXED_NETWORKS: &str =
    "conflicting options: cannot attach both user-defined and non-user-defined network-modes";
pub const TAG_WITH_ALL_TAGS: &str = "tag can't be used with --all-tags/-a";
pub const ATTACH_STOPPED: &str = "You cannot attach to a stopped container, start it first";
pub const ATTACH_PAUSED: &str = "You cannot attach to a paused container, unpause it first";
pub const ATTACH_RESTARTING: &str = "You cannot attach to a restarting container, wait until it is running";
pub const SAVE_TO_TERMINAL: &str = "cowardly refusing to save to a terminal. Use the -o flag or redirect";
pub const DETACHED: &str = "read escape sequence";

/// `docker: … Run 'docker run --help' for more information`, with a status of `run`.
pub fn with_hint(words: &str, message: &str) -> String {
    format!("docker: {message}\n\nRun '{words} --help' for more information")
}

pub fn unable_to_find(image: &str) -> String {
    format!("Unable to find image '{image}' locally")
}
