//! ttrpc on tokio: a client with many calls in flight, and a server.

mod client;
mod server;

pub use client::Client;
pub use server::{Service, serve, serve_connection};

use crate::frame::{HEADER_LEN, Header, MAX_MESSAGE};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// One whole message; the body of one that is too long is skipped and `None`.
async fn read_message(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<(Header, Option<Vec<u8>>)> {
    let mut head = [0; HEADER_LEN];
    socket.read_exact(&mut head).await?;
    let header = Header::decode(&head);
    let length = header.length as usize;
    if length > MAX_MESSAGE {
        let skipped = tokio::io::copy(&mut socket.take(length as u64), &mut tokio::io::sink()).await?;
        if skipped < length as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        return Ok((header, None));
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok((header, Some(body)))
}
