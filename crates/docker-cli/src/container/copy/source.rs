//! Something of this machine as an archive for a container.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;

use archive::{Marks, TreeOptions, TreeWriter, Visit};

use super::paths::{self, Copied};
use crate::container::options::os_words;

/// What is copied, after links on the way to it have been followed.
#[derive(Debug)]
pub struct Source {
    pub copied: Copied,
}

impl Source {
    /// `path` from the root. With `follow` a link at its end is followed too.
    pub fn find(path: &str, follow: bool) -> Result<Self, String> {
        let lost = |path: &str, error: std::io::Error| format!("lstat {path}: {}", os_words(&error));
        let real = |path: &str| {
            let found = fs::canonicalize(path).map_err(|error| match error.kind() {
                ErrorKind::NotADirectory => os_words(&error),
                _ => lost(path.trim_end_matches('/'), error),
            })?;
            Ok::<String, String>(found.to_string_lossy().into_owned())
        };
        let (resolved, rebase) = if follow {
            paths::rebased(path, &real(path)?)
        } else {
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
            let resolved = format!("{}/{name}", real(&format!("{directory}/"))?.trim_end_matches('/'));
            let is_renamed = path.ends_with('/') && paths::base(path) != paths::base(&resolved);
            (resolved, is_renamed.then(|| paths::base(path)))
        };
        let found = fs::symlink_metadata(&resolved).map_err(|error| lost(&resolved, error))?;
        Ok(Self { copied: Copied { path: resolved, is_directory: found.is_dir(), rebase } })
    }

    /// Writes the archive; `name` is what the source is called in it.
    pub fn pack(&self, name: Option<&str>, target: impl Write) -> Result<(), String> {
        let (directory, own) = paths::split(&self.copied.path);
        let name = name.or(self.copied.rebase.as_deref()).unwrap_or(&own);
        let opened = |path: &str| File::open(path).map_err(|error| format!("open {path}: {}", os_words(&error)));
        let mut writer = TreeWriter::new(target);
        let packed = if self.copied.is_directory {
            let options = TreeOptions {
                // What is in a directory has bare names, as from `tar -C dir .`.
                name: Some(name.as_bytes().to_vec()),
                marks: Marks::None,
                visit: &|_, _| Visit::Whole,
            };
            writer.add_tree(opened(&self.copied.path)?.as_fd(), &options)
        } else {
            writer.add_one(opened(&directory)?.as_fd(), own.as_bytes(), name.as_bytes())
        };
        packed.map_err(|error| crate::failure::with_source(&error))?;
        writer.finish().map(drop).map_err(|error| crate::failure::with_source(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_at_the_end_is_followed_when_that_is_asked_for_or_a_slash_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().to_string_lossy().into_owned();
        fs::create_dir(format!("{root}/real")).unwrap();
        symlink("real", format!("{root}/link")).unwrap();
        let find = |end: &str, follow| Source::find(&format!("{root}/{end}"), follow).unwrap().copied;
        let link = find("link", false);
        assert_eq!((link.path, link.is_directory, link.rebase), (format!("{root}/link"), false, None));
        for (end, follow) in [("link", true), ("link/", false)] {
            let real = find(end, follow);
            assert!(real.path.trim_end_matches('/').ends_with("/real") && real.is_directory, "{real:?}");
            assert_eq!(real.rebase.as_deref(), Some("link"));
        }
        let error = Source::find(&format!("{root}/nope"), false).unwrap_err();
        assert_eq!(error, format!("lstat {root}/nope: no such file or directory"));
    }
}
