//! The Transfer and Streaming services as clients of containerd 1.7 and 2 use them: Debian's `ctr` is older and does the
//! same itself, so that what one has moved is looked at by the other.

use std::fs;

use anyhow::{Context, Result, ensure};
use containerd_api::Any;
use containerd_api::any::{pack, unpack};
use containerd_api::services::streaming::v1::StreamInit;
use containerd_api::services::transfer::v1::{TransferOptions, TransferRequest};
use containerd_api::types::transfer::{
    AuthRequest, AuthResponse, AuthType, Data, ImageExportStream, ImageImportStream, ImageReference, ImageStore,
    OciRegistry, Progress, RegistryResolver, UnpackConfiguration, WindowUpdate,
};
use containerd_client::Client;
use testhost::{Host, PASSWORD, RegistrySettings, USER};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::daemon::{Daemon, ShimOf};
use crate::image;

/// What receivers of containerd's grant, and pieces that its senders send.
const WINDOW: i32 = 64 << 10;
const PIECE: usize = 32 << 10;

/// A stream's end.
struct Stream {
    to: mpsc::Sender<Any>,
    from: Streaming<Any>,
}

struct Transfers<'a> {
    daemon: &'a Daemon<'a>,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl<'a> Transfers<'a> {
    fn new(daemon: &'a Daemon<'a>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let client = {
            let _inside = runtime.enter();
            Client::new(&daemon.path("c.sock"), &daemon.namespace())?
        };
        Ok(Self { daemon, runtime, client })
    }

    /// Opens a stream; when this answers it can be named.
    async fn open(&self, id: &str) -> Result<Stream, Status> {
        let (to, requests) = mpsc::channel(4);
        let _ = to.send(pack(&StreamInit { id: id.to_owned() })).await;
        let mut from = self.client.streaming().stream(ReceiverStream::new(requests)).await?.into_inner();
        from.message().await?;
        Ok(Stream { to, from })
    }

    async fn ask(&self, source: Any, destination: Any, progress_stream: &str) -> Result<(), Status> {
        let options = Some(TransferOptions { progress_stream: progress_stream.to_owned() });
        let request = TransferRequest { source: Some(source), destination: Some(destination), options };
        self.client.transfer().transfer(request).await.map(drop)
    }

    /// A whole transfer and the events of its progress.
    fn transfer(&self, source: Any, destination: Any) -> Result<Vec<Progress>> {
        self.runtime.block_on(async {
            let mut progress = self.open("progress").await?;
            let listening = async {
                let mut events = Vec::new();
                while let Some(message) = progress.from.message().await? {
                    events.push(unpack::<Progress>(&message)?);
                }
                anyhow::Ok(events)
            };
            let asking = async { anyhow::Ok(self.ask(source, destination, "progress").await?) };
            let (events, ()) = tokio::try_join!(listening, asking)?;
            Ok(events)
        })
    }

    fn refused(&self, source: Any, destination: Any) -> Result<Status> {
        let answer = self.runtime.block_on(self.ask(source, destination, ""));
        answer.err().context("a transfer that should be refused was not")
    }

    fn export(&self, names: &[&str]) -> Result<Vec<u8>> {
        self.runtime.block_on(async {
            let mut stream = self.open("export").await?;
            let receiving = async {
                let (mut archive, mut window) = (Vec::new(), 0);
                loop {
                    if window < WINDOW {
                        stream.to.send(pack(&WindowUpdate { update: WINDOW })).await?;
                        window += WINDOW;
                    }
                    let Some(message) = stream.from.message().await? else { return anyhow::Ok(archive) };
                    let data: Data = unpack(&message)?;
                    window -= i32::try_from(data.data.len())?;
                    ensure!(window >= 0, "more than was granted");
                    archive.extend(data.data);
                }
            };
            let reference = |name: &&str| ImageReference { name: (*name).to_owned(), ..Default::default() };
            let source = ImageStore { extra_references: names.iter().map(reference).collect(), ..Default::default() };
            let target = ImageExportStream { stream: "export".to_owned(), ..Default::default() };
            let asking = async { anyhow::Ok(self.ask(pack(&source), pack(&target), "").await?) };
            let (archive, ()) = tokio::try_join!(receiving, asking)?;
            Ok(archive)
        })
    }

    /// Sends an archive; a broken one ends without its end.
    fn import(&self, archive: &[u8], target: &ImageStore) -> Result<(), Status> {
        self.import_by(ImageImportStream::default(), archive, target)
    }

    fn import_by(&self, source: ImageImportStream, archive: &[u8], target: &ImageStore) -> Result<(), Status> {
        self.runtime.block_on(async {
            let mut stream = self.open("import").await?;
            let sending = async {
                let mut window = 0;
                for piece in archive.chunks(PIECE) {
                    while window < piece.len() {
                        let Some(message) = stream.from.message().await? else { return Ok(()) };
                        let update: WindowUpdate = unpack(&message).map_err(|e| Status::internal(e.to_string()))?;
                        window += usize::try_from(update.update).unwrap_or(0);
                    }
                    window -= piece.len();
                    let _ = stream.to.send(pack(&Data { data: piece.to_vec() })).await;
                }
                drop(stream.to);
                Ok(())
            };
            let source = ImageImportStream { stream: "import".to_owned(), ..source };
            let (sent, asked) = tokio::join!(sending, self.ask(pack(&source), pack(target), ""));
            asked.and(sent)
        })
    }

    fn ctr(&self, arguments: &[&str]) -> Result<String> {
        self.daemon.ctr(arguments)
    }
}

