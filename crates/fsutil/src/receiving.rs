//! The receiver's side: which files are asked for, packet by packet. What becomes of what comes is a [`Destination`]'s affair.

use std::collections::{HashMap, VecDeque};

use buildkit_api::fsutil::packet::PacketType;
use buildkit_api::fsutil::{Packet, Stat};

use crate::names::{Kind, NameError, Names, Taken};

/// Files that are asked for and have not come yet. The sender keeps [`crate::MAX_ASKED`] in line, so that neither side waits
/// for the other.
pub const MAX_COMING: usize = 64;
/// Bytes of all files together.
const MAX_BYTES: u64 = 1 << 40;
/// A reason that the sender gives.
const MAX_REASON: usize = 4096;

/// Why a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Name(#[from] NameError),
    /// Something that no honest sender sends.
    #[error("{0}")]
    Hostile(String),
    /// The sender gives up, and says why.
    #[error("error from sender: {0}")]
    Sender(String),
}

/// Where a folder goes. Names have places, counted from 0 in the order in which they come.
pub trait Destination {
    type Error: From<TransferError>;
    /// A file that is to come.
    type Wanted;
    /// A file that comes.
    type Coming;

    /// `None`: its content is here already.
    fn file(&mut self, place: usize, stat: Stat, size: u64) -> Result<Option<Self::Wanted>, Self::Error>;
    /// The same content as the file at the place `other`.
    fn same(&mut self, place: usize, stat: Stat, other: usize) -> Result<(), Self::Error>;
    /// A name that has no content.
    fn whole(&mut self, place: usize, stat: Stat, kind: Kind) -> Result<(), Self::Error>;
    /// It is asked for; no other that comes meanwhile has its number.
    fn begin(&mut self, number: u32, wanted: Self::Wanted) -> Result<Self::Coming, Self::Error>;
    fn write(&mut self, coming: &mut Self::Coming, bytes: &[u8]) -> Result<(), Self::Error>;
    fn end(&mut self, coming: Self::Coming) -> Result<(), Self::Error>;
}

/// The state of one transfer. Writes by its destination, and blocks where that does.
pub struct Receiving<D: Destination> {
    destination: D,
    names: Names,
    /// Names that have a place.
    places: usize,
    /// Numbers that the sender counts by, which skip nothing.
    number: u32,
    coming: HashMap<u32, D::Coming>,
    wanted: VecDeque<(u32, D::Wanted)>,
    bytes: u64,
    is_named: bool,
    /// The sender knows that nothing more is wanted.
    is_told: bool,
    is_over: bool,
}

impl<D: Destination> Receiving<D> {
    pub fn new(destination: D) -> Self {
        Self {
            destination,
            names: Names::default(),
            places: 0,
            number: 0,
            coming: HashMap::new(),
            wanted: VecDeque::new(),
            bytes: 0,
            is_named: false,
            is_told: false,
            is_over: false,
        }
    }

