//! A folder on its way out: all names, then the files that the receiver asks for by their numbers.

use std::collections::HashMap;
use std::io::{self, Read};

use buildkit_api::fsutil::packet::PacketType;
use buildkit_api::fsutil::{Packet, Stat};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::go_mode;

/// Files that the receiver asks for and that are not sent yet; it waits beyond that.
pub const MAX_ASKED: usize = 128;
const PIECE: usize = 32 << 10;

/// What a name of a folder is, on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    File { size: u64 },
    Folder,
    Link(String),
    Fifo,
    CharacterDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingName {
    pub path: String,
    pub kind: Outgoing,
    /// Permissions, in Unix's bits.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// Extended attributes.
    pub attributes: Vec<(String, Vec<u8>)>,
}

/// A folder to send. Blocks.
pub trait FolderSource: Send + Sync + 'static {
    /// Sorted part by part; each folder before what is in it.
    fn names(&self) -> Box<dyn Iterator<Item = io::Result<OutgoingName>> + '_>;
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>>;
}

/// Sends a folder. `asked` are the numbers of the files that the receiver wants; it ends when the receiver has them all.
/// Blocks.
pub fn send(
    folder: &dyn FolderSource,
    mut asked: mpsc::Receiver<u32>,
    sender: &mpsc::Sender<Packet>,
) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let packet = |kind: PacketType| Packet { r#type: kind.into(), ..Packet::default() };
    let mut files = HashMap::new();
    for (number, name) in (0_u32..).zip(folder.names()) {
        let name = name?;
        if let Outgoing::File { .. } = name.kind {
            files.insert(number, name.path.clone());
        }
        let stat = Some(stat_of(name));
        sender.blocking_send(Packet { stat, ..packet(PacketType::PacketStat) }).map_err(gone)?;
    }
    sender.blocking_send(packet(PacketType::PacketStat)).map_err(gone)?;
    let mut buffer = vec![0; PIECE];
    while let Some(id) = asked.blocking_recv() {
        let missing = || io::Error::other(format!("file {id} is asked for, which there is not"));
        let mut content = folder.open(&files.remove(&id).ok_or_else(missing)?)?;
        loop {
            let length = content.read(&mut buffer)?;
            let data = Bytes::copy_from_slice(&buffer[..length]);
            sender.blocking_send(Packet { id, data, ..packet(PacketType::PacketData) }).map_err(gone)?;
            if length == 0 {
                break;
            }
        }
    }
    sender.blocking_send(packet(PacketType::PacketFin)).map_err(gone)
}

fn stat_of(name: OutgoingName) -> Stat {
    let OutgoingName { path, kind, mode, modified, attributes } = name;
    let mut stat = Stat { path, mod_time: modified, xattrs: attributes.into_iter().collect(), ..Stat::default() };
    let (kind, device) = match kind {
        Outgoing::File { size } => {
            stat.size = i64::try_from(size).unwrap_or(i64::MAX);
            (0, None)
        }
        Outgoing::Folder => (go_mode::FOLDER, None),
        Outgoing::Link(target) => {
            stat.linkname = target;
            (go_mode::SYMLINK, None)
        }
        Outgoing::Fifo => (go_mode::FIFO, None),
        Outgoing::CharacterDevice { major, minor } => (go_mode::DEVICE | go_mode::CHARACTER, Some((major, minor))),
        Outgoing::BlockDevice { major, minor } => (go_mode::DEVICE, Some((major, minor))),
    };
    if let Some((major, minor)) = device {
        (stat.devmajor, stat.devminor) = (major.into(), minor.into());
    }
    stat.mode = kind | go_mode::of_permissions(mode);
    stat
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl FolderSource for Two {
        fn names(&self) -> Box<dyn Iterator<Item = io::Result<OutgoingName>> + '_> {
            let name = |path: &str, kind| OutgoingName {
                path: path.to_owned(),
                kind,
                mode: 0o755,
                modified: 7,
                attributes: Vec::new(),
            };
            let names = [name("a", Outgoing::Folder), name("a/b", Outgoing::File { size: 2 })];
            Box::new(names.into_iter().map(Ok))
        }

        fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
            assert_eq!(path, "a/b");
            Ok(Box::new(&b"hi"[..]))
        }
    }

    fn sent(numbers: &[u32]) -> (io::Result<()>, Vec<Packet>) {
        let (sender, mut packets) = mpsc::channel(64);
        let (numbers_in, asked) = mpsc::channel(8);
        for number in numbers {
            numbers_in.blocking_send(*number).unwrap();
        }
        drop(numbers_in);
        let done = send(&Two, asked, &sender);
        drop(sender);
        (done, std::iter::from_fn(|| packets.blocking_recv()).collect())
    }

    #[test]
    fn names_come_first_then_what_is_asked_for() {
        let (done, packets) = sent(&[1]);
        done.unwrap();
        let kinds: Vec<PacketType> = packets.iter().map(Packet::r#type).collect();
        use PacketType::{PacketData as Data, PacketFin as Fin, PacketStat as Name};
        assert_eq!(kinds, [Name, Name, Name, Data, Data, Fin]);
        assert!(packets[2].stat.is_none(), "the names have an end");
        assert_eq!((&packets[3].data[..], packets[4].data.len()), (&b"hi"[..], 0));
    }

    #[test]
    fn a_folder_cannot_be_asked_for_and_nothing_twice() {
        assert!(sent(&[0]).0.is_err());
        assert!(sent(&[1, 1]).0.is_err());
    }
}
