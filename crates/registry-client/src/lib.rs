//! The distribution API: authentication, manifests, blobs, uploads.
