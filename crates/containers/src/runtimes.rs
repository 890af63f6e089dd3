//! `--runtime`: names to shims and their options, as the daemon's configuration has them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use containerd_api::any;
use containerd_api::runc::v1::Options as RuncOptions;
use serde_json::Value;

use crate::error::Error;
use crate::messages;
use crate::settings::{Defaults, Runtime, Settings};

/// Names of the runtime that this daemon was built with.
const STOCK: [&str; 3] = ["", "runc", RUNC_SHIM];
/// What everybody calls the shim that runs programs with runc's command line: on this engine it is the engine's own.
const RUNC_SHIM: &str = "io.containerd.runc.v2";
/// The engine's own shim under its own name.
const OWN_SHIM: &str = "io.containerd.longshore.v2";

/// What containerd is told to start a container with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    pub shim: String,
    pub options: Option<containerd_api::Any>,
}

impl Chosen {
    /// Output goes through pipes that belong to who the container's root is on the host: programs open them by
    /// `/dev/stdout`.
    pub fn for_root(self, root: Option<(u32, u32)>) -> Self {
        let options = self.options.as_ref().and_then(|options| any::unpack::<RuncOptions>(options).ok());
        match (root, options) {
            (Some((uid, gid)), Some(options)) => {
                let options = RuncOptions { io_uid: uid, io_gid: gid, ..options };
                Self { options: Some(any::pack(&options)), ..self }
            }
            _ => self,
        }
    }
}

/// By the name in the container's configuration.
pub(crate) fn find(settings: &Settings, defaults: &Defaults, name: &str) -> Result<Chosen, Error> {
    let name = if name.is_empty() { defaults.runtime.as_str() } else { name };
    if let Some(runtime) = defaults.runtimes.get(name) {
        return configured(settings, name, runtime);
    }
    if STOCK.contains(&name) {
        return Ok(program(settings, &settings.runc_path));
    }
    if is_shim_name(name) {
        return Ok(Chosen { shim: own_shim(settings, name, name)?, options: None });
    }
    Err(messages::unknown_runtime(name))
}

/// As containerd is told. Other people's shims do not know what a container's output goes to (ARCHITECTURE.md, the pump).
fn own_shim(settings: &Settings, name: &str, shim: &str) -> Result<String, Error> {
    match shim {
        RUNC_SHIM => Ok(settings.runtime_name().to_owned()),
        OWN_SHIM => Ok(OWN_SHIM.to_owned()),
        own if own == settings.runtime_name() => Ok(own.to_owned()),
        other => Err(messages::runtime_with_foreign_shim(name, other)),
    }
}

fn configured(settings: &Settings, name: &str, runtime: &Runtime) -> Result<Chosen, Error> {
    match runtime {
        Runtime::Program { path, arguments } if arguments.is_empty() => Ok(program(settings, path)),
        Runtime::Program { path, arguments } => Ok(program(settings, &wrapper(settings, name, path, arguments).0)),
        Runtime::Shim { name: shim, options } => {
            let shim = own_shim(settings, name, shim)?;
            let given = runc_options(options).map_err(|key| messages::runtime_option(name, &key))?;
            Ok(Chosen { shim, options: (!options.is_empty()).then(|| any::pack(&given)) })
        }
    }
}

/// A program with runc's command line, under the daemon's usual shim.
fn program(settings: &Settings, path: &Path) -> Chosen {
    let options = RuncOptions {
        binary_name: path.to_string_lossy().into_owned(),
        root: settings.runc_root().to_string_lossy().into_owned(),
        ..RuncOptions::default()
    };
    Chosen { shim: settings.runtime_name().to_owned(), options: Some(any::pack(&options)) }
}