fn at_registry(reference: &str) -> OciRegistry {
    OciRegistry { reference: reference.to_owned(), resolver: None }
}

fn named(name: &str) -> ImageStore {
    ImageStore { name: name.to_owned(), ..Default::default() }
}

/// As `ctr image pull` of containerd 2 asks for an image.
fn unpacked(name: &str) -> ImageStore {
    let unpacks = vec![UnpackConfiguration { platform: None, snapshotter: String::new() }];
    ImageStore { all_metadata: true, unpacks, ..named(name) }
}

pub fn there_and_back(host: &Host) -> Result<()> {
    let daemon = Daemon::start(host, ShimOf::Ours)?;
    let registry = host.registry()?;
    let image = image::push(host, &registry)?;
    let transfers = Transfers::new(&daemon)?;
    let events = transfers.transfer(pack(&at_registry(&image)), pack(&unpacked(&image)))?;
    let words: Vec<&str> = events.iter().map(|progress| progress.event.as_str()).collect();
    let source = format!("OCI Registry ({image})");
    ensure!(words.first().is_some_and(|first| *first == format!("Resolving from {source}")), "{words:?}");
    ensure!(words.last().is_some_and(|last| *last == format!("Completed pull from {source}")), "{words:?}");
    for word in ["fetching image content", "waiting", "complete", "extracting", "extracted", "saved"] {
        ensure!(words.contains(&word), "{word} in {words:?}");
    }
    let layer = events.iter().find(|progress| progress.event == "extracted").context("a layer")?;
    ensure!(layer.name.starts_with("layer-sha256:") && layer.parents[0].starts_with("manifest-sha256:"), "{layer:?}");
    ensure!(transfers.ctr(&["images", "check"])?.contains("complete (2/2)"));
    ensure!(transfers.ctr(&["run", "--rm", &image, "one", "echo", "hello"])? == "hello\n");
    // Again: all of it is there.
    let events = transfers.transfer(pack(&at_registry(&image)), pack(&unpacked(&image)))?;
    ensure!(events.iter().filter(|progress| progress.event == "already exists").count() == 2, "{events:?}");
    let pushed = image.replace("busybox", "pushed");
    let events = transfers.transfer(pack(&named(&image)), pack(&at_registry(&pushed)))?;
    ensure!(events.iter().any(|progress| progress.event == "pushed content"), "{events:?}");
    let raw =
        |name: &str| host.command("skopeo", &["inspect", "--tls-verify=false", "--raw", &format!("docker://{name}")]);
    ensure!(raw(&pushed)? == raw(&image)?);
    transfers.transfer(pack(&named(&image)), pack(&named("test/again:1")))?;
    ensure!(transfers.ctr(&["images", "ls", "-q"])?.lines().any(|name| name == "test/again:1"));
    archives(host, &transfers, &image)?;
    for name in transfers.ctr(&["images", "ls", "-q"])?.lines() {
        daemon.ctr(&["images", "rm", "--sync", name])?;
    }
    ensure!(transfers.ctr(&["content", "ls", "-q"])?.is_empty() && transfers.ctr(&["leases", "ls", "-q"])?.is_empty());
    Ok(())
}

