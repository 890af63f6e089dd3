//! Names and ports that outlive the daemon: DNS inside sandboxes, port sockets, the loopback relay.
