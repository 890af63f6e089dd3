//! The two files and the lock: where they are, and how they are read and replaced.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// Largest file that is read: some thousand tokens.
pub const MAX_FILE: u64 = 4 << 20;
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Where the files of one user's store are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub sealed: PathBuf,
    pub key: PathBuf,
}

impl Places {
    /// Below XDG's folders for data and for configuration, as the variables name them: `~/.local/share` and `~/.config`.
    /// They do not follow DOCKER_CONFIG: programs that share a configuration file may be started without it.
    pub fn of_user(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<Self, StoreError> {
        let set = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = |name: &str, below_home: &str| {
            set(name).or_else(|| set("HOME").map(|home| home.join(below_home))).ok_or(StoreError::NoHome)
        };
        Ok(Self {
            sealed: folder("XDG_DATA_HOME", ".local/share")?.join("longshore/credentials"),
            key: folder("XDG_CONFIG_HOME", ".config")?.join("longshore/credentials.key"),
        })
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> StoreError + '_ {
    move |source| StoreError::File { path: path.to_owned(), source }
}

/// The whole file; `None` if there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed(path))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(StoreError::TooLarge { path: path.to_owned(), limit: MAX_FILE });
    }
    Ok(Some(bytes))
}

/// The same for a file that must be its owner's alone.
pub fn read_private(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            Err(StoreError::Exposed { path: path.to_owned(), mode: metadata.permissions().mode() & 0o777 })
        }
        _ => read(path),
    }
}

/// Waits until nobody else changes the store; until the answer is dropped nobody does.
pub fn lock(sealed: &Path) -> Result<File, StoreError> {
    let path = beside(sealed, "lock");
    make_folder(&path)?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(&path).map_err(failed(&path))?;
    file.lock().map_err(failed(&path))?;
    Ok(file)
}

/// Puts these bytes in the file's place, in one step and on disk. To be called under the lock.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = make_folder(path)?;
    let temporary = beside(path, "new");
    // Left by who was killed before the last step.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&temporary)(error)),
        _ => {}
    }
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(&folder)?.sync_all()
    })();
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed(path))
}

fn make_folder(path: &Path) -> Result<PathBuf, StoreError> {
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder).map_err(failed(&folder))?;
    Ok(folder)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new("credentials")).to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_lie_where_xdg_has_them() {
        let with = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let home = Places::of_user(with(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "relative")])).unwrap();
        assert_eq!(home.sealed, Path::new("/home/a/.local/share/longshore/credentials"));
        assert_eq!(home.key, Path::new("/home/a/.config/longshore/credentials.key"));
        let xdg = Places::of_user(with(&[("XDG_DATA_HOME", "/d"), ("XDG_CONFIG_HOME", "/c")])).unwrap();
        assert_eq!(
            (xdg.sealed.as_path(), xdg.key.as_path()),
            (Path::new("/d/longshore/credentials"), Path::new("/c/longshore/credentials.key"))
        );
        assert!(matches!(Places::of_user(with(&[])), Err(StoreError::NoHome)));
    }
}
