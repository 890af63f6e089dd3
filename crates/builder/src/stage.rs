//! One stage: its base, its steps in order, its end.

use std::sync::{Arc, PoisonError};

use build_core::KeyMaker;
use container_core::HostConfig;
use dockerfile::{Instruction, Lines, Stage, Statement, parse_trigger};
use errors::{ErrorKind, Kind};
use image_core::Platform;
use registry_client::Credentials;

use crate::cancel::unless;
use crate::error::BuildError;
use crate::made::Material;
use crate::messages;
use crate::metadata_steps;
use crate::ports::Image;
use crate::progress::is_told;
use crate::request::BuildRequest;
use crate::state::{Build, StageResult, StageState};
use crate::tree::Tree;
use crate::{hints, run, transfer_step};

/// What a shell finds programs in where the image does not say.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Builds a stage, and keeps its result for the stages behind it.
pub(crate) async fn build(build: &mut Build<'_>, place: usize, is_target: bool) -> Result<(), BuildError> {
    let first = build.step;
    match attempt(build, place, is_target, true).await {
        Err(BuildError::Lost) => {
            // Somebody has removed layers behind our back: everything is made anew.
            build.step = first;
            attempt(build, place, is_target, false).await
        }
        done => done,
    }
}

async fn attempt(build: &mut Build<'_>, place: usize, is_target: bool, looks_up: bool) -> Result<(), BuildError> {
    let stage = &build.file.stages[place];
    build.announce(&stage.original).await;
    build.arguments.enter_stage();
    let begun = begin(build, place, stage).await;
    let mut state = begun.map_err(|error| at(hints::of_base(build, place, error), "FROM", stage.lines))?;
    state.looks_up &= looks_up;
    let mut built = steps(build, &mut state, stage, is_target).await;
    if built.is_ok() {
        built = build.verify(&mut state).await;
    }
    build.close_view(&mut state).await;
    built?;
    build.tell_result(&state).await;
    let id = state.id();
    let is_new = state.untouched.is_none();
    if !is_target && is_new && build.output.steps().is_none() {
        // As Docker's classic builder leaves it, and BuildKit does not: an image without a name.
        build.shared.images.store(&state.image).await?;
    }
    let image = state.untouched.map_or(state.image, |(_, image)| image);
    build
        .results
        .insert(place, StageResult { id, image, key: state.key, is_new, steps: state.steps, base: state.base });
    Ok(())
}

fn at(error: BuildError, instruction: &str, lines: Lines) -> BuildError {
    match error {
        BuildError::Cancelled | BuildError::Lost | BuildError::Step { .. } => error,
        error => BuildError::Step { lines, instruction: instruction.to_owned(), source: Box::new(error) },
    }
}

async fn steps(
    build: &mut Build<'_>,
    state: &mut StageState,
    stage: &Stage,
    is_target: bool,
) -> Result<(), BuildError> {
    let triggers = std::mem::take(&mut state.image.config.config.on_build);
    if !triggers.is_empty() {
        let plural = if triggers.len() > 1 { "s" } else { "" };
        build.output.text(format!("# Executing {} build trigger{plural}\n", triggers.len())).await;
        for (place, trigger) in triggers.iter().enumerate() {
            let statement = parse_trigger(trigger)?;
            let steps = build.output.steps().filter(|_| is_told(&statement.instruction));
            if let Some(steps) = steps {
                steps.begin_trigger(place, &statement.original).await;
            }
            let done = step(build, state, &statement).await;
            if let Some(steps) = steps {
                steps.end(&done).await;
            }
            done.map_err(|error| at(error, "ONBUILD", stage.lines))?;
        }
    }
    build.show(state).await;
    for (place, statement) in stage.statements.iter().enumerate() {
        build.announce(&statement.original).await;
        let steps = build.output.steps().filter(|_| is_told(&statement.instruction));
        if let Some(steps) = steps {
            let shown = build.expand_shown(state, &statement.original);
            steps.begin_statement(place, &shown).await;
        }
        let done = step(build, state, statement).await;
        if let Some(steps) = steps {
            steps.end(&done).await;
        }
        done.map_err(|error| {
            at(hints::of_step(build, state.place, statement, error), &statement.original, statement.lines)
        })?;
        build.show(state).await;
    }
    if is_target && !build.request.labels.is_empty() {
        for (key, value) in &build.request.labels {
            build.announce(&format!("LABEL {key}={value}")).await;
            metadata_steps::add_labels(build, state, vec![(key.clone(), value.clone())]).await?;
            build.show(state).await;
        }
    }
    Ok(())
}

