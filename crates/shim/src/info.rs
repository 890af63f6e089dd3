//! `-info` and `-version`.

use crate::arguments::Arguments;
use crate::{Error, failed_to};
use containerd_api::Any;
use prost::Message;
use std::io::{self, Read, Write};
use std::path::Path;

const STDIN_LIMIT: u64 = 1 << 20;

/// containerd.types.RuntimeInfo (introspection.proto).
#[derive(Clone, PartialEq, Message)]
struct RuntimeInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    version: Option<RuntimeVersion>,
    #[prost(message, optional, tag = "3")]
    options: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeVersion {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    revision: String,
}

pub fn print_version(arguments: &Arguments) -> Result<(), Error> {
    let name = Path::new(&arguments.program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = format!("{name}:\n  Version:  {}\n", env!("CARGO_PKG_VERSION"));
    io::stdout().write_all(text.as_bytes()).map_err(failed_to("print the version"))
}

pub fn print_info(_: &Arguments) -> Result<(), Error> {
    let mut input = Vec::new();
    io::stdin().take(STDIN_LIMIT).read_to_end(&mut input).map_err(failed_to("read the options"))?;
    let options = Any::decode(input.as_slice()).ok().filter(|options| !options.type_url.is_empty());
    let info = RuntimeInfo {
        name: "io.containerd.longshore.v2".into(),
        version: Some(RuntimeVersion { version: env!("CARGO_PKG_VERSION").into(), revision: String::new() }),
        options,
    };
    io::stdout().write_all(&info.encode_to_vec()).map_err(failed_to("print the runtime's description"))
}
