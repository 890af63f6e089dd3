//! Container Device Interface: what the files of a device's vendor say a container needs to use it (CDI SPEC.md, 0.3 to 1.0).
//!
//! The files' text is parsed and devices' numbers are looked up by the service; here is what they mean for the OCI specification.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::DeviceNode;
use crate::config::DeviceRequest;
use crate::environment::replace_or_append;
use crate::error::ConfigError;
use crate::oci;

/// Vendors of graphics processors, for requests that name a capability and no device.
const GPU_VENDORS: [&str; 2] = ["nvidia.com", "amd.com"];
/// More devices than any machine has are refused before their names are made.
const MOST_DEVICES: i64 = 1024;

/// One file of `/etc/cdi` or `/var/run/cdi`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Document {
    pub cdi_version: String,
    /// `vendor.com/class`.
    pub kind: String,
    pub devices: Vec<Device>,
    /// For every device of the file.
    pub container_edits: EditsText,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    pub name: String,
    pub container_edits: EditsText,
}

/// As written: device nodes may lack their numbers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EditsText {
    pub env: Vec<String>,
    pub device_nodes: Vec<NodeText>,
    pub mounts: Vec<MountText>,
    pub hooks: Vec<HookText>,
    #[serde(rename = "additionalGids")]
    pub additional_gids: Vec<u32>,
    pub intel_rdt: Option<serde_json::Value>,
    pub net_devices: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeText {
    pub path: String,
    pub host_path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub major: i64,
    pub minor: i64,
    pub file_mode: Option<u32>,
    pub permissions: String,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MountText {
    pub host_path: String,
    pub container_path: String,
    pub options: Vec<String>,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HookText {
    pub hook_name: String,
    pub path: String,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub timeout: Option<u32>,
}

/// The edits of one device (or of one file), ready to be applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits {
    pub env: Vec<String>,
    pub nodes: Vec<DeviceNode>,
    pub mounts: Vec<MountText>,
    pub hooks: Vec<HookText>,
    pub additional_gids: Vec<u32>,
}

/// The devices that a container's requests name: `vendor.com/class=name`. `documents` are those of this host.
pub fn requested(requests: &[DeviceRequest], documents: &[Document]) -> Result<Vec<String>, ConfigError> {
    let mut names = Vec::new();
    for request in requests {
        if request.driver == "cdi" {
            let unexpected = |what: &str| ConfigError::Value(format!("unexpected {what} in CDI device request"));
            if request.count != 0 {
                return Err(unexpected("count"));
            }
            if !request.options.is_empty() {
                return Err(unexpected("options"));
            }
            names.extend(request.device_ids.iter().cloned());
            continue;
        }
        names.extend(graphics(request, documents).ok_or_else(|| no_driver(request))?);
    }
    Ok(names)
}

/// `--gpus`: by the first vendor's files, as far as they are there.
fn graphics(request: &DeviceRequest, documents: &[Document]) -> Option<Vec<String>> {
    let wants =
        request.capabilities.iter().any(|set| set.iter().all(|capability| capability == "gpu") && !set.is_empty());
    let kind = |vendor: &str| format!("{vendor}/gpu");
    let there = |vendor: &&str| documents.iter().any(|document| document.kind == kind(vendor));
    let vendor = match request.driver.as_str() {
        "" if wants => GPU_VENDORS.into_iter().find(there)?,
        "nvidia" => Some("nvidia.com").filter(there)?,
        "amd" => Some("amd.com").filter(there)?,
        _ => return None,
    };
    let ids: Vec<String> = match request.count {
        0 => request.device_ids.clone(),
        -1 => vec!["all".to_owned()],
        count if count > 0 && count <= MOST_DEVICES => (0..count).map(|index| index.to_string()).collect(),
        _ => return None,
    };
    Some(ids.into_iter().map(|id| format!("{}={id}", kind(vendor))).collect())
}

fn no_driver(request: &DeviceRequest) -> ConfigError {
    // Lists as Go prints them.
    let sets = request.capabilities.iter().map(|set| format!("[{}]", set.join(" ")));
    let capabilities = format!("[{}]", sets.collect::<Vec<_>>().join(" "));
    ConfigError::DeviceDriver { driver: request.driver.clone(), capabilities }
}

/// The edits for these devices, each file's own once and before those of its first device.
pub fn select<'a>(names: &[String], documents: &'a [Document]) -> Result<Vec<&'a EditsText>, ConfigError> {
    let by_kind: HashMap<&str, Vec<&Document>> = documents.iter().fold(HashMap::new(), |mut map, document| {
        map.entry(document.kind.as_str()).or_default().push(document);
        map
    });
    let (mut edits, mut used, mut unknown): (Vec<&EditsText>, Vec<*const Document>, Vec<&str>) = Default::default();
    for name in names {
        let found = name.split_once('=').and_then(|(kind, device)| {
            by_kind.get(kind)?.iter().find_map(|document| {
                let device = document.devices.iter().find(|known| known.name == device)?;
                Some((*document, device))
            })
        });
        let Some((document, device)) = found else {
            unknown.push(name);
            continue;
        };
        let place: *const Document = document;
        if !used.contains(&place) {
            used.push(place);
            edits.push(&document.container_edits);
        }
        edits.push(&device.container_edits);
    }
    if !unknown.is_empty() {
        return Err(ConfigError::Cdi(format!("unresolvable CDI devices {}", unknown.join(", "))));
    }
    if edits.iter().any(|edit| edit.intel_rdt.is_some() || edit.net_devices.is_some()) {
        return Err(ConfigError::NotBuilt("intelRdt and netDevices of a CDI specification".to_owned()));
    }
    Ok(edits)
}

