//! `--output`, `--push`, `--load`: where a build's result goes.
//!
//! Every result is an image of the daemon's first. What leaves it again does so through the Engine API as it is (push, save,
//! the export of a container that never runs), so that this works with every engine.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use archive::{ArchiveError, ExtractOptions, extract};
use engine_client::{Body, Request, escape};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::door::Door;
use super::exported::Exported;
use super::result;
use crate::command::Matches;
use crate::container::fields::comma_fields;
use crate::container::options::os_words;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::progress::{Output as Progress, show};
use crate::stream::download::{BodyReader, to_file, to_stdout};
use crate::stream::output_file::OutputFile;
use crate::terminal;

const REFUSES_CONSOLE: &str = "refusing to write to console";

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// An image of the daemon's, with further names, and pushed if asked for.
    Image { names: Vec<String>, push: bool },
    /// An archive of the image, as `docker save` writes it: Docker's and the OCI's layout in one.
    Archive { destination: String },
    /// The root file system as an archive.
    Tar { destination: String },
    /// The root file system as files.
    Folder { destination: String },
    /// Nothing but the cache.
    Nothing,
}

/// All of one command line.
#[derive(Debug, Default)]
pub struct Outputs(Vec<Output>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Found {
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    descriptor: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

impl Outputs {
    pub fn of(flags: &Matches) -> Result<Self, Failure> {
        let mut outputs = flags.list("output").iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        if flags.is_set("push") {
            match outputs
                .iter_mut()
                .find_map(|output| if let Output::Image { push, .. } = output { Some(push) } else { None })
            {
                Some(push) => *push = true,
                None => outputs.push(Output::Image { names: Vec::new(), push: true }),
            }
        }
        if flags.is_set("load") {
            outputs.push(Output::Image { names: Vec::new(), push: false });
        }
        let all = Self(outputs);
        if all.pushes() && all.names(flags.list("tag")).is_empty() {
            return Err(Failure::text("tag is needed when pushing to registry"));
        }
        let to_stdout = all.0.iter().filter(|output| output.destination() == Some("-")).count();
        match to_stdout {
            0 => Ok(all),
            1 if terminal::stdout_is_terminal() => {
                Err(Failure::Text(format!("dest file is required for this exporter. {REFUSES_CONSOLE}")))
            }
            1 => Ok(all),
            _ => Err(Failure::text("only one output can be written to standard output")),
        }
    }

    /// Names that the image gets besides those of `--tag`.
    pub fn more_names(&self) -> impl Iterator<Item = &String> {
        self.0.iter().flat_map(|output| match output {
            Output::Image { names, .. } => names.as_slice(),
            _ => &[],
        })
    }

    fn names<'a>(&'a self, tags: &'a [String]) -> Vec<&'a String> {
        tags.iter().chain(self.more_names()).collect()
    }

    fn pushes(&self) -> bool {
        self.0.iter().any(|output| matches!(output, Output::Image { push: true, .. }))
    }

    /// Standard output belongs to an archive: progress goes elsewhere.
    pub fn takes_stdout(&self) -> bool {
        self.0.iter().any(|output| output.destination() == Some("-"))
    }

    /// What the builder itself is to send, and where to.
    pub fn exported(&self, flags: &Matches) -> Result<Exported, Failure> {
        let mut exported = Exported::default();
        let names: Vec<String> = self.names(flags.list("tag")).into_iter().cloned().collect();
        let has_image = self.0.iter().any(|output| matches!(output, Output::Image { .. } | Output::Archive { .. }));
        if self.0.is_empty() || has_image || !names.is_empty() {
            exported.add_image(&names, flags.list("annotation"))?;
        }
        for output in &self.0 {
            match output {
                Output::Folder { destination } => exported.add_folder(destination),
                Output::Tar { destination } => exported.add_tar(destination)?,
                Output::Image { .. } | Output::Archive { .. } | Output::Nothing => {}
            }
        }
        Ok(exported)
    }

    /// Brings the image where it is to go.
    pub async fn write(&self, context: &Context, flags: &Matches, id: &str, door: Door) -> Result<(), Failure> {
        for output in &self.0 {
            match output {
                Output::Image { push: true, .. } => {
                    for name in self.names(flags.list("tag")) {
                        push(context, name, flags.is_set("quiet") || self.takes_stdout()).await?;
                    }
                }
                Output::Image { push: false, .. } | Output::Nothing => {}
                Output::Archive { destination } => {
                    let names = self.names(flags.list("tag"));
                    let mut request = Request::get("/images/get");
                    for name in &names {
                        request = request.with("names", name);
                    }
                    if names.is_empty() {
                        request = request.with("names", id);
                    }
                    write_file(context.client.stream(request).await?, destination).await?;
                }
                // BuildKit's protocol has brought them already.
                Output::Tar { .. } | Output::Folder { .. } if door == Door::BuildKit => {}
                Output::Tar { .. } | Output::Folder { .. } => export(context, id, output).await?,
            }
        }
        if id.is_empty() {
            return Ok(());
        }
        let keeps = self.0.is_empty() || self.0.iter().any(|output| matches!(output, Output::Image { .. }));
        if !keeps && flags.list("tag").is_empty() {
            forget(context, id).await?;
        }
        Ok(())
    }

    /// `--metadata-file`: what was made, as Docker's newer builder notes it.
    pub async fn write_metadata(
        &self,
        context: &Context,
        flags: &Matches,
        id: &str,
        path: &str,
    ) -> Result<(), Failure> {
        let mut metadata = Map::new();
        metadata.insert("containerimage.config.digest".to_owned(), json!(id));
        let found: Option<Found> = match context.client.call(Request::get(format!("/images/{}/json", escape(id)))).await
        {
            Ok(found) => Some(found),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let found = found.unwrap_or_default();
        let described = found.descriptor.as_ref().and_then(|descriptor| descriptor.get("digest")?.as_str());
        let pushed = found.repo_digests.iter().flatten().find_map(|name| Some(name.split_once('@')?.1));
        metadata.insert("containerimage.digest".to_owned(), json!(described.or(pushed).unwrap_or(id)));
        if let Some(descriptor) = &found.descriptor {
            metadata.insert("containerimage.descriptor".to_owned(), descriptor.clone());
        }
        let names: Vec<String> = self.names(flags.list("tag")).into_iter().map(|name| full_name(name)).collect();
        if !names.is_empty() {
            metadata.insert("image.name".to_owned(), json!(names.join(",")));
        }
        let text = serde_json::to_string_pretty(&metadata).unwrap_or_default();
        Ok(fs::write(path, text)?)
    }
}

impl Output {
    fn destination(&self) -> Option<&str> {
        match self {
            Self::Archive { destination } | Self::Tar { destination } => Some(destination),
            _ => None,
        }
    }
}

/// `type=…,dest=…`; a word alone is a folder, `-` an archive on standard output.
fn parse(text: &str) -> Result<Output, Failure> {
    let fields = comma_fields(text).map_err(Failure::Text)?;
    if let [only] = &fields[..]
        && !only.contains('=')
    {
        return Ok(match only.as_str() {
            "-" => Output::Tar { destination: "-".to_owned() },
            folder => Output::Folder { destination: folder.to_owned() },
        });
    }
    let mut values = BTreeMap::new();
    for field in &fields {
        let (key, value) = field.split_once('=').ok_or_else(|| Failure::Text(format!("invalid value {field}")))?;
        values.insert(key.trim().to_ascii_lowercase(), value.to_owned());
    }
    let mut take = |key: &str| values.remove(key);
    let kind = take("type").ok_or_else(|| Failure::text("type is required for output"))?;
    let destination = take("dest");
    let flag = |value: Option<String>| matches!(value.as_deref(), Some("true" | "1" | ""));
    let output = match kind.as_str() {
        "local" => {
            let missing = || Failure::text("dest is required for local output");
            Output::Folder { destination: destination.ok_or_else(missing)? }
        }
        "tar" => Output::Tar { destination: destination.unwrap_or_else(|| "-".to_owned()) },
        "oci" => Output::Archive { destination: destination.unwrap_or_else(|| "-".to_owned()) },
        "docker" if destination.is_some() => Output::Archive { destination: destination.unwrap_or_default() },
        "docker" | "image" | "registry" => {
            let push = kind == "registry" || flag(take("push"));
            let names = take("name").map(|names| names.split(',').map(str::to_owned).collect()).unwrap_or_default();
            Output::Image { names, push }
        }
        "cacheonly" => Output::Nothing,
        other => return Err(Failure::Text(format!("exporter {other:?} could not be found"))),
    };
    match values.keys().next() {
        Some(key) => Err(Failure::Text(format!("--output {text}: {key} is not supported by this builder"))),
        None => Ok(output),
    }
}

fn full_name(name: &str) -> String {
    match ids::Reference::parse_familiar(name) {
        Ok(reference) => reference.with_default_tag().to_string(),
        Err(_) => name.to_owned(),
    }
}

async fn push(context: &Context, name: &str, silent: bool) -> Result<(), Failure> {
    let wrong = |error: ids::ReferenceError| Failure::Text(error.to_string());
    let reference = ids::Reference::parse_familiar(name).map_err(wrong)?.with_default_tag();
    let request = Request::post(format!("/images/{}/push", escape(&reference.name())))
        .with_some("tag", reference.tag().unwrap_or_default())
        .registry_auth(&context.config.auth_for(&reference.name()));
    let lines = context.client.stream(request).await?.lines();
    show(lines, if silent { Progress::Nowhere } else { Progress::Stdout }).await
}

/// The files of an image are those of a container that never runs.
async fn export(context: &Context, id: &str, output: &Output) -> Result<(), Failure> {
    let body = json!({ "Image": id, "Cmd": ["none"], "Entrypoint": [], "NetworkDisabled": true });
    let created: Created = context.client.call(Request::post("/containers/create").json(&body)).await?;
    let exported = async {
        let body = context.client.stream(Request::get(format!("/containers/{}/export", created.id))).await?;
        match output {
            Output::Tar { destination } => write_files(body, destination).await,
            Output::Folder { destination } => unpack(body, destination).await,
            _ => Ok(()),
        }
    };
    let exported = exported.await;
    let removal = Request::delete(format!("/containers/{}", created.id)).with("force", "1").with("v", "1");
    let removed = context.client.send(removal).await;
    exported?;
    removed?;
    Ok(())
}

async fn write_file(body: Body, destination: &str) -> Result<(), Failure> {
    match destination {
        "-" => to_stdout(body).await,
        path if Path::new(path).is_dir() => Err(Failure::Text(format!("destination file is a directory: {path}"))),
        path => {
            let wrong = |reason| Failure::Text(format!("failed to write the output: {reason}"));
            to_file(body, OutputFile::create(path).map_err(wrong)?).await
        }
    }
}

/// The same for an archive of files.
async fn write_files(body: Body, destination: &str) -> Result<(), Failure> {
    let reader = BodyReader::start(body, Arc::default());
    let mut file = match destination {
        "-" => None,
        path => {
            let wrong = |reason| Failure::Text(format!("failed to write the output: {reason}"));
            Some(OutputFile::create(path).map_err(wrong)?)
        }
    };
    let copied = tokio::task::spawn_blocking(move || {
        let done = match &mut file {
            Some(file) => result::copy(reader, io::BufWriter::new(&mut *file)),
            None => result::copy(reader, io::BufWriter::new(io::stdout().lock())),
        };
        done.and_then(|()| file.map_or(Ok(()), |file| file.commit().map_err(ArchiveError::Write)))
    });
    match copied.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::Text(format!("failed to write the output: {}", errors::chain(&error)))),
        Err(error) => Err(Failure::Text(error.to_string())),
    }
}

/// Everything becomes this user's; what is there already stays, unless the archive has the same name.
async fn unpack(body: Body, destination: &str) -> Result<(), Failure> {
    let wrong = |error: &io::Error| Failure::Text(format!("failed to write to {destination}: {}", os_words(error)));
    fs::create_dir_all(destination).map_err(|error| wrong(&error))?;
    let folder = fs::File::open(destination).map_err(|error| wrong(&error))?;
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let options = ExtractOptions { owner: Some(owner), ..ExtractOptions::default() };
    let reader = BodyReader::start(body, Arc::default());
    let (into, out) = io::pipe()?;
    let copied = tokio::task::spawn_blocking(move || result::copy(reader, io::BufWriter::new(out)));
    let unpacked = tokio::task::spawn_blocking(move || {
        let mut into = into;
        extract(&mut into, folder.as_fd(), Path::new("/"), &options)?;
        // The other side is heard to the end.
        io::copy(&mut into, &mut io::sink()).map(drop).map_err(ArchiveError::Read)
    });
    let unpacked = unpacked.await;
    let unpacked = match copied.await {
        // What could not be unpacked is the reason, where something could not.
        Ok(Err(error)) if matches!(unpacked, Ok(Ok(()))) => Ok(Err(error)),
        _ => unpacked,
    };
    match unpacked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::Text(format!("failed to write to {destination}: {}", errors::chain(&error)))),
        Err(error) => Err(Failure::Text(error.to_string())),
    }
}

