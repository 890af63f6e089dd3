//! Layers and trees: unpacking a layer onto mounts, and making one from the difference of two.
//!
//! Where it can be avoided nothing is mounted: a layer goes straight into an overlay's upper directory or a bind's source,
//! and the difference between an overlay and its lower directories is its upper one. What has to be mounted is mounted
//! where it cannot be left behind ([`crate::private_mount`]).

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};

use archive::{ApplyOptions, Compressor, Limits, Whiteouts, Written};
use containerd_api::WRITE_ANNOTATION;
use containerd_api::types::{Descriptor, Mount};
use content::{Following, WriteRequest};
use ids::Digest;
use metadata::Labels;

use crate::contents::{Contents, Write, blocking};
use crate::error::{Error, Result};
use crate::leases::Scope;
use crate::private_mount;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Names the digest of a compressed layer's plain bytes.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// Bytes that are gathered before they go to the blob.
const BUFFER: usize = 256 * 1024;

#[derive(Clone)]
pub struct Differ {
    contents: Contents,
    /// Where trees are mounted, seen by the thread that mounts them only.
    folder: PathBuf,
}

/// What a layer is made from.
#[derive(Debug, Clone, Default)]
pub struct NewDiff {
    pub left: Vec<Mount>,
    pub right: Vec<Mount>,
    pub media_type: String,
    /// Names the write; one is made up when there is none.
    pub reference: String,
    pub labels: Labels,
}

/// A layer's bytes.
enum Source {
    Blob(File),
    /// Still on their way.
    Write(Following),
}

/// How the files of a set of mounts are reached.
#[derive(Debug, PartialEq, Eq)]
enum Tree {
    /// A writable overlay, by its upper directory and those below, uppermost first.
    Overlay { upper: PathBuf, lower: Vec<PathBuf> },
    /// A folder as it is.
    Folder(PathBuf),
    /// Only by mounting.
    Mounts,
}

impl Differ {
    pub fn new(contents: Contents, folder: PathBuf) -> Self {
        Self { contents, folder }
    }

    /// Unpacks a layer; answers what it is when it is not compressed. One that names the write which brings it
    /// ([`WRITE_ANNOTATION`]) is unpacked as its bytes arrive, and done when the write is committed.
    pub async fn apply(
        &self,
        namespace: &str,
        layer: Descriptor,
        mounts: Vec<Mount>,
        sync: bool,
    ) -> Result<Descriptor> {
        let digest: Digest = layer.digest.parse().map_err(|_| {
            Error::InvalidArgument(format!("invalid digest {:?} of a layer: invalid argument", layer.digest))
        })?;
        if mounts.is_empty() {
            return Err(Error::InvalidArgument("no mounts to unpack a layer onto: invalid argument".to_owned()));
        }
        if mounts.iter().any(|mount| mount.options.iter().any(|option| option == "ro")) {
            return Err(Error::InvalidArgument(
                "cannot unpack a layer onto read-only mounts: invalid argument".to_owned(),
            ));
        }
        let source = self.source(namespace, &digest, layer.annotations.get(WRITE_ANNOTATION))?;
        let folder = self.folder.clone();
        let applied = blocking(move || apply(source, &mounts, &folder, sync)).await?;
        Ok(Descriptor {
            media_type: LAYER.to_owned(),
            digest: applied.diff_id.to_string(),
            size: i64::try_from(applied.size).unwrap_or(i64::MAX),
            ..Descriptor::default()
        })
    }

    fn source(&self, namespace: &str, digest: &Digest, reference: Option<&String>) -> Result<Source> {
        let blob = || self.contents.reader(namespace, digest).map(|reader| Source::Blob(reader.into_file()));
        match (blob(), reference) {
            (Err(error), Some(reference)) if error.is_not_found() => {
                match self.contents.follow(namespace, reference, digest) {
                    Ok(following) => Ok(Source::Write(following)),
                    // Committed between the two looks, or nowhere.
                    Err(error) if error.is_not_found() => blob(),
                    Err(error) => Err(error),
                }
            }
            (answer, _) => answer,
        }
    }

