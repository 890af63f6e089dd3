//! The service, and a build from its beginning to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use build_core::{Arguments, CachedStep, EPOCH, INLINE_CACHE, Limits, Needed, needed};
use dockerfile::{Dockerfile, Expander, Instruction};
use image_core::Platform;
use metadata::Database;
use sys::users::{IdMaps, outside};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, CacheRecord, MAX_ENTRIES, PruneFilter, Pruned};
use crate::cancel::unless;
use crate::context;
use crate::error::BuildError;
use crate::made::Made;
use crate::output::{Line, Output};
use crate::ports::{Images, Runs};
use crate::remote_cache::{CachePlace, CacheTarget, Exported, Exporting, Imports};
use crate::request::{BuildRequest, ContextSource};
use crate::squash::squash;
use crate::state::{Build, StageResult};
use crate::tree::Tree;
use crate::{hints, messages, parallel, remote, remote_cache};

/// The most bytes of layers that the cache keeps unless the configuration says otherwise.
const MAX_CACHE_BYTES: u64 = 20 << 30;

/// Where builds keep what they need for a while, and cache mounts.
#[derive(Debug, Clone, Default)]
pub struct BuilderConfig {
    pub folder: PathBuf,
    /// Where the secrets of a step lie while it runs.
    pub secrets: PathBuf,
    /// `docker-init`, which gives a step its secret variables.
    pub init: PathBuf,
    /// Bytes of layers that are kept for later builds; 0: a default.
    pub keep_bytes: u64,
    /// RUN may be privileged.
    pub allows_insecure: bool,
    /// Layers may be merged.
    pub is_experimental: bool,
    /// Who users of containers are on the host, where they are others.
    pub users: Option<IdMaps>,
}

impl BuilderConfig {
    /// Whose a file of the host's has to be, so that it is this user's in a container. Who is nobody there is root.
    pub(crate) fn on_host(&self, (uid, gid): (u32, u32)) -> (u32, u32) {
        let Some(users) = &self.users else { return (uid, gid) };
        let root = users.root().unwrap_or((0, 0));
        (outside(&users.uids, uid).unwrap_or(root.0), outside(&users.gids, gid).unwrap_or(root.1))
    }
}

/// Builds images. Cheap to clone.
#[derive(Clone)]
pub struct Builder {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub config: Arc<BuilderConfig>,
    pub images: Arc<dyn Images>,
    pub runs: Arc<dyn Runs>,
    pub cache: Cache,
    /// One at a time for cache mounts that want it.
    pub locks: crate::cache_mounts::Locks,
    /// Steps under way: who wants the same one waits for it.
    flights: crate::cache_mounts::Locks,
}

impl Shared {
    /// Waits until nobody else makes this step.
    pub async fn alone(&self, key: &ids::Digest) -> OwnedMutexGuard<()> {
        let lock = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody waits for those that only the map knows.
            flights.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(flights.entry(key.to_string()).or_default())
        };
        lock.lock_owned().await
    }

    fn limits(&self) -> Limits {
        let bytes = if self.config.keep_bytes == 0 { MAX_CACHE_BYTES } else { self.config.keep_bytes };
        Limits { bytes, entries: MAX_ENTRIES, unused_since: 0 }
    }

    async fn drop_entries(&self, keys: Vec<String>) -> Result<(), BuildError> {
        let with_layers = keys.iter().filter(|key| self.cache.has_layer(key));
        let owners: Vec<String> = with_layers.map(|key| key.replace(':', "-")).collect();
        self.cache.remove(keys).await?;
        Ok(self.images.forget_layers(&owners).await?)
    }
}

