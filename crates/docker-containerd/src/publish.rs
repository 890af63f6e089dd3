//! `publish`: how a shim that does not speak ttrpc itself sends an event.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use containerd_api::prost::Message;
use containerd_api::services::events::ttrpc::v1::ForwardRequest;
use containerd_api::types::Envelope;
use containerd_api::{Any, method, time};
use ttrpc::client::BlockingClient;

/// The largest event that is read.
const MAX_EVENT_BYTES: u64 = 1024 * 1024;
/// How long the daemon may take.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("cannot read the event")]
    Read(#[source] std::io::Error),
    #[error("the event is larger than {MAX_EVENT_BYTES} bytes")]
    TooLarge,
    #[error("standard input holds no event")]
    Decode(#[source] containerd_api::prost::DecodeError),
    #[error("cannot publish the event")]
    Send(#[source] ttrpc::Error),
}

/// Sends an event, an `Any` on `input`, to the daemon at `TTRPC_ADDRESS`, or beside `address`.
pub fn publish(address: &str, namespace: &str, topic: &str, input: impl Read) -> Result<(), PublishError> {
    let mut bytes = Vec::new();
    input.take(MAX_EVENT_BYTES + 1).read_to_end(&mut bytes).map_err(PublishError::Read)?;
    if bytes.len() as u64 > MAX_EVENT_BYTES {
        return Err(PublishError::TooLarge);
    }
    let event = Any::decode(bytes.as_slice()).map_err(PublishError::Decode)?;
    let envelope = Envelope {
        timestamp: Some(time::to_timestamp(SystemTime::now())),
        namespace: namespace.to_owned(),
        topic: topic.to_owned(),
        event: Some(event),
    };
    let socket = std::env::var("TTRPC_ADDRESS").unwrap_or_else(|_| format!("{address}.ttrpc"));
    let mut client = BlockingClient::connect(Path::new(&socket)).map_err(PublishError::Send)?;
    let request = ForwardRequest { envelope: Some(envelope) }.encode_to_vec();
    client.call(method::EVENTS, method::events::FORWARD, request, &[], LIMIT).map_err(PublishError::Send)?;
    Ok(())
}
