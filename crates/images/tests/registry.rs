//! Images between Debian's docker-registry and Debian's containerd.

mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use errors::{ErrorKind, Kind};
use ids::Digest;
use image_core::{Descriptor, Index, media_type};
use images::{
    Credentials, ImageEventKind, ImageUser, ImagesError, ImportRequest, ListFilters, Platform, Progress, PushRequest,
    RemoveOptions, Removed,
};
use testhost::{Host, Needs, Test, run, test};
use world::{World, describe, gzip, layer};

const PEERS: &[Needs] =
    &[Needs::Program("containerd", "containerd"), Needs::Program("docker-registry", "docker-registry")];
const SKOPEO: &[Needs] = &[
    Needs::Program("containerd", "containerd"),
    Needs::Program("docker-registry", "docker-registry"),
    Needs::Program("skopeo", "skopeo"),
];

/// Each test over Debian's containerd and over ours.
macro_rules! over_both {
    ($($name:literal, $needs:ident, $body:ident;)*) => {
        const TESTS: &[Test] = &[$(
            test($name, $needs, |host| $body(&World::new(host)?)),
            test(concat!($name, "_over_docker_containerd"), $needs, |host| $body(&World::ours(host)?)),
        )*];
    };
}

over_both! {
    "a_pulled_image_is_what_ctr_sees_and_docker_prints", PEERS, pulled_image;
    "a_second_pull_fetches_nothing", PEERS, second_pull;
    "layers_that_are_here_are_not_fetched_again", PEERS, shared_layers;
    "two_pulls_at_once_share_their_downloads", PEERS, concurrent_pulls;
    "a_pull_that_is_given_up_leaves_nothing_and_can_be_repeated", PEERS, abandoned_pull;
    "an_imported_image_is_pushed_removed_and_pulled_back", PEERS, round_trip;
    "a_push_to_another_repository_mounts_what_is_there", PEERS, mounted_push;
    "skopeo_reads_what_was_pushed", SKOPEO, read_by_skopeo;
    "a_name_that_moves_leaves_the_old_image_nameless", PEERS, moved_name;
    "a_layer_with_other_bytes_fails_the_pull_and_leaves_nothing", PEERS, corrupt_layer;
    "a_layer_that_is_gone_fails_the_pull_and_leaves_nothing", PEERS, missing_layer;
    "a_layer_that_is_not_the_configurations_fails_the_pull_and_leaves_nothing", PEERS, wrong_diff_id;
    "an_archive_that_is_none_makes_no_image", PEERS, broken_import;
    "an_index_gives_the_hosts_image_and_is_pushed_whole_only_when_it_is", PEERS, index_of_platforms;
    "what_is_not_in_the_registry_is_told_in_dockers_words", PEERS, not_there;
    "an_image_in_use_is_kept_as_docker_keeps_it", PEERS, image_in_use;
}

fn main() -> ExitCode {
    run(TESTS)
}

