//! Mount options of `config.json` (runtime-spec config.md, mounts; mount(8)): attributes, propagation, and what is left
//! over for the file system.

use super::{Attributes, Propagation};
use crate::SpecError;

pub const RDONLY: u64 = 0x01;
pub const NOSUID: u64 = 0x02;
pub const NODEV: u64 = 0x04;
pub const NOEXEC: u64 = 0x08;
/// The field of the three access-time modes; relatime is zero.
const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x0020_0000;

pub const MS_UNBINDABLE: u64 = 1 << 17;
pub const MS_PRIVATE: u64 = 1 << 18;
pub const MS_SLAVE: u64 = 1 << 19;
pub const MS_SHARED: u64 = 1 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    pub bind: bool,
    pub recursive_bind: bool,
    pub attributes: Attributes,
    pub propagation: Option<Propagation>,
    pub id_map: Option<IdMapOption>,
    pub copy_up: bool,
    /// What is no option of every mount: the file system's own, and `sync` and the like.
    pub rest: Vec<String>,
}

/// `idmap` and `ridmap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdMapOption {
    One,
    Recursive,
}

/// (name, attributes to set, attributes to clear)
fn attribute(name: &str) -> Option<(u64, u64)> {
    Some(match name {
        "ro" => (RDONLY, 0),
        "rw" => (0, RDONLY),
        "nosuid" => (NOSUID, 0),
        "suid" => (0, NOSUID),
        "nodev" => (NODEV, 0),
        "dev" => (0, NODEV),
        "noexec" => (NOEXEC, 0),
        "exec" => (0, NOEXEC),
        "noatime" => (NOATIME, ATIME),
        "relatime" | "atime" | "nostrictatime" => (0, ATIME),
        "strictatime" | "norelatime" => (STRICTATIME, ATIME),
        "nodiratime" => (NODIRATIME, 0),
        "diratime" => (0, NODIRATIME),
        "nosymfollow" => (NOSYMFOLLOW, 0),
        "symfollow" => (0, NOSYMFOLLOW),
        _ => return None,
    })
}

fn propagation(name: &str) -> Option<Propagation> {
    let (recursive, kind) = match name {
        "rprivate" | "rshared" | "rslave" | "runbindable" => (true, &name[1..]),
        other => (false, other),
    };
    let kind = match kind {
        "private" => MS_PRIVATE,
        "shared" => MS_SHARED,
        "slave" => MS_SLAVE,
        "unbindable" => MS_UNBINDABLE,
        _ => return None,
    };
    Some(Propagation { kind, recursive })
}

/// `rprivate` and its kin as `rootfsPropagation` names them.
pub fn root_propagation(name: &str) -> Result<Option<Propagation>, SpecError> {
    match name {
        "" => Ok(None),
        name => propagation(name)
            .map(Some)
            .ok_or_else(|| SpecError::Invalid(format!("rootfsPropagation={name} is not a valid mount propagation"))),
    }
}

pub fn parse(options: &[String]) -> Result<Parsed, SpecError> {
    let mut parsed = Parsed::default();
    for option in options {
        let attributes = &mut parsed.attributes;
        if let Some((set, clear)) = attribute(option) {
            attributes.set = attributes.set & !clear | set;
            attributes.clear = attributes.clear & !set | clear;
        } else if let Some((set, clear)) = option.strip_prefix('r').and_then(attribute) {
            attributes.set_recursive = attributes.set_recursive & !clear | set;
            attributes.clear_recursive = attributes.clear_recursive & !set | clear;
        } else if let Some(found) = propagation(option) {
            parsed.propagation = Some(found);
        } else {
            match option.as_str() {
                "bind" => parsed.bind = true,
                "rbind" => (parsed.bind, parsed.recursive_bind) = (true, true),
                "defaults" | "loud" | "async" | "nolazytime" | "nomand" | "noiversion" => {}
                "idmap" => parsed.id_map = Some(IdMapOption::One),
                "ridmap" => parsed.id_map = Some(IdMapOption::Recursive),
                "tmpcopyup" => parsed.copy_up = true,
                "remount" => return Err(SpecError::Unsupported(format!("mount option {option:?}"))),
                _ => parsed.rest.push(option.clone()),
            }
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &[&str]) -> Parsed {
        parse(&options.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("known options")
    }

    #[test]
    fn the_last_of_two_contrary_options_wins() {
        assert_eq!(parsed(&["ro", "rw"]).attributes.set, 0);
        assert_eq!(parsed(&["rw", "ro"]).attributes.set, RDONLY);
        assert_eq!(parsed(&["rw", "ro"]).attributes.clear, 0);
    }

    #[test]
    fn access_time_modes_replace_each_other() {
        let attributes = parsed(&["noatime", "strictatime"]).attributes;
        assert_eq!((attributes.set, attributes.clear), (STRICTATIME, ATIME));
    }

    #[test]
    fn recursive_attributes_stand_beside_plain_ones() {
        let found = parsed(&["rbind", "rro", "nosuid", "rprivate", "size=64k"]);
        assert!(found.bind && found.recursive_bind);
        assert_eq!((found.attributes.set, found.attributes.set_recursive), (NOSUID, RDONLY));
        assert_eq!(found.propagation, Some(Propagation { kind: MS_PRIVATE, recursive: true }));
        assert_eq!(found.rest, ["size=64k"]);
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        let error = parse(&["remount".to_string()]).expect_err("not built");
        assert_eq!(error.to_string(), "mount option \"remount\" is not supported");
    }
}
