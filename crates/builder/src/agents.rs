//! `RUN --mount=type=ssh`: the client's SSH agent at a socket of the step's.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use build_core::KeyMaker;
use container_core::{MountKind, MountRequest};
use dockerfile::Mount;

use crate::error::BuildError;
use crate::lent::{Agent, ClientSession};
use crate::messages;
use crate::state::Build;

/// A socket that leads to an agent as soon as the step begins.
#[derive(Debug)]
pub(crate) struct Forward {
    session: Arc<dyn ClientSession>,
    id: String,
    path: PathBuf,
    target: String,
    mode: u32,
    owner: (u32, u32),
}

/// Where a socket is that the mount names no place for.
pub(crate) fn default_target(number: usize) -> String {
    format!("/run/buildkit/ssh_agent.{number}")
}

/// What is mounted, the key that stands for it, and what has to be made. `None`: there is no agent, and none is required:
/// it is as if the mount were not there, as the reference has it.
pub(crate) async fn prepare(
    build: &Build<'_>,
    mount: &Mount,
    path: &Path,
) -> Result<Option<(MountRequest, String, Forward)>, BuildError> {
    let id = if mount.id.is_empty() { "default" } else { &mount.id };
    let session = match &build.request.session {
        Some(session) if session.has_agent(id).await? => Arc::clone(session),
        _ if mount.required => return Err(messages::no_agent(id)),
        _ => return Ok(None),
    };
    let request = MountRequest {
        kind: MountKind::Bind,
        source: path.display().to_string(),
        target: mount.target.clone(),
        ..MountRequest::default()
    };
    let key = KeyMaker::new("ssh").field(&mount.target).field(id).finish().to_string();
    let owner = build.shared.config.on_host((mount.uid.unwrap_or(0), mount.gid.unwrap_or(0)));
    let mode = mount.mode.unwrap_or(0o600);
    Ok(Some((
        request,
        key,
        Forward { session, id: id.to_owned(), path: path.to_owned(), target: mount.target.clone(), mode, owner },
    )))
}

impl Forward {
    /// Where the step finds it.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Makes the socket.
    pub async fn begin(&self) -> Result<Agent, BuildError> {
        let failed = |error| BuildError::file("make an agent's socket", error);
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).map_err(failed)?;
        }
        let agent = self.session.agent(&self.id, &self.path).await?;
        chown(&self.path, Some(self.owner.0), Some(self.owner.1)).map_err(failed)?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(self.mode)).map_err(failed)?;
        Ok(agent)
    }
}
