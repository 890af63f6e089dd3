//! RUN: a container of the daemon's own, whose changes become a layer.

use build_core::KeyMaker;
use container_core::{Config, Healthcheck};
use dockerfile::{CommandLine, NetworkMode, Run, SecurityMode};

use crate::cancel::unless;
use crate::emulation::{self, Emulation};
use crate::error::BuildError;
use crate::messages;
use crate::metadata_steps::{command, shell};
use crate::mounts::{self, Mounted};
use crate::ports::RunRequest;
use crate::stage::host_config;
use crate::state::{Build, Known, Outcome, StageState, short};

/// How a container ends whose program the kernel does not execute.
const CANNOT_EXECUTE: i32 = 255;

pub(crate) async fn run(build: &mut Build<'_>, state: &mut StageState, run: &Run) -> Result<(), BuildError> {
    if run.security == SecurityMode::Insecure && !build.shared.config.allows_insecure {
        return Err(messages::insecure());
    }
    let words = words(state, run);
    if words.is_empty() {
        return Err(BuildError::invalid("No command specified"));
    }
    let mut mounted = mounts::prepare(build, state, &run.mounts).await?;
    let arguments = arguments(build, state);
    let key = key(state, run, build, &words, &arguments, &mounted);
    let created_by = created_by(&words, &arguments);
    match build.take_cached(state, key).await? {
        Known::Taken => return Ok(()),
        Known::Brought(outcome) => return build.finish_step(state, key, created_by, outcome).await,
        Known::Nothing => {}
    }
    let platform = state.image.config.platform();
    if emulation::of(&platform) == Emulation::Missing {
        return Err(messages::no_emulator(&words[0], &platform));
    }
    build.verify(state).await?;
    let done = match mounted.fill(build).await {
        Ok(()) => execute(build, state, run, &words, &arguments, &mounted).await,
        Err(error) => Err(error),
    };
    mounted.clear().await;
    let (id, layer) = done?;
    let layer = mounted.without_places(layer, build.epoch);
    let added = build.add_layer(state, &key, layer).await;
    if added.is_ok() && (build.request.remove || build.request.force_remove) {
        // Nothing that follows needs it gone.
        build.output.text(format!("Removing intermediate container {}\n", short(&id))).await;
        let runs = std::sync::Arc::clone(&build.shared.runs);
        build.removals.spawn(async move {
            if let Err(error) = runs.remove(&id).await {
                tracing::warn!(container = id, %error, "a build's container stays");
            }
        });
    } else if added.is_err() {
        remove(build, &id).await;
    }
    build.finish_step(state, key, created_by, Outcome::here(added?)).await
}

/// The program and its arguments; a here-document is the shell's.
fn words(state: &StageState, run: &Run) -> Vec<String> {
    let config = &state.image.config.config;
    let CommandLine::Shell(line) = &run.command else { return command(config, &run.command) };
    let Some(first) = run.heredocs.first() else { return command(config, &run.command) };
    let alone = run.heredocs.len() == 1 && line.starts_with("<<") && !line.contains(char::is_whitespace);
    let script = if alone {
        // Variables in it are the shell's, which has them all.
        let text = first.content.clone();
        match text.strip_prefix("#!") {
            // The script's own program reads it: through its standard input, since nothing of it may stay in the layer.
            Some(rest) => {
                let program = rest.lines().next().unwrap_or_default().trim().to_owned();
                let name = free_name(&text);
                format!("{program} /dev/fd/3 3<<'{name}'\n{text}{name}")
            }
            None => text,
        }
    } else {
        // The shell reads the documents as they stand.
        let documents = run.heredocs.iter().map(|document| format!("{}{}", document.content, document.name));
        std::iter::once(line.clone()).chain(documents).collect::<Vec<_>>().join("\n")
    };
    shell(config).into_iter().chain([script]).collect()
}

/// A line that the text has not.
fn free_name(text: &str) -> String {
    let mut name = "EOF".to_owned();
    while text.lines().any(|line| line == name) {
        name.push('_');
    }
    name
}

