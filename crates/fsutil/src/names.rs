//! The names of a folder, as they come: in order, each below a folder that came before it.
//!
//! Decides and does no I/O. What it takes is bounded: names, their lengths, links' targets and attributes.

use std::cmp::Ordering;
use std::collections::HashMap;

use buildkit_api::fsutil::Stat;

use crate::go_mode;

/// Names of one folder, and bytes of all of them together.
const MAX_NAMES: usize = 1_000_000;
const MAX_NAME_BYTES: usize = 256 << 20;
/// PATH_MAX of the kernel (limits.h).
const MAX_PATH: usize = 4096;
/// NAME_MAX of the kernel.
const MAX_PART: usize = 255;
/// Extended attributes of one file together (XATTR_SIZE_MAX).
const MAX_ATTRIBUTES: usize = 64 << 10;

/// Something that no honest sender sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(String);

impl errors::Kind for NameError {
    fn kind(&self) -> errors::ErrorKind {
        errors::ErrorKind::InvalidArgument
    }
}

/// What a name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A file of this size, whose content comes when it is asked for.
    File { size: u64 },
    /// A hard link: the same content as the entry at this place.
    Same(usize),
    /// It is all there is to it.
    Whole(Kind),
    /// A socket: it is nothing for a build.
    Nothing,
}

/// What has no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Folder,
    Link(String),
    Fifo,
    CharacterDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
}

/// The names so far.
#[derive(Debug, Default)]
pub struct Names {
    last: Option<String>,
    /// The folders that the last name is below of, outermost first.
    folders: Vec<String>,
    /// Where files are among the entries, for links to them.
    files: HashMap<String, usize>,
    count: usize,
    bytes: usize,
}

impl Names {
    /// Checks a name. `place` is where its entry will be.
    pub fn take(&mut self, stat: &Stat, place: usize) -> Result<Taken, NameError> {
        self.count += 1;
        self.bytes += stat.path.len() + stat.linkname.len();
        if self.count > MAX_NAMES || self.bytes > MAX_NAME_BYTES {
            return Err(NameError(format!("there are more than {MAX_NAMES} names")));
        }
        check_path(&stat.path)?;
        self.check_order(&stat.path)?;
        check_attributes(stat)?;
        let taken = self.kind(stat)?;
        match &taken {
            Taken::Whole(Kind::Folder) => self.folders.push(stat.path.clone()),
            Taken::File { .. } | Taken::Same(_) => drop(self.files.insert(stat.path.clone(), place)),
            Taken::Whole(_) | Taken::Nothing => {}
        }
        self.last = Some(stat.path.clone());
        Ok(taken)
    }

    /// Names come sorted, part by part, and none is below something that is no folder.
    fn check_order(&mut self, path: &str) -> Result<(), NameError> {
        if self.last.as_deref().is_some_and(|last| compare(last, path) != Ordering::Less) {
            return Err(NameError(format!("{path:?} is out of order")));
        }
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        while self.folders.last().is_some_and(|folder| folder != parent) {
            self.folders.pop();
        }
        if self.folders.last().map_or("", String::as_str) != parent {
            return Err(NameError(format!("{path:?} is in no folder that was named")));
        }
        Ok(())
    }

    fn kind(&self, stat: &Stat) -> Result<Taken, NameError> {
        let number =
            |number: i64| u32::try_from(number).map_err(|_| NameError(format!("{:?} has no such device", stat.path)));
        let kind = match stat.mode & go_mode::TYPE {
            0 if !stat.linkname.is_empty() => {
                let same = self.files.get(&stat.linkname);
                let missing = || NameError(format!("{:?} is a hard link to nothing", stat.path));
                return Ok(Taken::Same(*same.ok_or_else(missing)?));
            }
            0 => {
                let wrong = |_| NameError(format!("{:?} has a negative size", stat.path));
                return Ok(Taken::File { size: u64::try_from(stat.size).map_err(wrong)? });
            }
            go_mode::FOLDER => Kind::Folder,
            go_mode::SYMLINK => Kind::Link(stat.linkname.clone()),
            go_mode::FIFO => Kind::Fifo,
            go_mode::SOCKET => return Ok(Taken::Nothing),
            go_mode::DEVICE => Kind::BlockDevice { major: number(stat.devmajor)?, minor: number(stat.devminor)? },
            device if device == go_mode::DEVICE | go_mode::CHARACTER => {
                Kind::CharacterDevice { major: number(stat.devmajor)?, minor: number(stat.devminor)? }
            }
            other => return Err(NameError(format!("{:?} is of no kind: {other:#x}", stat.path))),
        };
        Ok(Taken::Whole(kind))
    }
}

