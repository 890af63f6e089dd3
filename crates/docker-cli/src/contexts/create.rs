//! `docker context create` and `docker context update`.

use std::collections::BTreeMap;
use std::path::Path;

use super::endpoint::{CA, CERT, KEY, endpoint, stored_tls};
use super::store::{DEFAULT, DOCKER, Meta, TlsData, bounded, check_name};
use crate::command::flag::parse_bool;
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::text::quote;

/// The description that a copy of the default context has.
pub const DEFAULT_DESCRIPTION: &str = "Current DOCKER_HOST based configuration";

macro_rules! long {
    ($title:literal, $verb:literal) => {
        concat!(
            $title,
            "\n\nDocker endpoint config:\n\n",
            "NAME                DESCRIPTION\n",
            "from                Copy named context's Docker endpoint configuration\n",
            "host                Docker endpoint on which to connect\n",
            "ca                  Trust certs signed only by this CA\n",
            "cert                Path to TLS certificate file\n",
            "key                 Path to TLS key file\n",
            "skip-tls-verify     Skip TLS certificate validation\n",
            "\nExample:\n\n$ docker context ",
            $verb,
            " my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\""
        )
    };
}

const CREATE_LONG: &str = long!("Create a context", "create");
const UPDATE_LONG: &str = long!("Update a context", "update");

#[rustfmt::skip]
const CREATE_FLAGS: &[Flag] = &[
    flag("description", NONE, Kind::Text, "", "Description of the context"),
    flag("docker", NONE, Kind::Pairs, "[]", "set the docker endpoint"),
    flag("from", NONE, Kind::Text, "", "create context from a named context"),
];

#[rustfmt::skip]
const UPDATE_FLAGS: &[Flag] = &[
    flag("description", NONE, Kind::Text, "", "Description of the context"),
    flag("docker", NONE, Kind::Pairs, "[]", "set the docker endpoint"),
];

pub const CREATE: Command = Command {
    name: "create",
    usage: "[OPTIONS] CONTEXT",
    about: "Create a context",
    long: CREATE_LONG,
    flags: &[CREATE_FLAGS],
    args: Args::Exactly(1),
    local: true,
    action: Some(|context, flags| Box::pin(async move { create(context, flags) })),
    ..Command::EMPTY
};

pub const UPDATE: Command = Command {
    name: "update",
    usage: "[OPTIONS] CONTEXT",
    about: "Update a context",
    long: UPDATE_LONG,
    flags: &[UPDATE_FLAGS],
    args: Args::Exactly(1),
    local: true,
    action: Some(|context, flags| Box::pin(async move { update(context, flags) })),
    ..Command::EMPTY
};

fn create(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let name = flags.arg(0);
    check_name(name)?;
    let store = &context.contexts;
    if store.has(name) {
        return Err(Failure::text(format!("context {} already exists", quote(name))));
    }
    let from = flags.text("from");
    let (mut meta, tls) = if !from.is_empty() || !flags.given("docker") {
        if !from.is_empty() && flags.given("docker") {
            return Err(Failure::text("cannot use --docker flag when --from is set"));
        }
        let from = if from.is_empty() { context.current_context.as_str() } else { from };
        stored(context, from)?
    } else {
        let mut meta = Meta { metadata: serde_json::json!({}), ..Meta::default() };
        let tls = apply(context, flags, &mut meta)?;
        (meta, tls)
    };
    if !flags.text("description").is_empty() {
        meta.describe(flags.text("description"));
    }
    meta.name = name.to_owned();
    store.put(&meta)?;
    store.put_tls(name, &tls)?;
    told(name, "created")
}

fn update(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let name = flags.arg(0);
    check_name(name)?;
    let mut meta = context.contexts.get(name)?;
    if !flags.text("description").is_empty() {
        meta.describe(flags.text("description"));
    }
    let tls = if flags.given("docker") { Some(apply(context, flags, &mut meta)?) } else { None };
    context.contexts.put(&meta)?;
    if let Some(tls) = tls {
        context.contexts.put_tls(name, &tls)?;
    }
    told(name, "updated")
}

