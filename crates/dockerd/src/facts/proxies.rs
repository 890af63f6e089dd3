//! The proxies of the daemon as `docker info` shows them: the configuration's, else the environment's, without passwords.

use engine_api::system::Info;

use crate::options::Config;

pub fn describe(info: &mut Info, config: &Config, environment: impl Fn(&str) -> Option<String>) {
    let found = |configured: &Option<String>, name: &str| {
        let configured = configured.clone().filter(|text| !text.is_empty());
        let named = || environment(name).filter(|text| !text.is_empty());
        configured.or_else(named).or_else(|| environment(&name.to_lowercase())).unwrap_or_default()
    };
    info.http_proxy = masked(&found(&config.http_proxy, "HTTP_PROXY"));
    info.https_proxy = masked(&found(&config.https_proxy, "HTTPS_PROXY"));
    info.no_proxy = found(&config.no_proxy, "NO_PROXY");
}

/// What stands before the host is not shown.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://xxxxx:xxxxx@{host}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_goes_before_the_environment_and_no_password_is_shown() {
        let config =
            Config { https_proxy: Some("http://me:secret@proxy.lan:3128/x@y".to_owned()), ..Config::default() };
        let environment = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://other.lan".to_owned()),
            "http_proxy" => Some("http://plain.lan".to_owned()),
            _ => None,
        };
        let mut info = Info::default();
        describe(&mut info, &config, environment);
        assert_eq!(info.https_proxy, "http://xxxxx:xxxxx@proxy.lan:3128/x@y");
        assert_eq!((info.http_proxy.as_str(), info.no_proxy.as_str()), ("http://plain.lan", ""));
    }
}
