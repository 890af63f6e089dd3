//! A result's folder, written as it comes. The builder is a stranger: names are checked, and each is made below folders
//! that this side has made or found to be folders, never through a link.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use buildkit_api::fsutil::{Packet, Stat};
use fsutil::{Destination, Kind, TransferError, go_mode};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// One transfer. Blocks.
pub(crate) struct Receiving(fsutil::Receiving<Folder>);

/// The folder that is written.
struct Folder {
    root: PathBuf,
    /// The path of every name, for hard links to them.
    places: Vec<String>,
    links: Vec<(String, String)>,
    folders: Vec<Made>,
}

/// A folder, whose mode and time are set when everything is in it.
struct Made {
    path: PathBuf,
    mode: u32,
    modified: i64,
}

/// A file that comes, beside its place until it is whole.
struct Partial {
    file: File,
    path: PathBuf,
    stat: Stat,
    is_whole: bool,
}

/// Why it is not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("the builder's files: {0}")]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    File(#[from] io::Error),
}

impl Receiving {
    /// Into this folder, which is made.
    pub fn new(root: PathBuf) -> Result<Self, ReceiveError> {
        fs::create_dir_all(&root)?;
        let folder = Folder { root, places: Vec::new(), links: Vec::new(), folders: Vec::new() };
        Ok(Self(fsutil::Receiving::new(folder)))
    }

    /// Takes a packet; answers those to send.
    pub fn take(&mut self, packet: Packet) -> Result<Vec<Packet>, ReceiveError> {
        self.0.take(packet)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }

    /// What can only be done when everything is there. Without it what has not come whole goes.
    pub fn finish(self) -> Result<(), ReceiveError> {
        self.0.into_destination().finish()
    }
}

impl Destination for Folder {
    type Error = ReceiveError;
    type Wanted = Stat;
    type Coming = Partial;

    fn file(&mut self, _: usize, stat: Stat, _: u64) -> Result<Option<Stat>, ReceiveError> {
        self.places.push(stat.path.clone());
        Ok(Some(stat))
    }

    fn same(&mut self, _: usize, stat: Stat, other: usize) -> Result<(), ReceiveError> {
        self.links.push((self.places[other].clone(), stat.path.clone()));
        self.places.push(stat.path);
        Ok(())
    }

    fn whole(&mut self, _: usize, stat: Stat, kind: Kind) -> Result<(), ReceiveError> {
        self.make(&stat, kind)?;
        self.places.push(stat.path);
        Ok(())
    }

    fn begin(&mut self, number: u32, stat: Stat) -> Result<Partial, ReceiveError> {
        let folder = stat.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = self.root.join(folder).join(format!(".docker-build-{}-{number}", std::process::id()));
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok(Partial { file, path, stat, is_whole: false })
    }

    fn write(&mut self, coming: &mut Partial, bytes: &[u8]) -> Result<(), ReceiveError> {
        Ok(coming.file.write_all(bytes)?)
    }

    fn end(&mut self, mut coming: Partial) -> Result<(), ReceiveError> {
        coming.file.set_permissions(Permissions::from_mode(go_mode::permissions(coming.stat.mode)))?;
        set_time(&coming.file, coming.stat.mod_time)?;
        let path = self.root.join(&coming.stat.path);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            clear(&path)?;
        }
        fs::rename(&coming.path, path)?;
        coming.is_whole = true;
        Ok(())
    }
}

