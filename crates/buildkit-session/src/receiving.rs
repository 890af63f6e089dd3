//! A client's folder on its way here: contents are kept under their digests, and what is here already does not come again.
//!
//! Writes contents and blocks, so it lives where that keeps nobody waiting; the stream itself is `diff_copy.rs`'s.

use buildkit_api::fsutil::{Packet, Stat};
use fsutil::{Destination, Kind};

use crate::context_store::{Contents, Index, Known, Writing};
use crate::entry::{Entry, EntryKind};
use crate::error::SessionError;

const KEEPING: &str = "keep a build context";

/// One transfer.
pub struct Receiving(fsutil::Receiving<Keeping>);

/// Where its files go.
struct Keeping {
    contents: Contents,
    known: Index,
    index: Index,
    entries: Vec<Option<Entry>>,
    /// Hard links: the place of each, and of what it is a link to.
    same: Vec<(usize, usize)>,
    reused: bool,
}

struct Wanted {
    place: usize,
    entry: Entry,
    /// As it was announced.
    size: u64,
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
        let (index, entries, same) = (Index::new(), Vec::new(), Vec::new());
        Self(fsutil::Receiving::new(Keeping { contents, known, index, entries, same, reused: true }))
    }

    /// Takes a packet; answers those to send.
    pub fn take(&mut self, packet: Packet) -> Result<Vec<Packet>, SessionError> {
        self.0.take(packet)
    }

    /// Everything came, and the client knows it.
    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }

    pub(crate) fn finish(self) -> Received {
        let bytes = self.0.bytes();
        let Keeping { known, index, mut entries, same, reused, .. } = self.0.into_destination();
        for (place, other) in same {
            let kind = entries[other].as_ref().map(|entry| entry.kind.clone());
            if let (Some(entry), Some(kind)) = (&mut entries[place], kind) {
                entry.kind = kind;
            }
        }
        let is_new = !reused || index.len() != known.len();
        Received { entries: entries.into_iter().flatten().collect(), index, is_new, bytes }
    }
}

impl Destination for Keeping {
    type Error = SessionError;
    type Wanted = Wanted;
    type Coming = (Wanted, Writing);

    fn file(&mut self, place: usize, stat: Stat, size: u64) -> Result<Option<Wanted>, SessionError> {
        let entry = Entry::new(stat, EntryKind::Folder);
        self.entries.push(None);
        let wanted = Wanted { place, entry, size };
        let entry = &wanted.entry;
        let same = self
            .known
            .get(&entry.path)
            .filter(|known| known.size == size && known.mode == entry.mode && known.modified == entry.modified);
        match same.and_then(Known::digest).filter(|digest| self.contents.has(digest, size)) {
            Some(digest) => {
                self.put(wanted, size, digest);
                Ok(None)
            }
            None => {
                self.reused = false;
                Ok(Some(wanted))
            }
        }
    }

    fn same(&mut self, place: usize, stat: Stat, other: usize) -> Result<(), SessionError> {
        self.same.push((place, other));
        self.whole(place, stat, Kind::Folder)
    }

    fn whole(&mut self, _: usize, stat: Stat, kind: Kind) -> Result<(), SessionError> {
        self.entries.push(Some(Entry::new(stat, kind.into())));
        Ok(())
    }

    fn begin(&mut self, _: u32, wanted: Wanted) -> Result<(Wanted, Writing), SessionError> {
        let writing = self.contents.create().map_err(SessionError::file(KEEPING))?;
        Ok((wanted, writing))
    }

    fn write(&mut self, (_, writing): &mut (Wanted, Writing), bytes: &[u8]) -> Result<(), SessionError> {
        writing.write(bytes).map_err(SessionError::file(KEEPING))
    }

    fn end(&mut self, (wanted, writing): (Wanted, Writing)) -> Result<(), SessionError> {
        let (digest, size) = self.contents.keep(writing).map_err(SessionError::file(KEEPING))?;
        self.put(wanted, size, digest);
        Ok(())
    }
}

impl Keeping {
    fn put(&mut self, wanted: Wanted, size: u64, digest: ids::Digest) {
        let Wanted { place, mut entry, size: announced } = wanted;
        // One that has grown meanwhile is not the one that was announced: it comes again next time.
        if size == announced {
            self.index.insert(entry.path.clone(), Known::new(size, entry.mode, entry.modified, digest));
        }
        entry.kind = EntryKind::File { size, digest };
        self.entries[place] = Some(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use buildkit_api::fsutil::packet::PacketType;
    use bytes::Bytes;
    use ids::Digest;
    use proptest::prelude::*;

    use super::*;
    use crate::context_store::ContextStore;
    use fsutil::{MAX_COMING, go_mode};

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
                prop_assert!(replies.len() <= MAX_COMING + 1);
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
