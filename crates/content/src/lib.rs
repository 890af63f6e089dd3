//! Blobs by digest on disk: resumable writes, verified commits, nothing half-written seen.
