//! What a build by BuildKit's protocol is lent: folders, archives, secrets, agents, logins; and under which names.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use buildkit_client::{Folder, Login, Logins};
use ids::Digest;

use super::caches;
use super::context::{DOCKERFILE, Outside, Source};
use super::request::random_hex;
use crate::config::{Config, HUB_KEY};
use crate::container::options::os_words;
use crate::context::Context;
use crate::failure::Failure;

const CONTEXT: &str = "context";
const DEFINITION: &str = "dockerfile";
const LAYOUT: &str = "oci-layout://";
/// Archives that a client holds have addresses of this kind.
const UPLOADS: &str = "http://buildkit-session/";
/// In Docker's configuration folder: tells this machine's folders from those of others.
const NODE_FILE: &str = ".buildNodeID";
const HUB: [&str; 2] = ["docker.io", "registry-1.docker.io"];

/// Folders and archives, and the attributes that name them.
#[derive(Default)]
pub struct Lent {
    pub folders: BTreeMap<String, Folder>,
    pub archive: Option<(String, Box<dyn Read + Send>)>,
    pub attributes: BTreeMap<String, String>,
    /// Folders that are OCI layouts, by the builder's names for them.
    pub layouts: BTreeMap<String, PathBuf>,
}

impl Lent {
    /// The context and the Dockerfile.
    pub fn of(source: Source) -> Result<Self, Failure> {
        let mut lent = Self::default();
        let mut put = |name: &str, value: String| drop(lent.attributes.insert(name.to_owned(), value));
        match source {
            Source::Folder(folder) => {
                let (definition, name) = match folder.outside {
                    None => (Folder::Disk(folder.path.clone()), folder.dockerfile),
                    Some(outside) => definition(outside),
                };
                put("filename", name);
                lent.folders.insert(DEFINITION.to_owned(), definition);
                lent.folders.insert(CONTEXT.to_owned(), Folder::Disk(folder.path));
            }
            Source::Lonely(bytes) => {
                put("filename", DOCKERFILE.to_owned());
                lent.folders.insert(DEFINITION.to_owned(), in_memory(bytes));
                lent.folders.insert(CONTEXT.to_owned(), Folder::Memory(Vec::new()));
            }
            Source::Archive { head, dockerfile } => {
                let id = random_hex();
                put("context", format!("{UPLOADS}{id}"));
                put("filename", if dockerfile.is_empty() { DOCKERFILE.to_owned() } else { dockerfile });
                let bytes = std::io::Cursor::new(head).chain(std::io::stdin());
                lent.archive = Some((format!("/{id}"), Box::new(bytes)));
            }
            Source::Remote { address, dockerfile } => {
                put("context", address);
                put("filename", if dockerfile.is_empty() { DOCKERFILE.to_owned() } else { dockerfile });
            }
        }
        Ok(lent)
    }

    /// `--build-context NAME=folder|address|image|layout`.
    pub fn add_contexts(&mut self, given: &[String]) -> Result<(), Failure> {
        for text in given {
            let wrong = || Failure::Text(format!("invalid context value: {text}, expected key=value"));
            let (name, source) = text.split_once('=').ok_or_else(wrong)?;
            let value = if let Some(layout) = source.strip_prefix(LAYOUT) {
                self.lend_layout(name, layout)?
            } else if source.contains("://") || source.starts_with("git@") {
                source.to_owned()
            } else {
                let path = Path::new(source);
                let found = std::fs::metadata(path).map_err(|error| {
                    Failure::Text(format!("failed to get build context {name}: stat {source}: {}", os_words(&error)))
                })?;
                if !found.is_dir() {
                    return Err(Failure::Text(format!(
                        "failed to get build context {name}: {source}: not a directory"
                    )));
                }
                let own = matches!(name, CONTEXT | DEFINITION);
                let lent_as = if own { format!("_{name}") } else { name.to_owned() };
                let value = format!("local:{lent_as}");
                self.folders.insert(lent_as, Folder::Disk(path.canonicalize()?));
                value
            };
            self.attributes.insert(format!("context:{name}"), value);
        }
        Ok(())
    }

