//! The Engine API over HTTP: routes, versions, hijacked streams, status codes. Translation only.
