//! Where a build's result goes: the image store, a registry, or the client, as a folder or an archive.

mod files;
mod image;

use std::collections::BTreeMap;
use std::sync::Arc;

use builder::Builder;
use buildkit_session::Session;
use ids::Reference;

use crate::annotations::Annotations;
use crate::built::Built;
use crate::error::SolveError;
use crate::job::Job;
use crate::messages;
use crate::solve::Exporter;

/// What an exporter is to do, checked before anything is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Export {
    Image {
        naming: Naming,
        push: bool,
        /// It stays in the image store.
        store: bool,
        /// The engine's own kind of image: of a single platform nothing is said that was not asked for.
        is_own: bool,
    },
    /// An archive of the image for the client, which knows the exporter by this name.
    Layout {
        exporter: String,
        naming: Naming,
        kind: Layout,
    },
    /// Files for the client; of several platforms each has a folder.
    Folder {
        exporter: String,
        split: Split,
    },
    Archive {
        exporter: String,
        split: Split,
    },
}

/// What an image is called, and what is said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Naming {
    pub names: Vec<String>,
    pub annotations: Annotations,
}

/// What an archive of an image is for; either is read by both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Oci,
    Docker,
}

/// Whether platforms have folders of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Split {
    /// Those of a result that has several.
    #[default]
    Several,
    Always,
    Never,
}

impl Export {
    pub fn of(exporter: &Exporter) -> Result<Option<Self>, SolveError> {
        let id = || exporter.id.clone();
        Ok(Some(match exporter.kind.as_str() {
            "" | "cacheonly" => return Ok(None),
            "moby" | "image" => {
                let mut options = Options::of(exporter)?;
                let (push, store) = (options.flag("push", false)?, options.flag("store", true)?);
                options.flag("unpack", true)?;
                options.nothing_left()?;
                Self::Image { naming: options.naming, push, store, is_own: exporter.kind == "moby" }
            }
            "oci" | "docker" => {
                let mut options = Options::of(exporter)?;
                if !options.flag("tar", true)? {
                    return Err(no_option(&exporter.kind, "tar", "false"));
                }
                options.nothing_left()?;
                let kind = if exporter.kind == "oci" { Layout::Oci } else { Layout::Docker };
                Self::Layout { exporter: id(), naming: options.naming, kind }
            }
            "local" => Self::Folder { exporter: id(), split: split(exporter)? },
            "tar" => Self::Archive { exporter: id(), split: split(exporter)? },
            kind => return Err(messages::unknown_exporter(kind)),
        }))
    }

    /// What of the result is exported.
    fn of_result(&self, built: &Built) -> Built {
        let is_plain = match self {
            Self::Image { push, is_own, .. } => *is_own && !push,
            Self::Layout { kind, .. } => *kind == Layout::Docker,
            Self::Folder { .. } | Self::Archive { .. } => false,
        };
        if is_plain && !built.has_several() { built.without_inline() } else { built.clone() }
    }

    /// What cannot be exported so is told before it is.
    fn check(&self, built: &Built) -> Result<(), SolveError> {
        let (naming, is_docker) = match self {
            Self::Image { naming, .. } => (naming, false),
            Self::Layout { naming, kind, .. } => (naming, *kind == Layout::Docker),
            Self::Folder { .. } | Self::Archive { .. } => return Ok(()),
        };
        let is_index = built.has_several() || built.parts.iter().any(|part| !part.said.is_empty());
        if !naming.annotations.index.is_empty() && !is_index {
            return Err(SolveError::invalid("index annotations not supported for single platform export"));
        }
        if is_docker && is_index {
            return Err(SolveError::invalid("docker exporter does not currently support exporting manifest lists"));
        }
        Ok(())
    }

