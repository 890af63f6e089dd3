//! `RUN --mount`: what a step's container sees besides its image. What the mounts are of is found out first, since the step
//! may be known already; their sources are made (`fill.rs`) when it runs.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use build_core::KeyMaker;
use container_core::{MountKind as RequestKind, MountRequest};
use dockerfile::{Mount, MountKind};
use tokio::sync::OwnedMutexGuard;

use crate::agents::{self, Forward};
use crate::builder::blocking;
use crate::cancel::unless;
use crate::error::BuildError;
use crate::fill::{Fill, Variable};
use crate::lent::Agent;
use crate::paths::absolute;
use crate::ports::LayerStream;
use crate::state::{Build, StageState};
use crate::transfer::{Gathered, Place, Selection};
use crate::transfer_step::tree_of;
use crate::tree::Tree;
use crate::{cache_mounts, layer, messages, paths, remote_cache, rootfs};

/// The largest secret, as in Docker.
const MAX_SECRET: usize = 500 << 10;

/// Where a step finds the program that knows its secret variables, and them.
const INIT_PLACE: &str = "/dev/.docker-build/init";
const ENVIRONMENT_PLACE: &str = "/dev/.docker-build/environment";

/// The mounts of one RUN.
pub(crate) struct Mounted {
    mounts: Vec<StepMount>,
    /// Places that were made to mount on, which are no part of the layer.
    places: Vec<String>,
    folder: PathBuf,
    /// Apart from everything else: in memory, where the daemon's runtime folder is.
    secrets: PathBuf,
    /// Sockets of the client's agents, to be made, and those that lead there.
    forwards: Vec<Forward>,
    agents: Vec<Agent>,
    /// Caches that nobody else uses meanwhile.
    pub alone: Vec<OwnedMutexGuard<()>>,
}

/// One of them.
pub(crate) struct StepMount {
    pub request: Option<MountRequest>,
    /// A variable that nothing but the step's process may have.
    pub env: Option<Variable>,
    pub key: String,
    /// What its source is filled with.
    pub fill: Option<Fill>,
}

/// Finds out what the mounts are of. Nothing is made yet: the step may be known already.
pub(crate) async fn prepare(
    build: &Build<'_>,
    state: &mut StageState,
    wanted: &[Mount],
) -> Result<Mounted, BuildError> {
    let (config, name) = (&build.shared.config, random_name());
    let (folder, secrets) = (config.folder.join("tmp").join(&name), config.secrets.join(&name));
    let mut mounted = Mounted {
        mounts: Vec::new(),
        places: Vec::new(),
        folder,
        secrets,
        forwards: Vec::new(),
        agents: Vec::new(),
        alone: Vec::new(),
    };
    for (place, mount) in wanted.iter().enumerate() {
        let mut mount = mount.clone();
        for text in [&mut mount.target, &mut mount.from, &mut mount.source, &mut mount.id] {
            *text = build.expand(state, text)?;
        }
        let base = state.image.config.config.working_dir.clone();
        if mount.kind == MountKind::Secret && mount.target.is_empty() && mount.env.is_none() {
            mount.target = format!("/run/secrets/{}", mount.id);
        }
        if mount.kind == MountKind::Ssh && mount.target.is_empty() {
            mount.target = agents::default_target(mounted.forwards.len());
        }
        if !mount.target.is_empty() {
            mount.target = absolute(&base, &mount.target);
            if mount.target == "/" {
                return Err(BuildError::invalid("invalid mount target \"/\""));
            }
            mounted.note_place(build, state, &mount.target).await?;
        }
        let one = match mount.kind {
            MountKind::Bind => bind(build, state, &mount, &mounted.folder.join(place.to_string())).await?,
            MountKind::Cache => cache_mounts::prepare(build, state, &mount, &mut mounted).await?,
            MountKind::Tmpfs => tmpfs(&mount),
            MountKind::Secret => match secret(build, &mount, &mounted.secrets.join(place.to_string())).await? {
                Some(one) => one,
                None => continue,
            },
            MountKind::Ssh => {
                let path = mounted.secrets.join(place.to_string());
                let Some((request, key, forward)) = agents::prepare(build, &mount, &path).await? else { continue };
                mounted.forwards.push(forward);
                StepMount { request: Some(request), env: None, key, fill: None }
            }
        };
        mounted.mounts.push(one);
    }
    mounted.hide_variables(&config.init);
    Ok(mounted)
}