fn pulled_image(world: &World) -> Result<()> {
    let layers = [testhost::busybox_archive(world.host)?, layer("hello", b"world")];
    let published = world.publish("box:1", &layers)?;
    let (pulled, progress) = world.pull("box:1");
    ensure!(pulled? == published.id);
    let said = words(&progress);
    ensure!(said[0] == "1: Pulling from box", "{said:?}");
    let ids: Vec<String> = published.blobs.iter().map(|blob| Digest::of(blob).hex()[..12].to_owned()).collect();
    for id in &ids {
        let of_layer: Vec<&str> = said.iter().filter_map(|line| line.strip_prefix(&format!("{id}: "))).collect();
        let mut without_repeats = of_layer.clone();
        without_repeats.dedup();
        let expected = [
            "Pulling fs layer",
            "Downloading",
            "Verifying Checksum",
            "Download complete",
            "Extracting",
            "Pull complete",
        ];
        ensure!(without_repeats == expected, "{of_layer:?}");
    }
    let last = [
        format!(": Digest: {}", published.manifest),
        ": Status: Downloaded newer image for 127.0.0.1:5000/box:1".to_owned(),
    ];
    ensure!(said.ends_with(&last), "{said:?}");
    let image = world.block_on(world.images.resolve("127.0.0.1:5000/box:1"))?;
    ensure!(image.names == ["127.0.0.1:5000/box:1"]);
    ensure!(image.repo_digests == [format!("127.0.0.1:5000/box@{}", published.manifest)]);
    ensure!(image.config.config.cmd == Some(vec!["/bin/sh".to_owned()]));
    ensure!(image.size > 1 << 20, "{}", image.size);
    ensure!(world.ctr(&["snapshots", "ls"])?.contains(&image.chain_id));
    ensure!(world.ctr(&["images", "check"])?.contains("complete (3/3)"));
    ensure!(world.events() == [(ImageEventKind::Pull, "127.0.0.1:5000/box:1".to_owned())]);
    let history = world.block_on(world.images.history("127.0.0.1:5000/box:1", None))?;
    ensure!(history[0].id == published.id.to_string() && history[0].created_by == "layer 1");
    ensure!(history[1].id == "<missing>" && history[1].size > history[0].size);
    // By every kind of id, and with a shell's view of the file.
    for name in
        [&published.id.to_string(), &published.id.hex(), &published.id.hex()[..12], &published.manifest.to_string()]
    {
        ensure!(world.block_on(world.images.resolve(name))?.id == published.id, "{name}");
    }
    let (again, progress) = world.pull(&format!("box@{}", published.manifest));
    ensure!(again? == published.id);
    let first = format!("127.0.0.1:5000/box@{}: Pulling from box", published.manifest);
    ensure!(words(&progress)[0] == first, "{:?}", words(&progress));
    ensure!(world.leases()? == 0);
    Ok(())
}

fn second_pull(world: &World) -> Result<()> {
    world.publish("box", &[layer("a", b"1")])?;
    world.pull("box").0?;
    let (pulled, progress) = world.pull("box");
    pulled?;
    let said = words(&progress);
    ensure!(
        said.last().is_some_and(|line| line == ": Status: Image is up to date for 127.0.0.1:5000/box:latest"),
        "{said:?}"
    );
    ensure!(!said.iter().any(|line| line.contains("Download")), "{said:?}");
    Ok(())
}

fn shared_layers(world: &World) -> Result<()> {
    let base = layer("base", b"1");
    world.publish("one", &[base.clone(), layer("a", b"1")])?;
    world.publish("two", &[base, layer("b", b"2")])?;
    world.pull("one").0?;
    let (pulled, progress) = world.pull("two");
    pulled?;
    let said = words(&progress);
    ensure!(said.iter().filter(|line| line.ends_with(": Already exists")).count() == 1, "{said:?}");
    ensure!(said.iter().filter(|line| line.ends_with(": Pull complete")).count() == 1, "{said:?}");
    Ok(())
}

fn concurrent_pulls(world: &World) -> Result<()> {
    world.publish("box", &[testhost::busybox_archive(world.host)?, layer("a", b"1")])?;
    let (both, progress) = world.with_progress({
        let request = world.request("box");
        move |images, progress| async move {
            tokio::join!(images.pull(&request, &progress), images.pull(&request, &progress))
        }
    });
    ensure!(both.0? == both.1?);
    let fetched = words(&progress).iter().filter(|line| line.ends_with("Verifying Checksum")).count();
    ensure!(fetched == 2, "{fetched} downloads of two layers");
    Ok(())
}

fn abandoned_pull(world: &World) -> Result<()> {
    let published = world.publish("box", &[testhost::busybox_archive(world.host)?, layer("a", b"1")])?;
    // At every stage: while it is fetched, checked, unpacked.
    for stage in ["Pulling fs layer", "Downloading", "Download complete", "Extracting"] {
        let (sender, mut receiver) = images::ProgressSender::channel();
        let (images, request) = (world.images.clone(), world.request("box"));
        world.block_on(async {
            let pull = tokio::spawn(async move { images.pull(&request, &sender).await });
            while let Some(progress) = receiver.recv().await {
                if progress.status == stage {
                    break;
                }
            }
            pull.abort();
            // It has ended either way: given up, or faster than that.
            let _ = pull.await;
        });
        world.leases()?;
        if !world.block_on(world.images.list(&ListFilters::default()))?.is_empty() {
            continue;
        }
        // An ingest may stay, for the next attempt to go on from.
        testhost::wait_until("half a snapshot to be gone", || {
            (!world.ctr(&["snapshots", "ls"]).ok()?.contains("Active")).then_some(())
        })?;
    }
    ensure!(world.pull("box").0? == published.id);
    ensure!(world.ctr(&["images", "check"])?.contains("complete (3/3)"));
    Ok(())
}

