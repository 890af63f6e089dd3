//! The OCI runtime's operations: create, start, exec, kill, delete, state and their files.
