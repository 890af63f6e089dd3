//! Which daemon is meant: by flags, environment, the current context, in Docker's order.

use engine_client::{Endpoint, Host, Tls, complete_host};

use super::store::{DEFAULT, DOCKER, Files, Store, bounded};
use crate::command::globals::{CONTEXT_VARIABLE, Globals, HOST_VARIABLE, TlsFiles, env};
use crate::config::Config;
use crate::failure::Failure;

/// Names of the files that a context keeps for an endpoint.
pub const CA: &str = "ca.pem";
pub const CERT: &str = "cert.pem";
pub const KEY: &str = "key.pem";

/// The context in use. It may be one that is not there.
pub fn current(globals: &Globals, config: &Config) -> String {
    let pick = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    if let Some(named) = pick(&globals.context) {
        return named;
    }
    if !globals.hosts.is_empty() || !env(HOST_VARIABLE).is_empty() {
        return DEFAULT.to_owned();
    }
    pick(&env(CONTEXT_VARIABLE)).or_else(|| pick(&config.current_context)).unwrap_or_else(|| DEFAULT.to_owned())
}

/// The default context's host, completed.
pub fn default_host(globals: &Globals) -> Result<String, Failure> {
    let named = match &globals.hosts[..] {
        [] => env(HOST_VARIABLE),
        [one] => one.clone(),
        _ => return Err(Failure::text("Specify only one -H")),
    };
    Ok(complete_host(&named, globals.tls.is_some())?)
}

/// Host, trust and files of the default context.
pub fn default_parts(globals: &Globals) -> Result<(String, bool, Files), Failure> {
    let mut files = Files::new();
    let tls = globals.tls.as_ref().map(read_files).transpose()?;
    let skip_verify = tls.as_ref().is_some_and(|tls| tls.skip_verify);
    for (name, bytes) in tls.into_iter().flat_map(|tls| [(CA, tls.ca), (CERT, tls.cert), (KEY, tls.key)]) {
        files.extend(bytes.map(|bytes| (name.to_owned(), bytes)));
    }
    Ok((default_host(globals)?, skip_verify, files))
}

/// The daemon of a context, with its certificates read.
pub fn resolve(globals: &Globals, store: &Store, name: &str) -> Result<Endpoint, Failure> {
    let unresolved = |failure: Failure| Failure::text(format!("unable to resolve docker endpoint: {failure}"));
    let (host, tls) = if name == DEFAULT {
        let host = default_host(globals).map_err(unresolved)?;
        (host, globals.tls.as_ref().map(read_files).transpose().map_err(unresolved)?)
    } else {
        let meta = store.get(name).map_err(unresolved)?;
        let (host, skip_verify) = meta.docker().map_err(unresolved)?;
        let mut files = store.tls(name).map_err(unresolved)?.remove(DOCKER).unwrap_or_default();
        (host, stored_tls(&mut files, skip_verify))
    };
    endpoint(&host, tls)
}

/// An address as a context has it; the empty one is the default socket.
pub fn endpoint(host: &str, tls: Option<Tls>) -> Result<Endpoint, Failure> {
    let host = Host::parse(if host.is_empty() { engine_client::DEFAULT_HOST } else { host })?;
    let endpoint = match tls {
        Some(tls) => Endpoint::with_tls(host, tls)?,
        None => host.into(),
    };
    Ok(endpoint.through_proxy(|name| std::env::var(name).ok())?)
}

/// What a context's files and its setting make; nothing when there is neither.
pub fn stored_tls(files: &mut Files, skip_verify: bool) -> Option<Tls> {
    let tls = Tls { ca: files.remove(CA), cert: files.remove(CERT), key: files.remove(KEY), skip_verify };
    (tls != Tls::default()).then_some(tls)
}

fn read_files(files: &TlsFiles) -> Result<Tls, Failure> {
    let read = |path: &std::path::Path| if path.as_os_str().is_empty() { Ok(None) } else { bounded(path).map(Some) };
    Ok(Tls { ca: read(&files.ca)?, cert: read(&files.cert)?, key: read(&files.key)?, skip_verify: !files.verify })
}
