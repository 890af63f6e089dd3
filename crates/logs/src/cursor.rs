//! How far a numbered log has been shipped: one line in a file beside it, `EPOCH NUMBER`, of a length that never changes,
//! so that it is overwritten in place by one write(2).

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Format;
use crate::compress::last_entry;

const DIGITS: usize = 20;
/// More than any cursor has.
const MAX_LENGTH: u64 = 256;

/// A place in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Tells the numbers of this log from those of any other: 64 hexadecimal digits.
    pub epoch: String,
    /// Of the last message that has arrived; 0 for none.
    pub ordinal: u64,
}

#[derive(Debug)]
pub struct Cursor {
    file: File,
    place: Place,
}

impl Cursor {
    /// Opens the cursor beside a log, or makes it with this epoch. One that cannot be read begins anew: what was shipped is
    /// shipped again, nothing is lost.
    pub fn open(log: &Path, epoch: &str) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(path_beside(log))?;
        let mut cursor = match read(&file) {
            Some(place) => return Ok(Self { file, place }),
            None => Self { file, place: Place { epoch: epoch.to_owned(), ordinal: 0 } },
        };
        cursor.file.set_len(0)?;
        cursor.save(0)?;
        Ok(cursor)
    }

    /// The place that the cursor beside a log names, if there is one.
    pub fn peek(log: &Path) -> io::Result<Option<Place>> {
        match File::open(path_beside(log)) {
            Ok(file) => Ok(read(&file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn save(&mut self, ordinal: u64) -> io::Result<()> {
        let line = format!("{} {ordinal:0DIGITS$}\n", self.place.epoch);
        self.file.write_all_at(line.as_bytes(), 0)?;
        self.place.ordinal = ordinal;
        Ok(())
    }
}

/// Whether a numbered log holds something that has not been shipped. Looks at its end only.
pub fn has_unshipped(log: &Path) -> io::Result<bool> {
    let shipped = Cursor::peek(log)?.map_or(0, |place| place.ordinal);
    match File::open(log) {
        Ok(file) => Ok(last_entry(&file, Format::Local)?.is_some_and(|entry| entry.ordinal > shipped)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn path_beside(log: &Path) -> PathBuf {
    let mut name = OsString::from(log);
    name.push(".shipped");
    PathBuf::from(name)
}

fn read(file: &File) -> Option<Place> {
    let mut text = String::new();
    file.take(MAX_LENGTH).read_to_string(&mut text).ok()?;
    let (epoch, ordinal) = text.strip_suffix('\n')?.split_once(' ')?;
    let is_epoch = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ordinal = ordinal.parse().ok().filter(|_| ordinal.len() == DIGITS && is_epoch)?;
    Some(Place { epoch: epoch.to_owned(), ordinal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_shipped_when_the_cursor_is_at_its_end() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("c.log");
        assert!(!has_unshipped(&path).expect("missing"));
        let config =
            crate::WriterConfig { format: Format::Local, numbered: true, ..crate::WriterConfig::new(path.clone()) };
        let mut log = crate::Writer::open(config).expect("open");
        log.append(crate::Stream::Stdout, b"one\ntwo\n", crate::Timestamp::default()).expect("append");
        assert!(has_unshipped(&path).expect("new"));
        let mut cursor = Cursor::open(&path, "ab").expect("cursor");
        cursor.save(1).expect("save");
        assert!(has_unshipped(&path).expect("half"));
        cursor.save(2).expect("save");
        assert!(!has_unshipped(&path).expect("all"));
    }

    #[test]
    fn a_cursor_keeps_its_epoch_and_its_last_place() {
        let folder = tempfile::tempdir().expect("tempdir");
        let log = folder.path().join("c.log");
        assert_eq!(Cursor::peek(&log).expect("peek"), None);
        let mut cursor = Cursor::open(&log, "ab").expect("open");
        assert_eq!(cursor.place(), &Place { epoch: "ab".into(), ordinal: 0 });
        cursor.save(u64::MAX).expect("save");
        cursor.save(12).expect("save");
        drop(cursor);
        let place = Place { epoch: "ab".into(), ordinal: 12 };
        assert_eq!(Cursor::open(&log, "cd").expect("open").place(), &place);
        assert_eq!(Cursor::peek(&log).expect("peek"), Some(place));
        for torn in ["", "ab", "ab 12\n", "ab 0000000000000000001x\n", "xy 00000000000000000012\n"] {
            std::fs::write(path_beside(&log), torn).expect("tear");
            let cursor = Cursor::open(&log, "cd").expect("open");
            assert_eq!(cursor.place(), &Place { epoch: "cd".into(), ordinal: 0 }, "{torn:?}");
        }
    }
}