/// What is exported is imported again, here and by ctr; and what ctr and skopeo wrote is imported here.
fn archives(host: &Host, transfers: &Transfers<'_>, image: &str) -> Result<()> {
    let archive = transfers.export(&[image, "test/again:1"])?;
    let file = host.path("exported.tar");
    fs::write(&file, &archive)?;
    let listed = host.command("tar", &["-tf", &file.to_string_lossy()])?;
    ensure!(["oci-layout", "index.json", "manifest.json"].iter().all(|name| listed.contains(name)), "{listed}");
    let prefix = |name: &str, allow_overwrite| {
        vec![ImageReference { name: name.to_owned(), is_prefix: true, allow_overwrite, ..Default::default() }]
    };
    let any_name = ImageStore { extra_references: prefix("import-today", true), ..unpacked("") };
    let names = || transfers.ctr(&["images", "ls", "-q"]);
    let forget = || -> Result<()> {
        for name in names()?.lines() {
            transfers.ctr(&["images", "rm", "--sync", name])?;
        }
        ensure!(transfers.ctr(&["snapshots", "ls"])?.lines().count() == 1, "all is gone");
        Ok(())
    };
    forget()?;
    transfers.import(&archive, &any_name)?;
    ensure!(names()?.lines().eq([image, "test/again:1"]), "{}", names()?);
    ensure!(transfers.ctr(&["run", "--rm", image, "two", "echo", "hello"])? == "hello\n");
    forget()?;
    transfers.ctr(&["images", "import", &file.to_string_lossy()])?;
    ensure!(names()?.contains(image));
    let of_ctr = host.path("of-ctr.tar");
    transfers.ctr(&["images", "export", &of_ctr.to_string_lossy(), image])?;
    let of_skopeo = host.path("of-skopeo.tar");
    let target = format!("docker-archive:{}:team/app:2", of_skopeo.display());
    host.command("skopeo", &["copy", "-q", "--src-tls-verify=false", &format!("docker://{image}"), &target])?;
    forget()?;
    transfers.import(&fs::read(of_ctr)?, &any_name)?;
    ensure!(names()?.trim() == image);
    forget()?;
    transfers.import(&fs::read(&of_skopeo)?, &any_name)?;
    ensure!(names()?.trim() == "docker.io/team/app:2");
    ensure!(transfers.ctr(&["run", "--rm", "docker.io/team/app:2", "three", "echo", "hello"])? == "hello\n");
    let plain = transfers.ctr(&["images", "check"])?;
    forget()?;
    // The same with its layer compressed: another manifest of the same container.
    let compressing = ImageImportStream { force_compress: true, ..Default::default() };
    transfers.import_by(compressing, &fs::read(&of_skopeo)?, &any_name)?;
    let compressed = transfers.ctr(&["images", "check"])?;
    ensure!(compressed.contains("complete (2/2)") && compressed != plain, "{compressed}");
    ensure!(transfers.ctr(&["run", "--rm", "docker.io/team/app:2", "four", "echo", "hello"])? == "hello\n");
    forget()?;
    // Another prefix than the archive's names have: nothing is named, and nothing stays.
    let other = ImageStore { extra_references: prefix("other/name", false), ..ImageStore::default() };
    transfers.import(&fs::read(&of_skopeo)?, &other)?;
    ensure!(names()?.is_empty());
    // Half an archive leaves nothing.
    let torn = transfers.import(&archive[..archive.len() / 2], &any_name);
    ensure!(torn.is_err() && names()?.is_empty());
    transfers.import(&archive, &any_name)?;
    Ok(())
}

