//! containerd's published gRPC and ttrpc interfaces, generated from the .proto files in this crate.