impl Mounted {
    /// Variables that are secrets stand in no record of the container: `docker-init` reads them from a file and becomes the
    /// step's program. Both are mounted where the container's own /dev is, so that nothing of them is in the layer.
    fn hide_variables(&mut self, init: &Path) {
        let variables: Vec<Variable> = self.mounts.iter_mut().filter_map(|one| one.env.take()).collect();
        if variables.is_empty() {
            return;
        }
        let path = self.secrets.join("environment");
        let mount = |source: &Path, target: &str| MountRequest {
            kind: RequestKind::Bind,
            source: source.display().to_string(),
            target: target.to_owned(),
            read_only: true,
            ..MountRequest::default()
        };
        for request in [mount(init, INIT_PLACE), mount(&path, ENVIRONMENT_PLACE)] {
            self.mounts.push(StepMount { request: Some(request), env: None, key: String::new(), fill: None });
        }
        let one = StepMount { request: None, env: None, key: String::new(), fill: None };
        self.mounts.push(StepMount { fill: Some(Fill::Environment { variables, path }), ..one });
    }

    /// The words that start the step's program.
    pub fn command(&self, words: &[String]) -> Vec<String> {
        let hides = self.mounts.iter().any(|one| matches!(&one.request, Some(made) if made.target == INIT_PLACE));
        let before = [INIT_PLACE, "-E", ENVIRONMENT_PLACE, "--"];
        before.iter().filter(|_| hides).map(|word| (*word).to_owned()).chain(words.iter().cloned()).collect()
    }

    pub fn requests(&self) -> Vec<MountRequest> {
        self.mounts.iter().filter_map(|one| one.request.clone()).collect()
    }

    pub fn keys(&self) -> Vec<String> {
        self.mounts.iter().map(|one| one.key.clone()).filter(|key| !key.is_empty()).collect()
    }

    /// Makes what is mounted.
    pub async fn fill(&mut self, build: &Build<'_>) -> Result<(), BuildError> {
        let fills: Vec<Fill> = self.mounts.iter_mut().filter_map(|one| one.fill.take()).collect();
        for fill in &fills {
            let Fill::Cache { path, imported: Some(imported), .. } = fill else { continue };
            let unpacked = unless(build.token, remote_cache::unpack(imported, path, &build.shared.config)).await;
            match unpacked {
                Err(BuildError::Cancelled) => return Err(BuildError::Cancelled),
                // A cache is only there to be faster.
                Err(error) => {
                    let reason = errors::chain(&error);
                    build.output.text(format!("[Warning] a cache of RUN begins empty: {reason}\n")).await;
                }
                Ok(()) => {}
            }
        }
        let failed = |error| BuildError::file("make what RUN mounts", error);
        blocking(move || fills.into_iter().try_for_each(Fill::make)).await?.map_err(failed)?;
        for forward in &self.forwards {
            self.agents.push(forward.begin().await?);
        }
        Ok(())
    }

    /// Where programs find the first agent.
    pub fn agent_variable(&self) -> Option<String> {
        self.forwards.first().map(|forward| format!("SSH_AUTH_SOCK={}", forward.target()))
    }

