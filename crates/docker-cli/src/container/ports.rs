//! `-p` and `--expose`, and ports as tables show them.

use std::collections::BTreeMap;

use engine_api::container::Port;
use engine_api::host_config::PortMap;
use engine_api::network::PortBinding;

/// Most ports that one range may have.
const MAX_RANGE: u32 = 65_536;

/// `-p`: `80`, `8080:80`, `127.0.0.1:8080:80/udp`, `[::1]::80`, ranges.
pub fn parse(list: &[String]) -> Result<PortMap, String> {
    let mut map: PortMap = BTreeMap::new();
    for text in list {
        let text = if text.contains('=') { long_form(text)? } else { text.clone() };
        for (port, binding) in parse_one(&text)? {
            map.entry(port).or_default().get_or_insert_default().push(binding);
        }
    }
    Ok(map)
}

/// `-p target=80,published=8080,protocol=tcp` in the short form; what is missing is told there.
fn long_form(text: &str) -> Result<String, String> {
    let (mut target, mut published, mut protocol) = ("", "", "tcp");
    for field in text.split(',') {
        match field.split_once('=').filter(|(key, _)| !key.is_empty()) {
            Some(("target", value)) => target = value,
            Some(("published", value)) => published = value,
            Some(("protocol", value)) => protocol = value,
            // Modes mean something to swarm services only.
            Some(_) => {}
            None => {
                return Err(format!("invalid publish opts format (should be name=value but got '{field}')"));
            }
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

fn parse_one(text: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let (address, rest) = split_address(text)?;
    let (ports, protocol) = rest.split_once('/').unwrap_or((rest, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let (host, container) = ports.rsplit_once(':').unwrap_or(("", ports));
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let container = range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    let host =
        if host.is_empty() { None } else { Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?) };
    let count = container.1 - container.0;
    let bind = |port: String, host_port: String| {
        (format!("{port}/{protocol}"), PortBinding { host_ip: address.clone(), host_port })
    };
    match host {
        Some((low, high)) if high - low != count => {
            // A range for one port: the daemon takes the first that is free.
            if count != 0 {
                return Err(format!(
                    "invalid ranges specified for container and host Ports: {} and {}",
                    shown_range(container),
                    shown_range((low, high))
                ));
            }
            Ok(vec![bind(container.0.to_string(), format!("{low}-{high}"))])
        }
        _ => Ok((0..=count)
            .map(|at| {
                let host_port = host.map(|(low, _)| (low + at).to_string()).unwrap_or_default();
                bind((container.0 + at).to_string(), host_port)
            })
            .collect()),
    }
}

/// The address in front, if there is one: what is before the last two parts.
fn split_address(text: &str) -> Result<(String, &str), String> {
    let invalid = |address: &str| format!("invalid IP address: {address}");
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once("]:").ok_or_else(|| invalid(text))?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| invalid(address))?;
        return Ok((address.to_owned(), rest));
    }
    let mut parts = text.rsplitn(3, ':');
    let tail = parts.next().map_or(0, str::len) + parts.next().map_or(0, |part| part.len() + 1);
    match parts.next() {
        None => Ok((String::new(), text)),
        Some(address) => {
            if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
                return Err(invalid(address));
            }
            Ok((address.to_owned(), &text[text.len() - tail..]))
        }
    }
}

fn shown_range((low, high): (u32, u32)) -> String {
    if low == high { low.to_string() } else { format!("{low}-{high}") }
}

/// `80` or `80-90`.
fn range(text: &str) -> Option<(u32, u32)> {
    let port = |text: &str| text.parse::<u16>().ok().map(u32::from);
    match text.split_once('-') {
        None => port(text).map(|port| (port, port)),
        Some((low, high)) => {
            Some((port(low)?, port(high)?)).filter(|(low, high)| low <= high && high - low < MAX_RANGE)
        }
    }
}

/// Go's words about a port that is none.
fn range_refusal(ports: &str) -> String {
    let wrong = ports.split('-').find(|part| part.parse::<u16>().is_err()).unwrap_or(ports);
    let reason = if wrong.bytes().all(|b| b.is_ascii_digit()) && !wrong.is_empty() {
        "value out of range"
    } else {
        "invalid syntax"
    };
    format!("strconv.ParseUint: parsing {wrong:?}: {reason}")
}

/// `--expose`: ports without a socket of the host.
pub fn parse_exposed(list: &[String]) -> Result<Vec<String>, String> {
    let mut exposed = Vec::new();
    for text in list {
        if text.contains(':') {
            return Err(format!("invalid port format for --expose: {text}"));
        }
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (low, high) = range(ports)
            .ok_or_else(|| format!("invalid range format for --expose: {text}, error: {}", range_refusal(ports)))?;
        exposed.extend((low..=high).map(|port| format!("{port}/{protocol}")));
    }
    Ok(exposed)
}

/// The PORTS column: neighbouring ports of one address and protocol as ranges, published ones first as they sort.
pub fn display(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports.iter().collect();
    sorted.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.protocol).cmp(&(b.private_port, &b.ip, b.public_port, &b.protocol))
    });
    let mut groups: BTreeMap<String, (u16, u16)> = BTreeMap::new();
    let mut shown: Vec<String> = Vec::new();
    let mut single: Vec<String> = Vec::new();
    let mut order: Vec<String> = Vec::new();
    for port in sorted {
        let key = if port.ip.is_empty() {
            port.protocol.clone()
        } else if port.public_port != port.private_port {
            // Ports that differ on both sides are shown one by one.
            let host = join_host_port(&port.ip, &port.public_port.to_string());
            single.push(format!("{host}->{}/{}", port.private_port, port.protocol));
            continue;
        } else {
            format!("{}/{}", port.ip, port.protocol)
        };
        match groups.get_mut(&key) {
            Some(group) if port.private_port == group.1 => {}
            Some(group) if port.private_port == group.1 + 1 => group.1 = port.private_port,
            Some(group) => {
                shown.push(display_group(&key, *group));
                *group = (port.private_port, port.private_port);
            }
            None => {
                order.push(key.clone());
                groups.insert(key, (port.private_port, port.private_port));
            }
        }
    }
    shown.extend(order.iter().map(|key| display_group(key, groups[key])));
    shown.extend(single);
    shown.join(", ")
}

