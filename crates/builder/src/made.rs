//! What a build came to, before it has a name: an image in the making.

use ids::Digest;
use registry_client::Credentials;

use crate::builder::{Builder, blocking};
use crate::error::BuildError;
use crate::files::ImageFiles;
use crate::output::Output;
use crate::ports::{Assembled, Assembly, Image, LayerStream};
use crate::rootfs;

/// The result of a build.
#[derive(Debug, Clone)]
pub struct Made {
    pub id: String,
    pub image: Image,
    /// It is not in the store yet.
    pub(crate) is_new: bool,
    /// Images that were read for it.
    pub materials: Vec<Material>,
}

/// An image that a build has read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Material {
    pub name: String,
    /// `linux/amd64`.
    pub platform: String,
}

impl Builder {
    /// Makes an image of it, without a name; answers its id.
    pub async fn store(&self, made: &Made) -> Result<String, BuildError> {
        match made.is_new {
            true => Ok(self.images().store(&made.image).await?),
            false => Ok(made.id.clone()),
        }
    }

    /// Names what was stored: `repository:tag`.
    pub async fn tag(&self, made: &Made, name: &str) -> Result<(), BuildError> {
        Ok(self.images().tag(&made.id, &made.image, name).await?)
    }

    /// What the name of a material stands for.
    pub async fn digest_of(&self, material: &Material) -> Result<Digest, BuildError> {
        Ok(self.images().target(&material.name).await?)
    }

    /// Takes the image of an archive into the store; it has no name there.
    pub async fn load(&self, archive: LayerStream) -> Result<(), BuildError> {
        Ok(self.images().load(archive).await?)
    }

    /// Writes manifests over what was built.
    pub async fn assemble(&self, assembly: &Assembly) -> Result<Box<dyn Assembled>, BuildError> {
        Ok(self.images().assemble(assembly).await?)
    }

    /// Sends a name of the store to its registry.
    pub async fn push(&self, name: &str, credentials: Credentials, output: &Output) -> Result<(), BuildError> {
        Ok(self.images().push(name, credentials, output).await?)
    }

    /// Its files.
    pub async fn files(&self, made: &Made) -> Result<ImageFiles, BuildError> {
        if made.image.layers.is_empty() {
            return Ok(ImageFiles::of(self.empty_tree()?));
        }
        let view = self.images().view(&made.image).await?;
        let mounted = rootfs::mount(&view.directories).map_err(|error| BuildError::file("look into the image", error));
        let tree = match mounted {
            Ok(root) => blocking(move || rootfs::load(root, "")).await.and_then(|tree| tree),
            Err(error) => Err(error),
        };
        // The tree has a descriptor of its own, through which the mount lives on.
        self.images().close(view).await?;
        Ok(ImageFiles::of(tree?))
    }
}
