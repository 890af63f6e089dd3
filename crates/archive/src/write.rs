//! Writes archives whose bytes follow from their entries alone: POSIX headers, PAX records only where a value does not
//! fit, in one fixed order.

use std::io::{self, Read, Write};

use crate::entry::{Entry, EntryKind};
use crate::error::ArchiveError;
use crate::header::{BLOCK, Header, LINK_BYTES, MAX_OCTAL_8, MAX_OCTAL_12, NAME_BYTES, PREFIX_BYTES};

/// Bytes of an archive's end: two blocks of zeros.
static END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// An archive in the making.
pub struct TarWriter<W> {
    target: W,
}

impl<W: Write> TarWriter<W> {
    pub fn new(target: W) -> Self {
        Self { target }
    }

    /// A member and, for a file, exactly `entry.size` bytes of content.
    pub fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ArchiveError> {
        self.begin(entry)?;
        if entry.kind == EntryKind::File {
            self.append_content(entry.size, content)?;
        }
        Ok(())
    }

    /// The headers of a member alone: whoever brings its content brings it to the target itself, [`padding_of`] included.
    pub fn begin(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        let mut header = header_of(entry);
        let prefix = split_name(&mut header.name);
        let records = records(entry, &header, prefix.is_none());
        if !records.is_empty() {
            self.append_records(&records)?;
        }
        self.put(&header.encode(&prefix.unwrap_or_default()))
    }

    /// What was written so far, taken out of a target in memory.
    pub fn target_mut(&mut self) -> &mut W {
        &mut self.target
    }

    /// Writes the end and gives the target back.
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        self.put(&END)?;
        self.target.flush().map_err(ArchiveError::Write)?;
        Ok(self.target)
    }

    fn append_records(&mut self, records: &[u8]) -> Result<(), ArchiveError> {
        let header = Header {
            // What Go's writer and GNU tar show for a PAX header; no reader looks at it.
            name: b"PaxHeaders.0".to_vec(),
            link: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: records.len() as u64,
            mtime: 0,
            flag: b'x',
            device: (0, 0),
        };
        self.put(&header.encode(b""))?;
        self.put(records)?;
        self.pad(records.len() as u64)
    }

    fn append_content(&mut self, size: u64, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let copied = io::copy(&mut content.take(size), &mut self.target).map_err(ArchiveError::Write)?;
        // A file that shrank while it was read keeps the archive well formed, but it is not the file.
        if copied != size {
            return Err(ArchiveError::Truncated);
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.put(padding_of(size))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.target.write_all(bytes).map_err(ArchiveError::Write)
    }
}

/// The zeros behind a content of `size` bytes.
pub fn padding_of(size: u64) -> &'static [u8] {
    &END[..usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0)]
}

fn header_of(entry: &Entry) -> Header {
    let (flag, link, device) = match &entry.kind {
        EntryKind::File => (b'0', &[][..], (0, 0)),
        EntryKind::HardLink(target) => (b'1', &target[..], (0, 0)),
        EntryKind::Symlink(target) => (b'2', &target[..], (0, 0)),
        EntryKind::Character { major, minor } => (b'3', &[][..], (*major, *minor)),
        EntryKind::Block { major, minor } => (b'4', &[][..], (*major, *minor)),
        EntryKind::Directory => (b'5', &[][..], (0, 0)),
        EntryKind::Fifo => (b'6', &[][..], (0, 0)),
    };
    Header {
        name: entry.path.clone(),
        link: link.to_vec(),
        mode: entry.mode,
        uid: u64::from(entry.uid),
        gid: u64::from(entry.gid),
        size: if entry.kind == EntryKind::File { entry.size } else { 0 },
        mtime: entry.mtime.0,
        flag,
        device,
    }
}

/// Leaves the name's end in `name` and answers its prefix; `None` if no slash divides it so that both fit.
fn split_name(name: &mut Vec<u8>) -> Option<Vec<u8>> {
    if name.len() <= NAME_BYTES {
        return Some(Vec::new());
    }
    // A directory's last byte is a slash and cannot divide.
    let divides = |at: &usize| name[*at] == b'/' && *at <= PREFIX_BYTES && name.len() - at - 1 <= NAME_BYTES;
    let slash = (1..name.len() - 1).find(divides)?;
    let rest = name.split_off(slash + 1);
    let mut prefix = std::mem::replace(name, rest);
    prefix.pop();
    Some(prefix)
}

