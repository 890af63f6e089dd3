//! A place below a root, made behind links that lead nowhere yet, which openat2(2) cannot do: an image's
//! `/etc/resolv.conf` often points to a file that only a running system has.
//!
//! The way is walked component by component, with links read and followed here, as if the root were `/`. What has been
//! walked holds no link any more, and each step is opened without following any: a link that comes meanwhile is an error.

use crate::Errno;
use crate::file::{self, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY};
use std::ffi::CStr;

/// As many as the kernel follows (path_resolution(7)).
const MAX_LINKS: u32 = 40;
const LENGTH: usize = 4096;
const WALKED: u64 = file::RESOLVE_IN_ROOT | file::RESOLVE_NO_SYMLINKS | file::RESOLVE_NO_MAGICLINKS;

/// A path in a buffer of its own, without a slash at its start.
struct Path {
    bytes: [u8; LENGTH],
    length: usize,
}

impl Path {
    fn new() -> Self {
        Self { bytes: [0; LENGTH], length: 0 }
    }

    fn push(&mut self, text: &[u8]) -> Result<(), Errno> {
        let slash = usize::from(self.length > 0);
        let end = self.length + slash + text.len();
        // One byte stays for the end of the C string.
        let place = self.bytes.get_mut(self.length..end).filter(|_| end < LENGTH).ok_or(Errno::ENAMETOOLONG)?;
        if let Some(first) = place.first_mut().filter(|_| slash == 1) {
            *first = b'/';
        }
        place.get_mut(slash..).unwrap_or_default().copy_from_slice(text);
        self.length = end;
        self.end()
    }

    fn pop(&mut self) -> Result<(), Errno> {
        let text = self.bytes.get(..self.length).unwrap_or_default();
        self.length = text.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        self.end()
    }

    fn clear(&mut self) -> Result<(), Errno> {
        self.length = 0;
        self.end()
    }

    fn end(&mut self) -> Result<(), Errno> {
        *self.bytes.get_mut(self.length).ok_or(Errno::ENAMETOOLONG)? = 0;
        Ok(())
    }

    fn as_c(&self) -> Result<&CStr, Errno> {
        if self.length == 0 {
            return Ok(c".");
        }
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| Errno::EINVAL)
    }

    /// Takes the first component off; `None` at the end.
    fn take_first(&mut self, into: &mut Path) -> Result<bool, Errno> {
        into.clear()?;
        let text = self.bytes.get(..self.length).unwrap_or_default();
        let start = text.iter().position(|byte| *byte != b'/').unwrap_or(text.len());
        let end = text.iter().skip(start).position(|byte| *byte == b'/').map_or(text.len(), |length| start + length);
        if start == end {
            return Ok(false);
        }
        into.push(text.get(start..end).unwrap_or_default())?;
        let length = self.length;
        self.bytes.copy_within(end..length, 0);
        self.length = length - end;
        self.end()?;
        Ok(true)
    }
}

/// Makes the place, a folder or a file, with all folders on the way, and opens it.
pub fn make(root: i32, wanted: &CStr, folder: bool) -> Result<i32, Errno> {
    let (mut walked, mut rest, mut name) = (Path::new(), Path::new(), Path::new());
    rest.push(wanted.to_bytes())?;
    let mut links = 0;
    while rest.take_first(&mut name)? {
        match name.as_c()?.to_bytes() {
            b"." => continue,
            b".." => {
                walked.pop()?;
                continue;
            }
            _ => {}
        }
        let parent = file::openat2(root, walked.as_c()?, O_PATH | O_DIRECTORY, 0, WALKED)?;
        let is_last = rest.bytes.get(..rest.length).unwrap_or_default().iter().all(|byte| *byte == b'/');
        let step = take_step(parent, name.as_c()?, folder || !is_last);
        let target = match step {
            Ok(Step::Link) => Some(read_link(parent, name.as_c()?, &rest)),
            Ok(Step::There) => None,
            Err(errno) => Some(Err(errno)),
        };
        file::close(parent);
        match target {
            None => walked.push(name.as_c()?.to_bytes())?,
            Some(Err(errno)) => return Err(errno),
            Some(Ok(_)) if links >= MAX_LINKS => return Err(Errno::ELOOP),
            Some(Ok((path, absolute))) => {
                links += 1;
                rest = path;
                if absolute {
                    walked.clear()?;
                }
            }
        }
    }
    file::openat2(root, walked.as_c()?, O_PATH, 0, WALKED)
}

enum Step {
    Link,
    There,
}

fn take_step(parent: i32, name: &CStr, folder: bool) -> Result<Step, Errno> {
    match file::openat(parent, name, O_PATH | O_NOFOLLOW, 0) {
        Ok(fd) => {
            let mode = file::fstat(fd).map(|stat| stat.st_mode & file::S_IFMT);
            file::close(fd);
            return Ok(if mode? == libc::S_IFLNK { Step::Link } else { Step::There });
        }
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    if folder {
        file::mkdirat(parent, name, 0o755)?;
    } else {
        file::close(file::openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDONLY, 0o755)?);
    }
    Ok(Step::There)
}

/// What is left to walk behind a link, and whether it begins at the root.
fn read_link(parent: i32, name: &CStr, rest: &Path) -> Result<(Path, bool), Errno> {
    let mut buffer = [0; LENGTH];
    let target = file::readlinkat(parent, name, &mut buffer)?;
    let mut path = Path::new();
    path.push(target)?;
    if rest.length > 0 {
        path.push(rest.bytes.get(..rest.length).unwrap_or_default())?;
    }
    Ok((path, target.first() == Some(&b'/')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    struct Root(PathBuf);

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn root(name: &str) -> Root {
        let path = std::env::temp_dir().join(format!("rooted-path-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a folder");
        Root(path)
    }

    fn make_in(root: &Root, path: &str, folder: bool) -> Result<(), Errno> {
        let opened = fs::File::open(&root.0).expect("open");
        make(opened.as_raw_fd(), &CString::new(path).expect("no NUL"), folder).map(file::close)
    }

    #[test]
    fn a_file_is_made_where_its_links_lead_and_nowhere_else() {
        let root = root("file");
        fs::create_dir(root.0.join("etc")).expect("etc");
        symlink("../../../run/systemd/resolv.conf", root.0.join("etc/resolv.conf")).expect("link");
        make_in(&root, "etc/resolv.conf", false).expect("made");
        assert!(root.0.join("run/systemd/resolv.conf").is_file());
        symlink("/abs/x", root.0.join("etc/abs")).expect("link");
        make_in(&root, "etc/abs/./deep", true).expect("made");
        assert!(root.0.join("abs/x/deep").is_dir());
        make_in(&root, "etc/abs/./deep", true).expect("there already");
    }

    #[test]
    fn rings_and_files_on_the_way_are_errors() {
        let root = root("ring");
        symlink("b", root.0.join("a")).expect("link");
        symlink("a", root.0.join("b")).expect("link");
        assert_eq!(make_in(&root, "a/x", false), Err(Errno::ELOOP));
        fs::write(root.0.join("file"), "").expect("file");
        assert_eq!(make_in(&root, "file/x", false), Err(Errno::ENOTDIR));
        assert_eq!(make_in(&root, &"x/".repeat(3000), true), Err(Errno::ENAMETOOLONG));
    }
}
