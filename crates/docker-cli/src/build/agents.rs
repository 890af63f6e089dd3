//! `--ssh`: agents that a build is lent. Keys are held by an agent of their own, OpenSSH's, which ends with the build.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::request::random_hex;
use crate::container::options::os_words;
use crate::failure::Failure;

const VARIABLE: &str = "SSH_AUTH_SOCK";
const DEFAULT: &str = "default";
/// How long an agent's socket is waited for.
const START_LIMIT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// All agents of one build.
#[derive(Debug, Default)]
pub struct Agents {
    sockets: BTreeMap<String, PathBuf>,
    own: Vec<KeyAgent>,
}

/// An agent that was started for keys. Dropped, it ends.
#[derive(Debug)]
struct KeyAgent {
    child: Child,
    folder: PathBuf,
}

impl Agents {
    /// `default`, `NAME=SOCKET`, `NAME=KEY[,KEY]`.
    pub fn of(given: &[String]) -> Result<Self, Failure> {
        let mut agents = Self::default();
        for text in given {
            let (name, places) = text.split_once('=').unwrap_or((text, ""));
            let name = if name.is_empty() { DEFAULT } else { name };
            if agents.sockets.contains_key(name) {
                return Err(Failure::Text(format!("invalid duplicate ID {name}")));
            }
            let socket = agents.socket(places)?;
            agents.sockets.insert(name.to_owned(), socket);
        }
        Ok(agents)
    }

    /// By their names.
    pub fn sockets(&self) -> BTreeMap<String, PathBuf> {
        self.sockets.clone()
    }

    fn socket(&mut self, places: &str) -> Result<PathBuf, Failure> {
        if places.is_empty() {
            let missing = || Failure::Text(format!("invalid empty ssh agent socket: make sure {VARIABLE} is set"));
            let socket = std::env::var_os(VARIABLE).map(PathBuf::from).ok_or_else(missing)?;
            return match is_socket(&socket)? {
                true => Ok(socket),
                false => Err(Failure::Text(format!("{VARIABLE}={} is no socket", socket.display()))),
            };
        }
        let places: Vec<&Path> = places.split(',').map(Path::new).collect();
        let mut keys = Vec::new();
        for place in &places {
            match is_socket(place)? {
                true if places.len() > 1 => return Err(Failure::text("only single socket allowed")),
                true => return Ok((*place).to_owned()),
                false => keys.push(*place),
            }
        }
        let (agent, socket) = KeyAgent::start(&keys)?;
        self.own.push(agent);
        Ok(socket)
    }
}

fn is_socket(path: &Path) -> Result<bool, Failure> {
    let found = fs::metadata(path);
    let found =
        found.map_err(|error| Failure::Text(format!("failed to stat {}: {}", path.display(), os_words(&error))))?;
    Ok(found.file_type().is_socket())
}

impl KeyAgent {
    fn start(keys: &[&Path]) -> Result<(Self, PathBuf), Failure> {
        let folder = std::env::temp_dir().join(format!("docker-build-ssh-{}", random_hex()));
        let failed = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::text("unable to find 'ssh-agent': it holds the keys of --ssh (openssh-client)")
            }
            _ => Failure::Text(format!("cannot start ssh-agent: {}", os_words(error))),
        };
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(|error| failed(&error))?;
        let socket = folder.join("agent");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| {
            let _ = fs::remove_dir(&folder);
            failed(&error)
        })?;
        let agent = Self { child, folder };
        let until = Instant::now() + START_LIMIT;
        while !socket.exists() {
            if Instant::now() > until {
                return Err(Failure::text("ssh-agent does not listen"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        keys.iter().try_for_each(|key| add(&socket, key))?;
        Ok((agent, socket))
    }
}

/// A key with a passphrase is refused: nobody is asked.
fn add(socket: &Path, key: &Path) -> Result<(), Failure> {
    let mut command = Command::new("ssh-add");
    command.arg("-q").arg(key).env(VARIABLE, socket).env_remove("DISPLAY").env("SSH_ASKPASS_REQUIRE", "never");
    let added = command.stdin(Stdio::null()).output();
    let refused = |reason: &str| Failure::Text(format!("failed to parse {}: {}", key.display(), reason.trim()));
    match added {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(refused(&String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(refused(&format!("cannot run ssh-add: {}", os_words(&error)))),
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill().and_then(|()| self.child.wait());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_sockets() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("agent");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let given = format!("a={}", socket.display());
        assert_eq!(Agents::of(std::slice::from_ref(&given)).unwrap().sockets()["a"], socket);
        let refused = |given: &[String]| Agents::of(given).unwrap_err().to_string();
        assert!(refused(&[given.clone(), given.clone()]).contains("duplicate"));
        assert!(refused(&[format!("{given},{}", socket.display())]).contains("only single socket allowed"));
        assert!(refused(&["a=/nonexistent".to_owned()]).contains("failed to stat"));
    }
}
