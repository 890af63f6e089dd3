//! Addresses of receivers: the part of a URL that drivers use.

use percent_encoding::percent_decode_str;

/// `scheme://host/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: String,
    /// With its port, if it has one.
    pub host: String,
    pub path: String,
}

impl Address {
    pub fn parse(text: &str) -> Result<Self, String> {
        let failed = |why: &str| format!("parse {text:?}: {why}");
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(failed("net/url: invalid control character in URL"));
        }
        let (scheme, rest) = match text.split_once(':') {
            Some(("", _)) => return Err(failed("missing protocol scheme")),
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            Some((before, _)) if !before.contains('/') => {
                return Err(failed("first path segment in URL cannot contain colon"));
            }
            _ => (String::new(), text),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        let path = percent_decode_str(path).decode_utf8().map_err(|_| failed("invalid URL escape"))?.into_owned();
        // A user's name is of no use to a log receiver.
        let host = host.rsplit('@').next().unwrap_or_default().to_owned();
        if let Some((name, port)) = split_port(&host)
            && (!port.bytes().all(|byte| byte.is_ascii_digit()) || (name.contains(':') && !name.starts_with('[')))
        {
            return Err(failed(&format!("invalid port \":{port}\" after host")));
        }
        Ok(Self { scheme, host, path })
    }

    /// Host and port, `None` where there is no port.
    pub fn host_and_port(&self) -> Option<(String, u16)> {
        let (host, port) = split_port(&self.host)?;
        Some((without_brackets(host), port.parse().ok()?))
    }

    /// The host without its port.
    pub fn host_name(&self) -> String {
        without_brackets(split_port(&self.host).map_or(self.host.as_str(), |(host, _)| host))
    }

    /// What stands behind the host's colon.
    pub fn port(&self) -> Option<&str> {
        split_port(&self.host).map(|(_, port)| port).filter(|port| !port.is_empty())
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn split_port(host: &str) -> Option<(&str, &str)> {
    let (name, port) = host.rsplit_once(':')?;
    // The colons of an address in brackets are its own.
    (!port.ends_with(']')).then_some((name, port))
}

fn without_brackets(host: &str) -> String {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_split_into_its_parts() {
        let parse = |text| Address::parse(text).unwrap();
        let tcp = parse("tcp://192.0.2.1:514");
        assert_eq!((tcp.scheme.as_str(), tcp.host_and_port()), ("tcp", Some(("192.0.2.1".to_owned(), 514))));
        assert_eq!(parse("udp://[::1]:514").host_and_port(), Some(("::1".to_owned(), 514)));
        assert_eq!(parse("udp://[::1]").host_and_port(), None);
        assert_eq!(parse("udp://[::1]").host_name(), "::1");
        assert_eq!(parse("unix:///run/a%20b").path, "/run/a b");
        assert_eq!(parse("tcp+tls://host").scheme, "tcp+tls");
        assert_eq!(parse("plain").scheme, "");
        assert_eq!(
            Address::parse("127.0.0.1:514").unwrap_err(),
            "parse \"127.0.0.1:514\": first path segment in URL cannot contain colon"
        );
        assert_eq!(Address::parse("tcp://h:x").unwrap_err(), "parse \"tcp://h:x\": invalid port \":x\" after host");
    }
}
