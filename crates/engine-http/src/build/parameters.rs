//! A build's query and headers, as clients send them since the first Docker.

use std::collections::BTreeMap;

use ::builder::{BuildRequest, BuildSecret, CacheSource, CacheTarget, ContextSource, Credentials, Resources, Secrets};
use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use engine_api::auth::AuthConfig;
use engine_api::go_json;
use errors::ErrorKind;
use ids::Reference;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::images::credentials_of;
use crate::request::Request;
use crate::status::Failure;

const REGISTRY_CONFIG: &str = "x-registry-config";
/// Our own client's secrets: base64url of a JSON object, id to base64 of the value. No log and no history shows it.
const BUILD_SECRETS: &str = "x-longshore-build-secrets";
/// Our own client's named contexts, stages that are not looked up, and places of caches.
const CONTEXTS: &str = "longshore-contexts";
const CACHE_TO: &str = "longshore-cache-to";
const NO_CACHE_FILTER: &str = "longshore-no-cache-filter";

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The classic builder's build, its context still to come, and whether it is a quiet one.
pub fn of(request: &Request) -> Result<(BuildRequest, bool), Failure> {
    refuse_sessions(request)?;
    read(request)
}

/// The same for either builder.
pub fn read(request: &Request) -> Result<(BuildRequest, bool), Failure> {
    let query = &request.query;
    let (_, nothing) = mpsc::channel(1);
    let context = match query.text("remote").filter(|remote| *remote != "client-session") {
        Some(remote) => ContextSource::Remote(remote.to_owned()),
        None => ContextSource::Archive(nothing),
    };
    let extra_hosts = match query.text("extrahosts") {
        // Clients have sent it as a JSON list and as one word a host.
        Some(text) if text.starts_with('[') => json::<Vec<String>>(query.text("extrahosts"), "extrahosts")?,
        _ => query.all("extrahosts").iter().flat_map(|list| list.split(',')).map(str::to_owned).collect(),
    };
    let wanted = BuildRequest {
        context,
        dockerfile: query.text("dockerfile").unwrap_or("Dockerfile").trim_start_matches("./").to_owned(),
        tags: tags(request)?,
        arguments: json(query.text("buildargs"), "buildargs")?,
        labels: json(query.text("labels"), "labels")?,
        target: query.text("target").map(str::to_owned),
        no_cache: query.flag("nocache"),
        cache_from: caches(query.text("cachefrom"), "cachefrom", CacheSource::parse)?,
        cache_to: caches(query.text(CACHE_TO), CACHE_TO, CacheTarget::parse)?,
        no_cache_filter: query
            .text(NO_CACHE_FILTER)
            .map(|list| list.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        pull: query.flag("pull"),
        // Before API 1.12 containers stayed unless it was asked for; all that is served is younger.
        remove: query.flag_or("rm", true),
        force_remove: query.flag("forcerm"),
        platform: query.text("platform").map(str::to_owned),
        network_mode: query.text("networkmode").unwrap_or("default").to_owned(),
        extra_hosts: extra_hosts.into_iter().filter(|host| !host.is_empty()).collect(),
        resources: resources(request)?,
        squash: query.flag("squash"),
        credentials: credentials(request)?,
        secrets: secrets(request)?,
        contexts: json(query.text(CONTEXTS), CONTEXTS)?,
        named_files: BTreeMap::new(),
        definition: None,
        ignore: None,
        session: None,
    };
    Ok((wanted, query.flag("q")))
}

/// What belongs to BuildKit (version 2).
fn refuse_sessions(request: &Request) -> Result<(), Failure> {
    let query = &request.query;
    let refused = |message: &str| Err(Failure::new(ErrorKind::NotImplemented, message));
    match query.text("version") {
        None | Some("1") => {}
        Some(other) => return Err(Failure::bad_request(format!("invalid version {other}"))),
    }
    if query.text("remote") == Some("client-session") || query.has("session") && query.text("session").is_some() {
        return refused("a build session belongs to BuildKit's builder: build with DOCKER_BUILDKIT=1");
    }
    if let Some(outputs) = query.text("outputs").filter(|outputs| !matches!(*outputs, "null" | "[]")) {
        let message = format!("the builder makes images only: outputs {outputs} is not supported");
        return Err(Failure::new(ErrorKind::NotImplemented, message));
    }
    Ok(())
}

fn json<T: DeserializeOwned + Default>(text: Option<&str>, name: &str) -> Result<T, Failure> {
    let Some(text) = text.filter(|text| *text != "null") else { return Ok(T::default()) };
    serde_json::from_str(text).map_err(|error| Failure::bad_request(format!("error reading {name}: {error}")))
}

/// Places of caches as they are written: a name, or `type=…,…`.
fn caches<T>(
    text: Option<&str>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, ::builder::BuildError>,
) -> Result<Vec<T>, Failure> {
    let listed: Vec<String> = json(text, name)?;
    Ok(listed.iter().map(|text| parse(text)).collect::<Result<_, _>>()?)
}

fn tags(request: &Request) -> Result<Vec<String>, Failure> {
    let mut tags: Vec<String> = Vec::new();
    for tag in request.query.all("t").iter().filter(|tag| !tag.is_empty()) {
        let reference = Reference::parse_familiar(tag)?;
        if reference.digest().is_some() {
            return Err(Failure::bad_request("build tag cannot contain a digest"));
        }
        let name = reference.with_default_tag().familiar();
        if !tags.contains(&name) {
            tags.push(name);
        }
    }
    Ok(tags)
}

fn resources(request: &Request) -> Result<Resources, Failure> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Limit {
        name: String,
        soft: i64,
        hard: i64,
    }
    let query = &request.query;
    let number = |name: &str| query.number::<i64>(name).map(Option::unwrap_or_default);
    let text = |name: &str| query.text(name).unwrap_or_default().to_owned();
    let ulimits: Vec<Limit> = json(query.text("ulimits"), "ulimits")?;
    Ok(Resources {
        memory: number("memory")?,
        memory_swap: number("memswap")?,
        cpu_shares: number("cpushares")?,
        cpu_quota_us: number("cpuquota")?,
        cpu_period_us: number("cpuperiod")?,
        cpuset_cpus: text("cpusetcpus"),
        cpuset_mems: text("cpusetmems"),
        cgroup_parent: text("cgroupparent"),
        shm_size: number("shmsize")?,
        ulimits: ulimits
            .into_iter()
            .map(|limit| container_core::Ulimit { name: limit.name, soft: limit.soft, hard: limit.hard })
            .collect(),
        security_opt: json(query.text("securityopt"), "securityopt")?,
        isolation: text("isolation"),
    })
}