pub fn told(name: &str, verb: &str) -> Result<u8, Failure> {
    context::print_line(name)?;
    context::say(&format!("Successfully {verb} context {}", quote(name)));
    Ok(0)
}

/// A context with its files; the default one as flags and environment make it.
pub fn stored(context: &Context, name: &str) -> Result<(Meta, TlsData), Failure> {
    if name != DEFAULT {
        return Ok((context.contexts.get(name)?, context.contexts.tls(name)?));
    }
    let mut meta = Meta { name: DEFAULT.to_owned(), ..Meta::default() };
    meta.describe(DEFAULT_DESCRIPTION);
    let (host, skip_verify, files) = context.default_endpoint()?;
    meta.set_docker(&host, skip_verify);
    let tls = if files.is_empty() { TlsData::new() } else { TlsData::from([(DOCKER.to_owned(), files)]) };
    Ok((meta, tls))
}

/// `--docker host=…,ca=…`, or `from=` another context; the files of the endpoint.
fn apply(context: &Context, flags: &Matches, meta: &mut Meta) -> Result<TlsData, Failure> {
    let wrong = |reason: Failure| Failure::text(format!("unable to create docker endpoint config: {reason}"));
    let pairs: BTreeMap<&str, &str> = flags.list("docker").iter().filter_map(|pair| pair.split_once('=')).collect();
    apply_pairs(context, &pairs, meta).map_err(wrong)
}

fn apply_pairs(context: &Context, pairs: &BTreeMap<&str, &str>, meta: &mut Meta) -> Result<TlsData, Failure> {
    const KEYS: &[&str] = &["from", "host", "ca", "cert", "key", "skip-tls-verify"];
    let unknown: Vec<&str> = pairs.keys().copied().filter(|key| !KEYS.contains(key)).collect();
    if !unknown.is_empty() {
        return Err(Failure::text(format!("unrecognized config key: {}", unknown.join(", "))));
    }
    let text = |key: &str| pairs.get(key).copied().unwrap_or_default();
    if pairs.contains_key("from") {
        let (from, _) = stored(context, text("from"))?;
        let (host, skip_verify) = from.docker()?;
        meta.set_docker(&host, skip_verify);
        return Ok(TlsData::new());
    }
    let mut files = BTreeMap::new();
    for (key, file) in [("ca", CA), ("cert", CERT), ("key", KEY)] {
        if !text(key).is_empty() {
            files.insert(file.to_owned(), bounded(Path::new(text(key)))?);
        }
    }
    let skip_verify = match text("skip-tls-verify") {
        "" => false,
        word => parse_bool(word)
            .ok_or_else(|| Failure::text(format!("skip-tls-verify: parsing {}: invalid syntax", quote(word))))?,
    };
    check(text("host"), &files, skip_verify)?;
    meta.set_docker(text("host"), skip_verify);
    Ok(if files.is_empty() { TlsData::new() } else { TlsData::from([(DOCKER.to_owned(), files)]) })
}

/// Refuses what could never be connected to.
fn check(host: &str, files: &BTreeMap<String, Vec<u8>>, skip_verify: bool) -> Result<(), Failure> {
    let tls = stored_tls(&mut files.clone(), skip_verify);
    endpoint(host, tls).map(drop).or_else(|failure| {
        let text = failure.to_string();
        // Another client may know what this one does not.
        if text.starts_with("invalid bind address format") || text == "protocol not available" {
            return Ok(());
        }
        let step = if text.starts_with("unable to parse docker host") {
            "unable to apply docker endpoint options"
        } else {
            "invalid docker endpoint options"
        };
        Err(Failure::text(format!("{step}: {text}")))
    })
}
