//! The three files that a container sees in /etc and that live in its folder: hostname, hosts, resolv.conf.
//!
//! They are written again at every start, so that nothing in them is worth a sync.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use container_core::spec::NetworkFiles;

use crate::error::Error;
use crate::ports::Sandbox;

/// Largest content that a neighbour may hand in.
const LARGEST_FILE: usize = 1024 * 1024;

/// Makes a container's folder; nobody but root looks into it.
pub(crate) fn make_folder(folder: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o710).create(folder);
    made.map_err(|source| Error::file("make the folder", folder, source))
}

pub(crate) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove the folder", folder, source))
        }
        _ => Ok(()),
    }
}

/// Writes the files of a sandbox, these lines behind its hosts, and answers where they are.
pub(crate) fn write(folder: &Path, hostname: &str, sandbox: &Sandbox, hosts: &str) -> Result<NetworkFiles, Error> {
    let put = |name: &str, text: &str| -> Result<Option<String>, Error> {
        let path = folder.join(name);
        let bounded = &text.as_bytes()[..text.len().min(LARGEST_FILE)];
        overwrite(&path, bounded).map_err(|source| Error::file("write", &path, source))?;
        Ok(Some(path.to_string_lossy().into_owned()))
    };
    Ok(NetworkFiles {
        hostname: put("hostname", &format!("{hostname}\n"))?,
        hosts: put("hosts", &format!("{}{hosts}", sandbox.hosts))?,
        resolv_conf: put("resolv.conf", &sandbox.resolv_conf)?,
    })
}

/// The files of a container that runs, when its networks have changed: lines of hosts come and go, others stay as
/// somebody may have written them; resolv.conf is replaced unless somebody has changed it.
pub(crate) fn follow(folder: &Path, old: &Sandbox, new: &Sandbox) -> Result<(), Error> {
    let path = folder.join("hosts");
    let text = read_bounded(&path)?;
    let changed = follow_lines(&text, &old.hosts, &new.hosts);
    if changed != text {
        overwrite(&path, changed.as_bytes()).map_err(|source| Error::file("write", &path, source))?;
    }
    let path = folder.join("resolv.conf");
    if old.resolv_conf != new.resolv_conf && read_bounded(&path)? == old.resolv_conf {
        overwrite(&path, new.resolv_conf.as_bytes()).map_err(|source| Error::file("write", &path, source))?;
    }
    Ok(())
}

fn follow_lines(text: &str, old: &str, new: &str) -> String {
    let has = |text: &str, line: &str| text.lines().any(|known| known == line);
    let kept = text.lines().filter(|line| has(new, line) || !has(old, line));
    let mut changed: String = kept.map(|line| format!("{line}\n")).collect();
    for line in new.lines().filter(|line| !has(old, line) && !has(text, line)) {
        changed.push_str(line);
        changed.push('\n');
    }
    changed
}

/// Missing is empty: the container may have removed it.
fn read_bounded(path: &Path) -> Result<String, Error> {
    use std::io::Read;
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(LARGEST_FILE as u64).read_to_end(&mut bytes)) {
        Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(Error::file("read", path, source)),
    }
}

/// The files of another container whose network this one shares.
pub(crate) fn shared(folder: &Path) -> NetworkFiles {
    let there = |name: &str| -> Option<String> {
        let path: PathBuf = folder.join(name);
        path.exists().then(|| path.to_string_lossy().into_owned())
    };
    NetworkFiles { hostname: there("hostname"), hosts: there("hosts"), resolv_conf: there("resolv.conf") }
}

/// In place: another container may have the file mounted.
fn overwrite(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_network_come_and_go_and_those_of_others_stay() {
        let text = "127.0.0.1\tlocalhost\n10.0.0.2\tweb\n1.2.3.4\tby-hand\n";
        let old = "127.0.0.1\tlocalhost\n10.0.0.2\tweb\n";
        let new = "127.0.0.1\tlocalhost\n10.9.0.2\tweb\n";
        assert_eq!(follow_lines(text, old, new), "127.0.0.1\tlocalhost\n1.2.3.4\tby-hand\n10.9.0.2\tweb\n");
        assert_eq!(follow_lines("", old, old), "");
    }

    #[test]
    fn the_files_are_written_and_found_again_by_who_shares_them() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("c");
        make_folder(&place).unwrap();
        let sandbox = Sandbox { hosts: "h\n".into(), resolv_conf: "r\n".into(), ..Sandbox::default() };
        let files = write(&place, "box", &sandbox, "1.2.3.4\tdb\n").unwrap();
        assert_eq!(fs::read_to_string(place.join("hosts")).unwrap(), "h\n1.2.3.4\tdb\n");
        assert_eq!(fs::read_to_string(place.join("hostname")).unwrap(), "box\n");
        assert_eq!(shared(&place), files);
        remove_folder(&place).unwrap();
        remove_folder(&place).unwrap();
        assert_eq!(shared(&place), NetworkFiles::default());
    }
}
