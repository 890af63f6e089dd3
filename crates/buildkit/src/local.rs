//! A build's files: the Dockerfile, the ignore file, the context, brought from the client or fetched by the builder.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use builder::{Builder, ContextSource, IgnoreFile};
use buildkit_session::{ContextStore, EntryKind, Session, SyncRequest, Synced};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::attributes::{Wanted, ignore_rules};
use crate::error::SolveError;
use crate::job::{Internal, Job};
use crate::lending::{self, Lending};
use crate::messages;

/// An archive that the client holds; the rest is its path.
const UPLOAD: &str = "http://buildkit-session";
const IGNORE_FILE: &str = ".dockerignore";
const MAX_IGNORE_BYTES: u64 = 1 << 20;
/// Links from a name to its file.
const MAX_LINKS: usize = 32;
/// How often a transfer tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(150);

/// Brings what `wanted` needs of the client. `upload` is a context that came by another way.
pub(crate) async fn bring(
    job: &Arc<Job>,
    builder: &Builder,
    store: &ContextStore,
    session: Option<Session>,
    upload: Option<mpsc::Receiver<std::io::Result<Bytes>>>,
    wanted: &mut Wanted,
) -> Result<(), SolveError> {
    let files = Files { job, store, session: session.as_ref() };
    if let Some(pieces) = upload {
        wanted.request.context = ContextSource::Archive(pieces);
    } else if let Some(address) = wanted.places.context.clone() {
        if let Some(name) = wanted.places.dockerfile_name.clone() {
            wanted.request.definition = Some(files.definition(&name, &wanted.places.filename).await?.0);
        }
        wanted.request.context = match address.strip_prefix(UPLOAD) {
            Some(path) => ContextSource::Archive(files.session()?.upload(path).await?),
            None => ContextSource::Remote(address),
        };
    } else {
        files.bring_folders(wanted).await?;
    }
    for (name, folder) in std::mem::take(&mut wanted.places.named) {
        let context = files.named_context(&name, folder).await?;
        wanted.request.named_files.insert(name, context);
    }
    for (name, image) in std::mem::take(&mut wanted.places.layouts) {
        let step = job.internal(format!("[context {name}] load from OCI layout"));
        let loaded = image.load(files.session()?, builder, &wanted.platforms).await;
        step.end(&loaded);
        loaded?;
    }
    wanted.request.session = session.map(|session| lent(job, session));
    Ok(())
}

fn lent(job: &Arc<Job>, session: Session) -> Arc<dyn builder::ClientSession> {
    Arc::new(Lending { session, job: Arc::clone(job) })
}

struct Files<'a> {
    job: &'a Arc<Job>,
    store: &'a ContextStore,
    session: Option<&'a Session>,
}

