//! Bytes on a stream: the receiver says how many it takes, the sender sends no more (containerd docs/transfer.md, "Binary
//! Streams"). Blocking, for the threads that read and write archives.

use std::io::{self, Read, Write};
use std::time::Duration;

use containerd_api::any::{is, pack, unpack};
use containerd_api::types::transfer::{Data, WindowUpdate};

use crate::streams::Stream;

/// Bytes that a sender may be ahead of us.
const WINDOW: i32 = 1 << 20;
/// Bytes of one message, as containerd sends them.
const PIECE: usize = 32 << 10;
/// What receivers of containerd's grant when they have taken everything.
const IDLE_WINDOW: i64 = 64 << 10;
/// How long the last bytes may take to be read.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What a client sends.
pub(crate) struct ByteReader {
    stream: Stream,
    /// Bytes that may still come before more are granted.
    window: i64,
    piece: Vec<u8>,
    at: usize,
}

impl ByteReader {
    pub fn new(stream: Stream) -> Self {
        Self { stream, window: 0, piece: Vec::new(), at: 0 }
    }
}

impl Read for ByteReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            if self.window <= i64::from(WINDOW) / 2 {
                // A client that is gone is noticed below.
                let _ = self.stream.outgoing.blocking_send(pack(&WindowUpdate { update: WINDOW }));
                self.window += i64::from(WINDOW);
            }
            match self.stream.incoming.blocking_recv() {
                None => return Ok(0),
                Some(Err(_)) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client is gone")),
                Some(Ok(message)) => {
                    let data: Data = unpack(&message).map_err(io::Error::other)?;
                    (self.piece, self.at) = (data.data, 0);
                    self.window -= i64::try_from(self.piece.len()).unwrap_or(i64::MAX);
                }
            }
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// What a client gets.
pub(crate) struct ByteWriter {
    stream: Stream,
    window: i64,
}

impl ByteWriter {
    pub fn new(stream: Stream) -> Self {
        Self { stream, window: 0 }
    }

    /// Waits until the client has taken everything, as far as it says so: a client that is answered may end at once.
    pub async fn finish(mut self) {
        let taken = async {
            while self.window < IDLE_WINDOW {
                match self.stream.incoming.recv().await {
                    Some(Ok(message)) => self.window += granted(&message).unwrap_or(0),
                    _ => return,
                }
            }
        };
        // One that grants less has what it wants.
        let _ = tokio::time::timeout(LAST_WAIT, taken).await;
    }
}

impl Write for ByteWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone");
        if bytes.is_empty() {
            return Ok(0);
        }
        while self.window <= 0 {
            match self.stream.incoming.blocking_recv() {
                Some(Ok(message)) => self.window += granted(&message)?,
                _ => return Err(gone()),
            }
        }
        let length = bytes.len().min(PIECE).min(usize::try_from(self.window).unwrap_or(PIECE));
        let data = Data { data: bytes[..length].to_vec() };
        self.stream.outgoing.blocking_send(pack(&data)).map_err(|_| gone())?;
        self.window -= i64::try_from(length).unwrap_or(0);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes that a message grants; another message is none of this protocol.
fn granted(message: &containerd_api::Any) -> io::Result<i64> {
    if !is::<WindowUpdate>(message) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("unexpected message {}", message.type_url)));
    }
    let update: WindowUpdate = unpack(message).map_err(io::Error::other)?;
    Ok(i64::from(update.update.max(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Broken, Streams};

    #[test]
    fn a_reader_grants_what_it_takes_and_tells_an_end_from_a_break() {
        for (last, whole) in [(None, true), (Some(Broken), false)] {
            let streams = Streams::default();
            let mut remote = streams.enter("n", "s").expect("enter");
            let mut reader = ByteReader::new(streams.take("n", "s").expect("take"));
            let sending = std::thread::spawn(move || {
                let first = remote.outgoing.blocking_recv().expect("a window");
                assert_eq!(granted(&first).expect("update"), i64::from(WINDOW));
                remote.incoming.blocking_send(Ok(pack(&Data { data: b"hello ".to_vec() }))).expect("send");
                remote.incoming.blocking_send(Ok(pack(&Data { data: b"there".to_vec() }))).expect("send");
                if let Some(broken) = last {
                    remote.incoming.blocking_send(Err(broken)).expect("send");
                }
            });
            let mut text = String::new();
            let read = reader.read_to_string(&mut text);
            assert_eq!(read.is_ok(), whole, "{read:?}");
            sending.join().expect("join");
        }
    }

    #[test]
    fn a_writer_sends_no_more_than_was_granted() {
        let streams = Streams::default();
        let mut remote = streams.enter("n", "s").expect("enter");
        let mut writer = ByteWriter::new(streams.take("n", "s").expect("take"));
        remote.incoming.blocking_send(Ok(pack(&WindowUpdate { update: 4 }))).expect("grant");
        assert_eq!(writer.write(b"abcdefgh").expect("write"), 4);
        let data: Data = unpack(&remote.outgoing.blocking_recv().expect("data")).expect("unpack");
        assert_eq!(data.data, b"abcd");
        drop(remote.incoming);
        assert_eq!(writer.write(b"efgh").expect_err("nothing granted").kind(), io::ErrorKind::BrokenPipe);
    }
}