    /// Does it; answers what the client is told of it.
    pub async fn perform(
        &self,
        job: &Arc<Job>,
        builder: &Builder,
        session: Option<&Session>,
        built: &Built,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let step = job.internal(match self {
            Self::Image { .. } => "exporting to image",
            Self::Layout { kind: Layout::Oci, .. } => "exporting to oci image format",
            Self::Layout { kind: Layout::Docker, .. } => "exporting to docker image format",
            Self::Folder { .. } => "exporting to client directory",
            Self::Archive { .. } => "exporting to client tarball",
        });
        let lacking = || SolveError::invalid("the build's result is for a client, and the build names no session");
        let done = async {
            let built = &self.of_result(built);
            self.check(built)?;
            match self {
                Self::Image { naming, push, store, .. } => {
                    let exporting = image::Exporting { step: &step, builder, session, built, naming };
                    exporting.store(*push, *store).await
                }
                Self::Layout { exporter, naming, .. } => {
                    let exporting = image::Exporting { step: &step, builder, session, built, naming };
                    exporting.send(session.ok_or_else(lacking)?, exporter).await
                }
                Self::Folder { exporter, split } => {
                    let all = files::of(builder, built, *split).await?;
                    let part = step.begin("copying files");
                    session.ok_or_else(lacking)?.send_folder(exporter, Arc::new(files::Folder(all))).await?;
                    part.end(0);
                    Ok(BTreeMap::new())
                }
                Self::Archive { exporter, split } => {
                    let all = files::of(builder, built, *split).await?;
                    let part = step.begin("sending tarball");
                    let archive = builder::ImageFiles::into_tar(all);
                    files::send(session.ok_or_else(lacking)?, exporter, archive).await?;
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

/// An exporter's options that are not read yet.
struct Options {
    kind: String,
    left: BTreeMap<String, String>,
    naming: Naming,
}

impl Options {
    fn of(exporter: &Exporter) -> Result<Self, SolveError> {
        let mut options = Self { kind: exporter.kind.clone(), left: BTreeMap::new(), naming: Naming::default() };
        for (name, value) in &exporter.attributes {
            if name == "name" {
                options.naming.names = names(value)?;
            } else if !options.naming.annotations.read(name, value)? {
                options.left.insert(name.clone(), value.clone());
            }
        }
        // What is done in any case, or has no meaning here.
        for (name, fine) in [
            ("dest", None),
            ("oci-mediatypes", None),
            ("compression", Some("gzip")),
            ("force-compression", None),
            ("name-canonical", Some("false")),
            ("push-by-digest", Some("false")),
            ("registry.insecure", Some("false")),
            ("rewrite-timestamp", Some("false")),
        ] {
            let is_fine = |value: &String| fine.is_none_or(|fine| fine == value || fine == "false" && is_false(value));
            options.left.retain(|own, value| own != name || !is_fine(value));
        }
        Ok(options)
    }

    fn flag(&mut self, name: &str, default: bool) -> Result<bool, SolveError> {
        match self.left.remove(name).as_deref() {
            None => Ok(default),
            Some("" | "1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some(value) if is_false(value) => Ok(false),
            Some(value) => Err(SolveError::invalid(format!("non-bool value specified for {name}: {value}"))),
        }
    }

    fn nothing_left(&self) -> Result<(), SolveError> {
        match self.left.iter().next() {
            Some((name, value)) => Err(no_option(&self.kind, name, value)),
            None => Ok(()),
        }
    }
}

fn split(exporter: &Exporter) -> Result<Split, SolveError> {
    let mut split = Split::Several;
    for (name, value) in &exporter.attributes {
        match name.as_str() {
            "dest" => {}
            "platform-split" if is_false(value) => split = Split::Never,
            "platform-split" => split = Split::Always,
            _ => return Err(no_option(&exporter.kind, name, value)),
        }
    }
    Ok(split)
}

fn names(text: &str) -> Result<Vec<String>, SolveError> {
    let mut names = Vec::new();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let wrong = |error: ids::ReferenceError| {
            SolveError::invalid(format!("failed to parse {name}: {}", errors::chain(&error)))
        };
        let name = Reference::parse_familiar(name).map_err(wrong)?.with_default_tag();
        if !names.contains(&name.familiar()) {
            names.push(name.familiar());
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
        let names = vec!["a:latest".to_owned(), "r.io/b:1".to_owned()];
        let naming = Naming { names, ..Naming::default() };
        assert_eq!(image, Some(Export::Image { naming, push: false, store: true, is_own: true }));
        let folder = |split| Some(Export::Folder { exporter: "1".to_owned(), split });
        assert_eq!(of("local", &[]).unwrap(), folder(Split::Several));
        assert_eq!(of("local", &[("platform-split", "false")]).unwrap(), folder(Split::Never));
        assert_eq!(of("cacheonly", &[]).unwrap(), None);
        assert_eq!(of("moon", &[]).unwrap_err().message, "exporter \"moon\" could not be found");
        assert!(matches!(of("image", &[("push", "true")]).unwrap(), Some(Export::Image { push: true, .. })));
        for (kind, option) in [
            ("image", ("name", "Bad Name")),
            ("image", ("push", "perhaps")),
            ("image", ("push-by-digest", "true")),
            ("image", ("compression", "zstd")),
            ("oci", ("tar", "false")),
            ("tar", ("compression", "zstd")),
        ] {
            assert!(of(kind, &[option]).is_err(), "{kind} {option:?}");
        }
    }

    #[test]
    fn annotations_are_options_of_images() {
        let export = of("oci", &[("annotation-index.a", "b"), ("oci-mediatypes", "true")]).unwrap();
        let Some(Export::Layout { naming, kind: Layout::Oci, .. }) = export else { panic!("a layout") };
        assert_eq!(naming.annotations.index["a"], "b");
        assert!(of("tar", &[("annotation.a", "b")]).is_err());
    }
}
