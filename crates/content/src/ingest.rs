//! The folder of one write that goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ids::Digest;

use crate::Error;
use crate::error::disk;

/// How far a write is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub reference: String,
    pub offset: u64,
    /// 0 if the writer did not say.
    pub total: u64,
    pub started_at: SystemTime,
    pub updated_at: SystemTime,
    /// Begun under a lease: what no lease holds any more serves nobody.
    pub leased: bool,
}

impl Status {
    pub(crate) fn field(&self, path: &[&str]) -> Option<String> {
        (path == ["ref"]).then(|| self.reference.clone())
    }
}

/// Longer texts in `ref`, `total` or a time file are not ours.
const MAX_SMALL_FILE_BYTES: u64 = 8 * 1024;
/// Longest namespace and reference together.
const MAX_REFERENCE_BYTES: usize = 4096;
/// Marks a write that was begun under a lease.
const LEASED: &str = "leased";

/// Where a write keeps its state. `name` is the namespace, a slash, and the reference.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

impl Ingest {
    pub(crate) fn new(root: &Path, namespace: &str, reference: &str) -> Result<Self, Error> {
        if reference.is_empty() {
            return Err(Error::EmptyReference);
        }
        let bad = namespace.is_empty() || namespace.contains(['/', '\0']) || reference.contains('\0');
        if bad || namespace.len() + reference.len() > MAX_REFERENCE_BYTES {
            return Err(Error::BadReference);
        }
        let name = format!("{namespace}/{reference}");
        let folder = root.join("ingest").join(Digest::of(&name).hex());
        Ok(Self { name, folder })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Makes the folder and its small files anew.
    pub(crate) fn create(&self, total: u64) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).map_err(disk("create", &self.folder))?;
        self.write_small("ref", &self.name)?;
        let now = time_text(SystemTime::now());
        self.write_small("startedat", &now)?;
        self.write_small("updatedat", &now)?;
        match total {
            0 => Ok(()),
            total => self.write_small("total", &total.to_string()),
        }
    }

    /// Notes whether a lease alone keeps this write.
    pub(crate) fn set_leased(&self, leased: bool) -> Result<(), Error> {
        if leased {
            return self.write_small(LEASED, "");
        }
        let path = self.folder.join(LEASED);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(disk("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn touch(&self) -> Result<(), Error> {
        self.write_small("updatedat", &time_text(SystemTime::now()))
    }

    /// Removes all of it; says whether it was there.
    pub(crate) fn remove(&self) -> Result<bool, Error> {
        match fs::remove_dir_all(&self.folder) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(disk("remove", &self.folder)(error)),
        }
    }

    fn write_small(&self, file: &str, text: &str) -> Result<(), Error> {
        let path = self.folder.join(file);
        fs::write(&path, text).map_err(disk("write", &path))
    }
}

/// Reads a folder; none if it is no whole ingest (a writer that was killed while it made it).
pub(crate) fn read_status(folder: &Path) -> Result<Option<(String, Status)>, Error> {
    let data = folder.join("data");
    let found = match fs::symlink_metadata(&data) {
        Ok(found) if found.is_file() => found,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk("examine", &data)(error)),
    };
    let time = |file| read_small(&folder.join(file)).and_then(|text| parse_time(&text));
    let (Some(name), Some(started_at)) = (read_small(&folder.join("ref")), time("startedat")) else {
        return Ok(None);
    };
    let Some((_, reference)) = name.split_once('/') else { return Ok(None) };
    let modified = found.modified().unwrap_or(started_at);
    let status = Status {
        reference: reference.to_owned(),
        offset: found.len(),
        total: read_small(&folder.join("total")).and_then(|text| text.parse().ok()).unwrap_or(0),
        started_at,
        updated_at: time("updatedat").unwrap_or(started_at).max(modified),
        leased: folder.join(LEASED).exists(),
    };
    Ok(Some((name, status)))
}

fn read_small(path: &Path) -> Option<String> {
    let size = fs::symlink_metadata(path).ok()?.len();
    if size > MAX_SMALL_FILE_BYTES {
        return None;
    }
    fs::read_to_string(path).ok()
}

/// RFC 3339 with nanoseconds, as containerd writes times into these files.
fn time_text(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

fn parse_time(text: &str) -> Option<SystemTime> {
    text.trim().parse::<jiff::Timestamp>().ok()?.try_into().ok()
}
