//! Images of several platforms: `--platform` of save, load, inspect, history and rm, by our client and by Docker's.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testhost::{Docker, Host};

use crate::clients;
use crate::images_archives::{Member, path, tar};

const TYPE: &str = "application/vnd.oci.image.";

/// Blobs of an OCI layout by their paths.
#[derive(Default)]
pub struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    /// Where the last blob of a kind lies.
    kinds: BTreeMap<String, String>,
}

impl Layout {
    /// Stores a blob; answers its descriptor.
    pub fn add(&mut self, kind: &str, blob: Vec<u8>) -> Value {
        let digest = ids::Digest::of(&blob);
        let described = json!({"mediaType": format!("{TYPE}{kind}"), "digest": digest.to_string(), "size": blob.len()});
        let path = format!("blobs/sha256/{}", digest.hex());
        self.kinds.insert(kind.to_owned(), path.clone());
        self.blobs.insert(path, blob);
        described
    }

    /// An image of one layer for a platform; the descriptor of its manifest.
    pub fn image(&mut self, architecture: &str, variant: Option<&str>) -> Value {
        let content = format!("for {architecture}").into_bytes();
        let layer = tar(&[Member::File("file", content)]);
        let diff_id = ids::Digest::of(&layer).to_string();
        let mut platform = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = variant.into();
        }
        let mut config = platform.clone();
        config["config"] = json!({"Cmd": ["/file"], "Env": [format!("FOR={architecture}")]});
        config["history"] = json!([{"created_by": format!("made for {architecture}")}]);
        config["rootfs"] = json!({"type": "layers", "diff_ids": [diff_id]});
        let layer = self.add("layer.v1.tar", layer);
        let config = self.add("config.v1+json", config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": format!("{TYPE}manifest.v1+json"), "config": config, "layers": [layer],
        });
        let mut described = self.add("manifest.v1+json", manifest.to_string().into_bytes());
        described["platform"] = platform;
        described
    }

    pub fn index(&mut self, manifests: &[Value]) -> Value {
        let kind = format!("{TYPE}index.v1+json");
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
        self.add("index.v1+json", index.to_string().into_bytes())
    }

    /// Drops the last blob of this kind.
    pub fn forget(&mut self, kind: &str) -> Result<()> {
        let path = self.kinds.remove(kind).context("a blob of this kind")?;
        self.blobs.remove(&path);
        Ok(())
    }

    /// Changes a document that was stored, and what it is described by.
    pub fn spoil(&mut self, described: &mut Value, change: impl FnOnce(&mut Value)) {
        let hex = described["digest"].as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned();
        let text = self.blobs.remove(&format!("blobs/sha256/{hex}")).unwrap_or_default();
        let mut text: Value = serde_json::from_slice(&text).unwrap_or_default();
        change(&mut text);
        *described = self.add("manifest.v1+json", text.to_string().into_bytes());
    }

    /// The archive, in which this is called by the name.
    pub fn archive(&self, mut target: Value, name: &str) -> Vec<u8> {
        target["annotations"] = json!({"io.containerd.image.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [target]});
        let mut members = vec![Member::File("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
        members.extend(self.blobs.iter().map(|(path, blob)| Member::File(path, blob.clone())));
        members.push(Member::File("index.json", index.to_string().into_bytes()));
        tar(&members)
    }
}

/// Of two platforms, with the digests of both manifests.
fn two_platforms() -> Result<(Vec<u8>, [String; 2])> {
    let mut layout = Layout::default();
    let manifests = [layout.image("amd64", None), layout.image("arm64", Some("v8"))];
    let digest = |manifest: &Value| manifest["digest"].as_str().map(str::to_owned).context("a digest");
    let digests = [digest(&manifests[0])?, digest(&manifests[1])?];
    let index = layout.index(&manifests);
    Ok((layout.archive(index, "docker.io/library/multi:1"), digests))
}

fn architecture(docker: &Docker, platform: &[&str]) -> Result<String> {
    docker.run(&[&["image", "inspect", "--format", "{{.Architecture}}{{.Config.Env}}", "multi:1"], platform].concat())
}

fn refused(docker: &Docker, words: &[&str], reason: &str) -> Result<()> {
    let ran = docker.try_run(words)?;
    ensure!(ran.code == 1 && ran.stderr.contains(reason), "{words:?}: {} {}", ran.code, ran.stderr);
    Ok(())
}

pub fn chosen(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let (archive, [_, of_arm]) = two_platforms()?;
    let missing = "was found but does not provide the specified platform (linux/s390x)";
    for docker in clients(&engine) {
        let docker = &docker;
        ensure!(docker.run_with(&["load"], &archive)? == "Loaded image: multi:1");
        ensure!(architecture(docker, &[])? == "amd64[FOR=amd64]");
        ensure!(architecture(docker, &["--platform", "linux/arm64"])? == "arm64[FOR=arm64]");
        ensure!(architecture(docker, &["--platform", "linux/amd64"])? == "amd64[FOR=amd64]");
        let history = ["history", "--format", "{{.CreatedBy}}", "multi:1"];
        ensure!(docker.run(&history)? == "made for amd64");
        ensure!(docker.run(&[&history[..], &["--platform", "linux/arm64"]].concat())? == "made for arm64");
        refused(docker, &["history", "--platform", "linux/s390x", "multi:1"], missing)?;
        refused(docker, &["image", "inspect", "--platform", "linux/s390x", "multi:1"], missing)?;
        refused(docker, &["save", "--platform", "linux/s390x", "-o", &path(host, "x.tar"), "multi:1"], missing)?;
        refused(docker, &["rmi", "--platform", "linux/s390x", "multi:1"], missing)?;

        // One platform leaves; what is saved of it is that one alone.
        let one = path(host, "arm.tar");
        docker.run(&["save", "--platform", "linux/arm64", "-o", &one, "multi:1"])?;
        ensure!(docker.run(&["rmi", "--platform", "linux/arm64", "multi:1"])? == format!("Deleted: {of_arm}"));
        refused(docker, &["image", "inspect", "--platform", "linux/arm64", "multi:1"], "(linux/arm64)")?;
        ensure!(architecture(docker, &[])? == "amd64[FOR=amd64]");
        ensure!(docker.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"])? == "multi:1");
        // The last one goes with the name.
        let gone = docker.run(&["rmi", "--platform", "linux/amd64", "multi:1"])?;
        ensure!(gone.starts_with("Untagged: multi:1\nDeleted: sha256:"), "{gone}");
        ensure!(docker.run(&["images", "-aq"])?.is_empty());

        docker.run(&["load", "-i", &one])?;
        ensure!(architecture(docker, &[])? == "arm64[FOR=arm64]");
        refused(docker, &["image", "inspect", "--platform", "linux/amd64", "multi:1"], "(linux/amd64)")?;
        docker.run(&["rmi", "multi:1"])?;
        docker.run_with(&["load", "--platform", "linux/arm64"], &archive)?;
        ensure!(architecture(docker, &[])? == "arm64[FOR=arm64]");
        docker.run(&["rmi", "multi:1"])?;
        refused(docker, &["load", "--platform", "linux/s390x", "-i", &one], "does not provide the specified platform")?;
        ensure!(docker.run(&["images", "-aq"])?.is_empty());
    }
    Ok(())
}

/// A manifest that a container uses, or another name has as well, stays.
pub fn kept(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let docker = &engine.docker;
    let (archive, [of_amd, _]) = two_platforms()?;
    docker.run_with(&["load"], &archive)?;
    docker.run(&["create", "--name", "user", "multi:1"])?;
    refused(docker, &["rmi", "--platform", "linux/amd64", "multi:1"], "image is being used by stopped container")?;
    docker.run(&["rm", "user"])?;
    // The manifest alone, under a name of its own.
    let one = path(host, "amd.tar");
    docker.run(&["save", "--platform", "linux/amd64", "-o", &one, "multi:1"])?;
    docker.run(&["tag", "multi:1", "all:1"])?;
    docker.run(&["load", "-i", &one])?;
    refused(docker, &["rmi", "--platform", "linux/amd64", "all:1"], "image is referenced in multiple repositories")?;
    docker.run(&["rmi", "multi:1"])?;
    ensure!(docker.run(&["rmi", "--platform", "linux/amd64", "all:1"])? == format!("Deleted: {of_amd}"));
    ensure!(docker.run(&["image", "inspect", "--format", "{{.Architecture}}", "all:1"])? == "arm64");
    docker.run(&["rmi", "all:1"])?;
    Ok(())
}
