//! What a daemon tells of a path in a container, in a header.

use base64::Engine as _;
use serde::Deserialize;

use crate::failure::Failure;

pub const HEADER: &str = "x-docker-container-path-stat";

/// Go's `os.FileMode` bits.
const DIRECTORY: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const IRREGULAR: u32 = 1 << 19;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Stat {
    mode: u32,
    pub link_target: String,
}

impl Stat {
    /// From base64 of JSON.
    pub fn decode(header: Option<&str>) -> Result<Self, Failure> {
        let failure = |reason: &str| Failure::Text(format!("unable to decode container path stat header: {reason}"));
        let bytes = base64::engine::general_purpose::STANDARD.decode(header.unwrap_or_default());
        let bytes = bytes.map_err(|error| failure(&error.to_string()))?;
        if bytes.is_empty() {
            return Err(failure("EOF"));
        }
        serde_json::from_slice(&bytes).map_err(|error| failure(&error.to_string()))
    }

    pub fn is_directory(&self) -> bool {
        self.mode & DIRECTORY != 0
    }

    pub fn is_link(&self) -> bool {
        self.mode & LINK != 0
    }

    /// Refuses what nothing can be copied to.
    pub fn check_place(&self) -> Result<(), &'static str> {
        if self.mode & DEVICE != 0 {
            Err("got a device")
        } else if self.mode & IRREGULAR != 0 {
            Err("got an irregular file")
        } else {
            Ok(())
        }
    }
}