/// Credentials are asked for on a stream of their own.
pub fn with_credentials(host: &Host) -> Result<()> {
    let daemon = Daemon::start(host, ShimOf::Ours)?;
    let registry = host.registry_with(&RegistrySettings::for_user(host)?)?;
    let layout = image::layout(host)?;
    let name = registry.image("private:latest");
    let source = format!("oci:{}:latest", layout.display());
    let credentials = format!("{USER}:{PASSWORD}");
    let options = ["copy", "-q", "--dest-tls-verify=false", "--dest-creds", &credentials];
    host.command("skopeo", &[&options[..], &[&source, &format!("docker://{name}")]].concat())?;
    let transfers = Transfers::new(&daemon)?;
    let refused = transfers.refused(pack(&at_registry(&name)), pack(&named(&name)))?;
    ensure!(refused.code() == Code::Unauthenticated, "{refused:?}");
    transfers.runtime.block_on(async {
        let mut stream = transfers.open("creds").await?;
        let resolver = RegistryResolver { auth_stream: "creds".to_owned(), ..Default::default() };
        let source = OciRegistry { reference: name.clone(), resolver: Some(resolver) };
        let answering = async {
            let asked: AuthRequest = unpack(&stream.from.message().await?.context("a question")?)?;
            ensure!(asked.host == registry.address && asked.reference == name, "{asked:?}");
            let (username, secret) = (USER.to_owned(), PASSWORD.to_owned());
            let auth_type = AuthType::Credentials.into();
            stream.to.send(pack(&AuthResponse { auth_type, username, secret, expire_at: None })).await?;
            anyhow::Ok(())
        };
        let asking = async { anyhow::Ok(transfers.ask(pack(&source), pack(&unpacked(&name)), "").await?) };
        tokio::try_join!(answering, asking).map(drop)
    })?;
    ensure!(transfers.ctr(&["images", "check"])?.contains("complete (2/2)"));
    Ok(())
}

pub fn refusals(host: &Host) -> Result<()> {
    let daemon = Daemon::start(host, ShimOf::Ours)?;
    let registry = host.registry()?;
    let image = image::push(host, &registry)?;
    let transfers = Transfers::new(&daemon)?;
    let missing = registry.image("busybox:none");
    let progressing = |stream: &str| transfers.runtime.block_on(transfers.ask(Any::default(), Any::default(), stream));
    let other_snapshotter = ImageStore {
        unpacks: vec![UnpackConfiguration { platform: None, snapshotter: "stargz".to_owned() }],
        ..named(&image)
    };
    let headers = RegistryResolver { headers: [("a".to_owned(), "b".to_owned())].into(), ..Default::default() };
    let with_headers = OciRegistry { reference: image.clone(), resolver: Some(headers) };
    let no_stream = ImageImportStream { stream: "nowhere".to_owned(), ..Default::default() };
    for (source, destination, code, words) in [
        (pack(&at_registry(&missing)), pack(&named(&missing)), Code::NotFound, "manifest unknown"),
        (pack(&at_registry(&registry.image("busybox"))), pack(&named("x")), Code::InvalidArgument, "object required"),
        (pack(&at_registry(&image)), pack(&at_registry(&image)), Code::Unimplemented, "not implemented for"),
        (pack(&at_registry(&image)), pack(&other_snapshotter), Code::InvalidArgument, "snapshotter not loaded: stargz"),
        (pack(&with_headers), pack(&named(&image)), Code::Unimplemented, "headers of a registry"),
        (pack(&no_stream), pack(&named("")), Code::NotFound, "stream \"nowhere\""),
        (pack(&named("no/such:1")), pack(&named("x")), Code::NotFound, "image \"no/such:1\": not found"),
    ] {
        let refused = transfers.refused(source, destination)?;
        ensure!(refused.code() == code && refused.message().contains(words), "{words}: {refused:?}");
    }
    ensure!(progressing("nowhere").is_err_and(|status| status.code() == Code::NotFound));
    ensure!(transfers.ctr(&["images", "ls", "-q"])?.is_empty() && transfers.ctr(&["leases", "ls", "-q"])?.is_empty());
    Ok(())
}
