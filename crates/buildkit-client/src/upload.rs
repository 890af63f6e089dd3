//! `Upload.Pull`: an archive that this side has, usually its standard input.

use std::io::Read;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use buildkit_api::upload::BytesMessage;
use buildkit_api::upload::upload_server::Upload;
use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

const PATH: &str = "urlpath";
const PIECE: usize = 32 << 10;
const QUEUE: usize = 8;

/// The archive's path, and its bytes, which are sent once.
pub(crate) struct Archive(pub Mutex<Option<(String, Box<dyn Read + Send>)>>);

#[tonic::async_trait]
impl Upload for Archive {
    type PullStream = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

    async fn pull(&self, request: Request<Streaming<BytesMessage>>) -> Result<Response<Self::PullStream>, Status> {
        let path = request.metadata().get(PATH).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let taken = {
            let mut archive = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            archive.take_if(|(known, _)| known.trim_start_matches('/') == path.trim_start_matches('/'))
        };
        let missing = || Status::not_found(format!("there is no archive at {path:?}"));
        let (_, mut bytes) = taken.ok_or_else(missing)?;
        let (sender, pieces) = mpsc::channel(QUEUE);
        tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; PIECE];
            loop {
                let piece = match bytes.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => Ok(BytesMessage { data: Bytes::copy_from_slice(&buffer[..length]) }),
                    Err(error) => Err(Status::internal(error.to_string())),
                };
                let is_last = piece.is_err();
                if sender.blocking_send(piece).is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(pieces))))
    }
}
