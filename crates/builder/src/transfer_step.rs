//! COPY, ADD and WORKDIR as steps of a stage.

use std::os::fd::AsFd;
use std::sync::Arc;

use archive::{Entry, EntryKind, TarWriter};
use build_core::KeyMaker;
use dockerfile::{Glob, Source, Transfer};
use ids::Digest;

use crate::builder::blocking;
use crate::error::BuildError;
use crate::metadata_steps::comment;
use crate::paths::{absolute, base_name, clean, parents, text_of};
use crate::rootfs::{self, FoundKind};
use crate::state::{Build, Known, Outcome, StageState};
use crate::transfer::{Destination, Gathered, Selection, to_layer};
use crate::tree::Tree;
use crate::{context, fetch, layer, linked, messages, owners, stage};

/// An instruction whose words are expanded.
struct Expanded {
    sources: Vec<Source>,
    destination: String,
    chown: String,
    chmod: String,
    from: Option<String>,
    exclude: Vec<Glob>,
}

pub(crate) async fn transfer(
    build: &mut Build<'_>,
    state: &mut StageState,
    given: &Transfer,
    instruction: &'static str,
) -> Result<(), BuildError> {
    let wanted = expand(build, state, given)?;
    if wanted.sources.len() > 1 && !is_folder_name(&wanted.destination) {
        return Err(messages::needs_a_folder(instruction));
    }
    let gathered = gather(build, state, given, &wanted, instruction).await?;
    if gathered.sources > 1 && !is_folder_name(&wanted.destination) {
        return Err(messages::needs_a_folder(instruction));
    }
    let (gathered, content) = blocking(move || {
        let digest = gathered.digest();
        (gathered, digest)
    })
    .await?;
    let content = content?;
    let base = &state.image.config.config.working_dir;
    let base = if base.is_empty() { "/" } else { base };
    let destination = absolute(base, &wanted.destination);
    let slash = if is_folder_name(&wanted.destination) && destination != "/" { "/" } else { "" };
    let key = KeyMaker::new(instruction)
        .field(state.key.to_string())
        .field(content.to_string())
        .field(format!("{destination}{slash}"))
        .fields([&wanted.chown, &wanted.chmod])
        .field(if given.link { "link" } else { "" })
        .finish();
    let created_by = created_by(state, &wanted, &gathered, &content, instruction);
    match build.take_cached(state, key).await? {
        Known::Taken => return Ok(()),
        Known::Brought(outcome) => return build.finish_step(state, key, created_by, outcome).await,
        Known::Nothing => {}
    }
    let linked = (given.link && !needs_accounts(&wanted)).then(|| {
        let place = format!("{destination}{slash}");
        linked::key(build, &[instruction, &content.to_string(), &place, &wanted.chown, &wanted.chmod])
    });
    if let Some(linked) = &linked
        && let Some(outcome) = linked::rebase(build, state, linked, &key).await?
    {
        return build.finish_step(state, key, created_by, outcome).await;
    }
    let is_folder = is_folder_name(&wanted.destination) || gathered.has_folder || given.parents;
    let place = place(build, state, &destination, is_folder, given.link, &wanted).await?;
    let layer = to_layer(gathered, &place)?;
    let has_layer = build.add_layer(state, &key, layer).await?;
    build.finish_step(state, key, created_by, Outcome::here(has_layer)).await?;
    match linked.filter(|_| has_layer) {
        Some(linked) => linked::remember(build, state, &linked, &key).await,
        None => Ok(()),
    }
}

/// Whether the owner is a name, which the image's own files say.
fn needs_accounts(wanted: &Expanded) -> bool {
    !wanted.chown.is_empty() && wanted.chown.split(':').any(|name| name.parse::<u32>().is_err())
}

/// `COPY file:0123… in /src `.
fn created_by(
    state: &StageState,
    wanted: &Expanded,
    gathered: &Gathered,
    content: &Digest,
    instruction: &str,
) -> String {
    let kind = match (gathered.sources, gathered.is_folder) {
        (0 | 1, false) => "file",
        (0 | 1, true) => "dir",
        _ => "multi",
    };
    // Without a blank, as Docker has it.
    let chown = if wanted.chown.is_empty() { String::new() } else { format!("--chown={}", wanted.chown) };
    let text = format!("{instruction} {chown}{kind}:{} in {} ", content.hex(), wanted.destination);
    comment(&state.image.config.config, &text)
}