impl Builder {
    pub fn open(
        config: BuilderConfig,
        database: Database,
        images: Arc<dyn Images>,
        runs: Arc<dyn Runs>,
    ) -> Result<Self, BuildError> {
        let scratch = config.folder.join("tmp");
        for left in [&scratch, &config.secrets] {
            if left.exists() {
                std::fs::remove_dir_all(left)
                    .map_err(|error| BuildError::file("clear what builds have left", error))?;
            }
        }
        let made = std::fs::create_dir_all(&scratch).and_then(|()| {
            // Nobody else looks for what the folders below are called.
            std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&config.secrets)
        });
        made.map_err(|error| BuildError::file("make a folder for builds", error))?;
        let cache = Cache::open(database)?;
        Ok(Self {
            shared: Arc::new(Shared {
                config: Arc::new(config),
                images,
                runs,
                cache,
                locks: Default::default(),
                flights: Default::default(),
            }),
        })
    }

    /// Once, before the API listens: what builds of a daemon that died have left goes.
    pub async fn recover(&self) -> Result<(), BuildError> {
        let containers = self.shared.runs.remove_left().await?;
        let mut owners = self.shared.images.layer_owners().await?;
        owners.retain(|owner| !self.shared.cache.has(&owner.replacen('-', ":", 1)));
        self.shared.images.forget_layers(&owners).await?;
        let layers = owners.len();
        if containers + layers > 0 {
            tracing::info!(containers, layers, "what builds have left is removed");
        }
        Ok(())
    }

    /// Builds, and tells of it as Docker's classic builder does. Answers the image's id. `token` ends it: nothing of it
    /// runs on then.
    pub async fn build(
        &self,
        request: BuildRequest,
        output: &Output,
        token: &CancellationToken,
    ) -> Result<String, BuildError> {
        let tags = request.tags.clone();
        let made = self.make(request, output, token).await;
        if made.is_err() {
            output.tell_kept().await;
        }
        let made = made?;
        let id = self.store(&made).await?;
        if output.is_quiet() {
            output.result(format!("{id}\n")).await;
        }
        output.text(format!("Successfully built {}\n", crate::state::short(&id))).await;
        for tag in &tags {
            self.tag(&made, tag).await?;
            output.text(format!("Successfully tagged {tag}\n")).await;
        }
        Ok(id)
    }

    /// Builds, and leaves it to the caller what becomes of the result. The request's tags are none of its business.
    pub async fn make(
        &self,
        request: BuildRequest,
        output: &Output,
        token: &CancellationToken,
    ) -> Result<Made, BuildError> {
        let platforms = [request.platform.clone()];
        let mut made = self.make_all(request, &platforms, output, token).await?;
        made.pop().ok_or_else(messages::no_image)
    }

    /// The same for each of these platforms (the host's for none), all at the same time, of one context. The first that
    /// fails ends the others.
    pub async fn make_all(
        &self,
        mut request: BuildRequest,
        platforms: &[Option<String>],
        output: &Output,
        token: &CancellationToken,
    ) -> Result<Vec<Made>, BuildError> {
        if request.squash && !self.shared.config.is_experimental {
            return Err(messages::squash());
        }
        let source = std::mem::take(&mut request.context);
        let mut context = self.take_context(source, &mut request, output, token).await?;
        let file = self.read_dockerfile(&context, &request)?;
        let ignore = context::hide_ignored(&mut context, &request.dockerfile)?;
        request.ignore = request.ignore.take().or(ignore);
        let named_files = self.take_named_files(&mut request, output, token).await?;
        let (context, named_files) = (Arc::new(context), Arc::new(named_files));
        let ending = token.child_token();
        let one = |(place, platform): (usize, &'_ Option<String>)| {
            let platform = platform.clone();
            let name = platform.as_deref().filter(|_| platforms.len() > 1).unwrap_or_default();
            let output = output.for_platform(place, name);
            let (context, files) = (Arc::clone(&context), Arc::clone(&named_files));
            let (request, file, ending) = (&request, &file, &ending);
            async move {
                let inputs = Inputs { request, file, platform: platform.as_deref(), context, files };
                let built = self.build_file(inputs, &output, ending).await;
                if built.is_err() {
                    ending.cancel();
                }
                built
            }
        };
        let all = platforms.iter().enumerate().map(one);
        let built = whole(futures_util::future::join_all(all).await);
        if let Err(error) = &built
            && let Some((_, lines)) = error.place()
        {
            output.text(dockerfile::excerpt(&request.dockerfile, file.text.as_bytes(), lines)).await;
        }
        let made = match built {
            Ok(built) => {
                let exporting = Exporting { shared: &self.shared, request: &request, output, token };
                export(exporting, &built).await.map(|()| built.into_iter().map(|built| built.made).collect())
            }
            Err(error) => Err(error),
        };
        self.collect().await;
        made
    }

    async fn build_file(
        &self,
        inputs: Inputs<'_>,
        output: &Output,
        token: &CancellationToken,
    ) -> Result<Built, BuildError> {
        let Inputs { request, file, platform, context, files } = inputs;
        let arguments = Arguments::new(request.arguments.clone(), platform_arguments(request, platform)?);
        let epoch = epoch(&arguments)?;
        let mut build = Build {
            shared: &self.shared,
            request,
            output,
            token,
            file,
            platform,
            context,
            arguments,
            results: BTreeMap::new(),
            step: 0,
            steps: 0,
            epoch,
            removals: tokio::task::JoinSet::new(),
            imports: Arc::default(),
            named_files: files,
            mounts: Arc::default(),
            materials: Arc::default(),
        };
        let stages = declare_globals(&mut build)?;
        let target = match stages {
            Some(stages) => stages,
            None => return Err(hints::of_target(file, request.target.as_deref().unwrap_or_default())),
        };
        build.steps = count_steps(file, &target.stages) + request.labels.len();
        build.imports = Arc::new(import(&build).await?);
        for statement in &file.arguments {
            build.announce(&statement.original).await;
        }
        let bases = bases(&build);
        let base = |stage: &dockerfile::Stage| bases.get(&stage.lines.first).cloned().unwrap_or_default();
        let built = parallel::build_stages(&mut build, &target, &base).await;
        while build.removals.join_next().await.is_some() {}
        built?;
        warn_of_unused(&build).await;
        result(&build, target.target).await
    }

    pub(crate) fn images(&self) -> &Arc<dyn Images> {
        &self.shared.images
    }

    pub(crate) fn empty_tree(&self) -> Result<Tree, BuildError> {
        context::empty(&self.shared.config.folder.join("tmp"))
    }

    /// What the cache has.
    pub fn cache(&self) -> Vec<CacheRecord> {
        self.shared.cache.list()
    }

    /// Lets go of what the cache keeps for later builds.
    pub async fn prune(&self, filter: PruneFilter) -> Result<Pruned, BuildError> {
        // Without a time everything is old enough.
        let limits = match filter.unused_since {
            Some(since) => Limits { bytes: u64::MAX, entries: usize::MAX, unused_since: since },
            None => Limits {
                bytes: filter.keep_bytes,
                entries: if filter.keep_bytes == 0 { 0 } else { usize::MAX },
                unused_since: 0,
            },
        };
        let (ids, reclaimed) = self.shared.cache.beyond(limits);
        self.shared.drop_entries(ids.clone()).await?;
        let mut reclaimed = reclaimed;
        if filter.keep_bytes == 0 && filter.unused_since.is_none() {
            reclaimed += crate::cache_mounts::clear_caches(&self.shared).await?;
        }
        Ok(Pruned { ids, reclaimed })
    }

    /// Keeps the cache within its limits; an error is only worth a line.
    async fn collect(&self) {
        if let Err(error) = self.shared.cache.store_uses().await {
            tracing::warn!(error = errors::chain(&error), "when the build cache was used is not stored");
        }
        let limits = self.shared.limits();
        if !self.shared.cache.passes(limits) {
            return;
        }
        let (going, bytes) = self.shared.cache.beyond(limits);
        tracing::info!(entries = going.len(), bytes, "the build cache has grown too large");
        if let Err(error) = self.shared.drop_entries(going).await {
            tracing::warn!(error = errors::chain(&error), "the build cache stays too large");
        }
    }

    async fn take_context(
        &self,
        source: ContextSource,
        request: &mut BuildRequest,
        output: &Output,
        token: &CancellationToken,
    ) -> Result<Tree, BuildError> {
        let spool = self.shared.config.folder.join("tmp");
        match source {
            ContextSource::Archive(pieces) => {
                blocking(move || context::read(context::incoming(pieces), &spool)).await?
            }
            ContextSource::Remote(address) => remote::fetch(&address, request, &spool, output, token).await,
            ContextSource::Files(files) => blocking(move || context::of_files(files)).await?,
        }
    }

    async fn take_named_files(
        &self,
        request: &mut BuildRequest,
        output: &Output,
        token: &CancellationToken,
    ) -> Result<BTreeMap<String, Arc<Tree>>, BuildError> {
        let mut taken = BTreeMap::new();
        for (name, source) in std::mem::take(&mut request.named_files) {
            // An address may be a file's, which would be the Dockerfile of a context that is the only one.
            let mut apart = BuildRequest::default();
            taken.insert(name, Arc::new(self.take_context(source, &mut apart, output, token).await?));
        }
        Ok(taken)
    }

    fn read_dockerfile(&self, context: &Tree, request: &BuildRequest) -> Result<Dockerfile, BuildError> {
        let read = |name: &str| {
            let bytes = context.read(name, dockerfile::MAX_BYTES as u64);
            bytes.map_err(|error| BuildError::file(format!("read the Dockerfile {name:?}"), error))
        };
        let mut found = match &request.definition {
            Some(definition) => Some(definition.clone()),
            None => read(&request.dockerfile)?,
        };
        if found.is_none() && request.dockerfile == "Dockerfile" {
            found = read("dockerfile")?;
        }
        let bytes = found.ok_or_else(|| hints::of_dockerfile(context, request.ignore.as_ref(), &request.dockerfile))?;
        if bytes.is_empty() {
            return Err(messages::empty_dockerfile(&request.dockerfile));
        }
        let file = Dockerfile::parse(&bytes)?;
        match file.directives.syntax.as_deref() {
            Some(syntax) if !is_own_syntax(syntax) => Err(BuildError::refused(
                errors::ErrorKind::NotImplemented,
                format!("the front end {syntax:?} of the syntax directive is not supported: only docker/dockerfile is"),
            )),
            _ => Ok(file),
        }
    }
}

