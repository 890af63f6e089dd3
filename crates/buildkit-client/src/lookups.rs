//! What the builder asks for by name: secrets, logins, whether this side is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use buildkit_api::filesync::auth_server::Auth;
use buildkit_api::filesync::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use buildkit_api::health::health_check_response::ServingStatus;
use buildkit_api::health::health_server::Health;
use buildkit_api::health::{HealthCheckRequest, HealthCheckResponse};
use buildkit_api::secrets::secrets_server::Secrets;
use buildkit_api::secrets::{GetSecretRequest, GetSecretResponse};
use tokio_stream::Once;
use tonic::{Request, Response, Status};

use crate::lending::{Login, Logins};

pub(crate) struct Kept(pub BTreeMap<String, Vec<u8>>);

#[tonic::async_trait]
impl Secrets for Kept {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let data = self.0.get(&id).cloned();
        let data = data.ok_or_else(|| Status::not_found(format!("secret {id} not found")))?;
        Ok(Response::new(GetSecretResponse { data }))
    }
}

pub(crate) struct Known(pub Arc<dyn Logins>);

#[tonic::async_trait]
impl Auth for Known {
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

/// Whoever can ask is answered.
pub(crate) struct Healthy;

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving.into() }
}

#[tonic::async_trait]
impl Health for Healthy {
    type WatchStream = Once<Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(serving()))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::once(Ok(serving()))))
    }
}
