//! A blob as it is listed and read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ids::Digest;
use metadata::Labels;
use serde::{Deserialize, Serialize};

/// A blob that a namespace sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub digest: Digest,
    pub size: u64,
    pub created_at: SystemTime,
    pub updated_at: SystemTime,
    pub labels: Labels,
}

/// What the database holds of it; times in nanoseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) size: u64,
    pub(crate) created: u64,
    pub(crate) updated: u64,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub(crate) labels: Labels,
}

impl Record {
    pub(crate) fn info(self, digest: Digest) -> Info {
        let time = |nanos| UNIX_EPOCH + Duration::from_nanos(nanos);
        Info {
            digest,
            size: self.size,
            created_at: time(self.created),
            updated_at: time(self.updated),
            labels: self.labels,
        }
    }
}

impl Info {
    /// The fields that containerd's filters can name.
    pub(crate) fn field(&self, path: &[&str]) -> Option<String> {
        match path {
            ["digest"] => Some(self.digest.to_string()),
            ["size"] => Some(self.size.to_string()),
            ["labels", rest @ ..] => self.labels.get(&rest.join(".")).cloned(),
            _ => None,
        }
    }
}

/// A blob to read from. It stays readable while it is held, even when the blob is deleted meanwhile.
#[derive(Debug)]
pub struct Reader {
    pub(crate) file: File,
    pub(crate) size: u64,
}

impl Reader {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills as much of the buffer as there is from `offset` on; 0 at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// The file itself, positioned at its start.
    pub fn into_file(self) -> File {
        self.file
    }
}

pub(crate) fn nanos_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