fn round_trip(world: &World) -> Result<()> {
    let name = world.registry.image("app:1");
    let id = world.import(&name, &gzip(&testhost::busybox_archive(world.host)?), &["CMD [\"/bin/sh\"]", "ENV A=b"])?;
    let before = world.block_on(world.images.resolve(&name))?;
    ensure!(before.id == id && before.repo_digests.is_empty());
    ensure!(before.config.config.env == ["A=b"]);
    let said = world.push("app:1")?;
    ensure!(said[0] == ": The push refers to repository [127.0.0.1:5000/app]", "{said:?}");
    let diff_id = before.config.rootfs.diff_ids[0].hex();
    for status in ["Preparing", "Pushed"] {
        ensure!(said.contains(&format!("{}: {status}", &diff_id[..12])), "{said:?}");
    }
    let after = world.block_on(world.images.resolve(&name))?;
    ensure!(after.id == id && after.repo_digests.len() == 1, "{after:?}");
    let end = format!(": 1: digest: {} size: ", after.target.digest);
    ensure!(said.iter().any(|line| line.starts_with(&end)), "{said:?}");
    ensure!(world.push("app:1")?.iter().any(|line| line.ends_with(": Layer already exists")));
    let removed = world.block_on(world.images.remove(&name, RemoveOptions::default()))?;
    let expected = [
        Removed::Untagged(name.clone()),
        Removed::Untagged(after.repo_digests[0].clone()),
        Removed::Deleted(id.to_string()),
        Removed::Deleted(after.chain_id.clone()),
    ];
    ensure!(removed == expected, "{removed:?}");
    ensure!(world.is_empty()?, "something stayed");
    ensure!(world.pull("app:1").0? == id);
    let back = world.block_on(world.images.resolve(&name))?;
    ensure!(back.chain_id == after.chain_id && back.target.digest == after.target.digest);
    Ok(())
}

fn mounted_push(world: &World) -> Result<()> {
    let name = world.registry.image("one");
    world.import(&name, &layer("a", b"1"), &[])?;
    world.push("one:latest")?;
    world.block_on(world.images.tag(&name, &world.reference("two:x")))?;
    let said = world.push("two:x")?;
    ensure!(said.iter().any(|line| line.ends_with(": Mounted from one")), "{said:?}");
    let digests = world.block_on(world.images.resolve(&name))?.repo_digests;
    ensure!(digests.len() == 2, "{digests:?}");
    let missing = world.try_push("two:y").unwrap_err().to_string();
    ensure!(missing == "tag does not exist: 127.0.0.1:5000/two:y", "{missing}");
    let missing = world.try_push("three:y").unwrap_err().to_string();
    ensure!(missing == "An image does not exist locally with the tag: 127.0.0.1:5000/three", "{missing}");
    Ok(())
}

fn read_by_skopeo(world: &World) -> Result<()> {
    let name = world.registry.image("app:1");
    let id = world.import(&name, &testhost::busybox_archive(world.host)?, &["LABEL a=b"])?;
    world.push("app:1")?;
    let target = world.host.path("copied");
    let source = format!("docker://{name}");
    let layout = format!("dir:{}", target.display());
    world.host.command("skopeo", &["--insecure-policy", "copy", "--src-tls-verify=false", &source, &layout])?;
    ensure!(target.join(id.hex()).is_file(), "the configuration came with its digest");
    let config = world.host.command("skopeo", &["inspect", "--config", "--tls-verify=false", &source])?;
    ensure!(config.contains("\"a\":\"b\"") || config.contains("\"a\": \"b\""), "{config}");
    Ok(())
}

