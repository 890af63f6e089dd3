//! Builds ask for images and for containers.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use builder::{
    BlobSource, Credentials, Image, LayerStream, Line, Output, PortError, Repository, RunRequest, Runs, View,
};
use container_core::{ListFilter, ReadOnly};
use containers::{AttachRequest, CreateRequest, ListRequest, RemoveOptions, WaitCondition};
use errors::{ErrorKind, Kind};
use futures_util::stream;
use ids::{Digest, Reference};
use image_core::{Descriptor, Platform};
use images::{BuildImage, Images, ImagesError, LayerView, LoadRequest, ProgressSender, PullRequest, PushRequest};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::sync::mpsc;

/// Bytes of a frame's head in an attached stream.
const FRAME_HEAD: usize = 8;
/// What a step's container is known by after its daemon has died.
const STEP_LABEL: &str = "com.longshore.build-step";
/// The number of standard error's frames.
const STDERR: u8 = 2;
/// The longest frame that is taken; the pump's are far shorter.
const MAX_FRAME: usize = 1 << 20;

/// Images in the making that containers of RUN lie on, by the ids that they would have.
#[derive(Clone, Default)]
pub struct StepImages(Arc<Mutex<HashMap<String, containers::Image>>>);

impl StepImages {
    pub fn get(&self, id: &str) -> Option<containers::Image> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn put(&self, image: containers::Image) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(image.id.clone(), image);
    }

    fn remove(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// The images service, as builds see it.
pub struct BuildImages(pub Images);

#[async_trait]
impl builder::Images for BuildImages {
    async fn find(&self, name: &str, platform: Option<&str>) -> Result<(String, Image), PortError> {
        let platform = platform.map(Platform::parse).transpose().map_err(refused)?;
        let (id, image) = self.0.build_base(name, platform.as_ref()).await.map_err(refused)?;
        Ok((id.to_string(), Image { config: image.config, layers: image.layers, oci: image.oci }))
    }

    async fn pull(
        &self,
        name: &str,
        platform: Option<&str>,
        credentials: Credentials,
        output: &Output,
    ) -> Result<(), PortError> {
        let reference = Reference::parse_familiar(name).map_err(refused)?.with_default_tag();
        let platform = platform.map(Platform::parse).transpose().map_err(refused)?;
        let request = PullRequest { reference, platform, credentials };
        let (sender, progress) = ProgressSender::channel();
        told(output, progress, async move { self.0.pull(&request, &sender).await.map(drop) }).await
    }

    async fn load(&self, archive: LayerStream) -> Result<(), PortError> {
        let request = LoadRequest { platform: None, quiet: true };
        let (sender, mut progress) = ProgressSender::channel();
        let load = async move { self.0.load_archive(&request, archive, &sender).await };
        let (loaded, ()) = tokio::join!(load, async { while progress.recv().await.is_some() {} });
        loaded.map(drop).map_err(refused)
    }

    async fn target(&self, name: &str) -> Result<Digest, PortError> {
        Ok(self.0.resolve(name).await.map_err(refused)?.target.digest)
    }

    async fn assemble(&self, assembly: &builder::Assembly) -> Result<Box<dyn builder::Assembled>, PortError> {
        let statement = |said: &builder::Statement| (said.predicate_type.clone(), said.predicate.clone());
        let image = |one: &builder::AssembledImage| images::AssembledImage {
            image: to_images(&one.image),
            annotations: one.annotations.clone(),
            descriptor_annotations: one.descriptor_annotations.clone(),
            statements: one.statements.iter().map(statement).collect(),
        };
        let wanted = images::Assembly {
            images: assembly.images.iter().map(image).collect(),
            names: names(&assembly.names)?,
            annotations: assembly.annotations.clone(),
            is_index: assembly.is_index,
        };
        Ok(Box::new(Assembled(self.0.assemble(&wanted).await.map_err(refused)?)))
    }

    async fn push(&self, name: &str, credentials: Credentials, output: &Output) -> Result<(), PortError> {
        let reference = Reference::parse_familiar(name).map_err(refused)?.with_default_tag();
        let request = PushRequest { reference, platform: None, credentials };
        let (sender, progress) = ProgressSender::channel();
        told(output, progress, async move { self.0.push(&request, &sender).await }).await
    }

    async fn add_layer(&self, owner: &str, below: &Image, layer: LayerStream) -> Result<Descriptor, PortError> {
        self.0.add_build_layer(owner, &to_images(below), layer).await.map_err(refused)
    }

    async fn forget_layers(&self, owners: &[String]) -> Result<(), PortError> {
        self.0.forget_build_layers(owners).await.map_err(refused)
    }

    async fn layer_owners(&self) -> Result<Vec<String>, PortError> {
        self.0.build_layer_owners().await.map_err(refused)
    }

    async fn has_layers(&self, image: &Image) -> Result<bool, PortError> {
        self.0.has_build_layers(&to_images(image)).await.map_err(refused)
    }

    async fn store(&self, image: &Image) -> Result<String, PortError> {
        self.0.store_build(&to_images(image)).await.map(|id| id.to_string()).map_err(refused)
    }

    async fn tag(&self, id: &str, image: &Image, name: &str) -> Result<(), PortError> {
        let reference = Reference::parse_familiar(name).map_err(refused)?.with_default_tag();
        let image = to_images(image);
        // A base that was only named anew may have been serialised otherwise than we do it.
        match image.id().to_string() == id {
            true => self.0.name_build(&image, &reference).await.map_err(refused),
            false => self.0.tag(id, &reference).await.map_err(refused),
        }
    }

    async fn hold(&self) -> Result<Box<dyn builder::HeldLayers>, PortError> {
        Ok(Box::new(Held(self.0.hold_layers().await.map_err(refused)?)))
    }

    fn repository(&self, reference: &Reference, credentials: Credentials) -> Repository {
        self.0.repository(reference, credentials)
    }

    async fn view(&self, image: &Image) -> Result<View, PortError> {
        let view = self.0.view_build(&to_images(image)).await.map_err(refused)?;
        Ok(View { directories: view.directories, key: view.key })
    }

    async fn close(&self, view: View) -> Result<(), PortError> {
        self.0.close_view(LayerView { directories: view.directories, key: view.key }).await.map_err(refused)
    }
}

/// Passes on what a pull or a push tells.
async fn told(
    output: &Output,
    mut progress: mpsc::Receiver<images::Progress>,
    work: impl Future<Output = Result<(), ImagesError>> + Send,
) -> Result<(), PortError> {
    let tell = async {
        while let Some(line) = progress.recv().await {
            let (id, status) = (line.id, line.status);
            output.send(Line::Progress { id, status, current: line.current, total: line.total }).await;
        }
    };
    let (worked, ()) = tokio::join!(work, tell);
    worked.map_err(refused)
}

/// Manifests over images that were built.
struct Assembled(images::Assembled);

#[async_trait]
impl builder::Assembled for Assembled {
    fn target(&self) -> &Descriptor {
        self.0.target()
    }

    async fn keep(&self) -> Result<(), PortError> {
        self.0.keep().await.map_err(refused)
    }

    async fn tag(&self, name: &str) -> Result<(), PortError> {
        self.0.tag(&Reference::parse_familiar(name).map_err(refused)?).await.map_err(refused)
    }

    async fn archive(&self, names: &[String]) -> Result<LayerStream, PortError> {
        self.0.archive(&crate::wiring::builds::names(names)?).await.map_err(refused)
    }
}

fn names(names: &[String]) -> Result<Vec<Reference>, PortError> {
    names.iter().map(|name| Reference::parse_familiar(name).map_err(refused)).collect()
}

/// Layers on their way to another engine.
struct Held(images::HeldLayers);

#[async_trait]
impl builder::HeldLayers for Held {
    async fn compressed(&self, layer: &Descriptor) -> Result<Descriptor, PortError> {
        self.0.compressed(layer).await.map_err(refused)
    }

    fn source(&self, blob: &Descriptor) -> BlobSource {
        self.0.source(blob)
    }
}

fn to_images(image: &Image) -> BuildImage {
    BuildImage { config: image.config.clone(), layers: image.layers.clone(), oci: image.oci }
}

fn refused<E: Kind + std::error::Error + 'static>(error: E) -> PortError {
    PortError { kind: error.kind(), message: errors::chain(&error) }
}

