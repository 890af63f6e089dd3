//! The daemon's images: pull, push, list, inspect, tag, import, remove.