fn records(entry: &Entry, header: &Header, long_name: bool) -> Vec<u8> {
    let mut records = Vec::new();
    let plain = |bytes: &[u8]| bytes.is_ascii() || std::str::from_utf8(bytes).is_err();
    if long_name || !plain(&entry.path) {
        record(&mut records, b"path", &entry.path);
    }
    if header.link.len() > LINK_BYTES || !plain(&header.link) {
        record(&mut records, b"linkpath", &header.link);
    }
    if header.size > MAX_OCTAL_12 {
        record(&mut records, b"size", header.size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], header.uid), (b"gid", header.gid)] {
        if id > MAX_OCTAL_8 {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    if !(0..=MAX_OCTAL_12 as i64).contains(&header.mtime) {
        record(&mut records, b"mtime", header.mtime.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    records
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() > length {
        length += 1;
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::reader::TarReader;
    use proptest::prelude::*;

    fn archive(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, content) in entries {
            writer.append(entry, &mut &content[..]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(archive: &[u8]) -> Vec<(Entry, Vec<u8>)> {
        let mut reader = TarReader::new(archive, Limits::default());
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let mut content = Vec::new();
            reader
                .content(|piece| {
                    content.extend_from_slice(piece);
                    Ok::<(), ()>(())
                })
                .unwrap()
                .unwrap();
            found.push((entry, content));
        }
        found
    }

    fn file(path: Vec<u8>, content: &[u8]) -> (Entry, Vec<u8>) {
        let mut entry = Entry::new(path, EntryKind::File, 0o644);
        entry.size = content.len() as u64;
        (entry, content.to_vec())
    }

    #[test]
    fn values_of_every_size_are_read_back() {
        let mut large = file(vec![b'n'; 300], b"content");
        large.0.uid = 3_000_000_000;
        large.0.gid = 2_097_152;
        large.0.mtime = (-5, 0);
        large.0.xattrs = vec![(b"user.note".to_vec(), b"a=b\nc".to_vec())];
        let long_link = Entry::new(b"link".to_vec(), EntryKind::Symlink(vec![b't'; 150]), 0o777);
        let umlaut = file("gr\u{fc}n".into(), b"");
        let divided = file([vec![b'd'; 120], b"/".to_vec(), vec![b'f'; 90]].concat(), b"x");
        let device = Entry::new(b"null".to_vec(), EntryKind::Character { major: 1, minor: 3 }, 0o666);
        let entries = vec![large, (long_link, Vec::new()), umlaut, divided, (device, Vec::new())];
        assert_eq!(read(&archive(&entries)), entries);
    }

    #[test]
    fn a_short_name_needs_no_extended_header() {
        assert_eq!(archive(&[file(b"a".to_vec(), b"x")]).len(), 4 * BLOCK);
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let (mut entry, content) = file(b"a".to_vec(), b"xyz");
        entry.size = 4;
        let error = TarWriter::new(Vec::new()).append(&entry, &mut &content[..]).unwrap_err();
        assert!(matches!(error, ArchiveError::Truncated));
    }

    #[test]
    fn another_reader_agrees() {
        let entries = vec![file(vec![b'p'; 200], b"hello"), file("\u{e9}".into(), b"")];
        let bytes = archive(&entries);
        let mut peer = tar::Archive::new(&bytes[..]);
        let names: Vec<_> = peer.entries().unwrap().map(|e| e.unwrap().path_bytes().into_owned()).collect();
        assert_eq!(names, entries.iter().map(|(e, _)| e.path.clone()).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(
            names in proptest::collection::vec("[a-z\u{e4}/.]{1,280}", 1..5),
            content in proptest::collection::vec(any::<u8>(), 0..1500),
            mtime in any::<i32>(),
        ) {
            let entries: Vec<_> = names
                .into_iter()
                .filter(|name| !name.ends_with('/'))
                .map(|name| {
                    let mut made = file(name.into_bytes(), &content);
                    made.0.mtime = (i64::from(mtime), 0);
                    made
                })
                .collect();
            prop_assert_eq!(read(&archive(&entries)), entries);
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let mut reader = TarReader::new(&bytes[..], Limits::default());
            while let Ok(Some(_)) = reader.next_entry() {}
        }
    }
}
