//! `docker create`, and what `run` shares with it.

use engine_api::container::{CreateRequest, CreateResponse};
use engine_client::Request;

use super::create_flags::CREATE_FLAGS;
use super::options;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, Order, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::image::pull::{self, Output};
use crate::messages;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("pull", NONE, Kind::Text, "missing", "Pull image before creating (\"always\", \"|missing\", \"never\")"),
    flag("quiet", 'q', Kind::Bool, "", "Suppress the pull output"),
];

pub const COMMAND: Command = Command {
    name: "create",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a new container",
    aliases: "docker container create, docker create",
    flags: &[FLAGS, CREATE_FLAGS],
    args: Args::AtLeast(1),
    order: Order::FlagsFirst,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let refused =
        |message: String| Failure::Status { code: 125, message: messages::with_hint("docker create", &message) };
    check_pull(flags).map_err(refused)?;
    let request = options::create_request(flags).map_err(refused)?;
    let id = create(context, flags, &request).await?;
    context::print_line(&id)?;
    Ok(0)
}

/// `--pull` has three words.
pub fn check_pull(flags: &Matches) -> Result<(), String> {
    match flags.text("pull") {
        "always" | "missing" | "never" => Ok(()),
        other => Err(format!("invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\"")),
    }
}

/// Makes the container, pulling its image when that is wanted, and answers its id.
pub async fn create(context: &Context, flags: &Matches, request: &CreateRequest) -> Result<String, Failure> {
    let image = &request.config.image;
    let cid_file = CidFile::reserve(&request.host_config.container_id_file)?;
    let (platform, policy) = (flags.text("platform"), flags.text("pull"));
    let output = if flags.is_set("quiet") { Output::Nowhere } else { Output::Stderr };
    if policy == "always" {
        pull::pull(context, image, platform, output).await?;
    }
    let post = || {
        Request::post("/containers/create")
            .with_some("name", flags.text("name"))
            .with_some("platform", platform)
            .json(request)
    };
    let answer: CreateResponse = match context.client.call(post()).await {
        Err(error) if error.is_not_found() && policy == "missing" && !image.is_empty() => {
            let shown = pull::shown_name(image);
            if output != Output::Nowhere {
                context::say(&messages::unable_to_find(&shown));
            }
            pull::pull(context, image, platform, output).await?;
            context.client.call(post()).await?
        }
        other => other?,
    };
    for warning in &answer.warnings {
        context::say(&format!("WARNING: {warning}"));
    }
    cid_file.write(&answer.id)?;
    Ok(answer.id)
}

/// `--cidfile`: must not be there before, is not left behind empty.
#[derive(Debug)]
struct CidFile(Option<std::path::PathBuf>);

impl CidFile {
    fn reserve(path: &str) -> Result<Self, Failure> {
        if path.is_empty() {
            return Ok(Self(None));
        }
        match std::fs::File::create_new(path) {
            Ok(_) => Ok(Self(Some(path.into()))),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::Text(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            ))),
            Err(error) => Err(Failure::Text(format!(
                "failed to create the container ID file: open {path}: {}",
                options::os_words(&error)
            ))),
        }
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        if let Some(path) = self.0.take() {
            std::fs::write(path, id)?;
        }
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // The container was not made; an empty file would name none.
            let _ = std::fs::remove_file(path);
        }
    }
}
