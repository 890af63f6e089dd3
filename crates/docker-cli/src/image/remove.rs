//! `docker rmi`, which is `docker image rm`.

use engine_api::image::DeleteResponse;
use engine_client::{Request, escape};

use super::platform;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("force", 'f', Kind::Bool, "", "Force removal of the image"),
    flag("no-prune", NONE, Kind::Bool, "", "Do not delete untagged parents"),
    flag("platform", NONE, Kind::Strings, "", "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
];

/// `docker rmi`.
pub const RMI: Command = Command { name: "rmi", names: &[], ..RM };

/// `docker image rm`.
pub const RM: Command = Command {
    name: "rm",
    names: &["remove"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove one or more images",
    aliases: "docker image rm, docker image remove, docker rmi",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let force = flags.is_set("force");
    let (mut errors, mut fatal) = (Vec::new(), false);
    for name in &flags.args {
        let mut request = Request::delete(format!("/images/{}", escape(name)))
            .with_flag("force", force)
            .with_flag("noprune", flags.is_set("no-prune"));
        for platform in flags.list("platform") {
            request = request.with("platforms", platform::named_parameter(platform)?);
        }
        match context.client.call::<Vec<DeleteResponse>>(request).await {
            Ok(lines) => {
                for line in lines {
                    if line.deleted.is_empty() {
                        context::print_line(&format!("Untagged: {}", line.untagged))?;
                    } else {
                        context::print_line(&format!("Deleted: {}", line.deleted))?;
                    }
                }
            }
            Err(error) => {
                fatal |= !(force && error.is_not_found());
                errors.push(error.to_string());
            }
        }
    }
    if errors.is_empty() {
        return Ok(0);
    }
    let message = errors.join("\n");
    if fatal {
        return Err(Failure::Text(message));
    }
    context::say(&message);
    Ok(0)
}
