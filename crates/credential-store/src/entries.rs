//! The entries by registry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::files::{self, Places};
use crate::seal::Key;
use crate::secret::Secret;
use crate::server::{canonical, scopes};

/// A user's name and secret at one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub username: String,
    pub secret: Secret,
}

/// By the key that they were stored under.
type Entries = BTreeMap<String, Entry>;

/// The credentials of one user.
pub struct Store {
    places: Places,
}

impl Store {
    /// Nothing is read or made before it is needed.
    pub fn new(places: Places) -> Self {
        Self { places }
    }

    /// What was stored under this key, or under another that means the same registry or what the key lies in.
    pub fn get(&self, server: &str) -> Result<Option<Entry>, StoreError> {
        let mut entries = self.read()?;
        if let Some(entry) = entries.remove(server) {
            return Ok(Some(entry));
        }
        let asked = canonical(server);
        let meant = scopes(&asked).find_map(|scope| entries.keys().find(|key| canonical(key) == scope).cloned());
        Ok(meant.and_then(|key| entries.remove(&key)))
    }

    pub fn put(&self, server: &str, entry: Entry) -> Result<(), StoreError> {
        self.change(|entries| {
            entries.insert(server.to_owned(), entry);
        })
    }

    /// Forgets what means this registry, by any of its keys. What is not there is gone already.
    pub fn erase(&self, server: &str) -> Result<(), StoreError> {
        let gone = canonical(server);
        if !self.read()?.keys().any(|key| canonical(key) == gone) {
            return Ok(());
        }
        self.change(|entries| entries.retain(|key, _| canonical(key) != gone))
    }

    /// Users by the keys that they were stored under.
    pub fn list(&self) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(self.read()?.into_iter().map(|(server, entry)| (server, entry.username)).collect())
    }

    fn read(&self) -> Result<Entries, StoreError> {
        match files::read(&self.places.sealed)? {
            Some(sealed) => self.open(&sealed, &self.key()?),
            None => Ok(Entries::new()),
        }
    }

    fn open(&self, sealed: &[u8], key: &Key) -> Result<Entries, StoreError> {
        let broken = || StoreError::Sealed(self.places.sealed.clone());
        let plain = key.open(sealed).ok_or_else(broken)?;
        serde_json::from_slice(&plain).map_err(|_| broken())
    }

    /// The key of what is sealed already.
    fn key(&self) -> Result<Key, StoreError> {
        let Places { key, sealed } = &self.places;
        let missing = || StoreError::KeyMissing { key: key.clone(), sealed: sealed.clone() };
        let bytes = files::read_private(key)?.ok_or_else(missing)?;
        Key::from_bytes(&bytes).ok_or_else(|| StoreError::Key(key.clone()))
    }

    fn change(&self, edit: impl FnOnce(&mut Entries)) -> Result<(), StoreError> {
        let _alone = files::lock(&self.places.sealed)?;
        let (key, mut entries) = match files::read(&self.places.sealed)? {
            Some(sealed) => {
                let key = self.key()?;
                let entries = self.open(&sealed, &key)?;
                (key, entries)
            }
            None => (self.first_key()?, Entries::new()),
        };
        edit(&mut entries);
        let plain = serde_json::to_vec(&entries).expect("maps of text are JSON");
        let limit = files::MAX_FILE;
        // What could not be read back is not written.
        if plain.len() as u64 > limit / 2 {
            return Err(StoreError::TooLarge { path: self.places.sealed.clone(), limit });
        }
        files::replace(&self.places.sealed, &key.seal(plain).ok_or(StoreError::Random)?)
    }

    /// For a store that holds nothing yet: the key that is there, or a new one.
    fn first_key(&self) -> Result<Key, StoreError> {
        let path = &self.places.key;
        if let Some(bytes) = files::read_private(path)? {
            return Key::from_bytes(&bytes).ok_or_else(|| StoreError::Key(path.clone()));
        }
        let key = Key::generate().ok_or(StoreError::Random)?;
        files::replace(path, key.as_bytes())?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn store(folder: &Path) -> Store {
        Store::new(Places { sealed: folder.join("data/credentials"), key: folder.join("config/key") })
    }

    fn entry(username: &str, secret: &str) -> Entry {
        Entry { username: username.to_owned(), secret: Secret::new(secret) }
    }

    #[test]
    fn entries_are_kept_sealed_and_found_by_every_name_of_their_registry() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        assert_eq!(store.get("r.example").unwrap(), None);
        assert!(!folder.path().join("config").exists(), "asking makes nothing");
        store.put("https://index.docker.io/v1/", entry("hub", "pw-of-hub")).unwrap();
        store.put("r.example:5000", entry("u", "pw-of-r")).unwrap();
        store.put("r.example:5000/team", entry("t", "pw-of-team")).unwrap();
        for (asked, user) in [
            ("https://index.docker.io/v1/", Some("hub")),
            ("docker.io", Some("hub")),
            ("https://r.example:5000", Some("u")),
            ("r.example:5000/other/app", Some("u")),
            ("r.example:5000/team/app", Some("t")),
            ("r.example", None),
            ("r.example:50000", None),
        ] {
            assert_eq!(store.get(asked).unwrap().map(|entry| entry.username).as_deref(), user, "{asked}");
        }
        for file in ["data/credentials", "config/key"] {
            assert_eq!(fs::metadata(folder.path().join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        }
        let sealed = fs::read(folder.path().join("data/credentials")).unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"pw-of" || part == b"r.exa"));
        store.erase("http://r.example:5000").unwrap();
        assert_eq!(
            store.list().unwrap().into_keys().collect::<Vec<_>>(),
            ["https://index.docker.io/v1/", "r.example:5000/team"]
        );
        assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 2, "the file and the lock");
    }

    #[test]
    fn what_cannot_be_opened_is_told_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.put("r", entry("u", "p")).unwrap();
        let (sealed, key) = (folder.path().join("data/credentials"), folder.path().join("config/key"));
        let before = fs::read(&sealed).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(store.get("r"), Err(StoreError::Exposed { mode: 0o640, .. })));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let own = fs::read(&key).unwrap();
        for other in [&[7; 32][..], &[7; 31], b""] {
            fs::write(&key, other).unwrap();
            assert!(store.put("r", entry("u", "q")).is_err());
        }
        fs::remove_file(&key).unwrap();
        assert!(matches!(store.put("r", entry("u", "q")), Err(StoreError::KeyMissing { .. })));
        assert_eq!(fs::read(&sealed).unwrap(), before);
        fs::write(&key, own).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(store.get("r").unwrap(), Some(entry("u", "p")));
        fs::write(&sealed, &before[..before.len() - 1]).unwrap();
        assert!(matches!(store.get("r"), Err(StoreError::Sealed(_))));
    }

    #[test]
    fn what_many_store_at_once_is_all_there() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for at in 0..16 {
                let store = store(folder.path());
                scope.spawn(move || store.put(&format!("r{at}.example"), entry("u", "p")).unwrap());
            }
        });
        assert_eq!(store(folder.path()).list().unwrap().len(), 16);
    }
}