/// `X-Registry-Config`: base64url of a JSON object, registry to its login.
fn credentials(request: &Request) -> Result<BTreeMap<String, Credentials>, Failure> {
    let Some(header) = request.header(REGISTRY_CONFIG).filter(|header| !header.is_empty()) else {
        return Ok(BTreeMap::new());
    };
    let wrong = || Failure::bad_request("invalid X-Registry-Config header");
    let bytes = BASE64URL.decode(header).or_else(|_| BASE64.decode(header)).map_err(|_| wrong())?;
    // Docker's client has `null` where it knows no registry.
    let config: Option<BTreeMap<String, AuthConfig>> = go_json::decode(&bytes).map_err(|_| wrong())?;
    let entry = |(host, auth): (String, AuthConfig)| Some((host, credentials_of(auth)?));
    Ok(config.unwrap_or_default().into_iter().filter_map(entry).collect())
}

fn secrets(request: &Request) -> Result<Secrets, Failure> {
    let Some(header) = request.header(BUILD_SECRETS) else { return Ok(Secrets::default()) };
    let wrong = || Failure::bad_request(format!("invalid {BUILD_SECRETS} header"));
    let bytes = BASE64URL.decode(header).map_err(|_| wrong())?;
    let encoded: BTreeMap<String, String> = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let mut secrets = Secrets::default();
    for (id, value) in encoded {
        secrets.0.insert(id, BuildSecret::new(BASE64.decode(value).map_err(|_| wrong())?));
    }
    Ok(secrets)
}
