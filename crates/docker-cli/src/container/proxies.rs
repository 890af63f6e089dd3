//! Proxies that the configuration has for new containers.

use crate::context::Context;

/// Adds the proxies of this daemon, or the default ones, in both spellings; a variable that was asked for stays.
pub fn add_to(context: &Context, environment: Vec<String>) -> Vec<String> {
    let proxies = &context.config.proxies;
    let Some(proxy) = proxies.get(&context.client.host().to_string()).or_else(|| proxies.get("default")) else {
        return environment;
    };
    let mut out = environment;
    for (name, value) in [
        ("HTTP_PROXY", &proxy.http_proxy),
        ("HTTPS_PROXY", &proxy.https_proxy),
        ("NO_PROXY", &proxy.no_proxy),
        ("FTP_PROXY", &proxy.ftp_proxy),
        ("ALL_PROXY", &proxy.all_proxy),
    ] {
        if value.is_empty() {
            continue;
        }
        for spelling in [name.to_owned(), name.to_lowercase()] {
            if !out.iter().any(|variable| variable.split('=').next() == Some(&spelling)) {
                out.push(format!("{spelling}={value}"));
            }
        }
    }
    out
}