impl Files<'_> {
    fn session(&self) -> Result<&Session, SolveError> {
        self.session.ok_or_else(|| SolveError::invalid("no local sources enabled: the build names no session"))
    }

    async fn bring_folders(&self, wanted: &mut Wanted) -> Result<(), SolveError> {
        let places = wanted.places.clone();
        let dockerfile_name = places.dockerfile_name.as_deref().unwrap_or("dockerfile");
        let (definition, own_ignore) = self.definition(dockerfile_name, &places.filename).await?;
        wanted.request.definition = Some(definition);
        let ignore = match own_ignore {
            Some(own) => Some((format!("{}{IGNORE_FILE}", places.filename), own)),
            None => self.ignore_file(&places.context_name).await?.map(|shared| (IGNORE_FILE.to_owned(), shared)),
        };
        let mut exclude = Vec::new();
        if let Some((name, bytes)) = ignore {
            let rules = ignore_rules(&bytes)?;
            exclude = rules.patterns();
            wanted.request.ignore = Some(IgnoreFile { name, rules });
        }
        let step = self.job.internal("[internal] load build context");
        let request = SyncRequest { name: places.context_name, exclude, incremental: true, ..SyncRequest::default() };
        let synced = self.sync(&step, "transferring context:", request).await;
        step.end(&synced);
        wanted.request.context = ContextSource::Files(lending::context(synced?));
        Ok(())
    }

    /// A further folder of the client's, with its own ignore file.
    async fn named_context(&self, name: &str, folder: String) -> Result<ContextSource, SolveError> {
        let exclude = match self.ignore_file(&folder).await? {
            Some(bytes) => ignore_rules(&bytes)?.patterns(),
            None => Vec::new(),
        };
        let step = self.job.internal(format!("[context {name}] load from client"));
        let request = SyncRequest { name: folder, exclude, incremental: true, ..SyncRequest::default() };
        let synced = self.sync(&step, &format!("transferring {name}:"), request).await;
        step.end(&synced);
        Ok(ContextSource::Files(lending::context(synced?)))
    }

    /// The Dockerfile, and an ignore file of its own.
    async fn definition(&self, name: &str, filename: &str) -> Result<(Vec<u8>, Option<Vec<u8>>), SolveError> {
        let step = self.job.internal(format!("[internal] load build definition from {filename}"));
        let ignore = format!("{filename}{IGNORE_FILE}");
        let lower = match filename.strip_suffix("Dockerfile") {
            Some(folder) if folder.is_empty() || folder.ends_with('/') => Some(format!("{folder}dockerfile")),
            _ => None,
        };
        let paths = [Some(filename.to_owned()), Some(ignore.clone()), lower.clone()];
        let follow_paths = paths.into_iter().flatten().collect();
        let request = SyncRequest { name: name.to_owned(), follow_paths, ..SyncRequest::default() };
        let read = async {
            let synced = self.sync(&step, "transferring dockerfile:", request).await?;
            let limit = dockerfile::MAX_BYTES as u64;
            let mut found = read(&synced, filename, limit)?;
            if let (None, Some(lower)) = (&found, &lower) {
                found = read(&synced, lower, limit)?;
            }
            let definition = found.ok_or_else(|| messages::no_dockerfile(filename))?;
            Ok((definition, read(&synced, &ignore, MAX_IGNORE_BYTES)?))
        };
        let read = read.await;
        step.end(&read);
        read
    }

    async fn ignore_file(&self, name: &str) -> Result<Option<Vec<u8>>, SolveError> {
        let step = self.job.internal(format!("[internal] load {IGNORE_FILE}"));
        let follow_paths = vec![IGNORE_FILE.to_owned()];
        let request = SyncRequest { name: name.to_owned(), follow_paths, ..SyncRequest::default() };
        let read = async {
            let synced = self.sync(&step, "transferring context:", request).await?;
            read(&synced, IGNORE_FILE, MAX_IGNORE_BYTES)
        };
        let read = read.await;
        step.end(&read);
        read
    }

    async fn sync(&self, step: &Internal, label: &str, request: SyncRequest) -> Result<Synced, SolveError> {
        let session = self.session()?;
        let part = step.begin(label);
        let progress = AtomicU64::new(0);
        let synced = {
            let mut syncing = std::pin::pin!(session.sync(self.store, request, &progress));
            loop {
                tokio::select! {
                    synced = &mut syncing => break synced,
                    () = tokio::time::sleep(TELL_EVERY) => part.at(progress.load(Ordering::Relaxed)),
                }
            }
        };
        part.end(progress.load(Ordering::Relaxed));
        Ok(synced?)
    }
}

/// A file that came, through links; `None` where it did not.
fn read(synced: &Synced, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SolveError> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Some(entry) = synced.entries.iter().find(|entry| entry.path == path) else { return Ok(None) };
        match &entry.kind {
            EntryKind::File { size, digest } => {
                if *size > limit {
                    return Err(SolveError::invalid(format!("{path} has more than {limit} bytes")));
                }
                let mut bytes = Vec::new();
                let file = synced.contents.open(digest);
                let read = file.and_then(|file| file.take(limit).read_to_end(&mut bytes));
                let failed =
                    |error| SolveError::refused(errors::ErrorKind::Internal, format!("cannot read {path}: {error}"));
                return read.map(|_| Some(bytes)).map_err(failed);
            }
            EntryKind::Link(target) => path = beside(&path, target),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Where a link at `path` leads, inside of the folder.
fn beside(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => path.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        assert_eq!(beside("a/b", "c"), "a/c");
        assert_eq!(beside("a/b", "../../../etc/passwd"), "etc/passwd");
        assert_eq!(beside("a/b", "/x"), "x");
    }
}