/// `NAME=value` of the arguments that no variable of the image hides.
fn arguments(build: &Build<'_>, state: &StageState) -> Vec<String> {
    let env = &state.image.config.config.env;
    let name = |text: &str| text.split_once('=').map_or(text.to_owned(), |(name, _)| name.to_owned());
    let mut arguments = build.arguments.of_run();
    arguments.retain(|argument| !env.iter().any(|variable| name(variable) == name(argument)));
    arguments
}

fn created_by(words: &[String], arguments: &[String]) -> String {
    match arguments.len() {
        0 => words.join(" "),
        count => format!("|{count} {} {}", arguments.join(" "), words.join(" ")),
    }
}

fn key(
    state: &StageState,
    run: &Run,
    build: &Build<'_>,
    words: &[String],
    arguments: &[String],
    mounted: &Mounted,
) -> ids::Digest {
    let config = &state.image.config.config;
    KeyMaker::new("RUN")
        .field(state.key.to_string())
        .fields(words)
        .fields(arguments)
        .fields(&config.env)
        .field(format!("{:?} {:?}", run.network, run.security))
        .field(&build.request.network_mode)
        .fields(&build.request.extra_hosts)
        .fields(mounted.keys())
        .finish()
}

async fn execute(
    build: &Build<'_>,
    state: &StageState,
    run: &Run,
    words: &[String],
    arguments: &[String],
    mounted: &Mounted,
) -> Result<(String, crate::ports::LayerStream), BuildError> {
    let request = container(build, state, run, words, arguments, mounted);
    let id = build.shared.runs.create(request).await?;
    build.output.text(format!(" ---> Running in {}\n", short(&id))).await;
    let ran = unless(build.token, build.shared.runs.run(&id, build.output)).await;
    let failed = match ran {
        Ok(0) => match build.shared.runs.layer(&id).await {
            Ok(layer) => return Ok((id, layer)),
            Err(error) => error.into(),
        },
        // Nobody could say before whether there is an emulator.
        Ok(CANNOT_EXECUTE) if emulation::of(&state.image.config.platform()) == Emulation::Unknown => {
            messages::no_emulator(&words[0], &state.image.config.platform())
        }
        Ok(code) => BuildError::Exit { command: words.join(" "), code },
        Err(error) => error,
    };
    // Whoever cancels wants nothing left behind.
    if build.request.force_remove || matches!(failed, BuildError::Cancelled) {
        remove(build, &id).await;
    }
    Err(failed)
}

async fn remove(build: &Build<'_>, id: &str) {
    match build.shared.runs.remove(id).await {
        Ok(()) => build.output.text(format!("Removing intermediate container {}\n", short(id))).await,
        Err(error) => tracing::warn!(container = id, %error, "a build's container stays"),
    }
}

fn container(
    build: &Build<'_>,
    state: &StageState,
    run: &Run,
    words: &[String],
    arguments: &[String],
    mounted: &Mounted,
) -> RunRequest {
    let image = &state.image.config.config;
    let mut env = image.env.clone();
    env.extend(arguments.iter().cloned());
    env.extend(build.arguments.proxies());
    env.extend(mounted.agent_variable());
    let config = Config {
        user: image.user.clone(),
        env,
        cmd: Some(mounted.command(words)),
        entrypoint: Some(Vec::new()),
        working_dir: image.working_dir.clone(),
        healthcheck: Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() }),
        attach_stdout: true,
        attach_stderr: true,
        ..Config::default()
    };
    let mut host_config = host_config(build);
    match run.network {
        NetworkMode::Default => {}
        NetworkMode::None => host_config.network_mode = "none".to_owned(),
        NetworkMode::Host => host_config.network_mode = "host".to_owned(),
    }
    host_config.privileged = run.security == SecurityMode::Insecure;
    host_config.mounts = mounted.requests();
    RunRequest { image: state.image.clone(), config, host_config }
}
