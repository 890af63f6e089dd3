//! The request: everything about a build but its context.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use engine_api::auth::AuthConfig;
use engine_client::Request;
use serde_json::json;

use dockerfile::Dockerfile;

use super::context::DockerfileText;
use crate::command::Matches;
use crate::container::devices;
use crate::container::proxies;
use crate::context::Context;
use crate::failure::Failure;
use crate::text::size::parse_bytes;

/// The largest secret, as in Docker.
const MAX_SECRET: u64 = 500 << 10;
/// What a header may hold.
const MAX_SECRETS: usize = 48 << 10;

pub fn of(context: &Context, flags: &Matches, file: Option<&DockerfileText>) -> Result<Request, Failure> {
    let mut request = Request::post("/build").with("version", "1");
    for tag in flags.list("tag") {
        request = request.with("t", tag);
    }
    let bytes = |name: &str| match flags.text(name) {
        "" => String::new(),
        "-1" => "-1".to_owned(),
        text => parse_bytes(text).unwrap_or(0).to_string(),
    };
    let number = |name: &str| Some(flags.int(name)).filter(|n| *n != 0).map(|n| n.to_string()).unwrap_or_default();
    request = request
        .with_flag("q", flags.is_set("quiet"))
        .with_flag("nocache", flags.is_set("no-cache"))
        .with_flag("pull", flags.is_set("pull"))
        .with("rm", if flags.is_set("rm") { "1" } else { "0" })
        .with_flag("forcerm", flags.is_set("force-rm"))
        .with_flag("squash", flags.is_set("squash"))
        .with_some("target", flags.text("target"))
        .with_some("platform", flags.text("platform"))
        .with_some("networkmode", flags.text("network"))
        .with_some("cgroupparent", flags.text("cgroup-parent"))
        .with_some("cpuperiod", number("cpu-period"))
        .with_some("cpuquota", number("cpu-quota"))
        .with_some("cpushares", number("cpu-shares"))
        .with_some("cpusetcpus", flags.text("cpuset-cpus"))
        .with_some("cpusetmems", flags.text("cpuset-mems"))
        .with_some("isolation", flags.text("isolation"))
        .with_some("memory", bytes("memory"))
        .with_some("memswap", bytes("memory-swap"))
        .with_some("shmsize", bytes("shm-size"))
        .with("buildargs", json!(arguments(context, flags.list("build-arg"))).to_string())
        .with("labels", json!(labels(flags.list("label"))).to_string());
    request = lists(request, flags)?;
    request = contexts(request, flags)?;
    let secrets = secrets(flags.list("secret"))?;
    if !secrets.is_empty() {
        let secrets: BTreeMap<_, _> = secrets.iter().map(|(id, value)| (id, STANDARD.encode(value))).collect();
        let header = URL_SAFE.encode(json!(secrets).to_string());
        if header.len() > MAX_SECRETS {
            return Err(Failure::Text(format!("all secrets of a build have at most {MAX_SECRETS} bytes")));
        }
        request = request.header("x-longshore-build-secrets", &header);
    }
    let mut auths: BTreeMap<String, AuthConfig> = context.config.all_auths();
    // Helpers are asked for the registries that the Dockerfile names, not for all that they know.
    for image in file.map(images_of).unwrap_or_default() {
        let Ok(reference) = ids::Reference::parse_familiar(&image) else { continue };
        let auth = context.config.auth_for(&image);
        if !auth.username.is_empty() || !auth.identity_token.is_empty() {
            auths.entry(reference.domain().to_owned()).or_insert(auth);
        }
    }
    let auths = serde_json::to_string(&auths).unwrap_or_else(|_| "{}".to_owned());
    Ok(request.header("x-registry-config", &URL_SAFE.encode(auths)))
}

/// Images that a Dockerfile names without variables.
fn images_of(file: &DockerfileText) -> Vec<String> {
    let Ok(parsed) = Dockerfile::parse(&file.bytes) else { return Vec::new() };
    let mut images: Vec<String> = parsed.stages.iter().map(|stage| stage.base.clone()).collect();
    for statement in parsed.stages.iter().flat_map(|stage| &stage.statements) {
        images.extend(statement.instruction.sources().into_iter().map(str::to_owned));
    }
    images.retain(|image| image != "scratch" && parsed.stage(image).is_none() && !image.contains('$'));
    images
}

fn lists(mut request: Request, flags: &Matches) -> Result<Request, Failure> {
    let ulimits = devices::ulimits(flags.list("ulimit")).map_err(Failure::Text)?;
    if !ulimits.is_empty() {
        request = request.with("ulimits", serde_json::to_string(&ulimits).unwrap_or_default());
    }
    let some = |name: &str| Some(flags.list(name)).filter(|list| !list.is_empty());
    if let Some(options) = some("security-opt") {
        request = request.with("securityopt", json!(options).to_string());
    }
    if let Some(pieces) = some("cache-from") {
        request = request.with("cachefrom", json!(cache_sources(pieces)).to_string());
    }
    if let Some(targets) = some("cache-to") {
        request = request.with("longshore-cache-to", json!(targets).to_string());
    }
    if let Some(hosts) = some("add-host") {
        // As the daemon's containers have them; a client writes `host=ip` too.
        let hosts: Vec<String> = hosts.iter().map(|host| host.replacen('=', ":", 1)).collect();
        request = request.with("extrahosts", hosts.join(","));
    }
    Ok(request)
}

