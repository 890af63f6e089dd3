//! `docs/conformance-cli.md`: every command and flag of Docker's client 28.2, and what there is of it here.
//!
//! The page is made from the table of that client and from our own tree; a test compares it with the file, so that it is
//! never older than the program. `UPDATE_DOCS=1` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path as FilePath, PathBuf};

use super::tree::ROOT;
use super::{Path, globals};

/// `command usage short flag type`, a line a flag; a command without flags has a line with neither.
const TABLE: &str = include_str!("../../tests/docker-cli-28.2.tsv");

/// Commands that are not built yet: the first words, and which part of the project has them.
const LATER: &[(&str, &str)] = &[
    ("checkpoint", "checkpoints, an experimental feature"),
    ("config", "swarm"),
    ("node", "swarm"),
    ("plugin", "managed plugins"),
    ("secret", "swarm"),
    ("service", "swarm"),
    ("stack", "swarm"),
    ("swarm", "swarm"),
    ("trust", "trust"),
];

/// Flags that a command of ours lacks, and why.
const LACKING: &[(&str, &str, &str)] = &[];

/// Where tests are that type commands.
const TESTS: &[&str] = &[
    "crates/docker/tests",
    "crates/docker-cli/tests/against_docker",
    "crates/testhost/tests/book",
    "crates/testhost/tests/host",
    "crates/testhost/tests/swap",
];

/// Most tests that are named for a command.
const SHOWN: usize = 4;

#[derive(Default)]
struct Row {
    flags: BTreeSet<String>,
}

fn table() -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for line in TABLE.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let command = fields[0].trim_start_matches("docker").trim().to_owned();
        let row = rows.entry(command).or_default();
        if let Some(flag) = fields.get(3).and_then(|flag| flag.strip_prefix("--")) {
            row.flags.insert(flag.to_owned());
        }
    }
    rows
}

fn ours(command: &str) -> Option<Path> {
    let root = Path { words: "docker".to_owned(), command: &ROOT };
    command.split_whitespace().try_fold(root, |path, word| path.child(word))
}

fn flags_of(path: &Path) -> BTreeSet<String> {
    let own = path.command.flags.iter().flat_map(|group| group.iter());
    let all = if path.words == "docker" { globals::flags().iter().collect::<Vec<_>>() } else { own.collect() };
    all.into_iter().map(|flag| flag.long.to_owned()).collect()
}

/// Which part of the project has a command that is not here.
fn area(command: &str) -> Option<&'static str> {
    let starts = |words: &str| command == words || command.starts_with(&format!("{words} "));
    LATER.iter().find(|(words, _)| starts(words)).map(|(_, area)| *area)
}

fn workspace() -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(FilePath::to_path_buf).unwrap_or_default()
}

/// Test files with their text, by `folder/name`.
fn tests() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in TESTS {
        let Ok(entries) = std::fs::read_dir(workspace().join(folder)) else { continue };
        let short = folder.rsplit('/').next().unwrap_or(folder);
        let is_test =
            |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs" || extension == "txt");
        for path in entries.flatten().map(|entry| entry.path()).filter(is_test) {
            let text = std::fs::read_to_string(&path).unwrap();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((format!("{short}/{stem}"), text));
        }
    }
    found.sort();
    found
}

/// Tests that type the command: as words of a list, or as a line, or at a prompt.
fn tests_of(command: &str, tests: &[(String, String)]) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let list = format!("[\"{}\"", words.join("\", \""));
    let line = format!("\"{command} ");
    let whole = format!("\"{command}\"");
    let at_prompt = |line: &str| {
        let rest = line.strip_prefix("$ docker ").and_then(|rest| rest.strip_prefix(command));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let types = |text: &str| {
        text.contains(&format!("{list},"))
            || text.contains(&format!("{list}]"))
            || text.contains(&line)
            || (words.len() > 1 && text.contains(&whole))
            || (!command.is_empty() && text.lines().any(at_prompt))
    };
    let names: Vec<&str> = tests.iter().filter(|(_, text)| types(text)).map(|(name, _)| name.as_str()).collect();
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    format!("{}{more}", names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", "))
}