async fn step(build: &mut Build<'_>, state: &mut StageState, statement: &Statement) -> Result<(), BuildError> {
    if build.token.is_cancelled() {
        return Err(BuildError::Cancelled);
    }
    match &statement.instruction {
        Instruction::Run(run) => run::run(build, state, run).await,
        Instruction::Copy(copy) => transfer_step::transfer(build, state, copy, "COPY").await,
        Instruction::Add(add) => transfer_step::transfer(build, state, add, "ADD").await,
        Instruction::WorkDir(path) => transfer_step::work_dir(build, state, path).await,
        instruction => metadata_steps::apply(build, state, instruction).await,
    }
}

async fn begin(build: &mut Build<'_>, place: usize, stage: &Stage) -> Result<StageState, BuildError> {
    let expand = |text: &str| {
        let lookup = |name: &str| build.arguments.global_value(name);
        dockerfile::Expander::new(build.file.directives.escape, &lookup).word(text)
    };
    let base = expand(&stage.base)?;
    let platform = match &stage.platform {
        Some(text) => Some(expand(text)?).filter(|text| !text.is_empty()),
        None => build.platform.map(str::to_owned),
    };
    if base.is_empty() {
        return Err(messages::empty_base(&stage.base));
    }
    let stage_of_base = base_stage(build, place, &base);
    let files = build.named_files.get(&base).filter(|_| stage_of_base.is_none()).cloned();
    let (id, image, key) = match stage_of_base {
        Some(result) => (result.id.clone(), result.image.clone(), result.key),
        None if files.is_some() => scratch(build, platform.as_deref())?,
        None => base_image(build, &base, platform.as_deref()).await?,
    };
    let filter = &build.request.no_cache_filter;
    let named = |name: &String| build.file.stage(name) == Some(place);
    let mut state = StageState {
        place,
        untouched: Some((id, image.clone())),
        base: image.clone(),
        image,
        key,
        parent: None,
        steps: Vec::new(),
        has_command: false,
        unverified: false,
        flight: None,
        looks_up: !build.request.no_cache && !filter.iter().any(named),
        view: None,
    };
    // It lists the steps of another image.
    state.image.config.build_cache = None;
    if let Some(stage) = stage_of_base {
        state.steps.clone_from(&stage.steps);
        state.parent = Some(state.key.to_string()).filter(|key| build.shared.cache.has(key));
    }
    let env = &mut state.image.config.config.env;
    if !env.iter().any(|variable| variable.starts_with("PATH=")) {
        env.push(DEFAULT_PATH.to_owned());
    }
    if let Some(files) = files {
        lay_files(build, &mut state, &base, &files).await?;
    }
    Ok(state)
}

/// The stage before it that a stage begins on.
fn base_stage<'b>(build: &'b Build<'_>, place: usize, base: &str) -> Option<&'b StageResult> {
    let number = base.parse::<usize>().is_ok();
    let stage = build.file.stage(base).filter(|found| *found < place && !number)?;
    build.results.get(&stage)
}

/// The image that a stage begins on, with its id, and the key that stands for it.
async fn base_image(
    build: &Build<'_>,
    base: &str,
    platform: Option<&str>,
) -> Result<(String, Image, ids::Digest), BuildError> {
    if base == "scratch" {
        return scratch(build, platform);
    }
    let (id, image) = find_base(build, base, platform).await?;
    let key = KeyMaker::new("image").field(&id).field(epoch_text(build)).finish();
    Ok((id, image, key))
}

/// Nothing, for a platform.
fn scratch(build: &Build<'_>, platform: Option<&str>) -> Result<(String, Image, ids::Digest), BuildError> {
    let wanted = platform.map(Platform::parse).transpose();
    let platform = wanted.map_err(|error| BuildError::invalid(error.to_string()))?.unwrap_or_else(Platform::host);
    let mut image = Image::default();
    image.config.os.clone_from(&platform.os);
    image.config.architecture.clone_from(&platform.architecture);
    image.config.variant.clone_from(&platform.variant);
    let key = KeyMaker::new("scratch").field(platform.to_string()).field(epoch_text(build)).finish();
    Ok((String::new(), image, key))
}

fn epoch_text(build: &Build<'_>) -> String {
    build.epoch.map(|epoch| epoch.to_string()).unwrap_or_default()
}

