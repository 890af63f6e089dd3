//! Control groups on v1, v2 and the hybrid layout: create, join, limit, read, kill, remove.