    /// Makes a layer of what `right` has changed against `left`, as a blob.
    pub async fn diff(&self, scope: Scope, new: NewDiff) -> Result<Descriptor> {
        let media_type = if new.media_type.is_empty() { LAYER_GZIP.to_owned() } else { new.media_type.clone() };
        let compress = match media_type.as_str() {
            LAYER_GZIP | DOCKER_LAYER_GZIP => true,
            LAYER | DOCKER_LAYER => false,
            other => {
                return Err(Error::NotImplemented(format!("unsupported diff media type: {other}: not implemented")));
            }
        };
        let made_up = new.reference.is_empty();
        let reference = if made_up { unique_reference() } else { new.reference.clone() };
        let request = WriteRequest { reference, ..WriteRequest::default() };
        let namespace = scope.namespace.clone();
        let write = self.contents.write(scope, request).await?;
        let (folder, mut labels) = (self.folder.clone(), new.labels.clone());
        let (write, made) = blocking(move || Ok(produce(write, &new.left, &new.right, compress, &folder))).await?;
        let written = match made {
            Ok(written) => written,
            Err(error) => {
                if made_up && let Err(abort) = write.abort().await {
                    tracing::warn!(error = %errors::chain(&abort), "a failed layer could not be removed");
                }
                return Err(error);
            }
        };
        if compress {
            labels.insert(UNCOMPRESSED.to_owned(), written.diff_id.to_string());
        }
        let digest = write.digest();
        match write.commit(None, Some(digest), labels.clone()).await {
            Err(Error::Content(content::Error::AlreadyExists { .. })) | Ok(_) => {}
            Err(error) => return Err(error),
        }
        let mut info = self.contents.info(&namespace, &digest)?;
        if compress && !info.labels.contains_key(UNCOMPRESSED) {
            let mask = vec![format!("labels.{UNCOMPRESSED}")];
            info = self.contents.update(&namespace, digest, labels, mask).await?;
        }
        Ok(Descriptor {
            media_type,
            digest: digest.to_string(),
            size: i64::try_from(info.size).unwrap_or(i64::MAX),
            ..Descriptor::default()
        })
    }
}

fn apply(source: Source, mounts: &[Mount], folder: &Path, sync: bool) -> Result<archive::Applied> {
    match source {
        Source::Blob(file) => unpack(file, mounts, folder, sync),
        Source::Write(mut following) => {
            let applied = unpack(&mut following, mounts, folder, sync);
            match applied {
                Err(_) if following.is_given_up() => {
                    Err(Error::Unavailable("the layer's write was given up: unavailable".to_owned()))
                }
                applied => applied,
            }
        }
    }
}

fn unpack(source: impl Read + Send, mounts: &[Mount], folder: &Path, sync: bool) -> Result<archive::Applied> {
    let options = |whiteouts, lower| ApplyOptions { whiteouts, lower, limits: Limits::default() };
    let unpack = |root: &Path, options: &ApplyOptions| -> Result<archive::Applied> {
        let applied = archive::apply(source, root, options)?;
        if sync {
            let root = File::open(root).map_err(Error::io("cannot open the unpacked layer"))?;
            rustix::fs::syncfs(&root).map_err(|errno| Error::io("cannot sync the unpacked layer")(errno.into()))?;
        }
        Ok(applied)
    };
    match tree(mounts) {
        Tree::Overlay { upper, lower } => unpack(&upper, &options(Whiteouts::Overlay, lower)),
        Tree::Folder(root) => unpack(&root, &options(Whiteouts::Delete, Vec::new())),
        Tree::Mounts => private_mount::with_mounts(folder, &[mounts], |roots| {
            unpack(&roots[0], &options(Whiteouts::Delete, Vec::new()))
        }),
    }
}

fn produce(
    mut write: Write,
    left: &[Mount],
    right: &[Mount],
    compress: bool,
    folder: &Path,
) -> (Write, Result<Written>) {
    let made = fill(&mut write, left, right, compress, folder);
    (write, made)
}

