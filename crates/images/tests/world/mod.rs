//! What the tests of this crate have in common: a containerd, a registry, images made by hand, a service over them.

use std::collections::HashMap;
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use bytes::Bytes;
use ids::{Digest, Reference};
use image_core::{Descriptor, ImageConfig, Manifest, media_type};
use images::{
    Credentials, EventSink, ImageEvent, ImageUser, ImageUsers, Images, ImagesConfig, Platform, Progress,
    ProgressSender, PullRequest, RegistryOptions,
};
use registry_client::{BlobSource, Registries, Repository};
use testhost::{Host, Registry, wait_until};

/// Everything that one test works with.
pub struct World<'a> {
    pub host: &'a Host,
    pub registry: Registry,
    pub runtime: tokio::runtime::Runtime,
    pub images: Images,
    pub seen: Arc<Seen>,
    pub socket: String,
}

/// Plays the daemon: users that the test names, events that it looks at.
#[derive(Default)]
pub struct Seen {
    pub users: Mutex<HashMap<Digest, Vec<ImageUser>>>,
    pub events: Mutex<Vec<ImageEvent>>,
}

impl EventSink for Seen {
    fn image_event(&self, event: ImageEvent) {
        self.events.lock().unwrap().push(event);
    }
}

impl ImageUsers for Seen {
    fn users_of(&self, image: &Digest) -> Vec<ImageUser> {
        self.users.lock().unwrap().get(image).cloned().unwrap_or_default()
    }
}

impl<'a> World<'a> {
    /// Over Debian's containerd.
    pub fn new(host: &'a Host) -> Result<Self> {
        Self::over(host, start_containerd(host)?)
    }

    /// Over ours.
    pub fn ours(host: &'a Host) -> Result<Self> {
        Self::over(host, start_docker_containerd(host)?)
    }

    fn over(host: &'a Host, socket: String) -> Result<Self> {
        let registry = host.registry()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let seen = Arc::new(Seen::default());
        let images = {
            let _inside = runtime.enter();
            let client = containerd_client::Client::new(socket.as_ref(), "moby")?;
            Images::new(ImagesConfig::new(client), seen.clone(), seen.clone())
        };
        Ok(Self { host, registry, runtime, images, seen, socket })
    }

    pub fn reference(&self, name: &str) -> Reference {
        Reference::parse_familiar(&self.registry.image(name)).unwrap()
    }

    /// Pulls and answers the image's id and all progress.
    pub fn pull(&self, name: &str) -> (Result<Digest, images::ImagesError>, Vec<Progress>) {
        let request =
            PullRequest { reference: self.reference(name), platform: None, credentials: Credentials::Anonymous };
        self.with_progress(|images, progress| async move { images.pull(&request, &progress).await })
    }

    pub fn with_progress<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(Images, ProgressSender) -> F,
    ) -> (T, Vec<Progress>)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, mut receiver) = ProgressSender::channel();
        let work = work(self.images.clone(), sender);
        self.runtime.block_on(async move {
            let work = tokio::spawn(work);
            let mut all = Vec::new();
            while let Some(progress) = receiver.recv().await {
                all.push(progress);
            }
            (work.await.unwrap(), all)
        })
    }

    pub fn repository(&self, name: &str) -> Repository {
        Registries::new(RegistryOptions::default()).repository(&self.reference(name), Credentials::Anonymous)
    }

    /// Puts an image of these layers (plain tars) into the registry.
    pub fn publish(&self, name: &str, layers: &[Vec<u8>]) -> Result<Published> {
        self.publish_for(&Platform::host(), name, layers)
    }

    pub fn publish_for(&self, platform: &Platform, name: &str, layers: &[Vec<u8>]) -> Result<Published> {
        let (os, architecture) = (platform.os.clone(), platform.architecture.clone());
        let mut config = ImageConfig { os, architecture, ..Default::default() };
        config.config.cmd = Some(vec!["/bin/sh".into()]);
        config.config.labels.insert("made".into(), "by hand".into());
        config.created = Some("2024-05-06T07:08:09Z".into());
        config.rootfs.diff_ids = layers.iter().map(Digest::of).collect();
        config.history = (0..layers.len())
            .map(|n| image_core::History { created_by: format!("layer {n}"), ..Default::default() })
            .collect();
        let raw = config.to_bytes();
        let blobs: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
        let described = blobs.iter().map(|blob| describe(media_type::DOCKER_LAYER_GZIP, blob)).collect();
        let manifest = Manifest::docker(describe(media_type::DOCKER_CONFIG, &raw), described);
        let published = Published { id: Digest::of(&raw), manifest: Digest::of(manifest.to_bytes()), blobs };
        self.runtime.block_on(async {
            let repository = self.repository(name);
            for blob in published.blobs.iter().chain([&raw]) {
                repository.push_blob(&source(blob), &[]).await?;
            }
            let reference = self.reference(name).with_default_tag();
            let tag = reference.tag().context("tag")?;
            repository.put_manifest(tag, media_type::DOCKER_MANIFEST, manifest.to_bytes().into()).await?;
            Ok(published)
        })
    }

    pub fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let with_address = [&["--address", &self.socket, "--namespace", "moby"][..], arguments].concat();
        self.host.command("ctr", &with_address)
    }
}

pub struct Published {
    pub id: Digest,
    pub manifest: Digest,
    pub blobs: Vec<Vec<u8>>,
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
}

pub fn source(bytes: &[u8]) -> BlobSource {
    let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
    let bytes = Bytes::copy_from_slice(bytes);
    BlobSource {
        digest,
        size,
        open: Arc::new(move |offset: u64| {
            let rest = bytes.slice(usize::try_from(offset).unwrap()..);
            Box::pin(futures_util::stream::iter([Ok(rest)]))
        }),
        progress: Arc::new(|_| {}),
    }
}

/// A tar of one file.
pub fn layer(path: &str, content: &[u8]) -> Vec<u8> {
    let mut entry = archive::Entry::new(path, archive::EntryKind::File, 0o644);
    entry.size = content.len() as u64;
    let mut writer = archive::TarWriter::new(Vec::new());
    writer.append(&entry, &mut &content[..]).unwrap();
    writer.finish().unwrap()
}

fn start_containerd(host: &Host) -> Result<String> {
    let socket = host.path("containerd.sock").display().to_string();
    let config = host.path("containerd.toml");
    // CRI wants a network configuration and a control group of its own.
    std::fs::write(
        &config,
        format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n[grpc]\naddress = {socket:?}\n",
            host.path("containerd-root"),
            host.path("containerd-state"),
        ),
    )?;
    host.spawn("containerd", Command::new("containerd").arg("--config").arg(&config))?;
    wait_until("containerd", || std::os::unix::net::UnixStream::connect(&socket).ok())?;
    Ok(socket)
}

fn start_docker_containerd(host: &Host) -> Result<String> {
    let socket = host.path("ours.sock").display().to_string();
    let mut command = Command::new(host.programs().join("docker-containerd"));
    command.args(["--address", &socket]).arg("--root").arg(host.path("ours-root"));
    host.spawn("docker-containerd", command.arg("--state").arg(host.path("ours-state")))?;
    wait_until("docker-containerd", || std::os::unix::net::UnixStream::connect(&socket).ok())?;
    Ok(socket)
}