    /// Takes a packet; answers those to send, at most one more than [`MAX_COMING`].
    pub fn take(&mut self, packet: Packet) -> Result<Vec<Packet>, D::Error> {
        match packet.r#type() {
            PacketType::PacketStat => self.name(packet.stat)?,
            PacketType::PacketData => self.data(&packet)?,
            PacketType::PacketErr => {
                let reason = &packet.data[..packet.data.len().min(MAX_REASON)];
                return Err(TransferError::Sender(String::from_utf8_lossy(reason).into_owned()).into());
            }
            PacketType::PacketFin if self.is_done() => self.is_over = true,
            PacketType::PacketFin => return Err(hostile("the transfer ends before its time")),
            PacketType::PacketReq => return Err(hostile("the sender asks for a file")),
        }
        self.ask()
    }

    /// Everything came, and the sender knows it.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Bytes of files that came.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What has come, and where to; what is coming is dropped.
    pub fn into_destination(self) -> D {
        self.destination
    }

    /// Nothing is to come any more.
    fn is_done(&self) -> bool {
        self.is_named && self.coming.is_empty() && self.wanted.is_empty()
    }

    fn name(&mut self, stat: Option<Stat>) -> Result<(), D::Error> {
        let stat = match stat {
            Some(stat) if self.is_named => return Err(hostile(format!("{:?} comes behind the last name", stat.path))),
            Some(stat) => stat,
            None if std::mem::replace(&mut self.is_named, true) => return Err(hostile("the names end twice")),
            None => return Ok(()),
        };
        let (place, number) = (self.places, self.number);
        self.number += 1;
        match self.names.take(&stat, place).map_err(TransferError::from)? {
            Taken::Nothing => return Ok(()),
            Taken::Whole(kind) => self.destination.whole(place, stat, kind)?,
            Taken::Same(other) => self.destination.same(place, stat, other)?,
            Taken::File { size } => {
                let wanted = self.destination.file(place, stat, size)?;
                self.wanted.extend(wanted.map(|wanted| (number, wanted)));
            }
        }
        self.places += 1;
        Ok(())
    }

    fn data(&mut self, packet: &Packet) -> Result<(), D::Error> {
        let unasked = || hostile(format!("file {} was not asked for", packet.id));
        if packet.data.is_empty() {
            let coming = self.coming.remove(&packet.id).ok_or_else(unasked)?;
            return self.destination.end(coming);
        }
        let coming = self.coming.get_mut(&packet.id).ok_or_else(unasked)?;
        self.bytes += packet.data.len() as u64;
        if self.bytes > MAX_BYTES {
            return Err(hostile(format!("there are more than {MAX_BYTES} bytes")));
        }
        self.destination.write(coming, &packet.data)
    }

    /// Asks for what fits; the end is told when there is nothing left to ask for.
    fn ask(&mut self) -> Result<Vec<Packet>, D::Error> {
        let packet = |kind: PacketType, id: u32| Packet { r#type: kind.into(), id, ..Packet::default() };
        let mut packets = Vec::new();
        while self.coming.len() < MAX_COMING
            && let Some((number, wanted)) = self.wanted.pop_front()
        {
            let coming = self.destination.begin(number, wanted)?;
            self.coming.insert(number, coming);
            packets.push(packet(PacketType::PacketReq, number));
        }
        if self.is_done() && !std::mem::replace(&mut self.is_told, true) {
            packets.push(packet(PacketType::PacketFin, 0));
        }
        Ok(packets)
    }
}

