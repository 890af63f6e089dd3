//! SOCKS5 (RFC 1928) with a name and a password (RFC 1929): the proxy is told the host by name and looks it up itself, as Go's
//! programs have it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::proxy::{Login, Proxy};

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const WITH_PASSWORD: u8 = 2;
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Has the proxy at the other end of the stream connect it with this host.
pub(crate) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> io::Result<()> {
    let methods: &[u8] = if proxy.login.is_some() { &[NO_LOGIN, WITH_PASSWORD] } else { &[NO_LOGIN] };
    let offered = u8::try_from(methods.len()).unwrap_or(u8::MAX);
    stream.write_all(&[&[VERSION, offered], methods].concat()).await?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await?;
    match (chosen, &proxy.login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, WITH_PASSWORD], Some(login)) => log_in(stream, proxy, login).await?,
        ([VERSION, _], _) => return Err(refused(proxy, "no acceptable authentication methods")),
        ([version, _], _) => return Err(refused(proxy, &format!("unexpected protocol version {version}"))),
    }
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(std::net::IpAddr::V4(address)) => request.extend([&[IPV4][..], &address.octets()].concat()),
        Ok(std::net::IpAddr::V6(address)) => request.extend([&[IPV6][..], &address.octets()].concat()),
        Err(_) => {
            let length = u8::try_from(host.len()).map_err(|_| refused(proxy, "FQDN too long"))?;
            request.extend([NAME, length]);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await?;
    answer(stream, proxy).await
}

async fn log_in(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), proxy: &Proxy, login: &Login) -> io::Result<()> {
    let (user, password) = (login.user.as_bytes(), login.password.reveal().as_bytes());
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).ok().filter(|length| *length > 0);
    let (Some(user_length), Some(password_length)) = (length(user), length(password)) else {
        return Err(refused(proxy, "invalid username/password"));
    };
    let request = [&[LOGIN_VERSION, user_length], user, &[password_length], password].concat();
    stream.write_all(&request).await?;
    let mut status = [0; 2];
    stream.read_exact(&mut status).await?;
    if status == [LOGIN_VERSION, 0] { Ok(()) } else { Err(refused(proxy, "username/password authentication failed")) }
}

/// What became of the connection; the address that the proxy uses itself is read over.
async fn answer(stream: &mut (impl AsyncRead + Unpin), proxy: &Proxy) -> io::Result<()> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version, status, _, kind] = head;
    if version != VERSION {
        return Err(refused(proxy, &format!("unexpected protocol version {version}")));
    }
    if status != 0 {
        return Err(refused(proxy, reason(status)));
    }
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return Err(refused(proxy, "unknown address type")),
    };
    let mut address = vec![0; length + 2];
    stream.read_exact(&mut address).await.map(drop)
}

/// RFC 1928 6.
fn reason(status: u8) -> &'static str {
    match status {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown code",
    }
}

fn refused(proxy: &Proxy, reason: &str) -> io::Error {
    let text = format!("socks connect tcp {}:{}: {reason}", proxy.host, proxy.port);
    io::Error::new(io::ErrorKind::ConnectionRefused, text)
}
