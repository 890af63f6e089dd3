//! `docker context inspect`.

use serde_json::{Value as Json, json};

use super::create::stored;
use super::store::DEFAULT;
use crate::command::{Args, Command, Flag, Kind, Matches, flag};
use crate::context::Context;
use crate::failure::Failure;
use crate::inspect::{OBJECT_FORMAT_USAGE, show};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("format", 'f', Kind::Text, "", OBJECT_FORMAT_USAGE),
];

pub const COMMAND: Command = Command {
    name: "inspect",
    usage: "[OPTIONS] [CONTEXT] [CONTEXT...]",
    about: "Display detailed information on one or more contexts",
    flags: &[FLAGS],
    args: Args::AtLeast(0),
    local: true,
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// In the place of folders, for the context that has none.
const IN_MEMORY: &str = "<IN MEMORY>";

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let mut flags = flags.clone();
    if flags.args.is_empty() {
        flags.args.push(context.current_context.clone());
    }
    show(&flags, async |name: &str| {
        // Docker escapes angle brackets in its JSON.
        let text = object(context, name)?.to_string();
        Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").into_bytes())
    })
    .await
}

fn object(context: &Context, name: &str) -> Result<Json, Failure> {
    let (mut meta, tls) = stored(context, name)?;
    let (meta_path, tls_path) = if name == DEFAULT {
        meta.describe("");
        (IN_MEMORY.to_owned(), IN_MEMORY.to_owned())
    } else {
        let shown = |path: std::path::PathBuf| path.display().to_string();
        (shown(context.contexts.meta_folder(name)), shown(context.contexts.tls_folder(name)))
    };
    let material: serde_json::Map<String, Json> =
        tls.iter().map(|(endpoint, files)| (endpoint.clone(), json!(files.keys().collect::<Vec<_>>()))).collect();
    let mut object = serde_json::to_value(&meta).map_err(|error| Failure::text(error.to_string()))?;
    object["TLSMaterial"] = Json::Object(material);
    object["Storage"] = json!({"MetadataPath": meta_path, "TLSPath": tls_path});
    Ok(object)
}
