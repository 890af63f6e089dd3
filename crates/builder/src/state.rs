//! What a build and a stage of it know while they go on.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use build_core::{Arguments, CachedLayer, CachedStep};
use dockerfile::{Dockerfile, Expander};
use ids::Digest;
use image_core::History;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use crate::builder::Shared;
use crate::cache::Entry;
use crate::cancel::unless;
use crate::error::BuildError;
use crate::made::Material;
use crate::output::{Line, Output};
use crate::ports::{Image, View};
use crate::remote_cache::{ImportedLayer, ImportedStep, Imports};
use crate::request::BuildRequest;
use crate::rootfs;
use crate::tree::Tree;

/// One build under way.
pub(crate) struct Build<'a> {
    pub shared: &'a Arc<Shared>,
    pub request: &'a BuildRequest,
    pub output: &'a Output,
    pub token: &'a CancellationToken,
    pub file: &'a Dockerfile,
    /// What it is for; the host's without one.
    pub platform: Option<&'a str>,
    pub context: Arc<Tree>,
    /// Further contexts that are files.
    pub named_files: Arc<BTreeMap<String, Arc<Tree>>>,
    pub arguments: Arguments,
    /// Stages that are built, by their place in the file.
    pub results: BTreeMap<usize, StageResult>,
    pub step: usize,
    pub steps: usize,
    /// SOURCE_DATE_EPOCH: nothing is younger.
    pub epoch: Option<i64>,
    /// Containers on their way out.
    pub removals: tokio::task::JoinSet<()>,
    /// Steps of other engines.
    pub imports: Arc<Imports>,
    /// Folders of cache mounts that its steps name.
    pub mounts: Arc<Mutex<BTreeSet<String>>>,
    /// Images that it reads, by their names.
    pub materials: Arc<Mutex<BTreeSet<Material>>>,
}

/// What is known of a step before it is made.
pub(crate) enum Known {
    /// It was made before, and its result is the stage's.
    Taken,
    /// It was made elsewhere: its layer, if it has one, is the stage's.
    Brought(Outcome),
    Nothing,
}

/// What a step came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub has_layer: bool,
    /// When it was made, where that was not now.
    pub created: Option<String>,
}

impl Outcome {
    /// Of a step that was made here and now.
    pub fn here(has_layer: bool) -> Self {
        Self { has_layer, created: None }
    }
}

/// What a stage came to.
#[derive(Debug, Clone)]
pub(crate) struct StageResult {
    /// Empty for nothing at all.
    pub id: String,
    pub image: Image,
    pub key: Digest,
    /// Something was made: it is not just its base.
    pub is_new: bool,
    /// What led here, those of the stage below first.
    pub steps: Vec<CachedStep>,
    /// What the stage began on.
    pub base: Image,
}

/// One stage under way.
pub(crate) struct StageState {
    pub place: usize,
    pub image: Image,
    /// The base as it is, until a step makes something of it: its id, and its configuration.
    pub untouched: Option<(String, Image)>,
    /// The same, whatever came of it.
    pub base: Image,
    /// Everything that led here.
    pub key: Digest,
    /// The entry below, which this one lies on.
    pub parent: Option<String>,
    /// What was made or found so far.
    pub steps: Vec<CachedStep>,
    /// A CMD of this stage: an ENTRYPOINT leaves it.
    pub has_command: bool,
    pub looks_up: bool,
    /// Layers were taken from the cache that nobody has looked for yet.
    pub unverified: bool,
    /// The step under way is made by nobody else meanwhile.
    pub flight: Option<OwnedMutexGuard<()>>,
    /// The image's files, as they were at `chain`.
    pub view: Option<OpenView>,
}

pub(crate) struct OpenView {
    pub chain: String,
    pub view: View,
    pub root: OwnedFd,
}

impl StageState {
    pub fn id(&self) -> String {
        self.untouched.as_ref().map_or_else(|| self.image.id(), |(id, _)| id.clone())
    }
}

