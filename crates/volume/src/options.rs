//! Options of local volumes: what is to be mounted, written as for mount(8).

use std::net::IpAddr;

use go_text::size::parse_bytes;
use rustix::mount::{MountFlags, MountPropagationFlags};
use serde::{Deserialize, Serialize};

use crate::{Options, VolumeError};

const KNOWN: [&str; 4] = ["type", "o", "device", "size"];
/// An option, and what it is nothing without.
const NEEDS: [(&str, &[&str]); 3] = [("device", &["type"]), ("o", &["device", "type"]), ("type", &["device"])];

/// A local volume that is more than a folder. Serialized as Docker's `opts.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LocalOptions {
    pub mount_type: String,
    pub mount_opts: String,
    pub mount_device: String,
    pub quota: Quota,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Quota {
    /// Bytes; this host has none to give, so that it is always 0.
    pub size: u64,
}

impl LocalOptions {
    /// `None` for a plain folder.
    pub fn parse(options: &Options) -> Result<Option<Self>, VolumeError> {
        if options.is_empty() {
            return Ok(None);
        }
        if let Some(unknown) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(VolumeError::UnknownOption(unknown.clone()));
        }
        let text = |key: &str| options.get(key).cloned().unwrap_or_default();
        if text("type") == "cifs" && has_port(&text("device")) {
            return Err(VolumeError::CifsPort);
        }
        if let Some(size) = options.get("size")
            && parse_bytes(size).ok_or_else(|| VolumeError::Size(size.clone()))? > 0
        {
            return Err(VolumeError::NoQuota);
        }
        for (option, needs) in NEEDS.iter().filter(|(option, _)| options.contains_key(*option)) {
            if let Some(missing) = needs.iter().find(|need| !options.contains_key(**need)) {
                let _ = option;
                return Err(VolumeError::MissingOption(missing));
            }
        }
        let (mount_type, mount_opts, mount_device) = (text("type"), text("o"), text("device"));
        Ok(Some(Self { mount_type, mount_opts, mount_device, quota: Quota::default() }))
    }

    /// The options that a user would have given for it.
    pub fn to_options(&self) -> Options {
        let members = [("type", &self.mount_type), ("o", &self.mount_opts), ("device", &self.mount_device)];
        let given = members.into_iter().filter(|(_, value)| !value.is_empty());
        given.map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }

    pub fn is_mounted(&self) -> bool {
        !self.mount_device.is_empty() || !self.mount_type.is_empty()
    }

    /// What stands for a name that has to be looked up first: the value of `addr=`, or the host of a CIFS device.
    pub(crate) fn host(&self) -> Option<&str> {
        if !matches!(self.mount_type.as_str(), "nfs" | "cifs") {
            return None;
        }
        let is_name = |host: &&str| !host.is_empty() && host.parse::<IpAddr>().is_err();
        let address = self.mount_opts.split(',').find_map(|option| option.strip_prefix("addr="));
        if let Some(address) = address.filter(is_name) {
            return Some(address);
        }
        if self.mount_type == "cifs" { host_of(&self.mount_device).filter(is_name) } else { None }
    }

    /// The same with an address in the place of the name.
    pub(crate) fn at(&self, host: &str, address: IpAddr) -> Self {
        let mut known = self.clone();
        let option = format!("addr={host}");
        if known.mount_opts.split(',').any(|found| found == option) {
            known.mount_opts = known.mount_opts.replacen(&option, &format!("addr={address}"), 1);
        } else {
            known.mount_device = known.mount_device.replacen(host, &address.to_string(), 1);
        }
        known
    }

    /// What must not be shown.
    pub(crate) fn password(&self) -> Option<&str> {
        let option = self.mount_opts.split(',').find_map(|option| option.strip_prefix("password="));
        option.filter(|password| !password.is_empty())
    }
}

/// `o=` taken apart: flags for the kernel, how the mount hands events on, and the file system's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountOptions {
    pub flags: MountFlags,
    pub propagation: Option<MountPropagationFlags>,
    pub data: String,
}

impl MountOptions {
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self { flags: MountFlags::empty(), propagation: None, data: String::new() };
        for option in text.split(',').filter(|option| !option.is_empty()) {
            if let Some((flag, on)) = flag(option) {
                parsed.flags.set(flag, on);
            } else if let Some(propagation) = propagation(option) {
                parsed.propagation = Some(propagation);
            } else if option != "defaults" {
                if !parsed.data.is_empty() {
                    parsed.data.push(',');
                }
                parsed.data.push_str(option);
            }
        }
        parsed
    }
}

