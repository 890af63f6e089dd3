//! Instructions that change the configuration only.

use build_core::KeyMaker;
use dockerfile::{Arg, CommandLine, Healthcheck, Instruction, Pair};
use image_core::ContainerConfig;

use crate::error::BuildError;
use crate::state::{Build, Known, StageState};

const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// What runs a line.
pub(crate) fn shell(config: &ContainerConfig) -> Vec<String> {
    config.shell.clone().unwrap_or_else(|| DEFAULT_SHELL.map(str::to_owned).to_vec())
}

/// What the history says of a step that runs nothing.
pub(crate) fn comment(config: &ContainerConfig, text: &str) -> String {
    format!("{} #(nop) {text}", shell(config).join(" "))
}

/// Twelve digits of nothing: what the classic builder calls the container that it makes for every step.
pub(crate) fn made_up_id() -> String {
    let mut bytes = [0_u8; 6];
    // Without randomness it is zeros, which name nothing either.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) async fn apply(
    build: &mut Build<'_>,
    state: &mut StageState,
    instruction: &Instruction,
) -> Result<(), BuildError> {
    match instruction {
        Instruction::Arg(args) => declare(build, state, args).await,
        Instruction::Env(pairs) => {
            let pairs = expand_pairs(build, state, pairs)?;
            let text = shown_pairs("ENV", &pairs);
            commit(build, state, &text, |config| pairs.iter().for_each(|(key, value)| set_env(config, key, value)))
                .await
        }
        Instruction::Label(pairs) => {
            let pairs = expand_pairs(build, state, pairs)?;
            add_labels(build, state, pairs).await
        }
        Instruction::Cmd(line) => {
            let words = command(&state.image.config.config, line);
            state.has_command |= !words.is_empty();
            commit(build, state, &format!("CMD {}", quoted(&words)), |config| config.cmd = Some(words)).await
        }
        Instruction::Entrypoint(line) => {
            let words = command(&state.image.config.config, line);
            let keeps_command = state.has_command;
            commit(build, state, &format!("ENTRYPOINT {}", quoted(&words)), |config| {
                if !keeps_command {
                    config.cmd = None;
                }
                config.entrypoint = Some(words);
            })
            .await
        }
        Instruction::Expose(words) => expose(build, state, words).await,
        Instruction::Healthcheck(check) => healthcheck(build, state, check).await,
        Instruction::Maintainer(text) => {
            // Variables in it are none, as in Docker.
            state.image.config.author.clone_from(text);
            commit(build, state, &format!("MAINTAINER {text}"), |_| {}).await
        }
        Instruction::OnBuild(trigger) => {
            let text = format!("ONBUILD {trigger}");
            commit(build, state, &text, |config| config.on_build.push(trigger.clone())).await
        }
        Instruction::Shell(words) => {
            let text = format!("SHELL [{}]", words.join(" "));
            commit(build, state, &text, |config| config.shell = Some(words.clone())).await
        }
        Instruction::StopSignal(text) => {
            let signal = build.expand(state, text)?;
            if container_core::parse_signal(&signal).is_err() {
                return Err(BuildError::invalid(format!("Invalid signal: {signal}")));
            }
            commit(build, state, &format!("STOPSIGNAL {signal}"), |config| config.stop_signal = signal.clone()).await
        }
        Instruction::User(text) => {
            let user = build.expand(state, text)?;
            commit(build, state, &format!("USER {user}"), |config| config.user = user.clone()).await
        }
        Instruction::Volume(words) => volumes(build, state, words).await,
        // These make layers, and are done elsewhere.
        Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_) | Instruction::WorkDir(_) => Ok(()),
    }
}

async fn declare(build: &mut Build<'_>, state: &mut StageState, args: &[Arg]) -> Result<(), BuildError> {
    let mut shown = Vec::new();
    for arg in args {
        let name = build.expand(state, &arg.name)?;
        let default = arg.default.as_deref().map(|text| build.expand(state, text)).transpose()?;
        shown.push(match &default {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        });
        build.arguments.declare(&name, default);
    }
    commit(build, state, &format!("ARG {}", shown.join(" ")), |_| {}).await
}

async fn volumes(build: &Build<'_>, state: &mut StageState, words: &[String]) -> Result<(), BuildError> {
    let mut paths = Vec::new();
    for word in words {
        let path = build.expand(state, word)?;
        match path.trim() {
            "" => return Err(BuildError::invalid("VOLUME specified can not be an empty string")),
            path => paths.push(path.to_owned()),
        }
    }
    let text = format!("VOLUME [{}]", paths.join(" "));
    commit(build, state, &text, |config| paths.iter().for_each(|path| add(&mut config.volumes, path))).await
}

pub(crate) async fn add_labels(
    build: &Build<'_>,
    state: &mut StageState,
    labels: Vec<(String, String)>,
) -> Result<(), BuildError> {
    let text = shown_pairs("LABEL", &labels);
    commit(build, state, &text, |config| config.labels.extend(labels)).await
}

/// One step: found, or made by a change of the configuration.
async fn commit(
    build: &Build<'_>,
    state: &mut StageState,
    text: &str,
    change: impl FnOnce(&mut ContainerConfig),
) -> Result<(), BuildError> {
    let author = &state.image.config.author;
    let key = KeyMaker::new("configuration").field(state.key.to_string()).field(text).field(author).finish();
    let known = match build.take_cached(state, key).await? {
        Known::Taken => return Ok(()),
        Known::Brought(outcome) => Some(outcome),
        Known::Nothing => None,
    };
    // A new result: what follows may still be known, since keys follow from what is read.
    let (id, is_new) = (made_up_id(), known.is_none());
    if is_new {
        build.output.text(format!(" ---> Running in {id}\n")).await;
    }
    change(&mut state.image.config.config);
    let created_by = comment(&state.image.config.config, &format!(" {text}"));
    build.finish_step(state, key, created_by, known.unwrap_or_default()).await?;
    if is_new && build.request.remove {
        build.output.text(format!("Removing intermediate container {id}\n")).await;
    }
    Ok(())
}

