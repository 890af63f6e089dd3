//! The files of a build's result, out of the archive of a container that never ran.
//!
//! An engine adds what its runtime mounts onto (`/.dockerenv`, `/dev`, `/etc/hosts` …), all at one time, which the archive
//! says of `/.dockerenv`, its first member. What has that time and nothing in it is the engine's and stays out.

use std::io::{self, BufReader, Read, Write};

use archive::{ArchiveError, Entry, EntryKind, Limits, TarReader, TarWriter};

const MARK: &str = ".dockerenv";
const PLACES: [&str; 9] =
    ["dev/console", "dev/pts", "dev/shm", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys"];
/// Folders that hold places; they are the engine's where nothing else is in them.
const FOLDERS: [&str; 2] = ["dev", "etc"];
/// Docker makes its places one after the other.
const SECONDS: i64 = 2;
const PIECE: usize = 256 << 10;

/// Copies an archive but for what is the engine's.
pub fn copy(source: impl Read, out: impl Write) -> Result<(), ArchiveError> {
    let mut reader = TarReader::new(BufReader::with_capacity(PIECE, source), Limits::default());
    let mut writer = TarWriter::new(out);
    let mut made_at = None;
    let mut pending: Vec<Entry> = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let path = String::from_utf8_lossy(&entry.path).trim_start_matches("./").trim_matches('/').to_owned();
        if path == MARK && entry.size == 0 {
            made_at = Some(entry.mtime.0);
            continue;
        }
        let is_of_engine = made_at.is_some_and(|made| (entry.mtime.0 - made).abs() <= SECONDS);
        if is_of_engine && entry.size == 0 && PLACES.contains(&path.as_str()) {
            continue;
        }
        pending.retain(|folder| path.starts_with(&*String::from_utf8_lossy(&folder.path)));
        if is_of_engine && entry.kind == EntryKind::Directory && FOLDERS.contains(&path.as_str()) {
            pending.push(entry);
            continue;
        }
        for folder in pending.drain(..) {
            writer.append(&folder, &mut io::empty())?;
        }
        writer.append(&entry, &mut reader.member())?;
    }
    writer.finish().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(members: &[(&str, i64, &str)]) -> Vec<String> {
        let mut writer = TarWriter::new(Vec::new());
        for (path, time, text) in members {
            let kind = if path.ends_with('/') { EntryKind::Directory } else { EntryKind::File };
            let mut entry = Entry::new(path.as_bytes(), kind, 0o755);
            entry.mtime = (*time, 0);
            entry.size = text.len() as u64;
            writer.append(&entry, &mut text.as_bytes()).unwrap();
        }
        let archive = writer.finish().unwrap();
        let mut out = Vec::new();
        copy(&archive[..], &mut out).unwrap();
        let mut found = tar::Archive::new(&out[..]);
        let name = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            format!("{}={text}", entry.path().unwrap().display())
        };
        found.entries().unwrap().map(name).collect()
    }

    #[test]
    fn what_the_engine_made_stays_out() {
        let places = [(".dockerenv", 9, ""), ("a", 1, "text"), ("dev/", 9, ""), ("dev/pts/", 9, ""), ("etc/", 9, "")];
        let more = [("etc/hosts", 9, ""), ("proc/", 10, ""), ("z", 1, "")];
        assert_eq!(kept(&[&places[..], &more[..]].concat()), ["a=text", "z="]);
    }

    #[test]
    fn what_the_image_has_stays() {
        let own =
            [(".dockerenv", 90, ""), ("etc/", 90, ""), ("etc/hosts", 90, ""), ("etc/own", 1, "x"), ("proc/", 1, "")];
        assert_eq!(kept(&own), ["etc/=", "etc/own=x", "proc/="]);
    }
}
