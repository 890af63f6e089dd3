//! A session, as the builder sees it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use builder::{
    Agent, BuildSecret, CacheStore, ClientSession, Contents, ContextEntry, ContextFiles, ContextKind, Credentials,
    PortError,
};
use buildkit_session::{EntryKind, Session, SessionError, Synced};
use errors::Kind;
use ids::Digest;
use registry_client::Secret;

use crate::job::Job;
use crate::lent_cache::LentCache;

const SECOND: i64 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Lending {
    pub session: Session,
    pub job: Arc<Job>,
}

/// The client's login for a registry.
pub(crate) async fn credentials(session: &Session, host: &str) -> Result<Credentials, PortError> {
    let login = session.credentials(host).await.map_err(refused)?;
    Ok(match login {
        None => Credentials::Anonymous,
        Some(login) if login.username.is_empty() => {
            Credentials::IdentityToken { username: String::new(), token: Secret::new(login.secret) }
        }
        Some(login) => Credentials::Password { username: login.username, password: Secret::new(login.secret) },
    })
}

#[async_trait]
impl ClientSession for Lending {
    async fn secret(&self, id: &str) -> Result<Option<BuildSecret>, PortError> {
        Ok(self.session.secret(id).await.map_err(refused)?.map(BuildSecret::new))
    }

    async fn credentials(&self, host: &str) -> Result<Credentials, PortError> {
        credentials(&self.session, host).await
    }

    async fn has_agent(&self, id: &str) -> Result<bool, PortError> {
        self.session.has_agent(id).await.map_err(refused)
    }

    async fn agent(&self, id: &str, socket: &Path) -> Result<Agent, PortError> {
        Ok(Box::new(self.session.forward_agent(id, socket).map_err(refused)?))
    }

    async fn cache_store(&self, name: &str, digest: Option<Digest>) -> Result<Option<Arc<dyn CacheStore>>, PortError> {
        if !self.session.has_content() {
            return Ok(None);
        }
        let cache = LentCache::new(self.session.clone(), Arc::clone(&self.job), name, digest);
        Ok(Some(Arc::new(cache)))
    }
}

pub(crate) fn refused(error: SessionError) -> PortError {
    PortError { kind: error.kind(), message: errors::chain(&error) }
}

#[derive(Debug)]
struct Kept(buildkit_session::Contents);

impl Contents for Kept {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        self.0.open(digest)
    }
}

/// Attributes of a client's files that the classic builder's clients send too; others would make another image.
const CAPABILITY: &[u8] = b"security.capability";

/// A folder that came, as a context.
pub(crate) fn context(synced: Synced) -> ContextFiles {
    let entry = |entry: buildkit_session::Entry| ContextEntry {
        path: entry.path,
        kind: match entry.kind {
            EntryKind::File { size, digest } => ContextKind::File { size, digest },
            EntryKind::Folder => ContextKind::Folder,
            EntryKind::Link(target) => ContextKind::Link(target),
            EntryKind::Fifo => ContextKind::Fifo,
            EntryKind::CharacterDevice { major, minor } => ContextKind::CharacterDevice { major, minor },
            EntryKind::BlockDevice { major, minor } => ContextKind::BlockDevice { major, minor },
        },
        mode: entry.mode,
        mtime: (entry.modified.div_euclid(SECOND), u32::try_from(entry.modified.rem_euclid(SECOND)).unwrap_or(0)),
        xattrs: entry.attributes.into_iter().filter(|(name, _)| name == CAPABILITY).collect(),
    };
    ContextFiles { entries: synced.entries.into_iter().map(entry).collect(), contents: Arc::new(Kept(synced.contents)) }
}
