//! Files of the Container Device Interface on this host: read at each start that asks for a device, since drivers write them
//! anew when devices come and go.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use container_core::spec::DeviceNode;
use container_core::spec::cdi::{self, Document, Edits, EditsText, NodeText};
use container_core::{ConfigError, DeviceRequest};

use crate::error::Error;

/// A machine's devices are described in far less.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;
const MOST_FILES: usize = 1000;

/// What a container's requests come to on this host.
pub(crate) fn edits(requests: &[DeviceRequest], folders: &[PathBuf]) -> Result<Vec<Edits>, Error> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let documents = documents(folders);
    let names = cdi::requested(requests, &documents)?;
    let chosen = cdi::select(&names, &documents)?;
    chosen.into_iter().map(resolve).collect()
}

/// All good files, those of the last folder first: they win. A broken one is told of and left out.
fn documents(folders: &[PathBuf]) -> Vec<Document> {
    let mut documents = Vec::new();
    for folder in folders.iter().rev() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().take(MOST_FILES) {
            match read(path) {
                Ok(document) => documents.extend(document),
                Err(why) => tracing::warn!(path = %path.display(), why, "cannot use a CDI specification"),
            }
        }
    }
    documents
}

/// `None` for files of another kind.
fn read(path: &Path) -> Result<Option<Document>, String> {
    let yaml = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => false,
        Some("yaml" | "yml") => true,
        _ => return Ok(None),
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(LARGEST_FILE).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let document: Document = if yaml {
        serde_saphyr::from_str(&text).map_err(|error| error.to_string())?
    } else {
        serde_json::from_str(&text).map_err(|error| error.to_string())?
    };
    cdi::check(&document)?;
    Ok(Some(document))
}

fn resolve(text: &EditsText) -> Result<Edits, Error> {
    Ok(Edits {
        env: text.env.clone(),
        nodes: text.device_nodes.iter().map(node).collect::<Result<_, _>>()?,
        mounts: text.mounts.clone(),
        hooks: text.hooks.clone(),
        additional_gids: text.additional_gids.clone(),
    })
}

/// What the file leaves open is the host's node's.
fn node(text: &NodeText) -> Result<DeviceNode, Error> {
    let host_path = if text.host_path.is_empty() { &text.path } else { &text.host_path };
    let mut node = DeviceNode {
        path_in_container: text.path.clone(),
        kind: match text.kind.as_str() {
            "b" => "b",
            "c" | "u" => "c",
            "p" => "p",
            _ => "",
        },
        major: text.major,
        minor: text.minor,
        mode: text.file_mode.unwrap_or(0o666),
        uid: text.uid.unwrap_or(0),
        gid: text.gid.unwrap_or(0),
        permissions: if text.permissions.is_empty() { "rwm".to_owned() } else { text.permissions.clone() },
    };
    if !node.kind.is_empty() && (node.kind == "p" || node.major != 0 || node.minor != 0) {
        return Ok(node);
    }
    let failed =
        |why: String| Error::Config(ConfigError::Cdi(format!("failed to stat CDI host device \"{host_path}\": {why}")));
    let stat = fs::metadata(host_path).map_err(|error| failed(error.to_string()))?;
    node.kind = match stat.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        kind if kind.is_fifo() => "p",
        _ => return Err(failed("not a device node".to_owned())),
    };
    node.major = i64::from(rustix::fs::major(stat.rdev()));
    node.minor = i64::from(rustix::fs::minor(stat.rdev()));
    node.mode = text.file_mode.unwrap_or(stat.mode() & 0o7777);
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> DeviceRequest {
        DeviceRequest { driver: "cdi".into(), device_ids: vec![name.to_owned()], ..DeviceRequest::default() }
    }

    #[test]
    fn devices_of_yaml_and_json_files_are_found_and_the_later_folder_wins() {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["etc", "run"].map(|name| folder.path().join(name));
        for place in &folders {
            fs::create_dir(place).unwrap();
        }
        let yaml = "cdiVersion: 0.6.0\nkind: vendor.com/dev\ndevices:\n- name: \"null\"\n  containerEdits:\n    deviceNodes:\n    \
                    - path: /dev/mine\n      hostPath: /dev/null\n    env:\n    - FROM=yaml\n";
        fs::write(folders[0].join("v.yaml"), yaml).unwrap();
        fs::write(folders[0].join("broken.json"), "{").unwrap();
        let found = edits(&[request("vendor.com/dev=null")], &folders).unwrap();
        let (edits_of_device, node) = (&found[1], &found[1].nodes[0]);
        assert_eq!(edits_of_device.env, ["FROM=yaml"]);
        assert_eq!((node.path_in_container.as_str(), node.kind, node.major, node.minor), ("/dev/mine", "c", 1, 3));
        let json = yaml.replace("yaml", "json");
        let value: serde_json::Value = serde_saphyr::from_str(&json).unwrap();
        fs::write(folders[1].join("v.json"), value.to_string()).unwrap();
        assert_eq!(edits(&[request("vendor.com/dev=null")], &folders).unwrap()[1].env, ["FROM=json"]);
        assert!(
            edits(&[request("vendor.com/dev=zero")], &folders).unwrap_err().to_string().contains("unresolvable CDI")
        );
    }
}
