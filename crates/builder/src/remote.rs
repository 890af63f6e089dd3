//! Contexts that are somewhere else: a Git repository, an archive, a single Dockerfile.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use archive::{Marks, TreeOptions, TreeWriter, Visit};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::builder::blocking;
use crate::context;
use crate::error::BuildError;
use crate::fetch::{Rewound, fetch as fetch_file, is_archive};
use crate::output::Output;
use crate::request::BuildRequest;
use crate::tree::Tree;

/// Lines of Git's complaint that are shown.
const MAX_COMPLAINT: usize = 4096;

/// `https://host/name.git#branch:folder`, `git@host:name`, `git://…`, `github.com/…`.
pub(crate) fn is_git(address: &str) -> bool {
    let base = address.split('#').next().unwrap_or_default();
    let web = base.starts_with("http://") || base.starts_with("https://");
    if web {
        return base.ends_with(".git");
    }
    base.starts_with("git://")
        || base.starts_with("git@")
        || base.starts_with("ssh://")
        || base.starts_with("github.com/")
}

/// The context at an address. A single file becomes the Dockerfile.
pub(crate) async fn fetch(
    address: &str,
    request: &mut BuildRequest,
    spool: &Path,
    output: &Output,
    token: &CancellationToken,
) -> Result<Tree, BuildError> {
    if is_git(address) {
        return clone(address, false, spool, token).await;
    }
    if !address.starts_with("http://") && !address.starts_with("https://") {
        return Err(BuildError::invalid(format!("remote URL (\"{address}\") could not be parsed")));
    }
    output.text(format!("Downloading build context from remote url: {address}\n")).await;
    let fetched = fetch_file(address, spool, token).await?;
    let spool = spool.to_owned();
    let (file, is_tar) = blocking(move || {
        let probe = fetched.file.try_clone().map_err(|error| BuildError::file("read what was fetched", error))?;
        let is_tar = is_archive(Rewound::new(probe)?);
        Ok::<_, BuildError>((fetched.file, is_tar))
    })
    .await??;
    if is_tar {
        return blocking(move || context::read(Rewound::new(file)?, &spool)).await?;
    }
    request.dockerfile = "Dockerfile".to_owned();
    blocking(move || {
        let mut bytes = Vec::new();
        let limit = dockerfile::MAX_BYTES as u64 + 1;
        let read = std::io::Read::read_to_end(&mut std::io::Read::take(Rewound::new(file)?, limit), &mut bytes);
        read.map_err(|error| BuildError::file("read what was fetched", error))?;
        context::of_file("Dockerfile", &bytes, &spool)
    })
    .await?
}

/// What stands behind the address: `#ref:folder`.
struct Place<'a> {
    address: String,
    reference: &'a str,
    folder: &'a str,
}

fn place(address: &str) -> Place<'_> {
    let (base, fragment) = address.split_once('#').unwrap_or((address, ""));
    let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
    let base = if base.starts_with("github.com/") { format!("https://{base}") } else { base.to_owned() };
    Place { address: base, reference, folder }
}

/// Fetches one commit of a repository, with the host's git, into a folder that goes away again.
pub(crate) async fn clone(
    address: &str,
    keep_git_dir: bool,
    spool: &Path,
    token: &CancellationToken,
) -> Result<Tree, BuildError> {
    let place = place(address);
    if place.reference.starts_with('-') || place.address.starts_with('-') {
        return Err(BuildError::invalid(format!("invalid Git reference in {address:?}")));
    }
    let folder = spool.join(crate::metadata_steps::made_up_id() + "-git");
    let cloned = checkout(&place, &folder, token).await;
    let taken = match cloned {
        Ok(()) => {
            let (folder, inner, spool) = (folder.clone(), place.folder.to_owned(), spool.to_owned());
            blocking(move || take(&folder, &inner, keep_git_dir, &spool)).await?
        }
        Err(error) => Err(error),
    };
    let gone = blocking(move || std::fs::remove_dir_all(&folder)).await?;
    if let Err(error) =
        gone.or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    {
        tracing::warn!(%error, "a clone stays on the disk");
    }
    taken
}