/// An image that only was on its way elsewhere goes, unless somebody has named it.
async fn forget(context: &Context, id: &str) -> Result<(), Failure> {
    let found: Found = match context.client.call(Request::get(format!("/images/{}/json", escape(id)))).await {
        Ok(found) => found,
        // The daemon may have it under another id only.
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if found.repo_tags.iter().flatten().next().is_some() {
        return Ok(());
    }
    let request = Request::delete(format!("/images/{}", escape(id))).with("noprune", "1");
    // Somebody may use it by now.
    if let Err(error) = context.client.bytes(request).await {
        context::say(&format!("the image {id} stays: {error}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_words_or_fields() {
        let parsed = |text: &str| parse(text).map_err(|failure| failure.to_string());
        let folder = |path: &str| Ok(Output::Folder { destination: path.to_owned() });
        assert_eq!(parsed("out"), folder("out"));
        assert_eq!(parsed("type=local,dest=a/b"), folder("a/b"));
        assert_eq!(parsed("-"), Ok(Output::Tar { destination: "-".to_owned() }));
        assert_eq!(parsed("type=oci,dest=x.tar"), Ok(Output::Archive { destination: "x.tar".to_owned() }));
        assert_eq!(parsed("type=docker"), Ok(Output::Image { names: Vec::new(), push: false }));
        let names = vec!["r/a:1".to_owned(), "b".to_owned()];
        assert_eq!(parsed("type=image,\"name=r/a:1,b\",push=true"), Ok(Output::Image { names, push: true }));
        assert_eq!(parsed("type=cacheonly"), Ok(Output::Nothing));
    }

    #[test]
    fn what_is_wrong_with_an_output_is_named() {
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(refused("dest=x"), "type is required for output");
        assert_eq!(refused("type=local"), "dest is required for local output");
        assert_eq!(refused("type=local,x"), "invalid value x");
        assert_eq!(refused("type=moon,dest=x"), "exporter \"moon\" could not be found");
        assert!(refused("type=image,compression=zstd").contains("compression is not supported"));
    }
}
