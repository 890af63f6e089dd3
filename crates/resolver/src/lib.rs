//! Names to addresses without the C library: `/etc/hosts`, then the servers of `/etc/resolv.conf` (hosts(5),
//! resolv.conf(5), RFC 1035). A static program has no NSS.
//!
//! Entry point: [`resolve`]. Nothing is kept between two calls; every answer and file has a limit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 2;
const MAX_SERVERS: usize = 3;
const MAX_FILE_BYTES: u64 = 1 << 20;
const A: u16 = 1;
const AAAA: u16 = 28;

/// All addresses of a host, IPv4 first. An address in place of a name is itself.
pub async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let hosts = read("/etc/hosts").await;
    let listed = in_hosts(&hosts, host);
    if !listed.is_empty() {
        return Ok(listed);
    }
    // RFC 6761: the name is loopback's whatever a server says.
    if host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let configuration = parse_configuration(&read("/etc/resolv.conf").await);
    let mut failure = None;
    for name in configuration.candidates(host) {
        match query_all(&configuration.servers, &name).await {
            Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
            Ok(_) => {}
            Err(error) => failure = Some(error),
        }
    }
    let server = configuration.servers.first().map(|server| format!(" on {server}")).unwrap_or_default();
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("lookup {host}{server}: no such host"));
    Err(failure.unwrap_or_else(unknown))
}

struct Configuration {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
}

impl Configuration {
    /// The name as it is, and below the search domains: first or last by the number of its dots.
    fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{host}.{domain}")).collect();
        let dots = host.bytes().filter(|b| *b == b'.').count();
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, host.to_owned());
        names
    }
}

async fn read(path: &str) -> String {
    use tokio::io::AsyncReadExt;
    let mut text = Vec::new();
    if let Ok(file) = tokio::fs::File::open(path).await {
        // Half a file of hosts is better than none.
        let _ = file.take(MAX_FILE_BYTES).read_to_end(&mut text).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
        })
        .collect()
}

fn parse_configuration(text: &str) -> Configuration {
    let mut configuration = Configuration { servers: Vec::new(), search: Vec::new(), ndots: 1 };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") if configuration.servers.len() < MAX_SERVERS => {
                let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                configuration.servers.extend(address.map(|address| SocketAddr::new(address, 53)));
            }
            Some("search" | "domain") => configuration.search = words.take(6).map(str::to_owned).collect(),
            Some("options") => {
                let ndots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                configuration.ndots = ndots.unwrap_or(configuration.ndots);
            }
            _ => {}
        }
    }
    if configuration.servers.is_empty() {
        configuration.servers.push((Ipv4Addr::LOCALHOST, 53).into());
    }
    configuration
}

/// Both families; an error only if no server answered.
async fn query_all(servers: &[SocketAddr], name: &str) -> io::Result<Vec<IpAddr>> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("lookup {name}: no DNS server"));
    for _ in 0..ATTEMPTS {
        for server in servers {
            let (four, six) = tokio::join!(query(*server, name, A), query(*server, name, AAAA));
            match (four, six) {
                (Err(error), Err(_)) => failure = error,
                (four, six) => return Ok([four.unwrap_or_default(), six.unwrap_or_default()].concat()),
            }
        }
    }
    Err(failure)
}

async fn query(server: SocketAddr, name: &str, kind: u16) -> io::Result<Vec<IpAddr>> {
    let failed = |reason: &str| io::Error::other(format!("lookup {name} on {server}: {reason}"));
    let id = random_id();
    let question = encode(id, name, kind).ok_or_else(|| failed("invalid name"))?;
    let exchange = async {
        let answer = over_udp(server, &question).await?;
        // Truncated: the whole answer is had over a stream.
        if answer.get(2).is_some_and(|flags| flags & 2 != 0) { over_tcp(server, &question).await } else { Ok(answer) }
    };
    let answer = match tokio::time::timeout(TIMEOUT, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(io::Error::new(error.kind(), format!("lookup {name} on {server}: {error}"))),
        Err(_) => return Err(failed("i/o timeout")),
    };
    decode(&answer, &question, kind).ok_or_else(|| failed("server misbehaving"))
}

/// Unpredictable enough together with the kernel's choice of port (RFC 5452); the standard library keys its hashers from
/// the kernel's random numbers.
fn random_id() -> u16 {
    use std::hash::BuildHasher;
    (std::hash::RandomState::new().hash_one(0) & 0xffff) as u16
}