fn hostile<E: From<TransferError>>(what: impl Into<String>) -> E {
    TransferError::Hostile(what.into()).into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Keeps what comes in memory.
    #[derive(Default)]
    struct Memory {
        names: Vec<String>,
        files: Vec<(u32, Vec<u8>)>,
    }

    impl Destination for Memory {
        type Error = TransferError;
        type Wanted = ();
        type Coming = (u32, Vec<u8>);

        fn file(&mut self, place: usize, stat: Stat, size: u64) -> Result<Option<()>, TransferError> {
            self.names.push(format!("{place} {} of {size}", stat.path));
            Ok((size > 0).then_some(()))
        }

        fn same(&mut self, place: usize, stat: Stat, other: usize) -> Result<(), TransferError> {
            self.names.push(format!("{place} {} as {other}", stat.path));
            Ok(())
        }

        fn whole(&mut self, place: usize, stat: Stat, kind: Kind) -> Result<(), TransferError> {
            self.names.push(format!("{place} {} {kind:?}", stat.path));
            Ok(())
        }

        fn begin(&mut self, number: u32, (): ()) -> Result<Self::Coming, TransferError> {
            Ok((number, Vec::new()))
        }

        fn write(&mut self, coming: &mut Self::Coming, bytes: &[u8]) -> Result<(), TransferError> {
            coming.1.extend_from_slice(bytes);
            Ok(())
        }

        fn end(&mut self, coming: Self::Coming) -> Result<(), TransferError> {
            self.files.push(coming);
            Ok(())
        }
    }

    fn packet(kind: PacketType) -> Packet {
        Packet { r#type: kind.into(), ..Packet::default() }
    }

    fn name(stat: Stat) -> Packet {
        Packet { stat: Some(stat), ..packet(PacketType::PacketStat) }
    }

    fn file(path: &str, size: i64) -> Packet {
        name(Stat { path: path.to_owned(), size, mode: 0o644, ..Stat::default() })
    }

    fn data(id: u32, bytes: &'static [u8]) -> Packet {
        Packet { id, data: Bytes::from_static(bytes), ..packet(PacketType::PacketData) }
    }

    fn told(packets: Vec<Packet>) -> Vec<(PacketType, u32)> {
        packets.iter().map(|packet| (packet.r#type(), packet.id)).collect()
    }

    #[test]
    fn what_is_wanted_is_asked_for_by_its_number_and_the_end_is_told_once() {
        use PacketType::{PacketFin as Fin, PacketReq as Request};
        let mut receiving = Receiving::new(Memory::default());
        let socket = Stat { path: "a".to_owned(), mode: crate::go_mode::SOCKET, ..Stat::default() };
        assert_eq!(told(receiving.take(name(socket)).unwrap()), []);
        assert_eq!(told(receiving.take(file("b", 2)).unwrap()), [(Request, 1)]);
        assert_eq!(told(receiving.take(file("c", 0)).unwrap()), []);
        let link = Stat { path: "d".to_owned(), linkname: "b".to_owned(), ..Stat::default() };
        receiving.take(name(link)).unwrap();
        receiving.take(data(1, b"h")).unwrap();
        receiving.take(packet(PacketType::PacketStat)).unwrap();
        receiving.take(data(1, b"i")).unwrap();
        assert_eq!(told(receiving.take(data(1, b"")).unwrap()), [(Fin, 0)]);
        assert!(!receiving.is_over());
        assert_eq!(told(receiving.take(packet(PacketType::PacketFin)).unwrap()), []);
        assert!(receiving.is_over() && receiving.bytes() == 2);
        let memory = receiving.into_destination();
        assert_eq!(memory.names, ["0 b of 2", "1 c of 0", "2 d as 0"]);
        assert_eq!(memory.files, [(1, b"hi".to_vec())]);
    }

    #[test]
    fn a_sender_that_does_not_keep_to_the_rules_is_refused() {
        let fresh = || Receiving::new(Memory::default());
        assert!(fresh().take(packet(PacketType::PacketReq)).is_err());
        assert!(fresh().take(packet(PacketType::PacketFin)).is_err());
        assert!(fresh().take(packet(PacketType::PacketData)).is_err(), "nothing was asked for");
        let mut ended = fresh();
        ended.take(packet(PacketType::PacketStat)).unwrap();
        assert!(ended.take(packet(PacketType::PacketStat)).is_err());
        assert!(ended.take(file("late", 1)).is_err());
        let reason = Packet { data: Bytes::from_static(b"no disk"), ..packet(PacketType::PacketErr) };
        assert_eq!(fresh().take(reason).unwrap_err().to_string(), "error from sender: no disk");
    }

    #[test]
    fn no_more_than_so_many_come_at_once_and_so_many_bytes_in_all() {
        let mut receiving = Receiving::new(Memory::default());
        let asked: usize = (0..200).map(|at| receiving.take(file(&format!("{at:03}"), 1)).unwrap().len()).sum();
        assert_eq!(asked, MAX_COMING);
        receiving.take(data(7, b"x")).unwrap();
        assert_eq!(told(receiving.take(data(7, b"")).unwrap()), [(PacketType::PacketReq, 64)]);
        receiving.bytes = MAX_BYTES;
        assert!(receiving.take(data(8, b"x")).is_err());
    }
}
