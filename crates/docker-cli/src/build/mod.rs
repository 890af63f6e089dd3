//! `docker build`, `docker image build`, `docker builder`.

mod agents;
mod attributes;
pub mod buildx;
mod caches;
mod call;
mod classic;
mod context;
mod door;
mod exported;
mod flags;
mod lend;
mod mistake;
mod outputs;
mod progress;
mod prune;
mod request;
mod result;
mod session;
mod show;

use std::io::Read;
use std::path::Path;

use self::context::{DOCKERFILE, Source};
use self::door::Door;
use self::outputs::Outputs;
use crate::command::{Args, Command, Matches};
use crate::context::{Context, print_line};
use crate::failure::Failure;

/// The largest Dockerfile that is read from standard input.
const MAX_DOCKERFILE: u64 = dockerfile::MAX_BYTES as u64;

/// `docker build`.
pub const COMMAND: Command = Command {
    name: "build",
    usage: "[OPTIONS] PATH | URL | -",
    about: "Build an image from a Dockerfile",
    aliases: "docker image build, docker build, docker builder build",
    flags: &[flags::FLAGS, flags::MORE],
    args: Args::Exactly(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// `docker builder`.
pub const BUILDER: Command = Command {
    name: "builder",
    usage: "COMMAND",
    about: "Manage builds",
    args: Args::None,
    children: &[&COMMAND, &prune::COMMAND],
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    flags::refuse_what_is_not_done(flags)?;
    let outputs = Outputs::of(flags)?;
    let source = Source::of(flags.arg(0), flags.text("file"))?;
    if let Some(code) = call::perform(flags, &source)? {
        return Ok(code);
    }
    let door = door::choose(context, flags).await?;
    let id_file = flags.text("iidfile");
    if !id_file.is_empty() && Path::new(id_file).exists() {
        std::fs::remove_file(id_file).map_err(|error| Failure::Text(format!("Removing image ID file: {error}")))?;
    }
    let id = match door {
        Door::Classic => classic::build(context, flags, source, &outputs).await?,
        Door::BuildKit => session::build(context, flags, source, &outputs).await?,
    };
    write_id(&id, id_file)?;
    if door == Door::BuildKit && flags.is_set("quiet") && !id.is_empty() {
        print_line(&id)?;
    }
    outputs.write(context, flags, &id, door).await?;
    match flags.text("metadata-file") {
        "" => {}
        path => outputs.write_metadata(context, flags, &id, path).await?,
    }
    Ok(0)
}

/// `--iidfile`.
fn write_id(id: &str, id_file: &str) -> Result<(), Failure> {
    match (id_file, id) {
        ("", _) => Ok(()),
        (_, "") => Err(Failure::Text(format!("cannot write {id_file} because server did not provide an image ID"))),
        _ => Ok(std::fs::write(id_file, id)?),
    }
}

/// Standard input as a Dockerfile.
fn dockerfile_from_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_DOCKERFILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCKERFILE {
        return Err(Failure::Text(format!("the {DOCKERFILE} has more than {MAX_DOCKERFILE} bytes")));
    }
    Ok(bytes)
}
