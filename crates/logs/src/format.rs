//! What tells the formats apart: how a message is written, where it ends, how it is read back.

use std::fs::File;
use std::io;
use std::ops::Range;

use crate::{Entry, Part, Stream, Timestamp, json_file, local};

/// Bytes of a line that go into one message; a longer line is cut, and only its last part has the newline. Docker's
/// value (its log copier's buffer).
pub const MAX_PART: usize = 16 << 10;

/// Bytes read in one go.
pub(crate) const BLOCK: usize = 64 << 10;

/// Which of Docker's two formats a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    JsonFile,
    /// Length, protobuf message, length.
    Local,
}

/// What the bytes at a message's beginning hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The message stands in `content`; the next one begins at `end`.
    Whole { content: Range<usize>, end: usize },
    /// Not all of it is here.
    More,
    /// No message of this format; nothing behind it can be found either.
    Broken,
}

/// One message on its way into the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub stream: Stream,
    /// Without the newline.
    pub text: &'a [u8],
    pub ends_line: bool,
    pub part: Option<&'a Part>,
    pub time: Timestamp,
    /// 0 in a log that is not numbered.
    pub ordinal: u64,
}

/// Writes messages; keeps what is the same for many of them.
#[derive(Debug)]
pub(crate) enum Encoder {
    JsonFile(json_file::Encoder),
    Local(local::Encoder),
}

impl Encoder {
    pub fn append(&mut self, out: &mut Vec<u8>, message: Message<'_>) {
        match self {
            Self::JsonFile(encoder) => {
                encoder.append(out, message.stream, message.text, message.ends_line, message.time)
            }
            Self::Local(encoder) => encoder.append(out, message),
        }
    }
}

impl Format {
    pub(crate) fn encoder(self, attrs: &[(String, String)]) -> Encoder {
        match self {
            Self::JsonFile => Encoder::JsonFile(json_file::Encoder::new(attrs)),
            Self::Local => Encoder::Local(local::Encoder::new(attrs)),
        }
    }

    pub(crate) fn frame(self, bytes: &[u8]) -> Frame {
        match self {
            Self::JsonFile => json_file::frame(bytes),
            Self::Local => local::frame(bytes),
        }
    }

    /// The message that a frame holds; `None` for a torn or foreign one.
    pub(crate) fn decode(self, content: &[u8]) -> Option<Entry> {
        match self {
            Self::JsonFile => json_file::decode(content),
            Self::Local => local::decode(content),
        }
    }

    /// How many of these bytes are whole messages.
    pub(crate) fn whole_prefix(self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Frame::Whole { end, .. } = self.frame(&bytes[at..]) {
            at += end;
        }
        at
    }

    /// The length of a file up to the end of its last whole message.
    pub(crate) fn whole_length(self, file: &File, size: u64) -> io::Result<u64> {
        match self {
            Self::JsonFile => json_file::whole_length(file, size),
            Self::Local => local::whole_length(file, size),
        }
    }

    /// Where the last `wanted` whole messages of a file begin, and how many there are.
    pub(crate) fn tail_offset(self, file: &File, size: u64, wanted: u64) -> io::Result<(u64, u64)> {
        match self {
            Self::JsonFile => json_file::tail_offset(file, size, wanted),
            Self::Local => local::tail_offset(file, size, wanted),
        }
    }

    /// A place in a file before which every message is older than `since`; 0 where it would cost a reading to find one.
    pub(crate) fn offset_before(self, file: &File, size: u64, since: Timestamp) -> io::Result<u64> {
        match self {
            Self::JsonFile => json_file::offset_before(file, size, since),
            Self::Local => Ok(0),
        }
    }
}
