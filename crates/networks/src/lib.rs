//! The daemon's networks: create, connect, publish, and what is restored after a restart.