impl<'a> Build<'a> {
    /// The same build for one stage of it.
    pub fn apart<'b>(
        &self,
        token: &'b CancellationToken,
        results: BTreeMap<usize, StageResult>,
        step: usize,
    ) -> Build<'b>
    where
        'a: 'b,
    {
        Build {
            shared: self.shared,
            request: self.request,
            output: self.output,
            token,
            file: self.file,
            platform: self.platform,
            context: Arc::clone(&self.context),
            arguments: self.arguments.clone(),
            results,
            step,
            steps: self.steps,
            epoch: self.epoch,
            removals: tokio::task::JoinSet::new(),
            imports: Arc::clone(&self.imports),
            named_files: Arc::clone(&self.named_files),
            mounts: Arc::clone(&self.mounts),
            materials: Arc::clone(&self.materials),
        }
    }

    /// `Step 2/8 : RUN make`.
    pub async fn announce(&mut self, text: &str) {
        self.step += 1;
        self.output.text(format!("Step {}/{} : {text}\n", self.step, self.steps)).await;
    }

    /// ` ---> 76da55c8019d`.
    pub async fn show(&self, state: &StageState) {
        self.output.text(format!(" ---> {}\n", short(&state.id()))).await;
    }

    pub async fn tell_result(&self, state: &StageState) {
        self.output.send(Line::Image(state.id())).await;
    }

    /// Words of an instruction of a stage: ENV wins over ARG.
    pub fn expand(&self, state: &StageState, text: &str) -> Result<String, BuildError> {
        let lookup = |name: &str| self.value(state, name);
        Ok(Expander::new(self.file.directives.escape, &lookup).word(text)?)
    }

    pub fn expand_words(&self, state: &StageState, text: &str) -> Result<Vec<String>, BuildError> {
        let lookup = |name: &str| self.value(state, name);
        Ok(Expander::new(self.file.directives.escape, &lookup).words(text)?)
    }

    /// A here-document that variables are expanded in.
    pub fn expand_document(&self, state: &StageState, text: &str) -> Result<String, BuildError> {
        let lookup = |name: &str| self.value(state, name);
        Ok(Expander::new(self.file.directives.escape, &lookup).keeping_quotes().word(text)?)
    }

    /// An instruction as progress shows it: with the variables' values, as far as there are any.
    pub fn expand_shown(&self, state: &StageState, text: &str) -> String {
        let lookup = |name: &str| Some(self.value(state, name).unwrap_or_else(|| format!("${name}")));
        let expander = Expander::new(self.file.directives.escape, &lookup).keeping_quotes();
        expander.word(text).unwrap_or_else(|_| text.to_owned())
    }

    fn value(&self, state: &StageState, name: &str) -> Option<String> {
        let of_env = state.image.config.config.env.iter().find_map(|variable| {
            let (own, value) = variable.split_once('=')?;
            (own == name).then(|| value.to_owned())
        });
        of_env.or_else(|| self.arguments.value(name))
    }

    /// Now, or the time that nothing may pass.
    pub fn created(&self) -> String {
        match self.epoch.and_then(|epoch| jiff::Timestamp::from_second(epoch).ok()) {
            Some(epoch) => epoch.to_string(),
            None => jiff::Timestamp::now().to_string(),
        }
    }

    pub fn now(&self) -> i64 {
        self.epoch.unwrap_or_else(|| jiff::Timestamp::now().as_second())
    }

    /// The result of a step that was made before, which is then the stage's.
    pub async fn take_cached(&self, state: &mut StageState, key: Digest) -> Result<Known, BuildError> {
        if !state.looks_up {
            return Ok(Known::Nothing);
        }
        let alone = unless(self.token, async { Ok::<_, BuildError>(self.shared.alone(&key).await) }).await?;
        let Some(found) = self.shared.cache.find(&key) else {
            state.flight = Some(alone);
            let brought = match self.imports.step(&key) {
                Some(step) => self.bring(state, &key, step).await?,
                None => None,
            };
            return Ok(brought.map_or(Known::Nothing, Known::Brought));
        };
        state.unverified |= found.has_layer;
        self.tell_cached().await;
        let parent = state.steps.last().map(|step| step.key);
        state.steps.push(cached_step(key, parent, &found.image, found.has_layer));
        state.image = found.image;
        state.untouched = None;
        state.key = key;
        state.parent = Some(key.to_string());
        Ok(Known::Taken)
    }

    pub async fn tell_cached(&self) {
        self.output.text(" ---> Using cache\n").await;
        if let Some(steps) = self.output.steps() {
            steps.mark_cached();
        }
    }

    /// Fetches what another engine has made. `None`: it cannot be had, and is made here.
    async fn bring(
        &self,
        state: &mut StageState,
        key: &Digest,
        step: &ImportedStep,
    ) -> Result<Option<Outcome>, BuildError> {
        let created = Some(step.created.clone()).filter(|created| created.parse::<jiff::Timestamp>().is_ok());
        let has_layer = match &step.layer {
            None => false,
            Some(layer) => match unless(self.token, self.fetch(state, key, layer)).await {
                Ok(()) => true,
                Err(error @ (BuildError::Cancelled | BuildError::Lost)) => return Err(error),
                Err(error) => {
                    let reason = errors::chain(&error);
                    self.output.text(format!("[Warning] a layer of the cache is not taken: {reason}\n")).await;
                    return Ok(None);
                }
            },
        };
        self.tell_cached().await;
        Ok(Some(Outcome { has_layer, created }))
    }

    async fn fetch(&self, state: &mut StageState, key: &Digest, layer: &ImportedLayer) -> Result<(), BuildError> {
        self.verify(state).await?;
        let stream = layer.store.read(&layer.blob).await?;
        let owner = owner(key);
        let added = self.shared.images.add_layer(&owner, &state.image, stream).await?;
        if added.digest != layer.diff_id {
            self.shared.images.forget_layers(&[owner]).await?;
            return Err(BuildError::invalid(format!("it is {} and not {}", added.digest, layer.diff_id)));
        }
        state.image.config.rootfs.diff_ids.push(added.digest);
        state.image.layers.push(added);
        Ok(())
    }

    /// Looks whether what was taken from the cache is still there: once for all steps that were found in a row.
    pub async fn verify(&self, state: &mut StageState) -> Result<(), BuildError> {
        if state.unverified && !self.shared.images.has_layers(&state.image).await? {
            return Err(BuildError::Lost);
        }
        state.unverified = false;
        Ok(())
    }

    /// Notes what a step made: one line of history, and an entry of the cache.
    pub async fn finish_step(
        &self,
        state: &mut StageState,
        key: Digest,
        created_by: String,
        outcome: Outcome,
    ) -> Result<(), BuildError> {
        let has_layer = outcome.has_layer;
        let bytes = if has_layer { state.image.layers.last().map_or(0, |layer| layer.size) } else { 0 };
        let created = outcome.created.unwrap_or_else(|| self.created());
        let config = &mut state.image.config;
        config.created = Some(created.clone());
        config.history.push(History {
            created: Some(created),
            created_by: created_by.clone(),
            author: config.author.clone(),
            comment: String::new(),
            empty_layer: !has_layer,
        });
        config.comment.clear();
        config.docker_version.clear();
        let flight = state.flight.take();
        let entry = Entry::new(state.image.clone(), state.parent.clone(), created_by, has_layer, bytes);
        self.shared.cache.put(&key, entry).await?;
        drop(flight);
        let parent = state.steps.last().map(|step| step.key);
        state.steps.push(cached_step(key, parent, &state.image, has_layer));
        state.parent = Some(key.to_string());
        state.key = key;
        state.untouched = None;
        Ok(())
    }

    /// Gives the image a layer, with the cache's key as who keeps it. An empty one is left out.
    pub async fn add_layer(
        &self,
        state: &mut StageState,
        key: &Digest,
        layer: crate::ports::LayerStream,
    ) -> Result<bool, BuildError> {
        /// An archive without entries: two blocks of zeros.
        const EMPTY: u64 = 1024;
        self.verify(state).await?;
        let owner = owner(key);
        let added = self.shared.images.add_layer(&owner, &state.image, layer).await?;
        if added.size <= EMPTY {
            self.shared.images.forget_layers(&[owner]).await?;
            return Ok(false);
        }
        state.image.config.rootfs.diff_ids.push(added.digest);
        state.image.layers.push(added);
        Ok(true)
    }

    /// The files of a stage's image, mounted where nobody sees them. `None`: it has none.
    pub async fn root<'s>(&self, state: &'s mut StageState) -> Result<Option<&'s OwnedFd>, BuildError> {
        let chain = state.image.chain_id();
        if chain.is_empty() {
            return Ok(None);
        }
        self.verify(state).await?;
        if state.view.as_ref().is_none_or(|view| view.chain != chain) {
            self.close_view(state).await;
            state.view = Some(self.open_view(&state.image).await?);
        }
        Ok(state.view.as_ref().map(|view| &view.root))
    }

    pub async fn open_view(&self, image: &Image) -> Result<OpenView, BuildError> {
        let view = self.shared.images.view(image).await?;
        match rootfs::mount(&view.directories) {
            Ok(root) => Ok(OpenView { chain: image.chain_id(), view, root }),
            Err(error) => {
                self.shared.images.close(view).await?;
                Err(BuildError::file("look into the image", error))
            }
        }
    }

    pub async fn close_view(&self, state: &mut StageState) {
        if let Some(open) = state.view.take() {
            self.close(open).await;
        }
    }

    pub async fn close(&self, open: OpenView) {
        drop(open.root);
        if let Err(error) = self.shared.images.close(open.view).await {
            tracing::warn!(%error, "a view of an image stays until its lease ends");
        }
    }
}

/// Who keeps the layer of a step.
pub(crate) fn owner(key: &Digest) -> String {
    key.to_string().replace(':', "-")
}

/// The last step of an image, as it can be sent elsewhere.
fn cached_step(key: Digest, parent: Option<Digest>, image: &Image, has_layer: bool) -> CachedStep {
    let layer = image.layers.last().filter(|_| has_layer).map(|layer| CachedLayer {
        blob: layer.digest,
        media_type: layer.media_type.clone(),
        size: layer.size,
        diff_id: layer.digest,
    });
    let created = image.config.history.last().and_then(|line| line.created.clone()).unwrap_or_default();
    CachedStep { key, parent, layer, created }
}

/// Twelve digits, as Docker shows ids.
pub(crate) fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}
