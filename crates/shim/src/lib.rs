//! Parent of one container: serves shim v2, keeps its output and its exit status.