async fn over_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let dialled = |error| in_go_s_words(&format!("dial udp {server}: connect"), &error);
    let socket = UdpSocket::bind((any, 0)).await.map_err(dialled)?;
    socket.connect(server).await.map_err(dialled)?;
    let own = socket.local_addr().map_err(dialled)?;
    let told = |action: &str, error| in_go_s_words(&format!("{action} udp {own}->{server}: {action}"), &error);
    socket.send(question).await.map_err(|error| told("write", error))?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(|error| told("read", error))?;
        // Another id is a stray or forged answer: the right one may still come.
        if length >= 12 && buffer[..2] == question[..2] {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

/// As Docker's users know it: what was done, and the system's words in small letters without their number.
fn in_go_s_words(action: &str, error: &io::Error) -> io::Error {
    let text = error.to_string().to_lowercase();
    let words = text.split(" (os error").next().unwrap_or_default();
    io::Error::new(error.kind(), format!("{action}: {words}"))
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).unwrap_or(0);
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn encode(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(name.len() + 18);
    message.extend_from_slice(&id.to_be_bytes());
    // Recursion desired, one question.
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        message.push(u8::try_from(label.len()).ok()?);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    (name.len() <= 253).then_some(message)
}

/// The addresses in the answer to this question; aliases need not be followed, since a recursive server has put their
/// targets' addresses into the same answer. `None` if it is no answer to it, or a failure of the server.
fn decode(message: &[u8], question: &[u8], kind: u16) -> Option<Vec<IpAddr>> {
    let header = message.get(..12)?;
    let is_answer = header[2] & 0x80 != 0 && header[..2] == question[..2];
    let code = header[3] & 15;
    if !is_answer || !matches!(code, 0 | 3) || header[4..6] != [0, 1] {
        return None;
    }
    let asked = message.get(12..question.len())?;
    if !asked.eq_ignore_ascii_case(&question[12..]) {
        return None;
    }
    let count = u16::from_be_bytes([header[6], header[7]]);
    let mut at = question.len();
    let mut addresses = Vec::new();
    for _ in 0..count {
        at = skip_name(message, at)?;
        let fixed = message.get(at..at + 10)?;
        let (found, length) = (u16::from_be_bytes([fixed[0], fixed[1]]), u16::from_be_bytes([fixed[8], fixed[9]]));
        let content = message.get(at + 10..at + 10 + usize::from(length))?;
        at += 10 + content.len();
        if found != kind {
            continue;
        }
        addresses.extend(match kind {
            A => <[u8; 4]>::try_from(content).ok().map(IpAddr::from),
            _ => <[u8; 16]>::try_from(content).ok().map(IpAddr::from),
        });
    }
    Some(addresses)
}

/// Behind a name: labels up to the root, or up to a pointer, which ends it.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length if length < 64 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_in_go_s_words() {
        // A port that was free a moment ago.
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let told = query(server, "registry.example", A).await.unwrap_err().to_string();
        let start = format!("lookup registry.example on {server}: read udp 127.0.0.1:");
        assert!(told.starts_with(&start) && told.ends_with(&format!("->{server}: read: connection refused")), "{told}");
    }

    #[test]
    fn an_answer_is_read_only_for_its_question() {
        let question = encode(7, "registry.example", A).unwrap();
        let mut answer = question.clone();
        answer[2] = 0x81;
        answer[3] = 0x80;
        answer[7] = 2;
        // An alias, then the address.
        answer.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]);
        assert_eq!(decode(&answer, &question, A), Some(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(decode(&answer, &encode(8, "registry.example", A).unwrap(), A), None);
        assert_eq!(decode(&answer, &encode(7, "registry.other", A).unwrap(), A), None);
        for length in 0..answer.len() {
            assert_eq!(decode(&answer[..length], &question, A), None, "cut at {length}");
        }
    }

    #[test]
    fn configuration_files_are_read_as_their_manual_pages_say() {
        let text =
            "# c\nnameserver 10.0.0.2\nnameserver fe80::zz\nsearch a.example b.example\noptions rotate ndots:2\n";
        let configuration = parse_configuration(text);
        assert_eq!(configuration.servers, ["10.0.0.2:53".parse().unwrap()]);
        assert_eq!(configuration.candidates("x.y"), ["x.y.a.example", "x.y.b.example", "x.y"]);
        assert_eq!(configuration.candidates("x.y.z")[0], "x.y.z");
        assert_eq!(configuration.candidates("x."), ["x"]);
        assert_eq!(
            in_hosts("127.0.0.1 localhost\n10.0.0.9 reg Reg.lan # x\n", "reg.LAN"),
            ["10.0.0.9".parse::<IpAddr>().unwrap()]
        );
    }
}
