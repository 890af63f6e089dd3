//! One message of a container.

use crate::Timestamp;

/// Which of a process's outputs a message came from; a terminal's is stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// The first byte of a frame of Docker's multiplexed stream.
    pub fn frame_number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }
}

/// What says that a message is a part of a longer line. The json-file format keeps none of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// The same for all parts of a line, 64 hexadecimal digits.
    pub id: String,
    /// From 1.
    pub number: u32,
    pub last: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub stream: Stream,
    pub time: Timestamp,
    /// The line with its newline; without one it is a part of a longer line, or the output's unfinished last line.
    pub bytes: Vec<u8>,
    /// What the log options added (labels, environment, tag), sorted by name.
    pub attrs: Vec<(String, String)>,
    pub part: Option<Part>,
    /// Counts the messages of a numbered log from 1; 0 in any other.
    pub ordinal: u64,
}

impl Entry {
    /// The message without the newline that ends its line.
    pub fn text(&self) -> &[u8] {
        self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes)
    }
}
