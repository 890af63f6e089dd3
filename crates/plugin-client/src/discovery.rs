//! Where plugins are found: sockets first, then files with addresses.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::{Address, Plugin, PluginError, Tls};

/// The largest file with an address that is read.
const MAX_SPEC: u64 = 64 * 1024;
/// As long as Docker tries.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Nobody has more plugins on one host.
const MAX_PLUGINS: usize = 256;

/// The folders that are searched.
#[derive(Debug, Clone)]
pub struct Plugins {
    pub sockets: PathBuf,
    pub specs: Vec<PathBuf>,
    /// How long a plugin that does not listen, or that was there and is not, is waited for: it may be starting again.
    pub patience: Duration,
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            sockets: "/run/docker/plugins".into(),
            specs: vec!["/etc/docker/plugins".into(), "/usr/lib/docker/plugins".into()],
            patience: PATIENCE,
        }
    }
}

/// A `.json` file.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    addr: String,
    #[serde(rename = "TLSConfig")]
    tls_config: Option<Tls>,
}

impl Plugins {
    /// The plugin of this name; it is not called yet.
    pub fn find(&self, name: &str) -> Result<Plugin, PluginError> {
        if name.is_empty() || name.contains(['/', '\0']) || name == ".." {
            return Err(PluginError::NotFound(name.to_owned()));
        }
        for path in candidates(&self.sockets, name, "sock") {
            if fs::metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
                return Ok(Plugin::new(name, Address::Unix(path), self.patience));
            }
        }
        for folder in &self.specs {
            for extension in ["spec", "json"] {
                for path in candidates(folder, name, extension) {
                    if path.is_file() {
                        let address = read_spec(&path, name, extension == "json")?;
                        return Ok(Plugin::new(name, address, self.patience));
                    }
                }
            }
        }
        Err(PluginError::NotFound(name.to_owned()))
    }

    /// The same for one that was there before and may be starting again: it is waited for.
    pub async fn wait_for(&self, name: &str) -> Result<Plugin, PluginError> {
        let end = tokio::time::Instant::now() + self.patience;
        loop {
            match self.find(name) {
                Err(PluginError::NotFound(_)) if tokio::time::Instant::now() < end => {
                    tokio::time::sleep(LOOK_PAUSE).await
                }
                other => return other,
            }
        }
    }

    /// The names of all plugins that are installed, in order; none of them is called.
    pub fn names(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        let specs = self.specs.iter().flat_map(|folder| [(folder, "spec"), (folder, "json")]);
        for (folder, extension) in std::iter::once((&self.sockets, "sock")).chain(specs) {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.flatten().take(MAX_PLUGINS) {
                let path = entry.path();
                let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
                let is_file = path.extension().is_some_and(|found| found == extension);
                if is_file || path.join(format!("{stem}.{extension}")).exists() {
                    names.insert(stem);
                }
            }
        }
        names.into_iter().take(MAX_PLUGINS).collect()
    }
}

fn candidates(folder: &Path, name: &str, extension: &str) -> [PathBuf; 2] {
    let file = format!("{name}.{extension}");
    [folder.join(&file), folder.join(name).join(&file)]
}

fn read_spec(path: &Path, name: &str, is_json: bool) -> Result<Address, PluginError> {
    let wrong = |why: String| PluginError::Address { name: name.to_owned(), why };
    let size = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > MAX_SPEC {
        return Err(wrong(format!("{} is larger than {MAX_SPEC} bytes", path.display())));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let (address, tls) = if is_json {
        let spec: Spec = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        (spec.addr, spec.tls_config.unwrap_or_default())
    } else {
        (text.trim().to_owned(), Tls::default())
    };
    match address.split_once("://") {
        Some(("unix", path)) => Ok(Address::Unix(path.into())),
        Some(("tcp" | "http", rest)) => Ok(Address::Tcp(rest.trim_end_matches('/').to_owned())),
        Some(("https", rest)) => {
            let host = rest.trim_end_matches('/');
            let port = if host.ends_with(']') || !host.contains(':') { ":443" } else { "" };
            Ok(Address::Tls(format!("{host}{port}"), tls))
        }
        Some((scheme, _)) => Err(wrong(format!("unsupported protocol {scheme:?}"))),
        None => Err(wrong("Unknown protocol".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn sockets_come_before_files_and_both_may_have_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let plugins =
            Plugins { sockets: root.join("run"), specs: vec![root.join("etc"), root.join("lib")], patience: PATIENCE };
        fs::create_dir_all(root.join("run/nested")).unwrap();
        let _nested = std::os::unix::net::UnixListener::bind(root.join("run/nested/nested.sock")).unwrap();
        write(root, "etc/nested.spec", "tcp://1.2.3.4:5");
        write(root, "etc/plain.spec", "unix:///p.sock\n");
        write(root, "lib/json/json.json", r#"{"Name":"json","Addr":"tcp://10.0.0.1:80/","TLSConfig":null}"#);
        write(root, "etc/tls.json", r#"{"Addr":"https://x","TLSConfig":{"CAFile":"/ca"}}"#);
        write(root, "etc/odd.spec", "nothing");
        let address = |name: &str| plugins.find(name).map(|plugin| plugin.address().clone());
        assert_eq!(address("nested").unwrap(), Address::Unix(root.join("run/nested/nested.sock")));
        assert_eq!(address("plain").unwrap(), Address::Unix("/p.sock".into()));
        assert_eq!(address("json").unwrap(), Address::Tcp("10.0.0.1:80".into()));
        let ca = crate::Tls { ca_file: "/ca".into(), ..crate::Tls::default() };
        assert_eq!(address("tls").unwrap(), Address::Tls("x:443".into(), ca));
        assert!(address("odd").unwrap_err().to_string().ends_with("Unknown protocol"));
        assert_eq!(plugins.names(), ["json", "nested", "odd", "plain", "tls"]);
        for name in ["missing", "../run/nested", "", ".."] {
            assert_eq!(address(name).unwrap_err().to_string(), format!("plugin \"{name}\" not found"));
        }
    }
}