impl Edits {
    pub(super) fn apply(&self, spec: &mut oci::Spec) {
        spec.process.env = replace_or_append(std::mem::take(&mut spec.process.env), &self.env);
        for node in &self.nodes {
            spec.linux.devices.retain(|known| known.path != node.path_in_container);
            spec.linux.devices.extend(super::resources::nodes(std::slice::from_ref(node)));
            spec.linux.resources.devices.push(oci::DeviceRule {
                allow: true,
                kind: node.kind.to_owned(),
                major: Some(node.major),
                minor: Some(node.minor),
                access: node.permissions.clone(),
            });
        }
        for mount in &self.mounts {
            spec.mounts.retain(|known| known.destination != mount.container_path);
            spec.mounts.push(oci::Mount {
                destination: mount.container_path.clone(),
                kind: if mount.kind.is_empty() { "bind".into() } else { mount.kind.clone().into() },
                source: mount.host_path.clone(),
                options: mount.options.clone(),
            });
        }
        for hook in &self.hooks {
            push_hook(&mut spec.hooks, hook);
        }
        for gid in &self.additional_gids {
            if *gid != 0 && !spec.process.user.additional_gids.contains(gid) {
                spec.process.user.additional_gids.push(*gid);
            }
        }
    }
}

fn push_hook(hooks: &mut oci::Hooks, hook: &HookText) {
    let list = match hook.hook_name.as_str() {
        "prestart" => &mut hooks.prestart,
        "createRuntime" => &mut hooks.create_runtime,
        "createContainer" => &mut hooks.create_container,
        "startContainer" => &mut hooks.start_container,
        "poststart" => &mut hooks.poststart,
        "poststop" => &mut hooks.poststop,
        // Checked when the file was read.
        _ => return,
    };
    let (path, args, env) = (hook.path.clone(), hook.args.clone(), hook.env.clone());
    list.push(oci::Hook { path, args, env, timeout: hook.timeout });
}

/// What is wrong with a file, in one clause; names and paths become parts of a specification that root carries out.
pub fn check(document: &Document) -> Result<(), String> {
    let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c));
    match document.kind.split_once('/') {
        Some((vendor, class)) if word(vendor) && word(class) => {}
        _ => return Err(format!("invalid kind {:?}", document.kind)),
    }
    if !document.cdi_version.trim_start_matches('v').starts_with(['0', '1']) {
        return Err(format!("unknown cdiVersion {:?}", document.cdi_version));
    }
    let mut seen = BTreeMap::new();
    for device in &document.devices {
        if !word(&device.name) || seen.insert(&device.name, ()).is_some() {
            return Err(format!("invalid or repeated device name {:?}", device.name));
        }
    }
    let all = document.devices.iter().map(|device| &device.container_edits).chain([&document.container_edits]);
    all.into_iter().try_for_each(check_edits)
}

