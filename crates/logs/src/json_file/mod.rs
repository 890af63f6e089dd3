//! Docker's json-file format: one JSON object a line, `{"log":…,"stream":…,"attrs":…,"time":…}`.

mod decode;
mod encode;
pub mod reader;
pub mod writer;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Bytes of a line that go into one object; a longer line is cut, and only its last part has the newline. Docker's
/// value (its log copier's buffer).
pub const MAX_PART: usize = 16 << 10;

/// `ID-json.log.1` is the newest of the rotated files.
fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}
