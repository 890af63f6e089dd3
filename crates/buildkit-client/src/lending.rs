//! What a client lends for one build, and the session that serves it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use buildkit_api::Serving;
use buildkit_api::filesync::auth_server::AuthServer;
use buildkit_api::filesync::file_sync_server::FileSyncServer;
use buildkit_api::health::health_server::HealthServer;
use buildkit_api::secrets::secrets_server::SecretsServer;
use buildkit_api::ssh::ssh_server::SshServer;
use buildkit_api::upload::upload_server::UploadServer;
use containerd_api::services::content::v1::content_server::ContentServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Error, Server};

use crate::content::Contents;
use crate::file_send::{FileSendServer, Results};
use crate::file_sync::Folders;
use crate::folder::Folder;
use crate::lookups::{LoginStore, SecretStore};
use crate::ssh::Agents;
use crate::upload::Archive;

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const FOLDERS: &str = "/moby.filesync.v1.FileSync/DiffCopy";
const RESULTS: &str = "/moby.filesync.v1.FileSend/DiffCopy";
const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
const SECRETS: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const AGENTS: [&str; 2] = ["/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"];
const CONTENTS: [&str; 3] = [
    "/containerd.services.content.v1.Content/Info",
    "/containerd.services.content.v1.Content/Read",
    "/containerd.services.content.v1.Content/Write",
];
const ARCHIVE: &str = "/moby.upload.v1.Upload/Pull";

/// How to log in at a registry. Without a user name the secret is an identity token; without a secret there is none.
#[derive(Clone, Default)]
pub struct Login {
    pub username: String,
    pub secret: String,
}

/// Who knows logins. Blocks.
pub trait Logins: Send + Sync + 'static {
    fn login(&self, host: &str) -> Login;
}

/// Where a result goes.
pub enum Target {
    Folder(PathBuf),
    File(Box<dyn Write + Send>),
}

/// All that is lent for one build.
pub struct Lending {
    /// By the names that the build's attributes have for them.
    pub folders: BTreeMap<String, Folder>,
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Sockets of SSH agents.
    pub agents: BTreeMap<String, PathBuf>,
    pub logins: Arc<dyn Logins>,
    /// An archive, by its path.
    pub archive: Option<(String, Box<dyn Read + Send>)>,
    /// Places for results, by the ids of their exporters.
    pub targets: BTreeMap<String, Target>,
    /// Folders of blobs, by the names that the builder has for them: `local:FOLDER`.
    pub contents: BTreeMap<String, PathBuf>,
}

impl Lending {
    /// Paths of the methods that are served, which the builder is told beforehand.
    pub fn methods(&self) -> Vec<&'static str> {
        let mut methods = vec![HEALTH, FOLDERS, CREDENTIALS];
        if !self.secrets.is_empty() {
            methods.push(SECRETS);
        }
        if !self.agents.is_empty() {
            methods.extend(AGENTS);
        }
        if self.archive.is_some() {
            methods.push(ARCHIVE);
        }
        if !self.targets.is_empty() {
            methods.push(RESULTS);
        }
        if !self.contents.is_empty() {
            methods.extend(CONTENTS);
        }
        methods
    }

    /// Serves the builder until it hangs up or `ending` is cancelled.
    pub async fn serve<S>(self, stream: S, ending: CancellationToken) -> Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Server::builder()
            .add_service(HealthServer::new(Serving))
            .add_service(FileSyncServer::new(Folders(self.folders)))
            .add_service(AuthServer::new(LoginStore(self.logins)))
            .add_service(SecretsServer::new(SecretStore(self.secrets)))
            .add_service(SshServer::new(Agents(self.agents)))
            .add_service(UploadServer::new(Archive(Mutex::new(self.archive))))
            .add_service(FileSendServer(Results::new(self.targets)))
            .add_service(ContentServer::new(Contents(self.contents)))
            .serve_with_incoming_shutdown(grpc_connection::incoming(stream, &ending), ending.cancelled())
            .await
    }
}