fn check_edits(edits: &EditsText) -> Result<(), String> {
    const HOOKS: [&str; 6] =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for node in &edits.device_nodes {
        if !node.path.starts_with('/') || !matches!(node.kind.as_str(), "" | "b" | "c" | "u" | "p") {
            return Err(format!("invalid device node {:?}", node.path));
        }
    }
    for mount in &edits.mounts {
        if mount.host_path.is_empty() || !mount.container_path.starts_with('/') {
            return Err(format!("invalid mount at {:?}", mount.container_path));
        }
    }
    match edits.hooks.iter().find(|hook| !HOOKS.contains(&hook.hook_name.as_str()) || !hook.path.starts_with('/')) {
        Some(hook) => Err(format!("invalid hook {:?}", hook.hook_name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        serde_json::from_str(
            r#"{"cdiVersion":"0.6.0","kind":"vendor.com/net",
                "devices":[{"name":"one","containerEdits":{"env":["ONE=1"],
                    "deviceNodes":[{"path":"/dev/one","type":"c","major":1,"minor":3}]}},
                    {"name":"two","containerEdits":{"additionalGids":[7]}}],
                "containerEdits":{"mounts":[{"hostPath":"/lib/v","containerPath":"/lib/v","options":["ro","bind"]}],
                    "hooks":[{"hookName":"createContainer","path":"/bin/h","args":["h"]}]}}"#,
        )
        .unwrap()
    }

    fn request(driver: &str, ids: &[&str], count: i64) -> DeviceRequest {
        DeviceRequest {
            driver: driver.to_owned(),
            device_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            count,
            capabilities: if driver == "cdi" { Vec::new() } else { vec![vec!["gpu".to_owned()]] },
            ..DeviceRequest::default()
        }
    }

    #[test]
    fn devices_are_found_by_their_full_name_and_the_file_s_own_edits_come_once() {
        let documents = [document()];
        let names = requested(&[request("cdi", &["vendor.com/net=one", "vendor.com/net=two"], 0)], &documents).unwrap();
        let edits = select(&names, &documents).unwrap();
        assert_eq!(edits.len(), 3);
        assert_eq!(edits[0].mounts[0].container_path, "/lib/v");
        let error = select(&["vendor.com/net=three".to_owned(), "x".to_owned()], &documents).unwrap_err();
        assert_eq!(error.to_string(), "CDI device injection failed: unresolvable CDI devices vendor.com/net=three, x");
    }

    #[test]
    fn a_graphics_processor_without_a_vendor_is_refused_in_dockers_words() {
        let error = requested(&[request("", &[], -1)], &[document()]).unwrap_err();
        assert_eq!(error.to_string(), "could not select device driver \"\" with capabilities: [[gpu]]");
        let error = requested(&[request("nvidia", &[], -1)], &[]).unwrap_err();
        assert_eq!(error.to_string(), "could not select device driver \"nvidia\" with capabilities: [[gpu]]");
        let gpus = Document { kind: "nvidia.com/gpu".into(), ..document() };
        assert_eq!(requested(&[request("", &[], -1)], &[gpus.clone()]).unwrap(), ["nvidia.com/gpu=all"]);
        assert_eq!(requested(&[request("nvidia", &[], 2)], &[gpus]).unwrap(), ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]);
        let error = requested(&[request("cdi", &["a"], 1)], &[]).unwrap_err();
        assert_eq!(error.to_string(), "unexpected count in CDI device request");
    }

    #[test]
    fn edits_change_environment_devices_rules_mounts_groups_and_hooks() {
        let text = document();
        let mut spec = oci::Spec::default();
        spec.process.env = vec!["ONE=0".to_owned()];
        let node = DeviceNode {
            path_in_container: "/dev/one".into(),
            kind: "c",
            major: 1,
            minor: 3,
            permissions: "rw".into(),
            ..DeviceNode::default()
        };
        let edits = Edits {
            env: text.devices[0].container_edits.env.clone(),
            nodes: vec![node],
            mounts: text.container_edits.mounts.clone(),
            hooks: text.container_edits.hooks.clone(),
            additional_gids: vec![0, 7],
        };
        edits.apply(&mut spec);
        assert_eq!(spec.process.env, ["ONE=1"]);
        assert_eq!(spec.process.user.additional_gids, [7]);
        assert_eq!(
            (spec.linux.devices[0].path.as_str(), spec.linux.resources.devices[0].access.as_str()),
            ("/dev/one", "rw")
        );
        assert_eq!((spec.mounts[0].destination.as_str(), spec.hooks.create_container.len()), ("/lib/v", 1));
    }

    #[test]
    fn broken_files_are_named_by_what_is_wrong() {
        assert_eq!(check(&document()), Ok(()));
        assert!(check(&Document { kind: "x".into(), ..document() }).unwrap_err().starts_with("invalid kind"));
        let mut twice = document();
        twice.devices[1].name = "one".into();
        assert!(check(&twice).unwrap_err().contains("repeated device name"));
        let mut hook = document();
        hook.container_edits.hooks[0].path = "h".into();
        assert!(check(&hook).unwrap_err().starts_with("invalid hook"));
    }
}