fn fill(write: &mut Write, left: &[Mount], right: &[Mount], compress: bool, folder: &Path) -> Result<Written> {
    write.write_at(Some(0), &[])?;
    let target = BufWriter::with_capacity(BUFFER, Blob { write, failure: None });
    if !compress {
        let mut target = target;
        let written = make(left, right, folder, &mut target)?;
        return finish(target).map(|()| written);
    }
    let mut compressor = Compressor::new(target);
    let written = make(left, right, folder, &mut compressor)?;
    let (target, _) = compressor.finish().map_err(Error::io("cannot compress a layer"))?;
    finish(target).map(|()| written)
}

fn finish(target: BufWriter<Blob<'_>>) -> Result<()> {
    target.into_inner().map(drop).map_err(|error| Error::io("cannot write a layer")(error.into_error()))
}

fn make(left: &[Mount], right: &[Mount], folder: &Path, target: &mut (impl io::Write + Send)) -> Result<Written> {
    match (tree(left), tree(right)) {
        (left_tree, Tree::Overlay { upper, lower }) if layers(left, &left_tree).as_ref() == Some(&lower) => {
            Ok(archive::diff_upper(&upper, target)?)
        }
        (_, Tree::Folder(upper)) if left.is_empty() => Ok(archive::diff_directories(None, &upper, target)?),
        (Tree::Folder(lower), Tree::Folder(upper)) => Ok(archive::diff_directories(Some(&lower), &upper, target)?),
        _ => {
            let (left, right) = (private_mount::read_only(left), private_mount::read_only(right));
            private_mount::with_mounts(folder, &[&left, &right], |roots| {
                Ok(archive::diff_directories(Some(&roots[0]), &roots[1], target)?)
            })
        }
    }
}

/// The layers that a read-only tree is made of, uppermost first.
fn layers(mounts: &[Mount], tree: &Tree) -> Option<Vec<PathBuf>> {
    match (tree, mounts) {
        (Tree::Folder(folder), _) => Some(vec![folder.clone()]),
        (Tree::Mounts, [mount]) if mount.r#type == "overlay" => Some(lower_of(mount)),
        _ => None,
    }
}

fn tree(mounts: &[Mount]) -> Tree {
    let [mount] = mounts else { return Tree::Mounts };
    match mount.r#type.as_str() {
        "overlay" => match mount.options.iter().find_map(|option| option.strip_prefix("upperdir=")) {
            Some(upper) => Tree::Overlay { upper: PathBuf::from(upper), lower: lower_of(mount) },
            None => Tree::Mounts,
        },
        "bind" | "rbind" if mount.target.is_empty() => Tree::Folder(PathBuf::from(&mount.source)),
        _ => Tree::Mounts,
    }
}

fn lower_of(mount: &Mount) -> Vec<PathBuf> {
    let lower = mount.options.iter().find_map(|option| option.strip_prefix("lowerdir=")).unwrap_or_default();
    lower.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from).collect()
}

fn unique_reference() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("diff-{}-{}-{}", std::process::id(), since.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A blob in the making, as something to write to.
struct Blob<'a> {
    write: &'a mut Write,
    failure: Option<String>,
}

impl io::Write for Blob<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(io::Error::other(failure.clone()));
        }
        match self.write.write_at(None, bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                let failure = errors::chain(&error);
                self.failure = Some(failure.clone());
                Err(io::Error::other(failure))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(r#type: &str, source: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { r#type: r#type.into(), source: source.into(), options, ..Mount::default() }
    }

    #[test]
    fn what_needs_no_mount_is_recognised() {
        let overlay = mount("overlay", "overlay", &["index=off", "upperdir=/u", "lowerdir=/b:/a"]);
        let lower = vec![PathBuf::from("/b"), PathBuf::from("/a")];
        assert_eq!(tree(&[overlay]), Tree::Overlay { upper: "/u".into(), lower: lower.clone() });
        let view = mount("overlay", "overlay", &["lowerdir=/b:/a"]);
        assert_eq!(layers(std::slice::from_ref(&view), &tree(std::slice::from_ref(&view))), Some(lower));
        let bind = mount("bind", "/x", &["rbind", "ro"]);
        assert_eq!(tree(std::slice::from_ref(&bind)), Tree::Folder("/x".into()));
        assert_eq!(tree(&[bind.clone(), bind]), Tree::Mounts);
        assert_eq!(tree(&[mount("ext4", "/dev/x", &[])]), Tree::Mounts);
    }
}