/// The containers service, as builds see it.
pub struct BuildRuns {
    pub containers: Arc<containers::Service>,
    pub steps: StepImages,
}

#[async_trait]
impl Runs for BuildRuns {
    async fn create(&self, run: RunRequest) -> Result<String, PortError> {
        let mut config = run.config;
        // An image without anything in it has no id, and still something must be said.
        let id = Some(run.image.id()).filter(|id| !id.is_empty()).unwrap_or_else(|| "scratch".to_owned());
        config.image.clone_from(&id);
        config.labels.insert(STEP_LABEL.to_owned(), String::new());
        let image = containers::Image {
            id: id.clone(),
            name: id.clone(),
            defaults: container_core::ImageDefaults {
                // A relative one is taken from the root, as in Docker.
                volumes: run.image.config.config.volumes.iter().map(|path| rooted(path)).collect(),
                ..container_core::ImageDefaults::default()
            },
            chain_id: run.image.chain_id(),
            os: run.image.config.os.clone(),
        };
        self.steps.put(image);
        let request = CreateRequest {
            name: None,
            config,
            host_config: run.host_config,
            endpoints: Vec::new(),
            read_only: ReadOnly::Default,
        };
        let created = self.containers.containers.create(request).await;
        self.steps.remove(&id);
        created.map(|created| created.id).map_err(refused)
    }