/// `docker/dockerfile:1`, with or without the registry's name, of whichever version.
fn is_own_syntax(syntax: &str) -> bool {
    let name = syntax.split_whitespace().next().unwrap_or_default();
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.split(['@', ':']).next().unwrap_or_default();
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
}

/// Runs what may block where it keeps nobody else waiting.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BuildError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| BuildError::file("do its work", std::io::Error::other(error)))
}

fn platform_arguments(request: &BuildRequest, platform: Option<&str>) -> Result<BTreeMap<String, String>, BuildError> {
    let host = Platform::host();
    let target = match platform {
        Some(text) => Platform::parse(text).map_err(|error| BuildError::invalid(error.to_string()))?,
        None => host.clone(),
    };
    let mut arguments = BTreeMap::new();
    for (prefix, platform) in [("BUILD", &host), ("TARGET", &target)] {
        arguments.insert(format!("{prefix}PLATFORM"), platform.to_string());
        arguments.insert(format!("{prefix}OS"), platform.os.clone());
        arguments.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        arguments.insert(format!("{prefix}VARIANT"), platform.variant.clone());
    }
    arguments.insert("TARGETSTAGE".to_owned(), request.target.clone().unwrap_or_else(|| "default".to_owned()));
    Ok(arguments)
}

/// Arguments before the first FROM; then the stages that are needed are known.
fn declare_globals(build: &mut Build<'_>) -> Result<Option<Needed>, BuildError> {
    let escape = build.file.directives.escape;
    for statement in &build.file.arguments {
        let Instruction::Arg(args) = &statement.instruction else { continue };
        for arg in args {
            let arguments = &build.arguments;
            let lookup = |name: &str| arguments.global_value(name);
            let expander = Expander::new(escape, &lookup);
            let default = arg.default.as_deref().map(|text| expander.word(text)).transpose()?;
            build.arguments.declare_global(&arg.name, default);
        }
    }
    let bases = bases(build);
    let base = |stage: &dockerfile::Stage| bases.get(&stage.lines.first).cloned().unwrap_or_default();
    Ok(needed(build.file, build.request.target.as_deref(), &base))
}

