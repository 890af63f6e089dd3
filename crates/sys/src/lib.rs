//! The system calls that no crate wraps well, each behind a safe function.