fn expand_pairs(build: &Build<'_>, state: &StageState, pairs: &[Pair]) -> Result<Vec<(String, String)>, BuildError> {
    let expanded = |pair: &Pair| {
        let key = build.expand(state, &pair.key)?;
        match key.is_empty() {
            true => Err(BuildError::invalid("names can not be blank")),
            false => Ok((key, build.expand(state, &pair.value)?)),
        }
    };
    pairs.iter().map(expanded).collect()
}

fn shown_pairs(name: &str, pairs: &[(String, String)]) -> String {
    pairs.iter().fold(name.to_owned(), |text, (key, value)| format!("{text} {key}={value}"))
}

fn set_env(config: &mut ContainerConfig, key: &str, value: &str) {
    let entry = format!("{key}={value}");
    let same = |old: &&mut String| old.split_once('=').map_or(old.as_str(), |(name, _)| name) == key;
    match config.env.iter_mut().find(same) {
        Some(old) => *old = entry,
        None => config.env.push(entry),
    }
}

/// The words of a command, a line's with the shell before it.
pub(crate) fn command(config: &ContainerConfig, line: &CommandLine) -> Vec<String> {
    match line {
        CommandLine::Exec(words) => words.clone(),
        CommandLine::Shell(text) if text.is_empty() => Vec::new(),
        CommandLine::Shell(text) => shell(config).into_iter().chain([text.clone()]).collect(),
    }
}

/// As Go's `%q` shows a list.
fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", words.join(" "))
}

fn add(set: &mut Vec<String>, entry: &str) {
    if let Err(at) = set.binary_search_by(|own| own.as_str().cmp(entry)) {
        set.insert(at, entry.to_owned());
    }
}

async fn expose(build: &Build<'_>, state: &mut StageState, words: &[String]) -> Result<(), BuildError> {
    let mut ports = Vec::new();
    let mut shown = Vec::new();
    for word in words {
        for word in build.expand_words(state, word)? {
            ports.extend(exposed(&word)?);
            shown.push(word);
        }
    }
    shown.sort();
    let text = format!("EXPOSE {}", shown.join(" "));
    commit(build, state, &text, |config| ports.iter().for_each(|port| add(&mut config.exposed_ports, port))).await
}

/// `80`, `8000-8010/udp`.
fn exposed(word: &str) -> Result<Vec<String>, BuildError> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(BuildError::invalid(format!("invalid proto: {protocol}")));
    }
    let bad = || BuildError::invalid(format!("invalid containerPort: {word}"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first > last {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

async fn healthcheck(build: &Build<'_>, state: &mut StageState, check: &Healthcheck) -> Result<(), BuildError> {
    if let Some(old) =
        state.image.config.config.healthcheck.as_ref().filter(|old| old.test.first().is_some_and(|kind| kind != "NONE"))
    {
        let note = format!("Note: overriding previous HEALTHCHECK: [{}]\n", old.test.join(" "));
        build.output.text(note).await;
    }
    // What is not said stays as it was, as in Docker.
    let old = state.image.config.config.healthcheck.clone().unwrap_or_default();
    let or = |said: i64, old: i64| if said == 0 { old } else { said };
    let made = image_core::Healthcheck {
        test: check.test.clone(),
        interval: or(check.interval, old.interval),
        timeout: or(check.timeout, old.timeout),
        start_period: or(check.start_period, old.start_period),
        start_interval: or(check.start_interval, old.start_interval),
        retries: or(check.retries, old.retries),
    };
    let seconds = |ns: i64| format!("{:?}", go_duration(ns));
    let text = format!(
        "HEALTHCHECK &{{{} {} {} {} {} '\\x{:02x}'}}",
        quoted(&check.test),
        seconds(check.interval),
        seconds(check.timeout),
        seconds(check.start_period),
        seconds(check.start_interval),
        check.retries
    );
    commit(build, state, &text, |config| config.healthcheck = Some(made)).await
}

/// As Go shows a duration: `1m30s`, `500ms`, `0s`.
fn go_duration(ns: i64) -> String {
    let seconds = ns / 1_000_000_000;
    let rest = ns % 1_000_000_000;
    if seconds == 0 && rest != 0 {
        return format!("{}ms", rest as f64 / 1e6);
    }
    let fraction = if rest == 0 { String::new() } else { format!(".{rest:09}").trim_end_matches('0').to_owned() };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_read_as_docker_s() {
        let config = ContainerConfig::default();
        assert_eq!(comment(&config, " ENV A=b"), "/bin/sh -c #(nop)  ENV A=b");
        assert_eq!(quoted(&["node".to_owned(), "./app.js".to_owned()]), "[\"node\" \"./app.js\"]");
        assert_eq!([0, 90_000_000_000, 1_500_000_000, 5_000_000].map(go_duration), ["0s", "1m30s", "1.5s", "5ms"]);
        assert_eq!(exposed("80-81/udp").unwrap(), ["80/udp", "81/udp"]);
        assert!(exposed("x").is_err() && exposed("9-8").is_err() && exposed("1/foo").is_err());
    }
}