/// What Docker's client does otherwise on purpose, or this one does not do.
const DIFFERENCES: &[&str] = &[
    "Credentials are tried by the daemon alone; a daemon that is not reached is not replaced by this client.",
    "A plugin takes this program's place instead of running below it: signals are its own, and no socket is made for it.",
    "Hooks of plugins are not run, and `aliases` of the configuration are not followed.",
    "The scripts of `docker completion` are shorter and need no package.",
    "What is wrong with a template is said before the daemon is asked.",
    "`config.json` keeps the order and the unknown members that it had.",
];

fn page() -> String {
    let rows = table();
    let tests = tests();
    let (mut have, mut flags_had, mut flags_all) = (0, 0, 0);
    let mut body = String::from("| command | flags | state | typed by |\n|---|---|---|---|\n");
    for (command, row) in &rows {
        flags_all += row.flags.len();
        let shown = format!("docker {command}");
        let Some(path) = ours(command) else {
            let area = area(command).unwrap_or("?");
            let _ = writeln!(body, "| `{}` | 0 of {} | not yet: {area} | |", shown.trim_end(), row.flags.len());
            continue;
        };
        have += 1;
        let own = flags_of(&path);
        let lacking: Vec<&String> = row.flags.difference(&own).collect();
        flags_had += row.flags.len() - lacking.len();
        let state = if lacking.is_empty() {
            "have".to_owned()
        } else {
            let told = lacking.iter().map(|flag| {
                let reason = LACKING.iter().find(|(known, name, _)| known == command && name == flag);
                format!("`--{flag}`: {}", reason.map_or("not yet", |(_, _, reason)| reason))
            });
            format!("have, but {}", told.collect::<Vec<_>>().join("; "))
        };
        let count = format!("{} of {}", row.flags.len() - lacking.len(), row.flags.len());
        let typed = if path.command.is_noun() { String::new() } else { tests_of(command, &tests) };
        let _ = writeln!(body, "| `{}` | {count} | {state} | {typed} |", shown.trim_end());
    }
    let differences: String = DIFFERENCES.iter().map(|line| format!("- {line}\n")).collect();
    format!(
        "# The docker command line beside Docker's client 28.2\n\n\
         Made by a test of `docker-cli` from that client's commands and flags and from ours; `UPDATE_DOCS=1 cargo nextest run\n\
         -p docker-cli conformance` writes it anew. Pages, usage errors, completions and contexts of all of these commands are\n\
         compared with that client by `against_docker`; the last column says which tests type a command besides.\n\n\
         {have} of {} commands, {flags_had} of {flags_all} flags.\n\n{body}\n\
         ## Differences\n\n{differences}",
        rows.len()
    )
}

#[test]
fn the_page_of_conformance_is_what_the_program_has() {
    let path = workspace().join("docs/conformance-cli.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    // Which tests type a command changes with every test: only what the program has must be right.
    let facts = |text: &str| -> Vec<String> {
        let cut = |line: &str| line.rsplitn(3, " | ").last().unwrap_or(line).to_owned();
        text.lines().filter(|line| line.starts_with("| `") || line.contains(" commands, ")).map(cut).collect()
    };
    assert_eq!(facts(&stored), facts(&page), "write docs/conformance-cli.md anew: UPDATE_DOCS=1");
}

#[test]
fn what_is_missing_has_an_owner() {
    for (command, row) in table() {
        match ours(&command) {
            None => assert!(area(&command).is_some(), "docker {command} belongs to nobody"),
            Some(path) => {
                for flag in row.flags.difference(&flags_of(&path)) {
                    let told = LACKING.iter().any(|(known, name, _)| *known == command && name == flag);
                    assert!(told, "docker {command} lacks --{flag}");
                }
            }
        }
    }
}