    /// Removes what was made for this one run.
    pub async fn clear(&self) {
        for folder in [self.folder.clone(), self.secrets.clone()] {
            let cleared = blocking(move || match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            });
            if let Ok(Err(error)) = cleared.await {
                tracing::warn!(%error, "what a step has mounted stays");
            }
        }
    }

    /// The layer without the places that were only made to mount on.
    pub fn without_places(&self, made: LayerStream, epoch: Option<i64>) -> LayerStream {
        match (epoch, self.places.is_empty()) {
            (None, true) => made,
            (epoch, _) => layer::rewritten(made, epoch, self.places.clone()),
        }
    }

    /// Remembers a target, and the folders above it, that the image does not have.
    async fn note_place(&mut self, build: &Build<'_>, state: &mut StageState, target: &str) -> Result<(), BuildError> {
        let failed = |error| BuildError::file(format!("find {target:?} in the image"), error);
        let relative = target.trim_start_matches('/').to_owned();
        let all = paths::parents(&relative).map(str::to_owned).chain([relative.clone()]).collect::<Vec<_>>();
        match build.root(state).await? {
            None => self.places.extend(all),
            Some(root) => {
                for path in all {
                    let found = rootfs::resolve(root.as_fd(), &path).map_err(failed)?;
                    if found.kind.is_none() {
                        self.places.push(found.path);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What stands at `path` on the host is seen where the mount says.
pub(crate) fn bind_request(path: &Path, mount: &Mount) -> MountRequest {
    MountRequest {
        kind: RequestKind::Bind,
        source: path.display().to_string(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        ..MountRequest::default()
    }
}

async fn bind(build: &Build<'_>, state: &StageState, mount: &Mount, path: &Path) -> Result<StepMount, BuildError> {
    let source = if mount.source.is_empty() { "/" } else { &mount.source };
    let (tree, gathered) = gather(build, state, &mount.from, source).await?;
    let is_file = matches!(gathered.items.first().map(|item| &item.place), Some(Place::Itself(_)));
    drop(tree);
    let (gathered, digest) = blocking(move || {
        let digest = gathered.digest();
        (gathered, digest)
    })
    .await?;
    let key = KeyMaker::new("bind").field(&mount.target).field(digest?.to_string()).finish().to_string();
    let request = bind_request(path, mount);
    let config = Arc::clone(&build.shared.config);
    let fill = Some(Fill::Tree { gathered, path: path.to_owned(), is_file, config });
    Ok(StepMount { request: Some(request), env: None, key, fill })
}

pub(crate) async fn gather(
    build: &Build<'_>,
    state: &StageState,
    from: &str,
    source: &str,
) -> Result<(Arc<Tree>, Gathered), BuildError> {
    let tree = match from {
        "" => Arc::clone(&build.context),
        from => tree_of(build, state.place, from, source).await?,
    };
    let how = Selection { instruction: "RUN --mount", exclude: &[], parents: false, from_image: !from.is_empty() };
    let mut gathered = Gathered::default();
    gathered.add_path(&tree, source, &how)?;
    for item in &mut gathered.items {
        item.keeps_owner = !from.is_empty();
    }
    Ok((tree, gathered))
}

fn tmpfs(mount: &Mount) -> StepMount {
    let request = MountRequest {
        kind: RequestKind::Tmpfs,
        target: mount.target.clone(),
        tmpfs_size: i64::try_from(mount.size).unwrap_or(i64::MAX),
        ..MountRequest::default()
    };
    let key = KeyMaker::new("tmpfs").field(&mount.target).field(mount.size.to_be_bytes()).finish().to_string();
    StepMount { request: Some(request), env: None, key, fill: None }
}

/// A secret's value is in no key: whoever has another one gets the same step.
async fn secret(build: &Build<'_>, mount: &Mount, path: &Path) -> Result<Option<StepMount>, BuildError> {
    let given = build.request.secrets.0.get(&mount.id).cloned();
    let value = match (given, &build.request.session) {
        (None, Some(session)) => session.secret(&mount.id).await?,
        (given, _) => given,
    };
    let Some(value) = value else {
        return if mount.required { Err(messages::missing_secret(&mount.id)) } else { Ok(None) };
    };
    if value.reveal().len() > MAX_SECRET {
        return Err(BuildError::invalid(format!("invalid secret {}: it has more than {MAX_SECRET} bytes", mount.id)));
    }
    let name = mount.env.as_deref().unwrap_or_default();
    let key = KeyMaker::new("secret").field(&mount.target).field(&mount.id).field(name).finish().to_string();
    let env = match &mount.env {
        Some(_) if value.reveal().contains(&0) => {
            let id = &mount.id;
            return Err(BuildError::invalid(format!("invalid secret {id}: a variable has no zero bytes")));
        }
        Some(name) => {
            Some(Variable { name: if name.is_empty() { mount.id.clone() } else { name.clone() }, value: value.clone() })
        }
        None => None,
    };
    if mount.target.is_empty() {
        return Ok(Some(StepMount { request: None, env, key, fill: None }));
    }
    let fill = Fill::Secret {
        value: value.clone(),
        path: path.to_owned(),
        mode: mount.mode.unwrap_or(0o400),
        owner: build.shared.config.on_host((mount.uid.unwrap_or(0), mount.gid.unwrap_or(0))),
    };
    let request = MountRequest {
        kind: RequestKind::Bind,
        source: path.display().to_string(),
        target: mount.target.clone(),
        read_only: true,
        ..MountRequest::default()
    };
    Ok(Some(StepMount { request: Some(request), env, key, fill: Some(fill) }))
}

fn random_name() -> String {
    crate::metadata_steps::made_up_id() + &crate::metadata_steps::made_up_id()
}