/// FROM a named context that is files: they are the first layer of an image of nothing else, as in BuildKit.
async fn lay_files(build: &Build<'_>, state: &mut StageState, name: &str, files: &Arc<Tree>) -> Result<(), BuildError> {
    let steps = build.output.steps();
    if let Some(steps) = steps {
        steps.begin_from(name).await;
    }
    let laid = transfer_step::lay(build, state, name, files).await;
    if let Some(steps) = steps {
        steps.end(&laid).await;
    }
    laid
}

/// The image of a FROM: looked for, then pulled where it is missing or a newer one is wanted.
async fn find_base(build: &Build<'_>, base: &str, platform: Option<&str>) -> Result<(String, Image), BuildError> {
    let Some(steps) = build.output.steps() else {
        return find_image(build, base, platform, build.request.pull).await;
    };
    let full = ids::Reference::parse_familiar(base).map(|reference| reference.with_default_tag().to_string());
    let full = full.unwrap_or_else(|_| base.to_owned());
    steps.begin_metadata(&full).await;
    let known = match build.request.pull {
        true => Ok(None),
        false => find_stored(build, base, platform).await,
    };
    steps.end(&known).await;
    let known = known?;
    steps.begin_from(&full).await;
    let found = match known {
        Some(found) => {
            steps.mark_cached();
            Ok(found)
        }
        None => pull_image(build, base, platform).await,
    };
    steps.end(&found).await;
    found
}

/// An image of the store, or of its registry.
pub(crate) async fn find_image(
    build: &Build<'_>,
    name: &str,
    platform: Option<&str>,
    pull: bool,
) -> Result<(String, Image), BuildError> {
    if !pull && let Some(found) = find_stored(build, name, platform).await? {
        return Ok(found);
    }
    pull_image(build, name, platform).await
}

async fn find_stored(
    build: &Build<'_>,
    name: &str,
    platform: Option<&str>,
) -> Result<Option<(String, Image)>, BuildError> {
    match build.shared.images.find(meant(build, name), platform).await {
        Ok((id, image)) if fits(&image, platform) => {
            note_material(build, name, &image);
            Ok(Some((id, image)))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn pull_image(build: &Build<'_>, name: &str, platform: Option<&str>) -> Result<(String, Image), BuildError> {
    let (name, images) = (meant(build, name), &build.shared.images);
    let credentials = match ids::Reference::parse_familiar(name) {
        Ok(reference) => unless(build.token, credentials(build.request, &reference)).await?,
        Err(_) => Credentials::Anonymous,
    };
    unless(build.token, images.pull(name, platform, credentials, build.output)).await?;
    let (id, image) = images.find(name, platform).await?;
    note_material(build, name, &image);
    Ok((id, image))
}

/// What the image is made of is told by its provenance.
fn note_material(build: &Build<'_>, name: &str, image: &Image) {
    let material = Material { name: meant(build, name).to_owned(), platform: image.config.platform().to_string() };
    build.materials.lock().unwrap_or_else(PoisonError::into_inner).insert(material);
}

/// The image that a name of the request's stands for.
fn meant<'a>(build: &'a Build<'_>, name: &'a str) -> &'a str {
    build.request.contexts.get(name).and_then(|source| source.strip_prefix("docker-image://")).unwrap_or(name)
}

fn fits(image: &Image, platform: Option<&str>) -> bool {
    match platform.map(Platform::parse) {
        Some(Ok(wanted)) => wanted.rank(&image.config.platform()).is_some(),
        _ => true,
    }
}

/// Those for the registry in the name; Docker's own has three names.
pub(crate) async fn credentials(request: &BuildRequest, reference: &ids::Reference) -> Result<Credentials, BuildError> {
    let domain = reference.domain();
    let names: &[&str] = match domain {
        "docker.io" => &["https://index.docker.io/v1/", "index.docker.io", "docker.io"],
        own => &[own],
    };
    let known = &request.credentials;
    if let Some(credentials) = names.iter().find_map(|name| known.get(*name)) {
        return Ok(credentials.clone());
    }
    let Some(session) = &request.session else { return Ok(Credentials::Anonymous) };
    let host = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
    Ok(session.credentials(host).await?)
}

/// What every container of a build has.
pub(crate) fn host_config(build: &Build<'_>) -> HostConfig {
    let mut host = HostConfig {
        network_mode: build.request.network_mode.clone(),
        extra_hosts: build.request.extra_hosts.clone(),
        ..HostConfig::default()
    };
    build.request.resources.apply(&mut host);
    host.log_config.driver = "none".to_owned();
    host
}
