//! What a client knows: credentials, secrets, and archives that it was given.

use buildkit_api::filesync::CredentialsRequest;
use buildkit_api::filesync::auth_client::AuthClient;
use buildkit_api::secrets::GetSecretRequest;
use buildkit_api::secrets::secrets_client::SecretsClient;
use buildkit_api::upload::BytesMessage;
use buildkit_api::upload::upload_client::UploadClient;
use bytes::Bytes;
use errors::{ErrorKind, Kind};
use tokio::sync::mpsc;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;

use crate::error::SessionError;
use crate::session::Session;

const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
const GET_SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const PULL: &str = "/moby.upload.v1.Upload/Pull";
/// The longest credential, and the largest secret, as in BuildKit.
const MAX_LOGIN: usize = 64 << 10;
const MAX_SECRET: usize = 500 << 10;

/// How to log in. Without a user name the secret is an identity token.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub secret: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Session {
    /// The client's login for a registry. `None`: it has none.
    pub async fn credentials(&self, host: &str) -> Result<Option<Login>, SessionError> {
        if !self.serves(CREDENTIALS) {
            return Ok(None);
        }
        let mut client = AuthClient::new(self.channel());
        let asked = client.credentials(CredentialsRequest { host: host.to_owned() });
        let answer = self.in_time(asked).await?.into_inner();
        if answer.username.len() + answer.secret.len() > MAX_LOGIN {
            return Err(SessionError::hostile(format!("the credentials for {host} are too long")));
        }
        let login = Login { username: answer.username, secret: answer.secret };
        Ok(Some(login).filter(|login| !login.secret.is_empty()))
    }

    /// A secret's bytes. `None`: the client has none of this name.
    pub async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, SessionError> {
        if !self.serves(GET_SECRET) {
            return Ok(None);
        }
        let mut client = SecretsClient::new(self.channel());
        let asked = client.get_secret(GetSecretRequest { id: id.to_owned(), ..GetSecretRequest::default() });
        match self.in_time(asked).await {
            Ok(answer) => match answer.into_inner().data {
                data if data.len() > MAX_SECRET => Err(SessionError::refused(
                    ErrorKind::InvalidArgument,
                    format!("invalid secret size {}", data.len()),
                )),
                data => Ok(Some(data)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An archive that the client holds under a path of its own.
    pub async fn upload(&self, path: &str) -> Result<mpsc::Receiver<std::io::Result<Bytes>>, SessionError> {
        self.require(PULL)?;
        let mut request = Request::new(tokio_stream::pending::<BytesMessage>());
        let wrong = |_| SessionError::hostile(format!("{path:?} is no path of an upload"));
        request.metadata_mut().insert("urlpath", AsciiMetadataValue::try_from(path).map_err(wrong)?);
        let mut client = UploadClient::new(self.channel());
        let incoming = self.in_time(client.pull(request)).await?.into_inner();
        Ok(self.pieces(incoming, |message| message.data))
    }
}
