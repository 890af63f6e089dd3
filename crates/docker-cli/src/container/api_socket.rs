//! `--use-api-socket`: the daemon's own socket inside a container, with the credentials that this user has.

use std::collections::BTreeMap;

use engine_api::auth::AuthConfig;
use engine_api::container::CreateRequest;
use engine_api::mount::{BindOptions, Mount};
use engine_client::{Host, Request, escape};
use serde_json::json;

use archive::{Entry, EntryKind, TarWriter};
use base64::Engine as _;

use crate::context::Context;
use crate::failure::{Failure, with_source};
use crate::stream::upload::Upload;

const SOCKET_INSIDE: &str = "/var/run/docker.sock";
const CONFIG_INSIDE: &str = "/run/secrets/docker/config.json";

/// What is written into the container once there is one.
#[derive(Debug, Default)]
pub struct Credentials(BTreeMap<String, AuthConfig>);

/// Adds the mount, and the variable that names the credentials; who sets that variable needs none of ours.
pub fn mount(context: &Context, request: &mut CreateRequest) -> Result<Credentials, Failure> {
    let Host::Unix(socket) = context.client.host() else {
        return Err(Failure::Text(format!(
            "flag --use-api-socket can only be used with unix sockets: docker endpoint {} incompatible",
            context.client.host()
        )));
    };
    request.host_config.mounts.get_or_insert_default().push(Mount {
        kind: "bind".to_owned(),
        source: socket.display().to_string(),
        target: SOCKET_INSIDE.to_owned(),
        bind_options: Some(BindOptions::default()),
        ..Mount::default()
    });
    let environment = request.config.env.get_or_insert_default();
    let is_set = environment.iter().any(|variable| variable.starts_with("DOCKER_CONFIG="));
    let auths = if is_set { BTreeMap::new() } else { context.config.all_auths() };
    if !auths.is_empty() {
        let folder = CONFIG_INSIDE.rsplit_once('/').map_or("", |(folder, _)| folder);
        environment.push(format!("DOCKER_CONFIG={folder}"));
    }
    if environment.is_empty() {
        request.config.env = None;
    }
    Ok(Credentials(auths))
}

impl Credentials {
    /// Puts them into the container, readable by its root only.
    pub async fn send(&self, context: &Context, container: &str) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let auths: BTreeMap<&String, serde_json::Value> =
            self.0.iter().map(|(registry, auth)| (registry, stored(auth))).collect();
        let text = serde_json::to_vec_pretty(&json!({ "auths": auths })).map_err(|e| Failure::Text(e.to_string()))?;
        let mut upload = Upload::start(move |pipe| {
            let mut entry = Entry::new(CONFIG_INSIDE, EntryKind::File, 0o600);
            entry.size = text.len() as u64;
            let mut archive = TarWriter::new(pipe);
            archive.append(&entry, &mut text.as_slice()).map_err(|error| with_source(&error))?;
            archive.finish().map(drop).map_err(|error| with_source(&error))
        })?;
        let mut request = Request::put(format!("/containers/{}/archive", escape(container)))
            .with("noOverwriteDirNonDir", "true")
            .with("path", "/");
        if let Some(body) = upload.body() {
            request = request.upload(body);
        }
        let answer = context.client.send(request).await.map(drop).map_err(Failure::from);
        upload.end(answer).await.map_err(|error| {
            Failure::Text(format!(
                "injecting docker config.json into container failed: copying config.json into container failed: {error}"
            ))
        })
    }
}

/// Credentials as the configuration has them.
fn stored(auth: &AuthConfig) -> serde_json::Value {
    let pair = format!("{}:{}", auth.username, auth.password.expose());
    let mut out = json!({});
    if pair != ":" {
        out["auth"] = json!(base64::engine::general_purpose::STANDARD.encode(pair));
    }
    if !auth.identity_token.is_empty() {
        out["identitytoken"] = json!(auth.identity_token.expose());
    }
    if !auth.registry_token.is_empty() {
        out["registrytoken"] = json!(auth.registry_token.expose());
    }
    out
}