fn is_folder_name(destination: &str) -> bool {
    destination.ends_with('/') || matches!(base_name(destination), "." | "..")
}

fn expand(build: &Build<'_>, state: &StageState, given: &Transfer) -> Result<Expanded, BuildError> {
    let mut sources = Vec::new();
    for source in &given.sources {
        sources.push(match source {
            Source::Path(path) => Source::Path(text_of(build.expand(state, path)?.as_bytes())),
            Source::Inline(document) => {
                let mut document = document.clone();
                document.name = build.expand(state, &document.name)?;
                if document.expand {
                    document.content = build.expand_document(state, &document.content)?;
                }
                Source::Inline(document)
            }
        });
    }
    let mut exclude = Vec::new();
    for pattern in &given.exclude {
        let pattern = build.expand(state, pattern)?;
        let cleaned = clean(&pattern).unwrap_or_default();
        let glob = Glob::deep(&cleaned);
        exclude.push(glob.ok_or_else(|| BuildError::invalid(format!("syntax error in pattern: {pattern}")))?);
    }
    Ok(Expanded {
        sources,
        destination: text_of(build.expand(state, &given.destination)?.as_bytes()),
        chown: build.expand(state, &given.chown)?,
        chmod: build.expand(state, &given.chmod)?,
        from: given.from.as_deref().map(|from| build.expand(state, from)).transpose()?,
        exclude,
    })
}

async fn gather(
    build: &Build<'_>,
    state: &StageState,
    given: &Transfer,
    wanted: &Expanded,
    instruction: &'static str,
) -> Result<Gathered, BuildError> {
    let how =
        Selection { instruction, exclude: &wanted.exclude, parents: given.parents, from_image: wanted.from.is_some() };
    let mut gathered = Gathered::default();
    for source in &wanted.sources {
        match source {
            Source::Inline(document) => gathered.add_inline(&document.name, &document.content),
            Source::Path(path) if instruction == "ADD" && fetch::is_address(path) => {
                let spool = build.shared.config.folder.join("tmp");
                fetch::add(build, given, path, &wanted.destination, &spool, &mut gathered).await?;
            }
            Source::Path(path) => match &wanted.from {
                Some(from) => {
                    let tree = tree_of(build, state.place, from, path).await?;
                    gathered.add_path(&tree, path, &how)?;
                }
                None if instruction == "ADD" && given.unpack != Some(false) => {
                    add_local(build, path, &how, &mut gathered).await?;
                }
                None => gathered.add_path(&build.context, path, &how)?,
            },
        }
    }
    Ok(gathered)
}

/// ADD unpacks archives of the context.
async fn add_local(
    build: &Build<'_>,
    path: &str,
    how: &Selection<'_>,
    gathered: &mut Gathered,
) -> Result<(), BuildError> {
    let cleaned = clean(path).ok_or_else(|| messages::forbidden_path("ADD", path))?;
    for path in build.context.matching(&cleaned)? {
        match unpacked(build, &path).await? {
            Some(tree) => gathered.add_unpacked(&tree),
            // A pattern's match is a path, whatever signs it has.
            None => gathered.add_path(&build.context, &escaped(&path), how)?,
        }
    }
    if gathered.sources == 0 && !cleaned.is_empty() && gathered.items.is_empty() {
        gathered.add_path(&build.context, &cleaned, how)?;
    }
    Ok(())
}