/// Names, and `type=…,…` whose commas the flag has taken for those between names.
pub(super) fn cache_sources(pieces: &[String]) -> Vec<String> {
    let mut sources: Vec<String> = Vec::new();
    for piece in pieces {
        let is_whole = |source: &&mut String| {
            let has_type = source.split(',').any(|field| field.starts_with("type="));
            !source.contains('=') || has_type && piece.starts_with("type=")
        };
        match sources.last_mut().filter(|_| piece.contains('=')).filter(|last| !is_whole(last)) {
            Some(last) => *last = format!("{last},{piece}"),
            None => sources.push(piece.clone()),
        }
    }
    sources
}

fn contexts(mut request: Request, flags: &Matches) -> Result<Request, Failure> {
    let mut contexts = BTreeMap::new();
    for text in flags.list("build-context") {
        let wrong = || Failure::Text(format!("invalid context value: {text}, expected key=value"));
        let (name, source) = text.split_once('=').ok_or_else(wrong)?;
        if !source.starts_with("docker-image://") {
            return Err(Failure::Text(format!(
                "--build-context {text}: only images (docker-image://…) are supported as further contexts"
            )));
        }
        contexts.insert(name.to_owned(), source.to_owned());
    }
    if !contexts.is_empty() {
        request = request.with("longshore-contexts", json!(contexts).to_string());
    }
    Ok(request.with_some("longshore-no-cache-filter", flags.list("no-cache-filter").join(",")))
}

/// `NAME=value`; a name alone has the environment's value, or none.
pub(super) fn arguments(context: &Context, given: &[String]) -> BTreeMap<String, Option<String>> {
    let mut arguments = BTreeMap::new();
    // The environment's time counts for every build, as it does elsewhere.
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        arguments.insert("SOURCE_DATE_EPOCH".to_owned(), Some(epoch));
    }
    for variable in proxies::add_to(context, Vec::new()) {
        if let Some((name, value)) = variable.split_once('=') {
            arguments.insert(name.to_owned(), Some(value.to_owned()));
        }
    }
    for text in given {
        match text.split_once('=') {
            Some((name, value)) => arguments.insert(name.to_owned(), Some(value.to_owned())),
            None => arguments.insert(text.clone(), std::env::var(text).ok()),
        };
    }
    arguments
}

pub(super) fn labels(given: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    given.iter().map(pair).collect()
}

/// `id=name[,src=path][,env=VARIABLE]`.
pub(super) fn secrets(given: &[String]) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut secrets = BTreeMap::new();
    for text in given {
        let (mut id, mut file, mut variable) = ("", "", "");
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("id", value)) => id = value,
                Some(("src" | "source", value)) => file = value,
                Some(("env", value)) => variable = value,
                Some(("type", "file" | "env")) => {}
                _ => return Err(Failure::Text(format!("unexpected key '{field}' in '{text}'"))),
            }
        }
        if id.is_empty() {
            id = if file.is_empty() { variable } else { file.rsplit('/').next().unwrap_or(file) };
        }
        let from_variable = |name: &str| std::env::var(name).ok().map(String::into_bytes);
        let value = match (file, variable) {
            ("", "") => from_variable(id).or_else(|| std::fs::read(id).ok()),
            ("", variable) => from_variable(variable),
            (file, _) => {
                let size = std::fs::metadata(file).map_err(|error| {
                    Failure::Text(format!("failed to stat {file}: {}", crate::container::options::os_words(&error)))
                })?;
                if size.len() > MAX_SECRET {
                    return Err(Failure::Text(format!("secret {id} has more than {MAX_SECRET} bytes")));
                }
                Some(std::fs::read(file)?)
            }
        };
        let value = value.ok_or_else(|| Failure::Text(format!("secret {id}: neither a file nor a variable has it")))?;
        secrets.insert(id.to_owned(), value);
    }
    Ok(secrets)
}

/// Twenty digits, to differ from all others.
pub(super) fn random_hex() -> String {
    let mut bytes = [0_u8; 10];
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).is_err() {
        bytes[..4].copy_from_slice(&std::process::id().to_be_bytes());
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "value").unwrap();
        let text = |text: String| secrets(&[text]);
        let found = text(format!("id=k,src={}", path.display())).unwrap();
        assert_eq!(found["k"], b"value");
        assert_eq!(text(format!("src={}", path.display())).unwrap().keys().collect::<Vec<_>>(), ["key"]);
        assert!(text("id=k,src=/nonexistent".to_owned()).unwrap_err().to_string().contains("failed to stat"));
        assert!(text("foo=k".to_owned()).unwrap_err().to_string().contains("unexpected key"));
        assert!(text("id=no_such_variable".to_owned()).is_err());
    }

    #[test]
    fn sources_of_caches_are_put_together_again() {
        let of = |text: &str| cache_sources(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("a,r.io/b:1"), ["a", "r.io/b:1"]);
        assert_eq!(of("a,type=registry,ref=b,type=local,src=c"), ["a", "type=registry,ref=b", "type=local,src=c"]);
        assert_eq!(of("ref=b,type=registry,a"), ["ref=b,type=registry", "a"]);
    }

    #[test]
    fn labels_may_have_no_value() {
        let found = labels(&["a=b=c".to_owned(), "d".to_owned()]);
        assert_eq!((found["a"].as_str(), found["d"].as_str()), ("b=c", ""));
    }
}
