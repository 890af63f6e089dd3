//! `docker logout`.

use super::{key_of, web_login};
use crate::command::{Args, Command, Matches};
use crate::config::{HUB_KEY, credentials, file};
use crate::context::{self, Context};
use crate::failure::Failure;

pub const COMMAND: Command = Command {
    name: "logout",
    usage: "[SERVER]",
    about: "Log out from a registry",
    long: "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
    args: Args::AtMost(1),
    local: true,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let key = key_of(flags.arg(0));
    if key == HUB_KEY
        && let Err(reason) = web_login::log_out(context).await
    {
        context::say(&format!("WARNING: {reason}"));
    }
    context::print_line(&format!("Removing login credentials for {key}"))?;
    let with_schemes = [format!("http://{key}"), format!("https://{key}")];
    let mut keys = vec![key.as_str()];
    if key != HUB_KEY {
        keys.extend(with_schemes.iter().map(String::as_str));
        if !flags.arg(0).is_empty() && !keys.contains(&flags.arg(0)) {
            keys.push(flags.arg(0));
        }
    }
    if let Some(helper) = context.config.helper(&key) {
        keys.iter().for_each(|key| credentials::erase(helper, key));
    }
    match file::erase_credentials(&context.config.folder, &keys) {
        Ok(()) => Ok(0),
        Err(failure) => {
            context::say(&format!("WARNING: could not erase credentials:\n{key}: {failure}"));
            Ok(0)
        }
    }
}