/// mount(8), file-system independent options.
fn flag(option: &str) -> Option<(MountFlags, bool)> {
    Some(match option {
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "nostrictatime" => (MountFlags::STRICTATIME, false),
        "mand" => (MountFlags::PERMIT_MANDATORY_FILE_LOCKING, true),
        "nomand" => (MountFlags::PERMIT_MANDATORY_FILE_LOCKING, false),
        "bind" => (MountFlags::BIND, true),
        "rbind" => (MountFlags::BIND | MountFlags::REC, true),
        _ => return None,
    })
}

fn propagation(option: &str) -> Option<MountPropagationFlags> {
    let all = MountPropagationFlags::REC;
    Some(match option {
        "private" => MountPropagationFlags::PRIVATE,
        "rprivate" => MountPropagationFlags::PRIVATE | all,
        "shared" => MountPropagationFlags::SHARED,
        "rshared" => MountPropagationFlags::SHARED | all,
        "slave" => MountPropagationFlags::DOWNSTREAM,
        "rslave" => MountPropagationFlags::DOWNSTREAM | all,
        "unbindable" => MountPropagationFlags::UNBINDABLE,
        "runbindable" => MountPropagationFlags::UNBINDABLE | all,
        _ => return None,
    })
}

/// `//host/share` and `scheme://user@host:port/share`.
fn authority(device: &str) -> Option<&str> {
    let (_, rest) = device.split_once("//")?;
    let authority = rest.split('/').next().unwrap_or_default();
    Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

fn host_of(device: &str) -> Option<&str> {
    authority(device).map(|authority| authority.split(':').next().unwrap_or_default())
}

fn has_port(device: &str) -> bool {
    let port = authority(device).filter(|authority| !authority.starts_with('[')).and_then(|text| text.split_once(':'));
    port.is_some_and(|(_, port)| !port.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn refused(pairs: &[(&str, &str)]) -> String {
        LocalOptions::parse(&options(pairs)).unwrap_err().to_string()
    }

    #[test]
    fn what_a_local_volume_cannot_have_is_refused_in_dockers_words() {
        assert_eq!(LocalOptions::parse(&Options::new()).unwrap(), None);
        assert_eq!(refused(&[("foo", "x")]), "invalid option: \"foo\"");
        assert_eq!(refused(&[("type", "nfs")]), "missing required option: \"device\"");
        assert_eq!(refused(&[("device", "/x")]), "missing required option: \"type\"");
        assert_eq!(refused(&[("o", "ro")]), "missing required option: \"device\"");
        assert_eq!(refused(&[("size", "10m")]), "quota size requested but no quota support");
        assert_eq!(refused(&[("size", "much")]), "invalid size: 'much'");
        let cifs = [("type", "cifs"), ("device", "//host:445/share")];
        assert_eq!(refused(&cifs), "port not allowed in CIFS device URL, include 'port' in 'o='");
        assert!(LocalOptions::parse(&options(&[("size", "0")])).unwrap().is_some_and(|found| !found.is_mounted()));
    }

    #[test]
    fn names_of_servers_are_found_and_give_way_to_addresses() {
        let nfs = [("type", "nfs"), ("device", ":/export"), ("o", "addr=server,rw")];
        let nfs = LocalOptions::parse(&options(&nfs)).unwrap().unwrap();
        assert_eq!(nfs.host(), Some("server"));
        let at = nfs.at("server", [10, 0, 0, 1].into());
        assert_eq!((at.mount_opts.as_str(), at.host()), ("addr=10.0.0.1,rw", None));
        let cifs = [("type", "cifs"), ("device", "//box/share"), ("o", "username=u,password=p")];
        let cifs = LocalOptions::parse(&options(&cifs)).unwrap().unwrap();
        assert_eq!((cifs.host(), cifs.password()), (Some("box"), Some("p")));
        assert_eq!(cifs.at("box", [10, 0, 0, 2].into()).mount_device, "//10.0.0.2/share");
        assert_eq!(
            cifs.to_options(),
            options(&[("type", "cifs"), ("device", "//box/share"), ("o", "username=u,password=p")])
        );
    }

    #[test]
    fn mount_options_become_flags_and_what_is_left_is_the_file_systems() {
        let parsed = MountOptions::parse("defaults,ro,nosuid,suid,mand,nomand,rslave,size=1m,,mode=700");
        assert_eq!(parsed.flags, MountFlags::RDONLY);
        assert_eq!(parsed.propagation, Some(MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC));
        assert_eq!(parsed.data, "size=1m,mode=700");
    }
}