fn moved_name(world: &World) -> Result<()> {
    let old = world.publish("box", &[layer("a", b"1")])?;
    world.pull("box").0?;
    let new = world.publish("box", &[layer("a", b"2")])?;
    ensure!(world.pull("box").0? == new.id);
    let listed = world.block_on(world.images.list(&ListFilters::default()))?;
    ensure!(listed.len() == 2, "{listed:?}");
    let nameless = ListFilters { dangling: Some(true), ..Default::default() };
    let nameless = world.block_on(world.images.list(&nameless))?;
    ensure!(nameless.len() == 1 && nameless[0].id == old.id && nameless[0].names.is_empty(), "{nameless:?}");
    let removed = world.block_on(world.images.remove(&old.id.hex()[..12], RemoveOptions::default()))?;
    ensure!(removed[0] == Removed::Deleted(old.id.to_string()), "{removed:?}");
    let named = ListFilters { reference: vec!["*/box".into()], ..Default::default() };
    ensure!(world.block_on(world.images.list(&named))?.len() == 1);
    Ok(())
}

fn corrupt_layer(world: &World) -> Result<()> {
    let published = world.publish("box", &[layer("a", b"1"), layer("b", b"2")])?;
    let digest = Digest::of(&published.blobs[1]);
    let length = published.blobs[1].len();
    std::fs::write(blob_file(world.host, &digest), vec![b'x'; length])?;
    let error = world.pull("box").0.unwrap_err();
    ensure!(error.to_string() == format!("filesystem layer verification failed for digest {digest}"), "{error}");
    world.nothing_visible()
}

fn missing_layer(world: &World) -> Result<()> {
    let published = world.publish("box", &[layer("a", b"1")])?;
    std::fs::remove_file(blob_file(world.host, &Digest::of(&published.blobs[0])))?;
    let error = world.pull("box").0.unwrap_err();
    ensure!(error.to_string().contains("blob unknown"), "{error}");
    world.nothing_visible()
}

fn wrong_diff_id(world: &World) -> Result<()> {
    // The registry has what the manifest says; the configuration speaks of other content.
    let published = world.publish("box", &[layer("a", b"1")])?;
    let other = gzip(&layer("a", b"2"));
    let repository = world.repository("box");
    world.block_on(async {
        repository.push_blob(&world::source(&other), &[]).await?;
        let manifest = repository.manifest("latest").await?;
        let text = String::from_utf8_lossy(&manifest.bytes).into_owned();
        let (old, new) = (describe("", &published.blobs[0]), describe("", &other));
        let text = text
            .replace(&old.digest.to_string(), &new.digest.to_string())
            .replace(&format!("\"size\":{}", old.size), &format!("\"size\":{}", new.size));
        repository.put_manifest("latest", &manifest.media_type, Bytes::from(text)).await
    })?;
    let error = world.pull("box").0.unwrap_err();
    ensure!(matches!(error, ImagesError::DiffId { .. }), "{error}");
    world.nothing_visible()
}

fn broken_import(world: &World) -> Result<()> {
    let name = world.registry.image("app");
    let torn = gzip(&testhost::busybox_archive(world.host)?);
    for bytes in
        [&b"neither a tar nor compressed, but longer than a block of a tar: ".repeat(20)[..], &torn[..torn.len() / 2]]
    {
        world.import(&name, bytes, &[]).unwrap_err();
        world.nothing_visible()?;
    }
    let error = world.import(&name, &layer("a", b"1"), &["RUN make"]).unwrap_err().to_string();
    ensure!(error == "run is not a valid change command", "{error}");
    world.nothing_visible()
}

