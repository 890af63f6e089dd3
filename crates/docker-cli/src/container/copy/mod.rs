//! `docker cp`: archives between a container and this machine.
//!
//! What lies in a container, and what its daemon sends, is an attacker's: an archive is unpacked below one open directory,
//! every path resolved in there by descriptor (CVE-2018-15664), nothing is followed out of it.

mod destination;
mod meter;
mod paths;
mod source;
mod stat;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use engine_client::{Request, escape};

use self::destination::Destination;
use self::meter::Meter;
use self::paths::{Copied, Target};
use self::source::Source;
use self::stat::Stat;
use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::stream::download::{BodyReader, to_stdout};
use crate::stream::upload::Upload;
use crate::terminal;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("archive", 'a', Kind::Bool, "", "Archive mode (copy all uid/gid information)"),
    flag("follow-link", 'L', Kind::Bool, "", "Always follow symbol link in SRC_PATH"),
    flag("quiet", 'q', Kind::Bool, "", "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached"),
];

pub const COMMAND: Command = Command {
    name: "cp",
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files/folders between a container and the local filesystem",
    long: "Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
    aliases: "docker container cp, docker cp",
    flags: &[FLAGS],
    args: Args::Exactly(2),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    for (argument, name) in [(flags.arg(0), "source"), (flags.arg(1), "destination")] {
        if argument.is_empty() {
            return Err(Failure::Text(format!("{name} can not be empty")));
        }
    }
    let quiet = if flags.given("quiet") { flags.is_set("quiet") } else { !terminal::stdout_is_terminal() };
    let job = Job { context, follow: flags.is_set("follow-link"), owners: flags.is_set("archive"), quiet };
    match (paths::split_argument(flags.arg(0)), paths::split_argument(flags.arg(1))) {
        ((Some(container), from), (None, to)) => job.from_container(container, from, to).await?,
        ((None, from), (Some(container), to)) => job.to_container(container, from, to).await?,
        ((Some(_), _), (Some(_), _)) => return Err(Failure::text("copying between containers is not supported")),
        ((None, _), (None, _)) => return Err(Failure::text("must specify at least one container source")),
    }
    Ok(0)
}

struct Job<'a> {
    context: &'a Context,
    follow: bool,
    owners: bool,
    quiet: bool,
}

impl Job<'_> {
    async fn stat(&self, container: &str, path: &str) -> Result<Stat, Failure> {
        let request = Request::head(format!("/containers/{}/archive", escape(container))).with("path", path);
        Stat::decode(self.context.client.header(request, stat::HEADER).await?.as_deref())
    }

    async fn from_container(&self, container: &str, from: &str, to: &str) -> Result<(), Failure> {
        let place = if to == "-" { to.to_owned() } else { paths::absolute(to)? };
        destination::check(&place).map_err(Failure::Text)?;
        let mut copied = Copied { path: from.to_owned(), is_directory: false, rebase: None };
        if self.follow
            && let Ok(found) = self.stat(container, from).await
            && found.is_link()
        {
            let target = paths::link_target(from, &found.link_target);
            (copied.path, copied.rebase) = paths::rebased(from, &target);
        }
        let request = Request::get(format!("/containers/{}/archive", escape(container))).with("path", &copied.path);
        let body = self.context.client.stream(request).await?;
        let found = Stat::decode(body.header(stat::HEADER))
            .map_err(|error| Failure::Text(format!("unable to get resource stat from response: {error}")))?;
        if to == "-" {
            return to_stdout(body).await;
        }
        copied.is_directory = found.is_directory();
        let count = Arc::new(AtomicU64::new(0));
        let reader = BodyReader::start(body, count.clone());
        let meter = Meter::start(self.quiet, "Copying from container - ", count);
        let at = place.clone();
        let unpacked = tokio::task::spawn_blocking(move || Destination::find(&at, &copied)?.unpack(reader));
        let unpacked = meter.watch(async { Ok(unpacked.await) }).await?;
        meter.end(&place);
        unpacked.map_err(|error| Failure::Text(error.to_string()))?.map_err(Failure::Text)
    }

    async fn to_container(&self, container: &str, from: &str, to: &str) -> Result<(), Failure> {
        let from = if from == "-" { from.to_owned() } else { paths::absolute(from)? };
        let mut target = Target { path: to.to_owned(), is_there: false, is_directory: false };
        let mut found = self.stat(container, to).await;
        if let Ok(link) = &found
            && link.is_link()
        {
            target.path = paths::link_target(to, &link.link_target);
            found = self.stat(container, &target.path).await;
        }
        if let Ok(found) = &found {
            found.check_place().map_err(|reason| {
                Failure::Text(format!(
                    "destination \"{container}:{to}\" must be a directory or a regular file: {reason}"
                ))
            })?;
            (target.is_there, target.is_directory) = (true, found.is_directory());
        }
        let count = Arc::new(AtomicU64::new(0));
        let (place, upload) = if from == "-" {
            if !target.is_directory {
                return Err(Failure::Text(format!("destination \"{container}:{to}\" must be a directory")));
            }
            (target.path.clone(), None)
        } else {
            let source = Source::find(&from, self.follow).map_err(Failure::Text)?;
            let (place, name) = paths::place(&source.copied, &target).map_err(Failure::text)?;
            let counted = count.clone();
            let upload = Upload::start(move |pipe| source.pack(name.as_deref(), meter::Counting::new(pipe, counted)))?;
            (place, Some(upload))
        };
        let meter = Meter::start(self.quiet, "Copying to container - ", count);
        let sent = meter.watch(self.send(container, &place, upload)).await;
        meter.end(&format!("{container}:{}", target.path));
        sent
    }

    async fn send(&self, container: &str, place: &str, upload: Option<Upload>) -> Result<(), Failure> {
        let mut request = Request::put(format!("/containers/{}/archive", escape(container)));
        if self.owners {
            request = request.with("copyUIDGID", "true");
        }
        request = request.with("noOverwriteDirNonDir", "true").with("path", place);
        let client = &self.context.client;
        match upload {
            None => {
                let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
                client.send(request.upload(tokio::fs::File::from_std(stdin.into()))).await?;
                Ok(())
            }
            Some(mut upload) => {
                if let Some(body) = upload.body() {
                    request = request.upload(body);
                }
                let answer = client.send(request).await.map(drop).map_err(Failure::from);
                upload.end(answer).await
            }
        }
    }
}
