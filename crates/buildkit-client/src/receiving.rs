//! A result's folder, written as it comes. The builder is a stranger: names are checked, and each is made below folders
//! that this side has made or found to be folders, never through a link.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use buildkit_api::fsutil::packet::PacketType;
use buildkit_api::fsutil::{Packet, Stat};
use fsutil::{Kind, Names, Taken, go_mode};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// Files that are asked for and have not come yet.
const MAX_ASKED: usize = 64;
/// A reason that the builder gives.
const MAX_REASON: usize = 4096;

/// The state of one transfer. Blocks.
pub(crate) struct Receiving {
    root: PathBuf,
    names: Names,
    number: u32,
    /// The paths of files, for hard links to them.
    places: Vec<String>,
    links: Vec<(String, String)>,
    wanted: VecDeque<(u32, Stat)>,
    coming: HashMap<u32, (File, Stat)>,
    folders: Vec<Made>,
    is_named: bool,
    is_told: bool,
    is_over: bool,
}

/// A folder, whose mode and time are set when everything is in it.
struct Made {
    path: PathBuf,
    mode: u32,
    modified: i64,
}

impl Receiving {
    /// Into this folder, which is made.
    pub fn new(root: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        Ok(Self {
            root,
            names: Names::default(),
            number: 0,
            places: Vec::new(),
            links: Vec::new(),
            wanted: VecDeque::new(),
            coming: HashMap::new(),
            folders: Vec::new(),
            is_named: false,
            is_told: false,
            is_over: false,
        })
    }

    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes a packet; answers those to send.
    pub fn take(&mut self, packet: Packet) -> io::Result<Vec<Packet>> {
        match packet.r#type() {
            PacketType::PacketStat => match packet.stat {
                Some(stat) if !self.is_named => self.name(stat)?,
                None if !self.is_named => self.is_named = true,
                _ => return Err(hostile("names come behind the last one")),
            },
            PacketType::PacketData => self.data(&packet)?,
            PacketType::PacketErr => {
                let reason = &packet.data[..packet.data.len().min(MAX_REASON)];
                return Err(io::Error::other(format!("error from sender: {}", String::from_utf8_lossy(reason))));
            }
            PacketType::PacketFin if self.is_done() => self.finish()?,
            PacketType::PacketFin => return Err(hostile("the transfer ends before its time")),
            PacketType::PacketReq => return Err(hostile("the sender asks for a file")),
        }
        self.ask()
    }

    fn is_done(&self) -> bool {
        self.is_named && self.wanted.is_empty() && self.coming.is_empty()
    }

    fn ask(&mut self) -> io::Result<Vec<Packet>> {
        let packet = |kind: PacketType, id: u32| Packet { r#type: kind.into(), id, ..Packet::default() };
        let mut packets = Vec::new();
        while self.coming.len() < MAX_ASKED
            && let Some((id, stat)) = self.wanted.pop_front()
        {
            let file = File::options().write(true).create_new(true).open(self.partial(id, &stat.path))?;
            self.coming.insert(id, (file, stat));
            packets.push(packet(PacketType::PacketReq, id));
        }
        if self.is_done() && !std::mem::replace(&mut self.is_told, true) {
            packets.push(packet(PacketType::PacketFin, 0));
        }
        Ok(packets)
    }

    fn name(&mut self, stat: Stat) -> io::Result<()> {
        let number = self.number;
        self.number += 1;
        let taken = self.names.take(&stat, self.places.len()).map_err(|error| hostile(&error.to_string()))?;
        self.places.push(stat.path.clone());
        match taken {
            Taken::File { .. } => {
                self.wanted.push_back((number, stat));
                Ok(())
            }
            Taken::Same(place) => {
                self.links.push((self.places[place].clone(), stat.path));
                Ok(())
            }
            Taken::Whole(kind) => self.make(&stat, kind),
            Taken::Nothing => {
                self.places.pop();
                Ok(())
            }
        }
    }

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

    fn data(&mut self, packet: &Packet) -> io::Result<()> {
        let unasked = || hostile("a file comes that was not asked for");
        let (file, _) = self.coming.get_mut(&packet.id).ok_or_else(unasked)?;
        if !packet.data.is_empty() {
            return file.write_all(&packet.data);
        }
        let Some((file, stat)) = self.coming.remove(&packet.id) else { return Ok(()) };
        file.set_permissions(Permissions::from_mode(go_mode::permissions(stat.mode)))?;
        set_time(&file, stat.mod_time)?;
        let path = self.root.join(&stat.path);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            clear(&path)?;
        }
        fs::rename(self.partial(packet.id, &stat.path), path)
    }

    fn finish(&mut self) -> io::Result<()> {
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
        self.is_over = true;
        Ok(())
    }

    /// Where a file is while it comes: beside its place.
    fn partial(&self, id: u32, path: &str) -> PathBuf {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.root.join(folder).join(format!(".docker-build-{}-{id}", std::process::id()))
    }
}

impl Drop for Receiving {
    /// What has not come whole goes.
    fn drop(&mut self) {
        for (id, (_, stat)) in &self.coming {
            let _: io::Result<()> = fs::remove_file(self.partial(*id, &stat.path));
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

fn hostile(what: &str) -> io::Error {
    io::Error::other(format!("the builder's files: {what}"))
}

#[cfg(test)]
mod tests {
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
