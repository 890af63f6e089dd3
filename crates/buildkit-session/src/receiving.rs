//! One transfer from a client, packet by packet: which files are asked for, and what becomes of what comes.
//!
//! Writes contents and blocks, so it lives where that keeps nobody waiting; the stream itself is `diff_copy.rs`'s.

use std::collections::{HashMap, VecDeque};

use buildkit_api::fsutil::Packet;
use buildkit_api::fsutil::packet::PacketType;
use fsutil::{Names, Taken};

use crate::context_store::{Contents, Index, Known, Writing};
use crate::entry::{Entry, EntryKind};
use crate::error::SessionError;

/// Files that are asked for and have not come yet. The client keeps 128 in line, so that neither side waits for the other.
pub(crate) const MAX_ASKED: usize = 64;
/// Bytes of all files together.
const MAX_BYTES: u64 = 1 << 40;
/// A reason that the client gives.
const MAX_REASON: usize = 4096;

/// The state of one transfer.
pub struct Receiving {
    contents: Contents,
    known: Index,
    index: Index,
    names: Names,
    entries: Vec<Option<Entry>>,
    /// Hard links: the place of each, and of what it is a link to.
    same: Vec<(usize, usize)>,
    /// Numbers that the client counts by, which skip nothing.
    number: u32,
    asked: HashMap<u32, Coming>,
    wanted: VecDeque<(u32, Wanted)>,
    bytes: u64,
    reused: bool,
    is_named: bool,
    is_over: bool,
}

struct Wanted {
    place: usize,
    entry: Entry,
    /// As it was announced.
    size: u64,
}

struct Coming {
    wanted: Wanted,
    writing: Writing,
}

/// What came.
#[derive(Debug)]
pub(crate) struct Received {
    pub entries: Vec<Entry>,
    pub index: Index,
    /// The index is not what it was.
    pub is_new: bool,
    pub bytes: u64,
}

impl Receiving {
    /// Of a folder that nothing is known of.
    pub fn anew(contents: Contents) -> Self {
        Self::new(contents, Index::new())
    }

    /// `known` tells what need not come again.
    pub(crate) fn new(contents: Contents, known: Index) -> Self {
        Self {
            contents,
            known,
            index: Index::new(),
            names: Names::default(),
            entries: Vec::new(),
            same: Vec::new(),
            number: 0,
            asked: HashMap::new(),
            wanted: VecDeque::new(),
            bytes: 0,
            reused: true,
            is_named: false,
            is_over: false,
        }
    }

