//! OCI runtime spec plus host facts become an ordered init plan; seccomp filters and cgroup values. No I/O.