/// An index of an image for this host, one for another architecture, and an attestation.
fn index_of_platforms(world: &World) -> Result<()> {
    let other = Platform::new("linux", if Platform::host().architecture == "s390x" { "amd64" } else { "s390x" }, "");
    let ours = world.publish("multi:host", &[layer("a", b"host")])?;
    let foreign = world.publish_for(&other, "multi:other", &[layer("a", b"other")])?;
    let entry = |published: &world::Published, size: usize, platform: &Platform| {
        let mut entry = Descriptor::new(media_type::DOCKER_MANIFEST, published.manifest, size as u64);
        entry.platform = Some(platform.clone());
        entry
    };
    let repository = world.repository("multi");
    let index = world.block_on(async {
        let (one, two) = (repository.manifest("host").await?, repository.manifest("other").await?);
        let mut attestation = entry(&ours, one.bytes.len(), &Platform::new("unknown", "unknown", ""));
        attestation.annotations =
            Some([("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned())].into());
        let index = Index {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.to_owned(),
            manifests: vec![
                attestation,
                entry(&foreign, two.bytes.len(), &other),
                entry(&ours, one.bytes.len(), &Platform::host()),
            ],
            annotations: None,
        };
        let bytes = serde_json::to_vec(&index)?;
        anyhow::Ok(repository.put_manifest("all", media_type::OCI_INDEX, bytes.into()).await?)
    })?;
    ensure!(world.pull("multi:all").0? == ours.id);
    let image = world.block_on(world.images.resolve(&world.registry.image("multi:all")))?;
    ensure!(
        image.target.digest == index && image.manifest_digest == ours.manifest && image.platform == Platform::host()
    );
    // By the index's digest, and by that of the manifest in it.
    for digest in [index, ours.manifest] {
        let name = format!("{}@{digest}", world.registry.image("multi"));
        ensure!(world.block_on(world.images.resolve(&name))?.id == ours.id, "{name}");
    }
    // The other architecture's layers are not here: what is here is pushed, not a torn index.
    world.block_on(world.images.tag("127.0.0.1:5000/multi:all", &world.reference("copy:1")))?;
    let said = world.push("copy:1")?;
    ensure!(said.iter().any(|line| line.contains(&format!("1: digest: {}", ours.manifest))), "{said:?}");
    // Asked for by name, the other platform's image comes.
    let mut request = world.request("multi:all");
    request.platform = Some(other.clone());
    let (pulled, _) = world.with_progress(|images, progress| async move { images.pull(&request, &progress).await });
    ensure!(pulled? == foreign.id);
    let said = world.push("copy:1")?;
    ensure!(said.iter().any(|line| line.contains(&format!("1: digest: {index}"))), "now all of it is here: {said:?}");
    let mut request = world.request("multi:all");
    request.platform = Some(Platform::new("linux", "mips64le", ""));
    let (pulled, _) = world.with_progress(|images, progress| async move { images.pull(&request, &progress).await });
    let error = pulled.unwrap_err().to_string();
    ensure!(error == "no matching manifest for linux/mips64le in the manifest list entries", "{error}");
    Ok(())
}

fn not_there(world: &World) -> Result<()> {
    world.publish("box", &[layer("a", b"1")])?;
    let error = world.pull("box:none").0.unwrap_err();
    ensure!(error.kind() == ErrorKind::NotFound);
    let expected = "manifest for 127.0.0.1:5000/box:none not found: manifest unknown: manifest unknown";
    ensure!(error.to_string() == expected, "{error}");
    let error = world.block_on(world.images.resolve("nothing")).unwrap_err();
    ensure!(error.to_string() == "No such image: nothing:latest" && error.kind() == ErrorKind::NotFound, "{error}");
    // A port that nobody listens on.
    let request = images::PullRequest {
        reference: ids::Reference::parse_familiar("127.0.0.1:1/box").unwrap(),
        platform: None,
        credentials: Credentials::Anonymous,
    };
    let (refused, _) = world.with_progress(|images, progress| async move { images.pull(&request, &progress).await });
    let line = errors::chain(&refused.unwrap_err());
    ensure!(line == "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", "{line}");
    Ok(())
}

fn image_in_use(world: &World) -> Result<()> {
    let published = world.publish("box", &[layer("a", b"1")])?;
    world.pull("box").0?;
    let name = world.registry.image("box");
    let user = ImageUser { container_id: "ab".repeat(32), running: true };
    world.seen.users.lock().unwrap().insert(published.id, vec![user]);
    let error = world.block_on(world.images.remove(&name, RemoveOptions::default())).unwrap_err();
    ensure!(
        error.kind() == ErrorKind::Conflict && error.to_string().contains("(must force) - container abababababab"),
        "{error}"
    );
    let removed = world.block_on(world.images.remove(&name, RemoveOptions { force: true, prune: true }))?;
    ensure!(removed.iter().all(|line| matches!(line, Removed::Untagged(_))), "{removed:?}");
    // Without a name, but there: a container can be started from it.
    let kept = world.block_on(world.images.resolve(&published.id.hex()[..12]))?;
    ensure!(kept.names.is_empty() && !kept.chain_id.is_empty());
    world.seen.users.lock().unwrap().clear();
    world.block_on(world.images.remove(&published.id.hex(), RemoveOptions::default()))?;
    ensure!(world.is_empty()?);
    Ok(())
}

/// `id: status` a line.
fn words(progress: &[Progress]) -> Vec<String> {
    progress.iter().map(|line| format!("{}: {}", line.id, line.status)).collect()
}

/// Where docker-registry keeps a blob.
fn blob_file(host: &Host, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    host.path("registry").join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(&hex).join("data")
}

impl World<'_> {
    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn request(&self, name: &str) -> images::PullRequest {
        images::PullRequest { reference: self.reference(name), platform: None, credentials: Credentials::Anonymous }
    }

    fn import(&self, name: &str, archive: &[u8], changes: &[&str]) -> Result<Digest, ImagesError> {
        let request = ImportRequest {
            name: Some(ids::Reference::parse_familiar(name).unwrap()),
            changes: changes.iter().map(|line| (*line).to_owned()).collect(),
            message: "Imported from -".to_owned(),
            platform: None,
        };
        let pieces: Vec<_> = archive.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        self.block_on(self.images.import(&request, Box::pin(futures_util::stream::iter(pieces))))
    }

    fn try_push(&self, name: &str) -> Result<Vec<String>, ImagesError> {
        let request =
            PushRequest { reference: self.reference(name), platform: None, credentials: Credentials::Anonymous };
        let (pushed, progress) =
            self.with_progress(|images, progress| async move { images.push(&request, &progress).await });
        pushed.map(|()| words(&progress))
    }

    fn push(&self, name: &str) -> Result<Vec<String>> {
        self.try_push(name).context("push")
    }

    fn events(&self) -> Vec<(ImageEventKind, String)> {
        self.seen.events.lock().unwrap().iter().map(|event| (event.kind, event.id.clone())).collect()
    }

    fn leases(&self) -> Result<usize> {
        // They are given back behind the operation's answer.
        let gone = testhost::wait_until("the leases to go", || {
            let left = self.ctr(&["leases", "ls", "-q"]).ok()?;
            left.trim().is_empty().then_some(0)
        });
        gone
    }

    /// No name, no snapshot, no half of a blob.
    fn nothing_visible(&self) -> Result<()> {
        ensure!(self.block_on(self.images.list(&ListFilters::default()))?.is_empty());
        ensure!(self.ctr(&["images", "ls", "-q"])?.trim().is_empty());
        // What a pull had begun beside what failed is containerd's to collect when the lease is given back.
        testhost::wait_until("halves to be gone", || {
            let snapshots = self.ctr(&["snapshots", "ls"]).ok()?;
            let ingests = self.ctr(&["content", "active"]).ok()?;
            (!snapshots.contains("Active") && ingests.lines().count() <= 1).then_some(())
        })
    }

    /// Nothing at all, once containerd has collected.
    fn is_empty(&self) -> Result<bool> {
        self.leases()?;
        let empty = testhost::wait_until("the garbage collector", || {
            let content = self.ctr(&["content", "ls", "-q"]).ok()?;
            let snapshots = self.ctr(&["snapshots", "ls"]).ok()?;
            (content.trim().is_empty() && snapshots.lines().count() <= 1).then_some(true)
        });
        empty
    }
}
