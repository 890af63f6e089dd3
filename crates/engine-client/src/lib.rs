//! The Engine API as a client: connection, version negotiation, streams.
