//! A file that is there whole or not at all: `docker save -o`, `docker export -o`.

use std::fs::{self, File, FileType};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::container::options::os_words;

/// Written beside its place under another name; goes away unless it is committed.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    temporary: PathBuf,
    place: PathBuf,
    done: bool,
}

/// Names that are tried for the file in the making.
const TRIES: u32 = 1000;

impl OutputFile {
    /// Refuses places that cannot become a plain file.
    pub fn create(path: &str) -> Result<Self, String> {
        check(path)?;
        let place = std::path::absolute(path).map_err(|error| error.to_string())?;
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        for attempt in 0..TRIES {
            let temporary = place.with_file_name(format!(".tmp-{name}{}-{attempt}", std::process::id()));
            match File::create_new(&temporary) {
                Ok(file) => return Ok(Self { file, temporary, place, done: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("open {}: {}", temporary.display(), os_words(&error))),
            }
        }
        Err(format!("no free name beside {}", place.display()))
    }

    /// Puts it into its place, readable by its owner only.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.set_permissions(fs::Permissions::from_mode(0o600))?;
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.place)?;
        self.done = true;
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.done {
            // What is left of a failed download is of no use.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn check(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("file name is empty".to_owned());
    }
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        let invalid = |words: &str| format!("invalid output path: stat {}: {words}", folder.display());
        let found = fs::metadata(folder).map_err(|error| invalid(&os_words(&error)))?;
        if !found.is_dir() {
            return Err(invalid("not a directory"));
        }
    }
    match fs::symlink_metadata(path) {
        Ok(found) => refusal(found.file_type()).map_or(Ok(()), |what| Err(format!("cannot write to a {what}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("failed to stat output path: lstat {path}: {}", os_words(&error))),
    }
}

/// What a place is that cannot be replaced.
fn refusal(kind: FileType) -> Option<&'static str> {
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("directory"),
        () if kind.is_symlink() => Some("symbolic link directly"),
        () if kind.is_fifo() => Some("named pipe (FIFO)"),
        () if kind.is_socket() => Some("socket"),
        () if kind.is_char_device() => Some("character device file"),
        () => Some("block device file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        let name = path.to_str().unwrap();
        let mut half = OutputFile::create(name).unwrap();
        half.write_all(b"half").unwrap();
        drop(half);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut whole = OutputFile::create(name).unwrap();
        whole.write_all(b"whole").unwrap();
        whole.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn places_that_cannot_be_a_file_are_refused() {
        let refusal = |path: &str| OutputFile::create(path).unwrap_err();
        assert_eq!(refusal(""), "file name is empty");
        assert_eq!(refusal("/tmp"), "cannot write to a directory");
        assert_eq!(refusal("/dev/null"), "cannot write to a character device file");
        assert_eq!(refusal("/not/there/x"), "invalid output path: stat /not/there: no such file or directory");
    }
}