/// What stages begin on, by their lines. One that cannot be expanded is told when its turn comes.
fn bases(build: &Build<'_>) -> BTreeMap<u32, String> {
    let lookup = |name: &str| build.arguments.global_value(name);
    let expander = Expander::new(build.file.directives.escape, &lookup);
    let base = |stage: &dockerfile::Stage| (stage.lines.first, expander.word(&stage.base).unwrap_or_default());
    build.file.stages.iter().map(base).collect()
}

fn count_steps(file: &Dockerfile, stages: &[usize]) -> usize {
    let of_stages: usize = stages.iter().map(|place| 1 + file.stages[*place].statements.len()).sum();
    file.arguments.len() + of_stages
}

/// What caches elsewhere list. One that cannot be read is told, and the build goes on without it.
async fn import(build: &Build<'_>) -> Result<Imports, BuildError> {
    let mut imports = Imports::default();
    if build.request.no_cache {
        return Ok(imports);
    }
    for source in &build.request.cache_from {
        let name = match &source.place {
            CachePlace::Registry(reference) => format!("importing cache manifest from {}", reference.familiar()),
            CachePlace::Local(name) => format!("importing cache manifest from {name}"),
        };
        let work = unless(build.token, imports.add(build.shared, build.request, source));
        match build.output.task(&name, work).await {
            Err(BuildError::Cancelled) => return Err(BuildError::Cancelled),
            Err(error) => {
                let text = format!("[Warning] failed to import the cache: {}\n", errors::chain(&error));
                build.output.text(text).await;
            }
            Ok(_) => {}
        }
    }
    Ok(imports)
}

