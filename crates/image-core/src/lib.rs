//! Manifests, configurations, platform choice and references between them. No I/O.
