//! Paths inside a root file system, prepared for a walk without allocation.

use crate::SpecError;
use crate::error::c_string;
use std::ffi::CString;

/// How deep a path inside the container may be.
const MAX_DEPTH: usize = 128;

/// An absolute path of the container, relative to a descriptor of its root. Every prefix is there for `mkdir -p`.
#[derive(Clone, PartialEq, Eq)]
pub struct InRoot {
    /// `dev/pts`; `.` for the root itself.
    pub path: CString,
    /// (`dev`, `dev`), (`dev/pts`, `pts`): each ancestor and the path itself, with its last component.
    pub prefixes: Vec<(CString, CString)>,
}

impl std::fmt::Debug for InRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.path.to_string_lossy())
    }
}

/// The components that are left when `.`, `..` and double slashes are gone, as if `/` were the container's root.
pub fn clean(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

/// The cleaned path with its leading slash.
pub fn absolute(path: &str) -> String {
    format!("/{}", clean(path).join("/"))
}

impl InRoot {
    pub fn new(path: &str) -> Result<Self, SpecError> {
        let parts = clean(path);
        if parts.len() > MAX_DEPTH {
            return Err(SpecError::Invalid(format!("path {path:.64}… is deeper than {MAX_DEPTH} folders")));
        }
        let mut prefixes = Vec::with_capacity(parts.len());
        let mut prefix = String::new();
        for part in &parts {
            if !prefix.is_empty() {
                prefix.push('/');
            }
            prefix.push_str(part);
            prefixes.push((c_string("path", prefix.as_str())?, c_string("path", *part)?));
        }
        let whole = if prefix.is_empty() { "." } else { &prefix };
        Ok(Self { path: c_string("path", whole)?, prefixes })
    }

    /// The folder of a path and its last component.
    pub fn split(path: &str) -> Result<(Self, CString), SpecError> {
        let mut parts = clean(path);
        let name = parts.pop().ok_or_else(|| SpecError::Invalid(format!("path {path:?} names the root itself")))?;
        Ok((Self::new(&parts.join("/"))?, c_string("path", name)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_dot_never_leaves_the_root() {
        assert_eq!(absolute("/a/../../b/./c//"), "/b/c");
        assert_eq!(absolute(""), "/");
    }

    #[test]
    fn every_prefix_is_listed_with_its_name() {
        let path = InRoot::new("/dev/pts").expect("plain path");
        let texts: Vec<(&str, &str)> =
            path.prefixes.iter().map(|(a, b)| (a.to_str().unwrap_or(""), b.to_str().unwrap_or(""))).collect();
        assert_eq!(texts, [("dev", "dev"), ("dev/pts", "pts")]);
    }
}
