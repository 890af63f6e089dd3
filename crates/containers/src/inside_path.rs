//! A path that a user names inside a container, read as Docker reads it: from the root, cleaned, with a slash or a dot at
//! its end kept, which say that the folder behind a link is meant.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InsidePath {
    /// Absolute and clean; `/` for the root.
    clean: PathBuf,
    /// As it is looked up: perhaps with `/` or `/.` behind it.
    path: PathBuf,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Plain,
    Slash,
    Dot,
}

impl InsidePath {
    pub fn parse(text: &str) -> Self {
        let clean = clean(text.as_bytes());
        let last = text.trim_end_matches('/').rsplit('/').next().unwrap_or("");
        let ending = match () {
            () if last == "." => Ending::Dot,
            () if text.ends_with('/') && clean != Path::new("/") => Ending::Slash,
            () => Ending::Plain,
        };
        let mut path = clean.clone().into_os_string();
        if ending != Ending::Plain && clean != Path::new("/") {
            path.push("/");
        }
        if ending == Ending::Dot {
            path.push(".");
        }
        Self { clean, path: path.into(), ending }
    }

    pub fn clean(&self) -> PathBuf {
        self.clean.clone()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder is asked for, whatever link leads to it.
    pub fn is_folder(&self) -> bool {
        self.ending != Ending::Plain
    }

    /// Go's filepath.Base of it: what the archive's first name is.
    pub fn base(&self) -> &[u8] {
        match (self.ending, self.clean.file_name()) {
            (Ending::Dot, _) => b".",
            (_, Some(name)) => name.as_bytes(),
            (_, None) => b"/",
        }
    }

    /// The folder it lies in, and its name there; the root has none.
    pub fn split(&self) -> (&Path, &[u8]) {
        match (self.clean.parent(), self.clean.file_name()) {
            (Some(parent), Some(name)) => (parent, name.as_bytes()),
            _ => (Path::new("/"), b""),
        }
    }
}

/// Absolute, without `.`, `..` and double slashes; what would climb over the root stays at it.
pub(crate) fn clean(path: &[u8]) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(clean.pop()),
            part => clean.push(OsStr::from_bytes(part)),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_clean_and_keeps_what_its_end_says() {
        for (text, path, base) in [
            ("/a/b", "/a/b", "b"),
            ("a//b/../c", "/a/c", "c"),
            ("/a/b/", "/a/b/", "b"),
            ("/a/b/.", "/a/b/.", "."),
            ("/a/b/./", "/a/b/.", "."),
            ("/", "/", "/"),
            ("/.", "/.", "."),
            (".", "/.", "."),
            ("../../x", "/x", "x"),
            ("", "/", "/"),
        ] {
            let parsed = InsidePath::parse(text);
            assert_eq!(parsed.path().to_str().unwrap(), path, "{text}");
            assert_eq!(std::str::from_utf8(parsed.base()).unwrap(), base, "{text}");
        }
    }

    #[test]
    fn the_root_lies_nowhere() {
        assert_eq!(InsidePath::parse("/a/b/").split(), (Path::new("/a"), &b"b"[..]));
        assert_eq!(InsidePath::parse("/").split(), (Path::new("/"), &b""[..]));
    }
}
