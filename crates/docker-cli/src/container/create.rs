//! `docker create`, and what `run` shares with it.

use engine_api::container::{CreateRequest, CreateResponse};
use engine_client::Request;

use super::api_socket::{self, Credentials};
use super::create_flags::CREATE_FLAGS;
use super::{hosts, options};
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, Order, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::image::platform;
use crate::image::pull::{self, Output};
use crate::messages;
use crate::terminal;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("pull", NONE, Kind::Text, "missing", "Pull image before creating (\"always\", \"|missing\", \"never\")"),
    flag("quiet", 'q', Kind::Bool, "", "Suppress the pull output"),
];

/// How the API's socket gets into a container, of `run` and `create`.
pub const API_SOCKET: Flag =
    flag("use-api-socket", NONE, Kind::Bool, "", "Bind mount Docker API socket and required auth");

pub const COMMAND: Command = Command {
    name: "create",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a new container",
    aliases: "docker container create, docker create",
    flags: &[FLAGS, CREATE_FLAGS, &[API_SOCKET]],
    args: Args::AtLeast(1),
    order: Order::FlagsFirst,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let refused =
        |message: String| Failure::Status { code: 125, message: messages::with_hint("docker create", &message) };
    check_pull(flags).map_err(refused)?;
    let mut request = options::create_request(context, flags).map_err(refused)?;
    let id = create(context, flags, &mut request).await?;
    context::print_line(&id)?;
    Ok(0)
}

/// `--pull` has three words.
pub fn check_pull(flags: &Matches) -> Result<(), String> {
    match flags.text("pull") {
        "always" | "missing" | "never" | "" => Ok(()),
        other => Err(format!("invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\"")),
    }
}

/// Makes the container, pulling its image when that is wanted, and answers its id.
pub async fn create(context: &Context, flags: &Matches, request: &mut CreateRequest) -> Result<String, Failure> {
    check_system(context, flags).await?;
    let cid_file = CidFile::reserve(&request.host_config.container_id_file)?;
    let image = request.config.image.clone();
    let name = ImageName::parse(&image)?;
    let credentials =
        if flags.is_set("use-api-socket") { api_socket::mount(context, request)? } else { Credentials::default() };
    let platform = match flags.text("platform") {
        "" => String::new(),
        text => {
            let parsed = platform::parse(text);
            platform::shown(
                &parsed.map_err(|error| Failure::Text(format!("error parsing specified platform: {error}")))?,
            )
        }
    };
    let policy = flags.text("pull");
    let output = if flags.is_set("quiet") { Output::Nowhere } else { Output::Stderr };
    let pull = || pull::pull(context, &image, flags.text("platform"), output);
    if policy == "always" {
        pull().await?;
    }
    if let Some(size) = terminal::size() {
        request.host_config.console_size = [size.height, size.width];
    }
    let post = || {
        Request::post("/containers/create")
            .with_some("name", flags.text("name"))
            .with_some("platform", &platform)
            .json(&*request)
    };
    let answer: CreateResponse = match (context.client.call(post()).await, &name) {
        (Err(error), ImageName::Familiar(shown)) if error.is_not_found() && policy == "missing" => {
            if output != Output::Nowhere {
                context::say(&messages::unable_to_find(shown));
            }
            pull().await?;
            context.client.call(post()).await?
        }
        (answer, _) => answer?,
    };
    for warning in &answer.warnings {
        context::say(&format!("WARNING: {warning}"));
    }
    if let Some(server) = hosts::loopback_server(request.host_config.dns.as_deref().unwrap_or_default()) {
        context::say(&format!("WARNING: Localhost DNS ({server}) may fail in containers."));
    }
    cid_file.write(&answer.id)?;
    credentials.send(context, &answer.id).await?;
    Ok(answer.id)
}

/// What an image is asked for by.
enum ImageName {
    /// As people write it, with its tag: can be pulled.
    Familiar(String),
    Id,
}

impl ImageName {
    fn parse(image: &str) -> Result<Self, Failure> {
        let is_hexadecimal =
            |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hexadecimal(image.strip_prefix("sha256:").unwrap_or(image)) {
            return Ok(Self::Id);
        }
        pull::parse(image).map(|reference| Self::Familiar(reference.with_default_tag().familiar()))
    }
}

/// Flags that only a daemon on Windows knows.
async fn check_system(context: &Context, flags: &Matches) -> Result<(), Failure> {
    const WINDOWS: &[&str] = &["cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"];
    let given: Vec<&&str> = WINDOWS.iter().filter(|name| flags.given(name)).collect();
    if given.is_empty() {
        return Ok(());
    }
    let os = &context.client.ping().await?.os_type;
    if os == "windows" {
        return Ok(());
    }
    let refused = given.iter().map(|name| {
        format!("\"--{name}\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on {os}")
    });
    Err(Failure::Text(refused.collect::<Vec<_>>().join("\n")))
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
