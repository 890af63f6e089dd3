//! Messages in a receiver's own format, sent and confirmed together.

/// Bytes of a batch beyond which the next message opens another.
pub(crate) const BATCH_BYTES: usize = 128 << 10;
/// Messages of a batch, likewise.
pub(crate) const BATCH_MESSAGES: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub bytes: Vec<u8>,
    /// Where each datagram ends; a stream's messages follow each other without.
    pub ends: Vec<usize>,
    /// Messages of the container in it, those included that the receiver's format leaves out.
    pub messages: usize,
    /// The number of the last of them.
    pub last: u64,
}

impl Batch {
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES || self.messages >= BATCH_MESSAGES
    }

    /// The bytes up to here are one message.
    pub fn end_message(&mut self) {
        self.ends.push(self.bytes.len());
    }

    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let datagram = &self.bytes[start..end];
            start = end;
            datagram
        })
    }
}
