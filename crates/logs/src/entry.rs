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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub stream: Stream,
    pub time: Timestamp,
    /// The line with its newline; without one it is a part of a longer line, or the output's unfinished last line.
    pub bytes: Vec<u8>,
    /// What the log options added (labels, environment, tag), sorted by name.
    pub attrs: Vec<(String, String)>,
}
