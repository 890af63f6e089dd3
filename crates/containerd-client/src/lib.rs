//! Connections to a containerd, its namespace header, and its status codes as error kinds.