fn check_path(path: &str) -> Result<(), NameError> {
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= MAX_PART && !part.contains('\0');
    match path.len() <= MAX_PATH && path.split('/').all(is_part) {
        true => Ok(()),
        false => Err(NameError(format!("{:?} is no path below the folder", shortened(path)))),
    }
}

fn check_attributes(stat: &Stat) -> Result<(), NameError> {
    let bytes: usize = stat.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_ATTRIBUTES || stat.linkname.len() > MAX_PATH || stat.linkname.contains('\0') {
        return Err(NameError(format!("{:?} has more with it than a file can have", stat.path)));
    }
    Ok(())
}

fn shortened(path: &str) -> &str {
    let mut end = path.len().min(80);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    &path[..end]
}

/// A slash sorts before everything else, so that what is in a folder follows it.
pub fn compare(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(path: &str, mode: u32) -> Stat {
        Stat { path: path.to_owned(), mode, ..Stat::default() }
    }

    fn all(stats: &[Stat]) -> Result<Vec<Taken>, NameError> {
        let mut names = Names::default();
        stats.iter().enumerate().map(|(place, stat)| names.take(stat, place)).collect()
    }

    #[test]
    fn names_come_folder_by_folder() {
        let good = [
            stat("a", go_mode::FOLDER | 0o755),
            stat("a/b", go_mode::FOLDER),
            stat("a/b/c", 0o644),
            stat("a/d", 0o644),
            stat("a.txt", 0o644),
        ];
        assert_eq!(all(&good).unwrap().len(), 5);
        for wrong in [&["b", "a"][..], &["a", "a"], &["a.txt", "a/b"], &["x/y"]] {
            let stats: Vec<Stat> = wrong.iter().map(|path| stat(path, 0o644)).collect();
            assert!(all(&stats).is_err(), "{wrong:?}");
        }
        assert!(all(&[stat("a", 0o644), stat("a/b", 0o644)]).is_err(), "a file is no folder");
    }

    #[test]
    fn no_name_leads_out() {
        let long = "x/".repeat(3000) + "x";
        let wide = "x".repeat(256);
        for path in ["", ".", "..", "/", "/etc", "a/../b", "a//b", "a/", "./a", "a\0b", long.as_str(), wide.as_str()] {
            assert!(all(&[stat(path, 0o644)]).is_err(), "{path:?}");
        }
    }

    #[test]
    fn links_name_what_came_before() {
        let link = |path: &str, to: &str, mode: u32| Stat { linkname: to.to_owned(), ..stat(path, mode) };
        let taken = all(&[stat("a", 0o644), link("b", "a", 0o644), link("c", "/etc/passwd", go_mode::SYMLINK | 0o777)]);
        assert_eq!(taken.unwrap()[1..], [Taken::Same(0), Taken::Whole(Kind::Link("/etc/passwd".to_owned()))]);
        assert!(all(&[link("a", "/etc/passwd", 0o644)]).is_err());
        assert!(all(&[link("a", "b", 0o644), stat("b", 0o644)]).is_err());
    }

    #[test]
    fn only_kinds_that_there_are_are_taken() {
        assert_eq!(all(&[stat("s", go_mode::SOCKET)]).unwrap(), [Taken::Nothing]);
        for mode in [1 << 19, go_mode::FOLDER | go_mode::SYMLINK, go_mode::CHARACTER] {
            assert!(all(&[stat("x", mode)]).is_err(), "{mode:#x}");
        }
        assert!(all(&[Stat { size: -1, ..stat("x", 0) }]).is_err());
        assert!(all(&[Stat { devmajor: -1, ..stat("x", go_mode::DEVICE) }]).is_err());
    }
}
