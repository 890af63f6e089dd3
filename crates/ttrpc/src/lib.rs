//! ttrpc framing with a server and a client for one thread and for tokio.
