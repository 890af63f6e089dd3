//! `docker version`.

use std::fmt::Write as _;

use engine_api::ApiVersion;
use engine_api::system::{ComponentVersion, Version};
use engine_client::Request;
use serde_json::{Value as Json, json};

use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::format::object::ObjectFormat;
use crate::inspect::OBJECT_FORMAT_USAGE;
use crate::messages;
use crate::text::table::align_with;
use crate::text::time::local_ansic;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", 'f', Kind::Text, "", OBJECT_FORMAT_USAGE),
];

pub const COMMAND: Command = Command {
    name: "version",
    usage: "[OPTIONS]",
    about: "Show the Docker version information",
    flags: &[FLAGS],
    args: Args::None,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// The processor, as Go names it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let asked = flags.text("format");
    let format = ObjectFormat::new(asked).map_err(|failure| match failure {
        Failure::Status { code, message } => Failure::Status { code, message: named(&message) },
        other => other,
    });
    let format = if asked.is_empty() { None } else { Some(format?) };
    let server = context.client.call::<Version>(Request::get("/version")).await;
    // Without a daemon there is nothing to agree with.
    let spoken = if server.is_ok() { context.client.version().await? } else { ApiVersion::MAX };
    let (server, error) = match server {
        Ok(server) => (Some(server), None),
        Err(error) => (None, Some(error)),
    };
    let text = match format {
        Some(format) => match format.render(&object(spoken, server.as_ref(), &context.current_context)) {
            Ok(text) => text,
            Err(failure) => {
                context::print("\n")?;
                return Err(in_words_of_version(&failure));
            }
        },
        None => page(spoken, server.as_ref(), &context.current_context),
    };
    context::print(&text)?;
    match error {
        Some(error) => Err(error.into()),
        None => Ok(0),
    }
}

/// Docker's template has the name `version` here.
fn named(words: &str) -> String {
    words.replacen("template: :", "template: version:", 1).replacen("executing \"\"", "executing \"version\"", 1)
}

/// Docker fills structures of its own here, and names them.
fn in_words_of_version(failure: &Failure) -> Failure {
    let words = named(&failure.to_string());
    let words = words.strip_prefix("template parsing error: ").unwrap_or(&words);
    Failure::Text(match words.split_once("map has no entry for key ") {
        Some((before, field)) => {
            let structure = match before {
                _ if before.contains("<.Client.") => "system.clientVersion",
                _ if before.contains("<.Server.Platform.") => "struct { Name string }",
                _ if before.contains("<.Server.") => "*types.Version",
                _ => "system.versionInfo",
            };
            format!("{before}can't evaluate field {} in type {structure}", field.trim_matches('"'))
        }
        None => words.to_owned(),
    })
}

fn object(spoken: ApiVersion, server: Option<&Version>, context: &str) -> Json {
    let mut server = server.cloned();
    for component in server.iter_mut().flat_map(|server| &mut server.components) {
        if let Some(built) = component.details.get_mut("BuildTime")
            && let Some(local) = local_ansic(built)
        {
            *built = local;
        }
    }
    json!({
        "Client": {
            "Version": messages::VERSION,
            "ApiVersion": spoken.to_string(),
            "DefaultAPIVersion": ApiVersion::MAX.to_string(),
            "GitCommit": messages::COMMIT,
            "GoVersion": messages::LANGUAGE,
            "Os": std::env::consts::OS,
            "Arch": architecture(),
            "BuildTime": local_ansic(messages::BUILT).unwrap_or_default(),
            "Context": context,
        },
        "Server": server,
    })
}

fn page(spoken: ApiVersion, server: Option<&Version>, context: &str) -> String {
    let default = ApiVersion::MAX;
    let downgraded = if spoken == default { String::new() } else { format!(" (downgraded from {default})") };
    let mut text = String::from("Client:\n");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, " {name}:\t{value}");
    };
    line("Version", messages::VERSION);
    line("API version", &format!("{spoken}{downgraded}"));
    line("Go version", messages::LANGUAGE);
    line("Git commit", messages::COMMIT);
    line("Built", &local_ansic(messages::BUILT).unwrap_or_default());
    line("OS/Arch", &format!("{}/{}", std::env::consts::OS, architecture()));
    line("Context", context);
    let mut page = align_with(&text, 20, 1);
    if let Some(server) = server {
        page.push_str(&server_part(server));
    }
    page
}

fn server_part(server: &Version) -> String {
    let platform = server.platform.name.as_str();
    let mut text = if platform.is_empty() { String::from("\nServer:\n") } else { format!("\nServer: {platform}\n") };
    let engine = engine_component(server);
    let others: Vec<&ComponentVersion> = server.components.iter().filter(|part| part.name != "Engine").collect();
    for component in std::iter::once(&engine).chain(others) {
        let _ = writeln!(text, " {}:", component.name);
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name}:\t{value}");
        };
        line("Version", &component.version);
        let detail = |name: &str| component.details.get(name).map(String::as_str).unwrap_or_default();
        if component.name == "Engine" {
            line("API version", &format!("{} (minimum version {})", detail("ApiVersion"), detail("MinAPIVersion")));
            line("Go version", detail("GoVersion"));
            line("Git commit", detail("GitCommit"));
            line("Built", &local_ansic(detail("BuildTime")).unwrap_or_else(|| detail("BuildTime").to_owned()));
            line("OS/Arch", &format!("{}/{}", detail("Os"), detail("Arch")));
            line("Experimental", detail("Experimental"));
        } else {
            for (name, value) in &component.details {
                line(name, value);
            }
        }
    }
    align_with(&text, 20, 1)
}

/// The engine's own line; daemons from before API 1.35 tell it at the top level only.
fn engine_component(server: &Version) -> ComponentVersion {
    if let Some(engine) = server.components.iter().find(|part| part.name == "Engine") {
        return engine.clone();
    }
    let details = [
        ("ApiVersion", server.api_version.clone()),
        ("MinAPIVersion", server.min_api_version.clone()),
        ("GoVersion", server.go_version.clone()),
        ("GitCommit", server.git_commit.clone()),
        ("BuildTime", server.build_time.clone()),
        ("Os", server.os.clone()),
        ("Arch", server.arch.clone()),
        ("Experimental", server.experimental.to_string()),
    ];
    ComponentVersion {
        name: "Engine".to_owned(),
        version: server.version.clone(),
        details: details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}