fn escaped(path: &str) -> String {
    path.chars().fold(String::new(), |mut text, c| {
        if matches!(c, '*' | '?' | '[' | '\\') {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

async fn unpacked(build: &Build<'_>, path: &str) -> Result<Option<Arc<Tree>>, BuildError> {
    let Some(resolved) = build.context.resolve(path) else { return Ok(None) };
    let (context, spool) = (Arc::clone(&build.context), build.shared.config.folder.join("tmp"));
    blocking(move || {
        let Some(node) = context.nodes.get(&resolved).cloned() else { return Ok(None) };
        let open = || context.open(&resolved, &node).map_err(|error| BuildError::file("read the build context", error));
        if node.is_folder() || !fetch::is_archive(open()?) {
            return Ok(None);
        }
        context::read(open()?, &spool).map(|tree| Some(Arc::new(tree)))
    })
    .await?
}

/// The files of a stage, an image or a named context below the part of a path that has no pattern.
pub(crate) async fn tree_of(build: &Build<'_>, place: usize, from: &str, path: &str) -> Result<Arc<Tree>, BuildError> {
    if let Some(tree) = build.named_files.get(from) {
        return Ok(Arc::clone(tree));
    }
    let stage = build.file.stage(from);
    if stage == Some(place) {
        return Err(messages::circular_from(from));
    }
    let result = stage.filter(|stage| *stage < place).and_then(|stage| build.results.get(&stage));
    let image = match result {
        Some(result) => result.image.clone(),
        None => stage::find_image(build, from, build.platform, false).await?.1,
    };
    if image.layers.is_empty() {
        return context::empty(&build.shared.config.folder.join("tmp")).map(Arc::new);
    }
    let open = build.open_view(&image).await?;
    let path = path.to_owned();
    let cloned = open.root.try_clone().map_err(|error| BuildError::file("look into the image", error))?;
    let loaded = blocking(move || {
        let fixed = fixed_part(&path);
        let found = rootfs::resolve(cloned.as_fd(), &fixed)
            .map_err(|error| BuildError::file(format!("find {path:?} in the image"), error))?;
        let mut tree = rootfs::load(cloned, &found.path)?;
        tree.name_links(&fixed, &found.path);
        Ok(tree)
    })
    .await?;
    // The tree has a descriptor of its own, through which the mount lives on.
    build.close(open).await;
    loaded.map(Arc::new)
}

/// The folders before the first part that is a pattern.
fn fixed_part(path: &str) -> String {
    let cleaned = clean(path.trim_start_matches('/')).unwrap_or_default();
    let literal = |part: &&str| Glob::path(part).is_some_and(|glob| glob.is_literal()) && !part.contains('\\');
    cleaned.split('/').take_while(literal).collect::<Vec<_>>().join("/")
}

async fn place(
    build: &Build<'_>,
    state: &mut StageState,
    destination: &str,
    mut is_folder: bool,
    link: bool,
    wanted: &Expanded,
) -> Result<Destination, BuildError> {
    let root = if link && !needs_accounts(wanted) { None } else { build.root(state).await? };
    let failed = |error| BuildError::file(format!("find {destination:?} in the image"), error);
    let mut path = destination.trim_matches('/').to_owned();
    let mut missing = Vec::new();
    if let Some(root) = root.filter(|_| !link) {
        let found = rootfs::resolve(root.as_fd(), &path).map_err(failed)?;
        path = found.path;
        is_folder |= found.kind == Some(FoundKind::Folder);
        let above: Vec<String> = parents(&path).map(str::to_owned).collect();
        for parent in above.into_iter().chain(is_folder.then(|| path.clone())).filter(|parent| !parent.is_empty()) {
            match rootfs::resolve(root.as_fd(), &parent).map_err(failed)?.kind {
                None => missing.push(parent),
                Some(FoundKind::Other) => return Err(messages::not_a_folder(&parent)),
                Some(FoundKind::Folder) => {}
            }
        }
    } else {
        missing = parents(&path).map(str::to_owned).chain(is_folder.then(|| path.clone())).collect();
        missing.retain(|path| !path.is_empty());
    }
    let owner = match wanted.chown.as_str() {
        "" => None,
        chown => {
            let read = |file: &str| match root {
                Some(root) => rootfs::read_accounts(root.as_fd(), file).map_err(failed),
                None => Ok(String::new()),
            };
            Some(owners::owner(chown, &read("etc/passwd")?, &read("etc/group")?)?)
        }
    };
    let (now, epoch) = (build.now(), build.epoch);
    Ok(Destination { path, is_folder, missing, owner, chmod: wanted.chmod.clone(), now, epoch })
}

/// All files of a named context at the root of an image that has none.
pub(crate) async fn lay(
    build: &Build<'_>,
    state: &mut StageState,
    name: &str,
    files: &Arc<Tree>,
) -> Result<(), BuildError> {
    let how = Selection { instruction: "FROM", exclude: &[], parents: false, from_image: true };
    let mut gathered = Gathered::default();
    gathered.add_path(files, "/", &how)?;
    let (gathered, content) = blocking(move || {
        let digest = gathered.digest();
        (gathered, digest)
    })
    .await?;
    let content = content?.to_string();
    let key = KeyMaker::new("FROM files").field(state.key.to_string()).field(content).finish();
    let created_by = format!("FROM {name}");
    match build.take_cached(state, key).await? {
        Known::Taken => return Ok(()),
        Known::Brought(outcome) => return build.finish_step(state, key, created_by, outcome).await,
        Known::Nothing => {}
    }
    let (now, epoch) = (build.now(), build.epoch);
    let place = Destination {
        path: String::new(),
        is_folder: true,
        missing: Vec::new(),
        owner: None,
        chmod: String::new(),
        now,
        epoch,
    };
    let has_layer = build.add_layer(state, &key, to_layer(gathered, &place)?).await?;
    build.finish_step(state, key, created_by, Outcome::here(has_layer)).await
}

/// A folder that is made where it is not there yet.
pub(crate) async fn work_dir(build: &Build<'_>, state: &mut StageState, text: &str) -> Result<(), BuildError> {
    let given = build.expand(state, text)?;
    if given.is_empty() {
        return Err(BuildError::invalid("cannot normalize nothing"));
    }
    let base = &state.image.config.config.working_dir;
    let path = absolute(if base.is_empty() { "/" } else { base }, &given);
    // An absolute one is noted as it is written, as in Docker.
    let noted = if given.starts_with('/') { given } else { path.clone() };
    let key = KeyMaker::new("WORKDIR").field(state.key.to_string()).field(&noted).finish();
    let created_by = comment(&state.image.config.config, &format!("WORKDIR {noted}"));
    match build.take_cached(state, key).await? {
        Known::Taken => return Ok(()),
        Known::Brought(outcome) => {
            state.image.config.config.working_dir = noted;
            return build.finish_step(state, key, created_by, outcome).await;
        }
        Known::Nothing => {}
    }
    let id = crate::metadata_steps::made_up_id();
    build.output.text(format!(" ---> Running in {id}\n")).await;
    let failed = |error| BuildError::file(format!("find {path:?} in the image"), error);
    let mut missing = Vec::new();
    let relative = path.trim_start_matches('/').to_owned();
    match build.root(state).await? {
        None => missing = parents(&relative).map(str::to_owned).chain([relative.clone()]).collect(),
        Some(root) => {
            let found = rootfs::resolve(root.as_fd(), &relative).map_err(failed)?;
            if found.kind == Some(FoundKind::Other) {
                return Err(BuildError::invalid(format!("Cannot mkdir: {path} is not a directory")));
            }
            let above: Vec<String> = parents(&found.path).map(str::to_owned).collect();
            for folder in above.into_iter().chain([found.path]) {
                if rootfs::resolve(root.as_fd(), &folder).map_err(failed)?.kind.is_none() {
                    missing.push(folder);
                }
            }
        }
    }
    missing.retain(|folder| !folder.is_empty());
    let has_layer = !missing.is_empty() && {
        let layer = folders(missing, build.now());
        build.add_layer(state, &key, layer).await?
    };
    state.image.config.config.working_dir = noted;
    build.finish_step(state, key, created_by, Outcome::here(has_layer)).await?;
    if build.request.remove {
        build.output.text(format!("Removing intermediate container {id}\n")).await;
    }
    Ok(())
}

fn folders(paths: Vec<String>, now: i64) -> crate::ports::LayerStream {
    layer::make(move |out| {
        let told = |error: archive::ArchiveError| std::io::Error::other(errors::chain(&error));
        let mut writer = TarWriter::new(out);
        for path in paths {
            let mut entry = Entry::new(format!("{path}/"), EntryKind::Directory, 0o755);
            entry.mtime = (now, 0);
            writer.append(&entry, &mut std::io::empty()).map_err(told)?;
        }
        writer.finish().map(drop).map_err(told)
    })
}