    /// `FOLDER[:TAG][@DIGEST]`; what the attribute says then.
    fn lend_layout(&mut self, name: &str, text: &str) -> Result<String, Failure> {
        let (place, digest) = text.split_once('@').map_or((text, None), |(place, digest)| (place, Some(digest)));
        let (folder, tag) = match place.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((folder, tag)) => (Path::new(folder), Some(tag)),
            None => (Path::new(place), None),
        };
        let failed = |reason: String| Failure::Text(format!("failed to get build context {name}: {reason}"));
        let digest = match (digest, tag) {
            (Some(digest), _) => digest.to_owned(),
            (None, Some(tag)) => caches::tagged(folder, tag).map_err(failed)?,
            (None, None) => caches::untagged(folder).map_err(failed)?,
        };
        let tag = tag.unwrap_or(caches::DEFAULT_TAG);
        let id = random_hex();
        self.layouts.insert(format!("oci:{id}"), folder.to_owned());
        Ok(format!("{LAYOUT}{id}:{tag}@{digest}"))
    }

    /// The same for all builds of these folders on this machine, so that what has not changed need not travel again.
    pub fn shared_key(&self, config_folder: &Path) -> String {
        let path = |(name, folder): (&String, &Folder)| match folder {
            Folder::Disk(path) => format!("{name}={}\n", path.display()),
            Folder::Memory(_) => String::new(),
        };
        let paths: String = self.folders.iter().map(path).collect();
        Digest::of(format!("{paths}{}", node(config_folder))).hex()
    }
}

fn definition(outside: Outside) -> (Folder, String) {
    // An ignore file of its own lies beside it.
    let place = outside.path.as_deref().and_then(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        Some((Folder::Disk(path.parent()?.to_owned()), name))
    });
    place.unwrap_or_else(|| (in_memory(outside.bytes), DOCKERFILE.to_owned()))
}

fn in_memory(dockerfile: Vec<u8>) -> Folder {
    Folder::Memory(vec![(DOCKERFILE.to_owned(), dockerfile)])
}

/// This machine's name among those that build with one engine; made when it is missing.
fn node(folder: &Path) -> String {
    let path = folder.join(NODE_FILE);
    if let Ok(known) = std::fs::read_to_string(&path)
        && !known.is_empty()
    {
        return known;
    }
    let node = random_hex();
    // Without it everything travels each time, which is no mistake.
    let _ = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, &node));
    node
}

/// What this user's configuration knows of registries.
pub struct Known(pub Config);

impl Logins for Known {
    fn login(&self, host: &str) -> Login {
        let key = if HUB.contains(&host) { HUB_KEY } else { host };
        let auth = self.0.credentials(key);
        match auth.identity_token.expose() {
            "" => Login { username: auth.username, secret: auth.password.expose().to_owned() },
            token => Login { username: String::new(), secret: token.to_owned() },
        }
    }
}

/// The logins of this command's user.
pub fn logins(context: &Context) -> Arc<dyn Logins> {
    Arc::new(Known(context.config.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_contexts_are_folders_addresses_and_images() {
        let home = tempfile::tempdir().unwrap();
        let mut lent = Lent::default();
        let folder = home.path().display();
        let given = [format!("a={folder}"), format!("context={folder}"), "b=docker-image://busybox".to_owned()];
        lent.add_contexts(&given).unwrap();
        assert_eq!(lent.attributes["context:a"], "local:a");
        assert_eq!(lent.attributes["context:context"], "local:_context");
        assert_eq!(lent.attributes["context:b"], "docker-image://busybox");
        assert_eq!(lent.folders.len(), 2);
        assert!(lent.add_contexts(&["x=/nonexistent".to_owned()]).is_err());
        assert!(lent.add_contexts(&["x".to_owned()]).is_err());
    }

    #[test]
    fn one_folder_has_one_key_until_another_machine_has_it() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut lent = Lent::default();
        lent.folders.insert("context".to_owned(), Folder::Disk("/c".into()));
        let key = lent.shared_key(home.path());
        assert_eq!(lent.shared_key(home.path()), key);
        assert_ne!(lent.shared_key(other.path()), key);
    }
}
