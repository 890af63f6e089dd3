//! containerd's gRPC and ttrpc services over the supervisor and its stores. Translation only.