async fn checkout(place: &Place<'_>, folder: &PathBuf, token: &CancellationToken) -> Result<(), BuildError> {
    let reference = if place.reference.is_empty() { "HEAD" } else { place.reference };
    std::fs::create_dir_all(folder).map_err(|error| BuildError::file("make a folder for a clone", error))?;
    git(folder, &["init", "-q"], token).await?;
    git(folder, &["remote", "add", "origin", &place.address], token).await?;
    let shallow = git(folder, &["fetch", "-q", "--depth", "1", "origin", "--", reference], token).await;
    let checked_out = match shallow {
        Ok(()) => "FETCH_HEAD",
        Err(BuildError::Cancelled) => return Err(BuildError::Cancelled),
        // Not every server gives out commits by their ids.
        Err(_) => {
            git(folder, &["fetch", "-q", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"], token).await?;
            reference
        }
    };
    git(folder, &["checkout", "-q", checked_out], token).await?;
    git(folder, &["submodule", "update", "-q", "--init", "--recursive", "--depth=1"], token).await
}

async fn git(folder: &Path, arguments: &[&str], token: &CancellationToken) -> Result<(), BuildError> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "protocol.file.allow=never", "-c", "core.hooksPath=/dev/null"]);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", folder);
    let missing = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            BuildError::invalid("unable to find 'git': it builds contexts from repositories")
        }
        _ => BuildError::file("run git", error),
    };
    let child = command.spawn().map_err(missing)?;
    let ended = tokio::select! {
        biased;
        () = token.cancelled() => return Err(BuildError::Cancelled),
        ended = child.wait_with_output() => ended.map_err(|error| BuildError::file("wait for git", error))?,
    };
    if ended.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&ended.stderr[..ended.stderr.len().min(MAX_COMPLAINT)]).into_owned();
    Err(BuildError::invalid(format!("error fetching: {}", complaint.trim())))
}

/// A checkout as a context: archived, so that its links lead nowhere either.
fn take(folder: &Path, inner: &str, keep_git_dir: bool, spool: &Path) -> Result<Tree, BuildError> {
    use std::os::fd::AsFd;
    let failed = |error: std::io::Error| BuildError::file("read the repository", error);
    let root = crate::rootfs::mount(&[folder.to_owned()]).map_err(failed)?;
    let found = crate::rootfs::resolve(root.as_fd(), inner).map_err(failed)?;
    if found.kind != Some(crate::rootfs::FoundKind::Folder) {
        return Err(BuildError::invalid(format!("error setting context, not a directory: {inner}")));
    }
    let below = folder.join(&found.path);
    let root = crate::rootfs::mount(&[below]).map_err(failed)?;
    let visit = |path: &Path, _: &rustix::fs::Stat| match path.to_str() {
        Some(".git") if !keep_git_dir => Visit::Skip,
        _ => Visit::Whole,
    };
    let mut writer = TreeWriter::new(Vec::new());
    let options = TreeOptions { name: None, marks: Marks::None, visit: &visit };
    writer.add_tree(root.as_fd(), &options).map_err(BuildError::Context)?;
    let bytes = writer.finish().map_err(BuildError::Context)?;
    context::read(&bytes[..], spool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_repositories_are_told_from_files() {
        for address in ["https://x/y.git", "https://x/y.git#main:sub", "git@host:y", "git://x/y", "github.com/a/b"] {
            assert!(is_git(address), "{address}");
        }
        for address in ["https://x/y.tar.gz", "https://x/Dockerfile", "-", "/tmp/y.git"] {
            assert!(!is_git(address), "{address}");
        }
        let place = place("github.com/a/b#v1:sub/x");
        assert_eq!((place.address.as_str(), place.reference, place.folder), ("https://github.com/a/b", "v1", "sub/x"));
    }
}
