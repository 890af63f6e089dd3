//! A place of this machine that an archive from a container is unpacked in.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use archive::{ArchiveError, ExtractOptions, Overwrite, Renamed, extract};

use super::paths::{self, Copied, Target};
use crate::container::options::os_words;

/// Links that are followed at the end of a destination.
const MAX_LINKS: u32 = 10;

/// Refuses places that cannot take anything, before the daemon is asked. `-` is standard output.
pub fn check(path: &str) -> Result<(), String> {
    let (directory, _) = paths::split(&paths::clean(path));
    if directory != "." && matches!(fs::metadata(&directory), Err(error) if error.kind() == ErrorKind::NotFound) {
        return Err(format!("invalid output path: directory {directory:?} does not exist"));
    }
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("stat {path}: {}", os_words(&error))),
        Ok(found) if found.file_type().is_block_device() || found.file_type().is_char_device() => {
            Err(format!("invalid output path: {path:?} must be a directory or a regular file: got a device"))
        }
        Ok(_) => Ok(()),
    }
}

/// An open directory, and the name that the archive's first one becomes.
#[derive(Debug)]
pub struct Destination {
    directory: File,
    shown: String,
    renamed: Option<Renamed>,
}

impl Destination {
    /// Follows links at the end of `path`; what is copied there may be new, the directory around it may not.
    pub fn find(path: &str, copied: &Copied) -> Result<Self, String> {
        let (place, name) = paths::place(copied, &target(path)?)?;
        let opened = File::open(&place).map_err(|error| format!("open {place}: {}", os_words(&error)))?;
        let (_, own) = paths::split(&copied.path);
        let renamed = name.map(|name| {
            // The root's own name is nothing, and everything in it is named from there.
            let from = if own == "/" { Vec::new() } else { own.into_bytes() };
            Renamed { from, to: name.into_bytes() }
        });
        Ok(Self { directory: opened, shown: place, renamed })
    }

    /// Everything becomes this user's. What is there already is replaced, but a directory stays one.
    pub fn unpack(self, archive: impl Read + Send) -> Result<(), String> {
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let options = ExtractOptions {
            overwrite: Overwrite::KeepKind,
            owner: Some(owner),
            renamed: self.renamed,
            ..ExtractOptions::default()
        };
        let unpacked = extract(archive, self.directory.as_fd(), Path::new("/"), &options);
        unpacked.map(drop).map_err(|error| words(&error, &self.shown))
    }
}

/// What a destination is, and whether it is there.
fn target(path: &str) -> Result<Target, String> {
    let lost = |path: &str, error: &std::io::Error| format!("lstat {path}: {}", os_words(error));
    let mut at = path.to_owned();
    for _ in 0..=MAX_LINKS {
        let found = match fs::symlink_metadata(&at) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (directory, _) = paths::split(&at);
                let around = fs::metadata(&directory);
                let around = around.map_err(|error| format!("stat {directory}: {}", os_words(&error)))?;
                return if around.is_dir() {
                    Ok(Target { path: at, is_there: false, is_directory: false })
                } else {
                    Err("not a directory".to_owned())
                };
            }
            Err(error) => return Err(lost(&at, &error)),
        };
        if !found.is_symlink() {
            return Ok(Target { path: at, is_there: true, is_directory: found.is_dir() });
        }
        let next = fs::read_link(&at).map_err(|error| format!("readlink {at}: {}", os_words(&error)))?;
        at = paths::link_target(&at, &next.to_string_lossy());
    }
    Err(format!("too many symlinks in {path}"))
}

/// Paths in errors are those of the archive; Docker's words have the whole ones.
fn words(error: &ArchiveError, place: &str) -> String {
    let whole =
        |path: &Path| format!("{}/{}", place.trim_end_matches('/'), path.display().to_string().trim_start_matches('/'));
    match error {
        ArchiveError::Overwrite { old, new, path, .. } => {
            format!("cannot overwrite {old} {:?} with {new} {place:?}", whole(path).trim_end_matches('/'))
        }
        ArchiveError::Outside { name, .. } => format!("{:?} is outside of {place:?}", whole(name)),
        other => crate::failure::with_source(other),
    }
}

#[cfg(test)]
mod tests {
    use archive::{Entry, EntryKind, TarWriter};

    use super::*;

    fn archive(entries: &[(&str, EntryKind, &str)]) -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        for (path, kind, content) in entries {
            let mut entry = Entry::new(*path, kind.clone(), 0o755);
            entry.size = content.len() as u64;
            writer.append(&entry, &mut content.as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    fn unpack(place: &Path, copied: &str, entries: &[(&str, EntryKind, &str)]) -> Result<(), String> {
        let is_directory = entries.first().is_some_and(|(_, kind, _)| *kind == EntryKind::Directory);
        let copied = Copied { path: copied.to_owned(), is_directory, rebase: None };
        Destination::find(place.to_str().unwrap(), &copied)?.unpack(&archive(entries)[..])
    }

    #[test]
    fn a_new_place_names_what_is_copied_and_one_that_is_there_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let entries = [("src/", EntryKind::Directory, ""), ("src/f", EntryKind::File, "x")];
        unpack(&folder.path().join("new"), "/src", &entries).unwrap();
        unpack(folder.path(), "/src", &entries).unwrap();
        assert_eq!(fs::read(folder.path().join("new/f")).unwrap(), b"x");
        assert_eq!(fs::read(folder.path().join("src/f")).unwrap(), b"x");
        unpack(&folder.path().join("g"), "/f", &[("f", EntryKind::File, "y")]).unwrap();
        assert_eq!(fs::read(folder.path().join("g")).unwrap(), b"y");
    }

    #[test]
    fn a_hostile_archive_reaches_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let link = EntryKind::Symlink(outside.path().to_str().unwrap().as_bytes().to_vec());
        let entries = [("l", link, ""), ("l/f", EntryKind::File, "x")];
        assert!(unpack(folder.path(), "/l", &entries).is_err());
        let error = unpack(folder.path(), "/x", &[("../f", EntryKind::File, "x")]).unwrap_err();
        assert!(error.contains("is outside of"), "{error}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_is_not_replaced_by_a_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("f")).unwrap();
        let error = unpack(folder.path(), "/f", &[("f", EntryKind::File, "x")]).unwrap_err();
        let place = folder.path().display();
        assert_eq!(error, format!("cannot overwrite directory \"{place}/f\" with non-directory \"{place}\""));
    }

    #[test]
    fn places_are_checked_before_anything_is_asked() {
        assert!(check("-").is_ok() && check("/tmp").is_ok());
        assert_eq!(check("/not/there").unwrap_err(), "invalid output path: directory \"/not\" does not exist");
        assert_eq!(
            check("/dev/null").unwrap_err(),
            "invalid output path: \"/dev/null\" must be a directory or a regular file: got a device"
        );
    }
}
