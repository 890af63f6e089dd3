//! `google.protobuf.Any` as containerd writes it: the type URL is the bare full name of the message.
//!
//! Other writers put `type.googleapis.com/` (or any prefix up to the last slash) before it; both are read.
//! JSON payloads (OCI specs and processes) travel the same way, under the URLs in [`SPEC`] and [`PROCESS`].

use prost::{Message, Name};
use prost_types::Any;

/// Type URL of an OCI runtime spec in JSON.
pub const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// Type URL of the process of an OCI runtime spec in JSON.
pub const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
/// Type URL of the resources of an OCI runtime spec in JSON.
pub const RESOURCES: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

/// Why an `Any` could not be read as the wanted message.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("expected a message of type {expected}, got {found}")]
    OtherType { expected: String, found: String },
    #[error("cannot decode a message of type {type_name}")]
    Decode { type_name: String, source: prost::DecodeError },
}

/// Wraps a message under its containerd type URL, e.g. `containerd.events.TaskExit`.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::full_name(), value: message.encode_to_vec() }
}

/// Wraps bytes that are JSON under one of the URLs above.
pub fn pack_json(type_url: &str, json: Vec<u8>) -> Any {
    Any { type_url: type_url.to_owned(), value: json }
}

/// Reads a message back; another type than `M` is an error.
pub fn unpack<M: Message + Name + Default>(any: &Any) -> Result<M, UnpackError> {
    if !is::<M>(any) {
        return Err(UnpackError::OtherType { expected: M::full_name(), found: any.type_url.clone() });
    }
    M::decode(any.value.as_slice()).map_err(|source| UnpackError::Decode { type_name: M::full_name(), source })
}

/// Whether an `Any` holds an `M`, whatever stands before its name.
pub fn is<M: Name>(any: &Any) -> bool {
    type_name(any) == M::full_name()
}

/// The full name of the message, without a prefix: `containerd.events.TaskExit`.
pub fn type_name(any: &Any) -> &str {
    any.type_url.rsplit('/').next().unwrap_or(&any.type_url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{ImageCreate, TaskExit, TaskStart};
    use crate::runc::v1::Options;
    use crate::types::transfer::OciRegistry;

    #[test]
    fn a_packed_event_has_the_bare_name_as_type_url() {
        let any = pack(&TaskExit { container_id: "c".into(), exit_status: 137, ..TaskExit::default() });
        assert_eq!(any.type_url, "containerd.events.TaskExit");
        assert_eq!(any.value, [10, 1, b'c', 32, 0x89, 1]);
        assert_eq!(pack(&Options::default()).type_url, "containerd.runc.v1.Options");
        assert_eq!(pack(&ImageCreate::default()).type_url, "containerd.services.images.v1.ImageCreate");
        // As the message is called, not its type here.
        assert_eq!(pack(&OciRegistry::default()).type_url, "containerd.types.transfer.OCIRegistry");
    }

    #[test]
    fn a_prefixed_type_url_is_read_as_well() {
        let mut any = pack(&TaskStart { container_id: "c".into(), pid: 7 });
        any.type_url = format!("type.googleapis.com/{}", any.type_url);
        assert_eq!(unpack::<TaskStart>(&any).expect("unpack").pid, 7);
        assert_eq!(type_name(&any), "containerd.events.TaskStart");
    }

    #[test]
    fn another_type_or_broken_bytes_are_refused() {
        let any = pack(&TaskStart::default());
        assert!(matches!(unpack::<TaskExit>(&any), Err(UnpackError::OtherType { .. })));
        let broken = Any { type_url: "containerd.events.TaskStart".into(), value: vec![0xff] };
        assert!(matches!(unpack::<TaskStart>(&broken), Err(UnpackError::Decode { .. })));
    }
}
