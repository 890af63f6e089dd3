//! Layer archives: a strict extractor that resolves inside its root, and a deterministic writer.
