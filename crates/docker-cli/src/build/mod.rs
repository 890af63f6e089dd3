//! `docker build`, `docker image build`, `docker builder`.

mod context;
mod flags;
mod mistake;
mod outputs;
mod prune;
mod request;
mod result;
mod show;

use std::io::Read;
use std::path::Path;

use self::context::{DOCKERFILE, Source};
use self::outputs::Outputs;
use crate::command::{Args, Command, Matches};
use crate::context::Context;
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
    if flags.is_set("check") {
        return mistake::check(&source);
    }
    let file = source.dockerfile_text();
    let mut request = request::of(context, flags, file.as_ref())?;
    for name in outputs.more_names() {
        request = request.with("t", name);
    }
    let id_file = flags.text("iidfile");
    if !id_file.is_empty() && Path::new(id_file).exists() {
        std::fs::remove_file(id_file).map_err(|error| Failure::Text(format!("Removing image ID file: {error}")))?;
    }
    let quiet = flags.is_set("quiet");
    let aside = outputs.takes_stdout();
    let (request, upload) = source.attach(request, quiet || aside, flags.is_set("compress"))?;
    let mut shown = show::Shown::new(quiet, aside);
    let answered = async {
        let lines = context.client.stream(request).await?.lines();
        shown.show(lines).await
    };
    let answered = answered.await;
    let done = match upload {
        Some(upload) => upload.end(answered).await,
        None => answered,
    };
    if let Err(failure) = done {
        mistake::show(file.as_ref(), &shown, &failure);
        return Err(failure);
    }
    shown.write_id(id_file)?;
    outputs.write(context, flags, &shown.id).await?;
    match flags.text("metadata-file") {
        "" => {}
        path => outputs.write_metadata(context, flags, &shown.id, path).await?,
    }
    Ok(0)
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