    async fn run(&self, id: &str, output: &Output) -> Result<i32, PortError> {
        let wanted = AttachRequest { stdin: false, stdout: true, stderr: true };
        let attached = self.containers.streams.attach(id, wanted).map_err(refused)?;
        let waiting = self.containers.lifecycle.wait(id, WaitCondition::NextExit).map_err(refused)?;
        self.containers.lifecycle.start(id).await.map_err(refused)?;
        if let Some(stream) = attached.stream().await.map_err(refused)? {
            tell(stream, output).await.map_err(broken)?;
        }
        let ended = waiting.done().await;
        match ended.error {
            Some(message) => Err(PortError { kind: ErrorKind::Internal, message }),
            None => Ok(ended.code),
        }
    }

    async fn layer(&self, id: &str) -> Result<LayerStream, PortError> {
        let layer = self.containers.file_systems.layer(id).await.map_err(refused)?;
        Ok(Box::pin(stream::unfold(layer, |mut layer| async move {
            let piece = layer.next().await?;
            Some((piece, layer))
        })))
    }

    async fn remove_left(&self) -> Result<usize, PortError> {
        let wanted = [("label".to_owned(), vec![STEP_LABEL.to_owned()])].into();
        let filter = ListFilter::new(wanted).map_err(refused)?;
        let listed = self.containers.containers.list(&ListRequest { filter, ..ListRequest::default() }).await;
        let listed = listed.map_err(refused)?;
        for container in &listed {
            self.remove(&container.id).await?;
        }
        Ok(listed.len())
    }

    async fn remove(&self, id: &str) -> Result<(), PortError> {
        let options = RemoveOptions { force: true, volumes: true };
        self.containers.containers.remove(id, options).await.map_err(refused)
    }
}

fn broken(error: io::Error) -> PortError {
    PortError { kind: ErrorKind::Internal, message: format!("cannot read what a step prints: {error}") }
}

/// Frames of both outputs as the text that they are; bytes that are none are replaced.
async fn tell(stream: tokio::net::UnixStream, output: &Output) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let mut head = [0; FRAME_HEAD];
    // By stream: standard output, standard error.
    let mut pending: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    loop {
        match stream.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
        }
        let is_error = head[0] == STDERR;
        let output_of = if is_error { builder::Stream::Stderr } else { builder::Stream::Stdout };
        let bytes = &mut pending[usize::from(is_error)];
        let at = bytes.len();
        bytes.resize(at + length, 0);
        stream.read_exact(&mut bytes[at..]).await?;
        // A character may be cut in two by a frame's end.
        let whole = match std::str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => bytes.len(),
        };
        let rest = bytes.split_off(whole);
        shown(bytes, output_of, output).await;
        *bytes = rest;
    }
    for (bytes, stream) in [(&pending[0], builder::Stream::Stdout), (&pending[1], builder::Stream::Stderr)] {
        shown(bytes, stream, output).await;
    }
    Ok(())
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

async fn shown(bytes: &[u8], stream: builder::Stream, output: &Output) {
    if !bytes.is_empty() {
        output.printed(stream, String::from_utf8_lossy(bytes).into_owned()).await;
    }
}
