//! Decisions about a container's life: states, restart, stop sequence, the OCI spec it becomes. No I/O.