impl Folder {
    fn make(&mut self, stat: &Stat, kind: Kind) -> io::Result<()> {
        let path = self.root.join(&stat.path);
        let mode = go_mode::permissions(stat.mode);
        if kind == Kind::Folder {
            if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                clear(&path)?;
                fs::create_dir(&path)?;
            }
            // Its owner writes into it while it is filled; the mode that it came with follows at the end.
            fs::set_permissions(&path, Permissions::from_mode(mode | 0o700))?;
            self.folders.push(Made { path, mode, modified: stat.mod_time });
            return Ok(());
        }
        clear(&path)?;
        let node = |kind: FileType, device: u64| {
            mknodat(CWD, &path, kind, Mode::from_raw_mode(mode), device).map_err(io::Error::from)
        };
        match kind {
            Kind::Link(target) => std::os::unix::fs::symlink(target, &path),
            Kind::Fifo => node(FileType::Fifo, 0),
            Kind::CharacterDevice { major, minor } => node(FileType::CharacterDevice, makedev(major, minor)),
            Kind::BlockDevice { major, minor } => node(FileType::BlockDevice, makedev(major, minor)),
            Kind::Folder => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(), ReceiveError> {
        for (from, to) in self.links.drain(..) {
            let to = self.root.join(to);
            clear(&to)?;
            fs::hard_link(self.root.join(from), to)?;
        }
        // The innermost first: what is in a folder changes its time.
        for Made { path, mode, modified } in self.folders.drain(..).rev() {
            let folder = File::open(&path)?;
            set_time(&folder, modified)?;
            folder.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

impl Drop for Partial {
    /// What has not come whole goes.
    fn drop(&mut self) {
        if !self.is_whole {
            let _: io::Result<()> = fs::remove_file(&self.path);
        }
    }
}

/// Makes room; a folder that stands where something else is to be goes with what is in it.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn set_time(file: &File, nanoseconds: i64) -> io::Result<()> {
    let since = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + since))
}

#[cfg(test)]
mod tests {
    use buildkit_api::fsutil::packet::PacketType;

    use super::*;

    fn stat(path: &str, mode: u32) -> Packet {
        let stat = Stat { path: path.to_owned(), mode, mod_time: 5_000_000_000, ..Stat::default() };
        Packet { r#type: PacketType::PacketStat.into(), stat: Some(stat), ..Packet::default() }
    }

    fn data(id: u32, bytes: &'static [u8]) -> Packet {
        Packet { r#type: PacketType::PacketData.into(), id, data: bytes.into(), ..Packet::default() }
    }

    fn end(kind: PacketType) -> Packet {
        Packet { r#type: kind.into(), ..Packet::default() }
    }

    #[test]
    fn a_folder_is_written_as_it_comes() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("sub"), "in the way").unwrap();
        fs::write(home.path().join("other"), "stays").unwrap();
        let mut receiving = Receiving::new(home.path().to_owned()).unwrap();
        receiving.take(stat("sub", go_mode::FOLDER | 0o500)).unwrap();
        let asked = receiving.take(stat("sub/file", 0o640)).unwrap();
        assert_eq!((asked[0].r#type(), asked[0].id), (PacketType::PacketReq, 1));
        receiving.take(end(PacketType::PacketStat)).unwrap();
        receiving.take(data(1, b"text")).unwrap();
        let told = receiving.take(data(1, b"")).unwrap();
        assert_eq!(told[0].r#type(), PacketType::PacketFin);
        receiving.take(end(PacketType::PacketFin)).unwrap();
        assert!(receiving.is_over());
        receiving.finish().unwrap();
        let file = home.path().join("sub/file");
        let found = fs::metadata(&file).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), "text");
        assert_eq!(found.permissions().mode() & 0o7777, 0o640);
        assert_eq!(found.modified().unwrap(), UNIX_EPOCH + Duration::from_secs(5));
        assert_eq!(fs::metadata(home.path().join("sub")).unwrap().permissions().mode() & 0o7777, 0o500);
        assert_eq!(fs::read_to_string(home.path().join("other")).unwrap(), "stays");
    }

    #[test]
    fn nothing_is_written_through_a_link_or_outside() {
        let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), home.path().join("sub")).unwrap();
        let mut receiving = Receiving::new(home.path().to_owned()).unwrap();
        receiving.take(stat("sub", go_mode::FOLDER | 0o755)).unwrap();
        receiving.take(stat("sub/file", 0o644)).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(receiving.take(stat("../x", 0o644)).is_err());
        drop(receiving);
        assert_eq!(fs::read_dir(home.path().join("sub")).unwrap().count(), 0, "what has not come whole goes");
    }
}
