//! A result as an image of the store, on its way to a registry, or as an archive for the client.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use builder::{Builder, Made};
use buildkit_session::Session;
use ids::Reference;
use image_core::Descriptor;

use super::{Naming, files};
use crate::built::Built;
use crate::error::SolveError;
use crate::job::Internal;
use crate::lending;

const DIGEST: &str = "containerimage.digest";
const CONFIG_DIGEST: &str = "containerimage.config.digest";
const DESCRIPTOR: &str = "containerimage.descriptor";
const NAME: &str = "image.name";

/// One export of images.
pub(super) struct Exporting<'a> {
    pub step: &'a Internal,
    pub builder: &'a Builder,
    pub session: Option<&'a Session>,
    pub built: &'a Built,
    pub naming: &'a Naming,
}

impl Exporting<'_> {
    /// Into the store, and to registries.
    pub async fn store(&self, push: bool, store: bool) -> Result<BTreeMap<String, String>, SolveError> {
        let plain = self.built.plain().filter(|_| self.naming.annotations.is_empty());
        if push && self.naming.names.is_empty() {
            return Err(SolveError::invalid("tag is needed when pushing to registry"));
        }
        let mut told = match plain {
            Some(made) => self.store_one(made).await?,
            None => self.store_index(store || push).await?,
        };
        if push {
            for name in &self.naming.names {
                self.push(name).await?;
            }
        }
        if !self.naming.names.is_empty() {
            told.insert(NAME.to_owned(), self.naming.names.join(","));
        }
        Ok(told)
    }

    /// An image as the classic builder makes it.
    async fn store_one(&self, made: &Made) -> Result<BTreeMap<String, String>, SolveError> {
        self.step.begin("exporting layers").end(0);
        let writing = self.step.begin(&format!("writing image {}", made.id));
        let id = self.builder.store(made).await?;
        writing.end(0);
        for name in &self.naming.names {
            let naming = self.step.begin(&format!("naming to {}", full(name)));
            self.builder.tag(made, name).await?;
            naming.end(0);
        }
        Ok([DIGEST, CONFIG_DIGEST].map(|key| (key.to_owned(), id.clone())).into())
    }

    /// Manifests, and the index over them.
    async fn store_index(&self, is_kept: bool) -> Result<BTreeMap<String, String>, SolveError> {
        let assembled = self.assemble().await?;
        if is_kept {
            assembled.keep().await.map_err(builder::BuildError::from)?;
        }
        for name in &self.naming.names {
            let naming = self.step.begin(&format!("naming to {}", full(name)));
            assembled.tag(name).await.map_err(builder::BuildError::from)?;
            naming.end(0);
        }
        Ok(self.told(assembled.target()))
    }

    async fn assemble(&self) -> Result<Box<dyn builder::Assembled>, SolveError> {
        let layers = self.step.begin("exporting layers");
        let assembly = self.built.assembly(&self.naming.names, &self.naming.annotations);
        let assembled = self.builder.assemble(&assembly).await?;
        layers.end(0);
        let kind =
            if image_core::media_type::is_index(&assembled.target().media_type) { "manifest list" } else { "manifest" };
        self.step.begin(&format!("exporting {kind} {}", assembled.target().digest)).end(0);
        Ok(assembled)
    }

    fn told(&self, target: &Descriptor) -> BTreeMap<String, String> {
        let descriptor = STANDARD.encode(serde_json::to_vec(target).unwrap_or_default());
        let mut told =
            BTreeMap::from([(DIGEST.to_owned(), target.digest.to_string()), (DESCRIPTOR.to_owned(), descriptor)]);
        if let [only] = &self.built.parts[..] {
            told.insert(CONFIG_DIGEST.to_owned(), only.made.id.clone());
        }
        told
    }

    async fn push(&self, name: &str) -> Result<(), SolveError> {
        let reference = Reference::parse_familiar(name).map_err(|error| SolveError::invalid(error.to_string()))?;
        let credentials = match self.session {
            Some(session) => {
                let host = if reference.domain() == "docker.io" { "registry-1.docker.io" } else { reference.domain() };
                lending::credentials(session, host).await.map_err(builder::BuildError::from)?
            }
            None => builder::Credentials::Anonymous,
        };
        let part = self.step.begin(&format!("pushing {}", full(name)));
        let (output, mut lines) = builder::lines(true);
        let pushing = async move { self.builder.push(name, credentials, &output).await };
        let (pushed, ()) = tokio::join!(pushing, async { while lines.recv().await.is_some() {} });
        pushed?;
        part.end(0);
        Ok(())
    }

    /// To the client, as an archive.
    pub async fn send(&self, session: &Session, exporter: &str) -> Result<BTreeMap<String, String>, SolveError> {
        let assembled = self.assemble().await?;
        let archive = assembled.archive(&self.naming.names).await.map_err(builder::BuildError::from)?;
        let part = self.step.begin("sending tarball");
        files::send(session, exporter, archive).await?;
        part.end(0);
        let mut told = self.told(assembled.target());
        if !self.naming.names.is_empty() {
            told.insert(NAME.to_owned(), self.naming.names.join(","));
        }
        Ok(told)
    }
}

/// With its registry and its tag.
fn full(name: &str) -> String {
    Reference::parse_familiar(name).map_or_else(|_| name.to_owned(), |name| name.to_string())
}