/// Sends the build's steps where the request wants them.
async fn export(build: Exporting<'_>, built: &[Built]) -> Result<(), BuildError> {
    if build.request.cache_to.is_empty() {
        return Ok(());
    }
    let result: Vec<CachedStep> = built.iter().flat_map(|built| built.steps.iter().cloned()).collect();
    let all: Vec<CachedStep> = built.iter().flat_map(|built| built.all.iter().cloned()).collect();
    let mounts = built.iter().flat_map(|built| built.mounts.iter().cloned()).collect();
    for target in &build.request.cache_to {
        remote_cache::export(build, target, Exported { result: &result, all: &all, mounts: &mounts }).await?;
    }
    Ok(())
}

/// What the build of a stage came to, as an image.
async fn result(build: &Build<'_>, target: usize) -> Result<Built, BuildError> {
    let result = build.results.get(&target).cloned().filter(|result| !result.id.is_empty());
    let Some(StageResult { id, image, is_new, steps, base, .. }) = result else {
        return Err(messages::no_image());
    };
    let materials = build.materials.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
    let mut made = Made { id, image, is_new, materials };
    let told = made.id.clone();
    if made.is_new && build.request.squash {
        made = squash(build, &base, made).await?;
    }
    if made.is_new && is_inline(build) {
        remote_cache::embed(&mut made.image, &steps);
        made.id = made.image.id();
    }
    if made.id != told {
        build.output.send(Line::Image(made.id.clone())).await;
    }
    let all = build.results.values().flat_map(|stage| stage.steps.iter().cloned()).collect();
    let mounts = build.mounts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Built { made, steps, all, mounts })
}

/// The time that nothing may pass, where it is given.
fn epoch(arguments: &Arguments) -> Result<Option<i64>, BuildError> {
    match arguments.given_value(EPOCH) {
        Some(text) if !text.is_empty() => {
            let wrong = || BuildError::invalid(format!("invalid SOURCE_DATE_EPOCH: {text}"));
            text.parse::<i64>().ok().filter(|epoch| *epoch >= 0).map(Some).ok_or_else(wrong)
        }
        _ => Ok(None),
    }
}

/// What a build for one platform begins with.
struct Inputs<'a> {
    request: &'a BuildRequest,
    file: &'a Dockerfile,
    platform: Option<&'a str>,
    context: Arc<Tree>,
    files: Arc<BTreeMap<String, Arc<Tree>>>,
}

/// What a build for one platform came to.
struct Built {
    made: Made,
    /// Steps that led to the result, and those of all stages.
    steps: Vec<CachedStep>,
    all: Vec<CachedStep>,
    /// Folders of cache mounts that its steps name.
    mounts: BTreeSet<String>,
}

/// All of them, or the failure that ended the others.
fn whole(built: Vec<Result<Built, BuildError>>) -> Result<Vec<Built>, BuildError> {
    let (mut all, mut failure) = (Vec::new(), None);
    for built in built {
        match built {
            Ok(built) => all.push(built),
            Err(BuildError::Cancelled) => failure = failure.or(Some(BuildError::Cancelled)),
            Err(error) if matches!(failure, None | Some(BuildError::Cancelled)) => failure = Some(error),
            Err(_) => {}
        }
    }
    failure.map_or(Ok(all), Err)
}

/// Whether the image is to list its own steps: asked for, or by the argument that clients of old have for it.
fn is_inline(build: &Build<'_>) -> bool {
    let argument = build.arguments.given_value(INLINE_CACHE);
    let asked = build.request.cache_to.contains(&CacheTarget::Inline);
    asked || argument.is_some_and(|value| matches!(value.as_str(), "1" | "true"))
}

async fn warn_of_unused(build: &Build<'_>) {
    let unused = build.arguments.unused();
    if !unused.is_empty() {
        let text = format!("[Warning] One or more build-args [{}] were not consumed\n", unused.join(" "));
        build.output.text(text).await;
    }
}
