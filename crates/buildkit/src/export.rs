//! Where a build's result goes: the image store, or the client, as a folder or an archive.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use archive::EntryKind;
use builder::{Builder, ImageFiles, Made};
use buildkit_session::Session;
use fsutil::{FolderSource, Outgoing, OutgoingName};
use futures_util::StreamExt;
use ids::Reference;
use tokio::sync::mpsc;

use crate::error::SolveError;
use crate::job::Job;
use crate::messages;
use crate::solve::Exporter;

const SECOND: i64 = 1_000_000_000;
/// Pieces of an archive on their way.
const QUEUE: usize = 4;

/// What an exporter is to do, checked before anything is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Export {
    Image {
        names: Vec<String>,
    },
    /// To the client, which knows the exporter by this name.
    Folder {
        exporter: String,
    },
    Archive {
        exporter: String,
    },
}

impl Export {
    pub fn of(exporter: &Exporter) -> Result<Option<Self>, SolveError> {
        let kind = exporter.kind.as_str();
        Ok(Some(match kind {
            "" | "cacheonly" => return Ok(None),
            "moby" | "image" => Self::Image { names: names(exporter)? },
            "local" | "tar" => {
                let refused = exporter.attributes.iter().find(|(name, value)| {
                    !matches!(name.as_str(), "dest") && !(name.as_str() == "platform-split" && is_false(value))
                });
                if let Some((name, value)) = refused {
                    return Err(no_option(kind, name, value));
                }
                let exporter = exporter.id.clone();
                if kind == "local" { Self::Folder { exporter } } else { Self::Archive { exporter } }
            }
            _ => return Err(messages::unknown_exporter(kind)),
        }))
    }

    /// Does it; answers what the client is told of it.
    pub async fn perform(
        &self,
        job: &Arc<Job>,
        builder: &Builder,
        session: Option<&Session>,
        made: &Made,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let step = job.internal(match self {
            Self::Image { .. } => "exporting to image",
            Self::Folder { .. } => "exporting to client directory",
            Self::Archive { .. } => "exporting to client tarball",
        });
        let lacking = || SolveError::invalid("the build's result is for a client, and the build names no session");
        let done = async {
            match self {
                Self::Image { names } => image(&step, builder, made, names).await,
                Self::Folder { exporter } => {
                    let folder = Arc::new(Folder(builder.files(made).await?));
                    let part = step.begin("copying files");
                    session.ok_or_else(lacking)?.send_folder(exporter, folder).await?;
                    part.end(0);
                    Ok(BTreeMap::new())
                }
                Self::Archive { exporter } => {
                    let files = builder.files(made).await?;
                    let part = step.begin("sending tarball");
                    send_tar(session.ok_or_else(lacking)?, exporter, files).await?;
                    part.end(0);
                    Ok(BTreeMap::new())
                }
            }
        };
        let done = done.await;
        step.end(&done);
        done
    }
}

fn names(exporter: &Exporter) -> Result<Vec<String>, SolveError> {
    let mut names = Vec::new();
    for (option, value) in &exporter.attributes {
        match option.as_str() {
            "name" => {
                for name in value.split(',').filter(|name| !name.is_empty()) {
                    let wrong = |error: ids::ReferenceError| {
                        SolveError::invalid(format!("failed to parse {name}: {}", errors::chain(&error)))
                    };
                    let name = Reference::parse_familiar(name).map_err(wrong)?.with_default_tag();
                    if !names.contains(&name.familiar()) {
                        names.push(name.familiar());
                    }
                }
            }
            "push" | "push-by-digest" | "registry.insecure" if is_false(value) => {}
            "unpack" | "store" if !is_false(value) => {}
            _ => return Err(no_option(&exporter.kind, option, value)),
        }
    }
    Ok(names)
}

fn is_false(value: &str) -> bool {
    matches!(value, "0" | "f" | "F" | "false" | "False" | "FALSE")
}

fn no_option(kind: &str, name: &str, value: &str) -> SolveError {
    SolveError::unsupported(format!("the option {name}={value} of the exporter {kind} is not supported by this engine"))
}

async fn image(
    step: &crate::job::Internal,
    builder: &Builder,
    made: &Made,
    names: &[String],
) -> Result<BTreeMap<String, String>, SolveError> {
    step.begin("exporting layers").end(0);
    let writing = step.begin(&format!("writing image {}", made.id));
    let id = builder.store(made).await?;
    writing.end(0);
    for name in names {
        let full = Reference::parse_familiar(name).map_or_else(|_| name.clone(), |name| name.to_string());
        let naming = step.begin(&format!("naming to {full}"));
        builder.tag(made, name).await?;
        naming.end(0);
    }
    let mut told = BTreeMap::new();
    told.insert("containerimage.digest".to_owned(), id.clone());
    told.insert("containerimage.config.digest".to_owned(), id);
    if !names.is_empty() {
        told.insert("image.name".to_owned(), names.join(","));
    }
    Ok(told)
}

async fn send_tar(session: &Session, exporter: &str, files: ImageFiles) -> Result<(), SolveError> {
    let mut archive = files.into_tar();
    let (sender, pieces) = mpsc::channel(QUEUE);
    let feed = async move {
        while let Some(piece) = archive.next().await {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    };
    let ((), sent) = tokio::join!(feed, session.send_file(exporter, pieces));
    Ok(sent?)
}

/// An image's files on their way to a client's folder.
struct Folder(ImageFiles);

impl FolderSource for Folder {
    fn names(&self) -> Box<dyn Iterator<Item = std::io::Result<OutgoingName>> + '_> {
        let name = |file: builder::ImageFile| OutgoingName {
            kind: match file.kind {
                EntryKind::Directory => Outgoing::Folder,
                EntryKind::Symlink(target) => Outgoing::Link(String::from_utf8_lossy(&target).into_owned()),
                EntryKind::Fifo => Outgoing::Fifo,
                EntryKind::Character { major, minor } => Outgoing::CharacterDevice { major, minor },
                EntryKind::Block { major, minor } => Outgoing::BlockDevice { major, minor },
                EntryKind::File | EntryKind::HardLink(_) => Outgoing::File { size: file.size },
            },
            path: file.path,
            mode: file.mode,
            modified: file.mtime.saturating_mul(SECOND),
            attributes: Vec::new(),
        };
        Box::new(self.0.list().into_iter().map(move |file| Ok(name(file))))
    }

    fn open(&self, path: &str) -> std::io::Result<Box<dyn Read + '_>> {
        self.0.open(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, attributes: &[(&str, &str)]) -> Result<Option<Export>, SolveError> {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Export::of(&Exporter { kind: kind.to_owned(), attributes, id: "1".to_owned() })
    }

    #[test]
    fn exporters_are_checked_before_anything_is_built() {
        let image = of("moby", &[("name", "a,a:latest,r.io/b:1")]).unwrap();
        assert_eq!(image, Some(Export::Image { names: vec!["a:latest".to_owned(), "r.io/b:1".to_owned()] }));
        assert_eq!(of("local", &[]).unwrap(), Some(Export::Folder { exporter: "1".to_owned() }));
        assert_eq!(of("cacheonly", &[]).unwrap(), None);
        assert_eq!(of("oci", &[]).unwrap_err().message, "exporter \"oci\" could not be found");
        assert!(of("image", &[("push", "true")]).is_err());
        assert!(of("image", &[("name", "Bad Name")]).is_err());
        assert!(of("tar", &[("compression", "zstd")]).is_err());
    }
}