fn display_group(key: &str, (first, last): (u16, u16)) -> String {
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match key.rsplit_once('/') {
        None => format!("{ports}/{key}"),
        Some((ip, protocol)) => format!("{}->{ports}/{protocol}", join_host_port(ip, &ports)),
    }
}

/// Brackets around an IPv6 address.
pub fn join_host_port(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(text: &str) -> Result<String, String> {
        parse(&[text.to_owned()]).map(|map| serde_json::to_string(&map).unwrap())
    }

    #[test]
    fn published_ports_are_read() {
        let cases = [
            ("80", r#"{"80/tcp":[{"HostIp":"","HostPort":""}]}"#),
            ("8080:80/UDP", r#"{"80/udp":[{"HostIp":"","HostPort":"8080"}]}"#),
            (
                "127.0.0.1:90-91:90-91",
                r#"{"90/tcp":[{"HostIp":"127.0.0.1","HostPort":"90"}],"91/tcp":[{"HostIp":"127.0.0.1","HostPort":"91"}]}"#,
            ),
            ("[::1]:99:99", r#"{"99/tcp":[{"HostIp":"::1","HostPort":"99"}]}"#),
            ("127.0.0.1::80", r#"{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":""}]}"#),
            ("1000-1010:80", r#"{"80/tcp":[{"HostIp":"","HostPort":"1000-1010"}]}"#),
            ("target=80,published=8080", r#"{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}"#),
        ];
        for (text, expected) in cases {
            assert_eq!(published(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(published("x:y").unwrap_err(), "invalid containerPort: y");
        assert_eq!(published("x:80").unwrap_err(), "invalid hostPort: x");
        assert_eq!(published("80/foo").unwrap_err(), "invalid proto: foo");
        for bad in ["99999", "1-2:1-3", "a.b:1:2", "90-80"] {
            assert!(published(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn exposed_ports_may_be_ranges() {
        assert_eq!(parse_exposed(&["90-91/udp".into()]).unwrap(), ["90/udp", "91/udp"]);
        assert!(parse_exposed(&["1:2".into()]).is_err());
    }

    #[test]
    fn the_ports_column_joins_neighbours() {
        let port = |ip: &str, private: u16, public: u16| Port {
            ip: ip.into(),
            private_port: private,
            public_port: public,
            protocol: "tcp".into(),
        };
        let ports = [
            port("0.0.0.0", 80, 8080),
            port("::", 80, 8080),
            port("127.0.0.1", 9001, 9001),
            port("127.0.0.1", 9000, 9000),
        ];
        assert_eq!(display(&ports), "127.0.0.1:9000-9001->9000-9001/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
        assert_eq!(display(&[port("", 81, 0), port("", 80, 0), port("", 443, 0)]), "80-81/tcp, 443/tcp");
        assert_eq!(display(&[]), "");
    }
}
