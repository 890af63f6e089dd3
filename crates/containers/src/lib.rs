//! The daemon's containers: create, start, attach, exec, logs, stop, remove, recover.