/// containerd's options of runc by the names that `daemon.json` has for them; the first that is none is the error.
fn runc_options(given: &BTreeMap<String, Value>) -> Result<RuncOptions, String> {
    let mut options = RuncOptions::default();
    for (key, value) in given {
        let known = match key.as_str() {
            "NoPivotRoot" => value.as_bool().map(|value| options.no_pivot_root = value),
            "NoNewKeyring" => value.as_bool().map(|value| options.no_new_keyring = value),
            "SystemdCgroup" => value.as_bool().map(|value| options.systemd_cgroup = value),
            "ShimCgroup" => value.as_str().map(|value| value.clone_into(&mut options.shim_cgroup)),
            "BinaryName" => value.as_str().map(|value| value.clone_into(&mut options.binary_name)),
            "Root" => value.as_str().map(|value| value.clone_into(&mut options.root)),
            "CriuImagePath" => value.as_str().map(|value| value.clone_into(&mut options.criu_image_path)),
            "CriuWorkPath" => value.as_str().map(|value| value.clone_into(&mut options.criu_work_path)),
            "IoUid" => number(value).map(|value| options.io_uid = value),
            "IoGid" => number(value).map(|value| options.io_gid = value),
            _ => None,
        };
        known.ok_or_else(|| key.clone())?;
    }
    Ok(options)
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

/// No shim takes arguments for its runtime: a script adds them. Its name has its content's digest, so that containers that
/// run keep theirs when the configuration changes.
fn wrapper(settings: &Settings, name: &str, path: &Path, arguments: &[String]) -> (PathBuf, String) {
    let text = format!("#!/bin/sh\nexec {} {} \"$@\"\n", path.display(), arguments.join(" "));
    let digest = ids::Digest::of(&text);
    let file = format!("{}.{}", name.replace('/', "_"), &digest.hex()[..12]);
    (settings.data_root.join("runtimes").join(file), text)
}

/// Writes the scripts that the configuration needs: when the service opens, and when the configuration changes.
pub(crate) fn write_wrappers(settings: &Settings, defaults: &Defaults) -> Result<(), Error> {
    for (name, runtime) in &defaults.runtimes {
        let Runtime::Program { path, arguments } = runtime else { continue };
        if arguments.is_empty() {
            continue;
        }
        let (place, text) = wrapper(settings, name, path, arguments);
        let written = || {
            fs::create_dir_all(place.parent().unwrap_or(Path::new("/")))?;
            let options = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o700).clone();
            options.open(&place)?.write_all(text.as_bytes())
        };
        written().map_err(|source| Error::file("write the runtime's script", &place, source))?;
    }
    Ok(())
}

/// `prefix.name.version`; a path would let everyone at the API run any program.
fn is_shim_name(name: &str) -> bool {
    !name.contains('/') && name.split_once('.').is_some_and(|(prefix, _)| !prefix.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, runtime: Runtime) -> Settings {
        Settings {
            data_root: "/d".into(),
            exec_root: "/e".into(),
            socket_root: "/e".into(),
            namespace: "moby".into(),
            cgroup_parent: "/docker".into(),
            runc_path: "/bin/docker-runc".into(),
            init_path: None,
            shim: None,
            log_defaults: container_core::LogConfig::default(),
            defaults: Defaults { runtimes: [(name.to_owned(), runtime)].into(), ..Defaults::default() },
        }
    }

    fn binary(chosen: &Chosen) -> String {
        any::unpack::<RuncOptions>(chosen.options.as_ref().unwrap()).unwrap().binary_name
    }

    #[test]
    fn names_are_the_stock_one_s_the_configuration_s_or_shims() {
        let settings = settings("crun", Runtime::Program { path: "/usr/bin/crun".into(), arguments: Vec::new() });
        assert_eq!(binary(&find(&settings, &settings.defaults, "").unwrap()), "/bin/docker-runc");
        assert_eq!(binary(&find(&settings, &settings.defaults, "crun").unwrap()), "/usr/bin/crun");
        let shim = |name: &str| find(&settings, &settings.defaults, name).map(|chosen| chosen.shim);
        for own in ["io.containerd.runc.v2", "io.containerd.longshore.v2"] {
            assert_eq!(shim(own).unwrap(), own);
        }
        let foreign = shim("io.containerd.kata.v2").unwrap_err().to_string();
        assert!(foreign.starts_with("runtime io.containerd.kata.v2 has a shim of its own"), "{foreign}");
        for wrong in ["nope", "/bin/sh", "a/b.c", ".x"] {
            let error = find(&settings, &settings.defaults, wrong).unwrap_err().to_string();
            assert_eq!(error, format!("unknown or invalid runtime name: {wrong}"));
        }
    }

    #[test]
    fn arguments_come_by_a_script_and_options_by_their_names() {
        let arguments = vec!["--debug".to_owned()];
        let wrapped = settings("slow", Runtime::Program { path: "/usr/bin/crun".into(), arguments });
        let path = binary(&find(&wrapped, &wrapped.defaults, "slow").unwrap());
        assert!(path.starts_with("/d/runtimes/slow."), "{path}");
        let shim = |key: &str, value: Value| Runtime::Shim {
            name: "io.containerd.runc.v2".into(),
            options: [(key.to_owned(), value)].into(),
        };
        let good = settings("mine", shim("BinaryName", "crun".into()));
        assert_eq!(binary(&find(&good, &good.defaults, "mine").unwrap()), "crun");
        let bad = settings("mine", shim("Colour", "red".into()));
        assert!(find(&bad, &bad.defaults, "mine").unwrap_err().to_string().contains("Colour"));
    }
}
