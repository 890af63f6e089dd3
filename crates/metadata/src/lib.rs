//! One database file a daemon, one writer, group commit, durability chosen by the caller.
