//! The Container Network Model: address pools, endpoints, ports, and the links and rules they want. No I/O.
