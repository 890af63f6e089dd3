//! File system snapshots on overlayfs: prepare, view, commit, mounts, usage, removal.