    /// Takes a packet; answers those to send, at most [`MAX_ASKED`].
    pub fn take(&mut self, packet: Packet) -> Result<Vec<Packet>, SessionError> {
        match packet.r#type() {
            PacketType::PacketStat => self.name(packet)?,
            PacketType::PacketData => self.data(packet)?,
            PacketType::PacketErr => {
                let reason = &packet.data[..packet.data.len().min(MAX_REASON)];
                let reason = String::from_utf8_lossy(reason);
                return Err(SessionError::refused(
                    errors::ErrorKind::InvalidArgument,
                    format!("error from sender: {reason}"),
                ));
            }
            PacketType::PacketFin if self.is_done() => self.is_over = true,
            PacketType::PacketFin => return Err(SessionError::hostile("the transfer ends before its time")),
            PacketType::PacketReq => return Err(SessionError::hostile("the sender asks for a file")),
        }
        self.ask()
    }

    /// Everything came, and the client knows it.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Nothing is to come any more.
    fn is_done(&self) -> bool {
        self.is_named && self.asked.is_empty() && self.wanted.is_empty()
    }

    fn name(&mut self, packet: Packet) -> Result<(), SessionError> {
        let Some(stat) = packet.stat else {
            if std::mem::replace(&mut self.is_named, true) {
                return Err(SessionError::hostile("the names end twice"));
            }
            return Ok(());
        };
        if self.is_named {
            return Err(SessionError::hostile(format!("{:?} comes behind the last name", stat.path)));
        }
        let (place, number) = (self.entries.len(), self.number);
        self.number += 1;
        match self.names.take(&stat, place)? {
            Taken::Nothing => return Ok(()),
            Taken::Whole(kind) => self.entries.push(Some(Entry::new(stat, kind.into()))),
            Taken::Same(other) => {
                self.same.push((place, other));
                self.entries.push(Some(Entry::new(stat, EntryKind::Folder)));
            }
            Taken::File { size } => {
                let entry = Entry::new(stat, EntryKind::Folder);
                self.entries.push(None);
                self.file(Wanted { place, entry, size }, number);
            }
        }
        Ok(())
    }

    fn file(&mut self, wanted: Wanted, number: u32) {
        let (entry, size) = (&wanted.entry, wanted.size);
        let same = self
            .known
            .get(&entry.path)
            .filter(|known| known.size == size && known.mode == entry.mode && known.modified == entry.modified);
        match same.and_then(Known::digest).filter(|digest| self.contents.has(digest, size)) {
            Some(digest) => self.put(wanted, size, digest),
            None => {
                self.reused = false;
                self.wanted.push_back((number, wanted));
            }
        }
    }

    fn put(&mut self, wanted: Wanted, size: u64, digest: ids::Digest) {
        let Wanted { place, mut entry, size: announced } = wanted;
        // One that has grown meanwhile is not the one that was announced: it comes again next time.
        if size == announced {
            self.index.insert(entry.path.clone(), Known::new(size, entry.mode, entry.modified, digest));
        }
        entry.kind = EntryKind::File { size, digest };
        self.entries[place] = Some(entry);
    }

    fn data(&mut self, packet: Packet) -> Result<(), SessionError> {
        let failed = "keep a build context";
        let unasked = || SessionError::hostile(format!("file {} was not asked for", packet.id));
        let coming = self.asked.get_mut(&packet.id).ok_or_else(unasked)?;
        if !packet.data.is_empty() {
            self.bytes += packet.data.len() as u64;
            if self.bytes > MAX_BYTES {
                return Err(SessionError::hostile(format!("there are more than {MAX_BYTES} bytes")));
            }
            return coming.writing.write(&packet.data).map_err(SessionError::file(failed));
        }
        let Some(Coming { wanted, writing }) = self.asked.remove(&packet.id) else { return Ok(()) };
        let (digest, size) = self.contents.keep(writing).map_err(SessionError::file(failed))?;
        self.put(wanted, size, digest);
        Ok(())
    }

    /// Asks for what fits; the end is told when there is nothing left to ask for.
    fn ask(&mut self) -> Result<Vec<Packet>, SessionError> {
        let was_done = self.is_over;
        let mut packets = Vec::new();
        while self.asked.len() < MAX_ASKED
            && let Some((id, wanted)) = self.wanted.pop_front()
        {
            let writing = self.contents.create().map_err(SessionError::file("keep a build context"))?;
            self.asked.insert(id, Coming { wanted, writing });
            packets.push(Packet { r#type: PacketType::PacketReq.into(), id, ..Packet::default() });
        }
        if self.is_done() && !was_done {
            packets.push(Packet { r#type: PacketType::PacketFin.into(), ..Packet::default() });
        }
        Ok(packets)
    }

    pub(crate) fn finish(self) -> Received {
        let mut entries = self.entries;
        for (place, other) in self.same {
            let kind = entries[other].as_ref().map(|entry| entry.kind.clone());
            if let (Some(entry), Some(kind)) = (&mut entries[place], kind) {
                entry.kind = kind;
            }
        }
        let is_new = !self.reused || self.index.len() != self.known.len();
        let entries = entries.into_iter().flatten().collect();
        Received { entries, index: self.index, is_new, bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use buildkit_api::fsutil::Stat;
    use bytes::Bytes;
    use ids::Digest;
    use proptest::prelude::*;

    use super::*;
    use crate::context_store::ContextStore;
    use fsutil::go_mode;

    fn packet(kind: PacketType) -> Packet {
        Packet { r#type: kind.into(), ..Packet::default() }
    }

    /// A client that has these files, and answers what it is asked for.
    fn transfer(receiving: &mut Receiving, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u32>, SessionError> {
        let mut asked = Vec::new();
        let mut replies = Vec::new();
        for (path, content) in files {
            let stat =
                Stat { path: path.clone(), size: content.len() as i64, mode: 0o644, mod_time: 7, ..Stat::default() };
            replies.extend(receiving.take(Packet { stat: Some(stat), ..packet(PacketType::PacketStat) })?);
        }
        replies.extend(receiving.take(packet(PacketType::PacketStat))?);
        let contents: Vec<&Vec<u8>> = files.values().collect();
        while let Some(reply) = replies.pop() {
            match reply.r#type() {
                PacketType::PacketReq => {
                    asked.push(reply.id);
                    let data = |data: Bytes| Packet { id: reply.id, data, ..packet(PacketType::PacketData) };
                    for piece in contents[reply.id as usize].chunks(3) {
                        replies.extend(receiving.take(data(Bytes::copy_from_slice(piece)))?);
                    }
                    replies.extend(receiving.take(data(Bytes::new()))?);
                }
                PacketType::PacketFin => drop(receiving.take(packet(PacketType::PacketFin))?),
                other => panic!("{other:?} is nothing for a sender"),
            }
        }
        Ok(asked)
    }

    fn store() -> (tempfile::TempDir, Contents) {
        let folder = tempfile::tempdir().unwrap();
        let store = ContextStore::open(folder.path().to_owned()).unwrap();
        let contents = futures_util::FutureExt::now_or_never(store.lend()).unwrap();
        (folder, contents)
    }

    #[test]
    fn what_has_not_changed_is_not_asked_for() {
        let (_folder, contents) = store();
        let mut files: BTreeMap<String, Vec<u8>> =
            (0..200).map(|number| (format!("f{number:03}"), format!("content {number}").into_bytes())).collect();
        let mut first = Receiving::new(contents.clone(), Index::new());
        assert_eq!(transfer(&mut first, &files).unwrap().len(), 200);
        assert!(first.is_over());
        let first = first.finish();
        assert!(first.is_new);
        files.insert("f007".to_owned(), b"anew".to_vec());
        let mut second = Receiving::new(contents.clone(), first.index.clone());
        assert_eq!(transfer(&mut second, &files).unwrap(), [7]);
        let second = second.finish();
        assert_eq!(second.bytes, 4);
        assert_eq!(second.entries[7].kind, EntryKind::File { size: 4, digest: Digest::of(b"anew") });
        assert_eq!(second.entries[8], first.entries[8]);
        let mut third = Receiving::new(contents, second.index);
        assert!(transfer(&mut third, &files).unwrap().is_empty());
        assert!(!third.finish().is_new);
    }

    #[test]
    fn a_sender_that_does_not_keep_to_the_rules_is_refused() {
        let (_folder, contents) = store();
        let fresh = || Receiving::new(contents.clone(), Index::new());
        assert!(fresh().take(packet(PacketType::PacketReq)).is_err());
        assert!(fresh().take(packet(PacketType::PacketFin)).is_err());
        assert!(fresh().take(packet(PacketType::PacketData)).is_err(), "nothing was asked for");
        let mut ended = fresh();
        ended.take(packet(PacketType::PacketStat)).unwrap();
        assert!(ended.take(packet(PacketType::PacketStat)).is_err());
        let told = Packet { data: Bytes::from_static(b"no disk"), ..packet(PacketType::PacketErr) };
        assert_eq!(fresh().take(told).unwrap_err().to_string(), "error from sender: no disk");
    }

    prop_compose! {
        fn any_stat()(
            path in prop_oneof!["[a-c./]{0,6}", ".{0,8}"],
            mode in prop_oneof![Just(0o644), Just(go_mode::FOLDER), Just(go_mode::SYMLINK), any::<u32>()],
            size in prop_oneof![0..10_i64, any::<i64>()],
            linkname in prop_oneof![Just(String::new()), "[a-c./]{0,6}"],
        ) -> Stat {
            Stat { path, mode, size, linkname, ..Stat::default() }
        }
    }

    fn any_packet() -> impl Strategy<Value = Packet> {
        let stat = prop::option::weighted(0.9, any_stat());
        let data = prop::collection::vec(any::<u8>(), 0..8);
        (0..6_i32, stat, 0..6_u32, data).prop_map(|(kind, stat, id, data)| Packet {
            r#type: kind,
            stat,
            id,
            data: data.into(),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        #[test]
        fn whatever_comes_names_stay_inside_and_askings_bounded(
            packets in prop::collection::vec(any_packet(), 0..60)
        ) {
            let (_folder, contents) = store();
            let mut receiving = Receiving::new(contents, Index::new());
            let mut asked = 0;
            for packet in packets {
                let Ok(replies) = receiving.take(packet) else { break };
                asked += replies.iter().filter(|reply| reply.r#type() == PacketType::PacketReq).count();
                prop_assert!(replies.len() <= MAX_ASKED + 1 && receiving.asked.len() <= MAX_ASKED);
            }
            prop_assert!(asked <= 60);
            for entry in receiving.finish().entries {
                let parts: Vec<&str> = entry.path.split('/').collect();
                prop_assert!(parts.iter().all(|part| !matches!(*part, "" | "." | "..")), "{:?}", entry.path);
            }
        }

        #[test]
        fn an_honest_transfer_brings_what_was_sent(
            files in prop::collection::btree_map("[a-z]{1,4}", prop::collection::vec(any::<u8>(), 0..20), 0..20)
        ) {
            let (_folder, contents) = store();
            let mut receiving = Receiving::new(contents.clone(), Index::new());
            transfer(&mut receiving, &files).unwrap();
            let received = receiving.finish();
            prop_assert_eq!(received.entries.len(), files.len());
            for (entry, (path, content)) in received.entries.iter().zip(&files) {
                prop_assert_eq!(&entry.path, path);
                prop_assert_eq!(&entry.kind, &EntryKind::File { size: content.len() as u64, digest: Digest::of(content) });
                let EntryKind::File { digest, .. } = &entry.kind else { continue };
                let kept = std::io::read_to_string(contents.open(digest).unwrap()).map(String::into_bytes);
                prop_assert!(kept.is_err() || &kept.unwrap() == content);
            }
        }
    }
}
