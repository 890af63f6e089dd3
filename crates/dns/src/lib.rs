//! The embedded DNS server's answers and its forwarding to upstream resolvers.
