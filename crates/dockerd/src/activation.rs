//! Sockets from the service manager, and what it is told (sd_listen_fds(3), sd_notify(3)).

use std::env;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::{Context, Result, bail, ensure};

/// One socket, as the unit calls it.
pub struct Inherited {
    pub name: String,
    pub socket: OwnedFd,
}

/// All sockets that were passed to this process.
pub fn sockets() -> Vec<Inherited> {
    let number = |name: &str| env::var(name).ok()?.parse::<usize>().ok();
    if number("LISTEN_PID") != Some(std::process::id() as usize) {
        return Vec::new();
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let sockets = sys::activation::take(number("LISTEN_FDS").unwrap_or_default());
    sockets.into_iter().map(|socket| Inherited { name: names.next().unwrap_or_default().to_owned(), socket }).collect()
}

/// Those that `fd://WHICH` means: all for `*`, one by its number, or those of a name.
pub fn choose(mut sockets: Vec<Inherited>, which: &str) -> Result<Vec<Inherited>> {
    ensure!(
        !sockets.is_empty(),
        "no sockets found via socket activation: make sure the service was started by systemd"
    );
    if which == "*" {
        return Ok(sockets);
    }
    if let Ok(number) = which.parse::<usize>() {
        let place = number.checked_sub(sys::activation::FIRST as usize).filter(|place| *place < sockets.len());
        let place = place.context("too few socket activated files passed in by systemd")?;
        return Ok(vec![sockets.swap_remove(place)]);
    }
    sockets.retain(|socket| socket.name == which);
    if sockets.is_empty() {
        bail!("no socket activated file has the name {which:?}");
    }
    Ok(sockets)
}

/// Tells the service manager, if there is one.
pub fn notify(state: &str) {
    let Ok(path) = env::var("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&path, state) {
        tracing::warn!(%error, state, "cannot tell the service manager");
    }
}

fn send(path: &str, state: &str) -> std::io::Result<()> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(names: &[&str]) -> Vec<Inherited> {
        let socket = || std::os::unix::net::UnixStream::pair().unwrap().0.into();
        names.iter().map(|name| Inherited { name: (*name).to_owned(), socket: socket() }).collect()
    }

    fn chosen(names: &[&str], which: &str) -> Result<Vec<String>> {
        Ok(choose(given(names), which)?.into_iter().map(|socket| socket.name).collect())
    }

    #[test]
    fn sockets_are_chosen_by_number_and_by_name() {
        let names = ["docker.socket", "other", "other"];
        assert_eq!(chosen(&names, "*").unwrap(), names);
        assert_eq!(chosen(&names, "4").unwrap(), ["other"]);
        assert_eq!(chosen(&names, "other").unwrap(), ["other", "other"]);
        for (names, which, why) in [
            (&[] as &[&str], "*", "no sockets found via socket activation"),
            (&names, "2", "too few socket activated files"),
            (&names, "6", "too few socket activated files"),
            (&names, "x", "no socket activated file has the name \"x\""),
        ] {
            assert!(chosen(names, which).unwrap_err().to_string().starts_with(why), "{which}");
        }
    }

    #[test]
    fn the_service_manager_hears_on_paths_and_abstract_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let named = UnixDatagram::bind(&path).unwrap();
        let name = format!("longshore-test-{}", std::process::id());
        let hidden = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (address, socket) in [(path.display().to_string(), named), (format!("@{name}"), hidden)] {
            send(&address, "READY=1").unwrap();
            let mut bytes = [0; 16];
            let length = socket.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1");
        }
    }
}
