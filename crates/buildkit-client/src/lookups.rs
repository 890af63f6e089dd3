//! What the builder asks for by name: secrets and logins.

use std::collections::BTreeMap;
use std::sync::Arc;

use buildkit_api::filesync::auth_server::Auth;
use buildkit_api::filesync::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use buildkit_api::secrets::secrets_server::Secrets;
use buildkit_api::secrets::{GetSecretRequest, GetSecretResponse};
use tonic::{Request, Response, Status};

use crate::lending::{Login, Logins};

/// Secrets by their ids.
pub(crate) struct SecretStore(pub BTreeMap<String, Vec<u8>>);

#[tonic::async_trait]
impl Secrets for SecretStore {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let data = self.0.get(&id).cloned();
        let data = data.ok_or_else(|| Status::not_found(format!("secret {id} not found")))?;
        Ok(Response::new(GetSecretResponse { data }))
    }
}

/// Logins for registries.
pub(crate) struct LoginStore(pub Arc<dyn Logins>);

#[tonic::async_trait]
impl Auth for LoginStore {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> Result<Response<CredentialsResponse>, Status> {
        let (logins, host) = (Arc::clone(&self.0), request.into_inner().host);
        // A program may be asked for it.
        let found = tokio::task::spawn_blocking(move || logins.login(&host)).await;
        let Login { username, secret } = found.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(CredentialsResponse { username, secret }))
    }

    async fn fetch_token(&self, _: Request<FetchTokenRequest>) -> Result<Response<FetchTokenResponse>, Status> {
        Err(no_tokens())
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(no_tokens())
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(no_tokens())
    }
}

/// The builder then asks for the credentials.
fn no_tokens() -> Status {
    Status::unavailable("this client fetches no tokens")
}
