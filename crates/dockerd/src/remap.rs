//! `--userns-remap`: whose subordinate ids the users of containers are on the host (subuid(5), user_namespaces(7)).
//!
//! Accounts are read from /etc, as everywhere in this project: no name service is asked. The user `dockremap` is made by the
//! system's own programs where `default` asks for it.

use std::fmt::Display;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use container_core::oci::IdMapping;
use container_core::spec::Remap;
use sys::users::{IdMaps, IdRange, MOST_LINES};

use crate::places::Places;

/// Docker's word for a user of its own, and that user's name.
const DEFAULT: &str = "default";
const DEFAULT_USER: &str = "dockremap";
/// Where ranges that are made begin, and how long they are.
const RANGE_START: u32 = 100_000;
const RANGE_LENGTH: u32 = 65_536;
/// Accounts beyond this are not looked at.
const LARGEST_FILE: u64 = 8 * 1024 * 1024;

/// The files with accounts and their ranges.
pub struct Accounts<'a> {
    /// `/etc`, but in tests.
    pub folder: &'a Path,
}

/// What users of containers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remapped {
    remap: Remap,
}

/// What the option asks for; nothing where it is unset or means root, who cannot be mapped to himself.
pub fn resolve(asked: Option<&str>) -> Result<Option<Remapped>> {
    let Some(asked) = asked.filter(|text| !text.is_empty()) else { return Ok(None) };
    let accounts = Accounts { folder: Path::new("/etc") };
    let Some((user, _group)) = accounts.user_and_group(asked)? else { return Ok(None) };
    let remap = accounts.remap(&user).context("Can't create ID mappings")?;
    tracing::info!("User namespaces: ID ranges will be mapped to subuid/subgid ranges of: {user}");
    Ok(Some(Remapped { remap }))
}

impl Remapped {
    /// The daemon's containers have these users, and a data root of their own, `<data-root>/<uid>.<gid>`.
    pub fn prepare(self, places: &mut Places) -> Result<()> {
        let (uid, gid) = self.remap.root();
        let above = places.data_root.clone();
        let failed = |path: &Path| path.display().to_string();
        let root = above.join(format!("{uid}.{gid}"));
        for folder in [&above, &root, &root.join("containers")] {
            fs::create_dir_all(folder).with_context(|| failed(folder))?;
            // Nobody else comes through (CVE-2021-41091).
            fs::set_permissions(folder, fs::Permissions::from_mode(0o710)).with_context(|| failed(folder))?;
            chown(folder, Some(0), Some(gid)).with_context(|| failed(folder))?;
        }
        let kernel = rustix::system::uname();
        let release = kernel.release().to_string_lossy();
        ensure!(
            maps_overlays(&release),
            "userns-remap needs Linux 5.19, which has id-mapped layers; this is {release}"
        );
        let unable =
            || format!("userns-remap needs id-mapped mounts, which the file system of {} lacks", root.display());
        sys::mapped_layers::probe(&root, &maps(&self.remap)).with_context(unable)?;
        places.data_root = root;
        places.remap = Some(self.remap);
        Ok(())
    }
}

/// Folders of an overlay may be id-mapped since Linux 5.19.
fn maps_overlays(release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 19)
}

/// The same as the kernel's maps.
pub fn maps(remap: &Remap) -> IdMaps {
    let ranges = |maps: &[IdMapping]| {
        let range = |map: &IdMapping| IdRange { inside: map.container_id, outside: map.host_id, size: map.size };
        maps.iter().map(range).collect()
    };
    IdMaps { uids: ranges(&remap.uids), gids: ranges(&remap.gids) }
}

impl Accounts<'_> {
    /// The names behind `default`, `user[:group]` and `uid[:gid]`; `None` for root.
    fn user_and_group(&self, asked: &str) -> Result<Option<(String, String)>> {
        let parts: Vec<&str> = asked.split(':').collect();
        let (first, second) = match parts[..] {
            [user] => (user, None),
            [user, group] => (user, Some(group)),
            _ => bail!("Invalid user/group specification in --userns-remap: {asked:?}"),
        };
        let (user, mut group) = match first.parse::<u32>() {
            Ok(uid) => {
                let user = self.by_id("passwd", uid)?;
                let user =
                    user.ok_or_else(|| anyhow!("Uid {uid} has no entry in /etc/passwd: {}", unknown("uid", uid)))?;
                let group = if second.is_none() { Some(self.group_of(uid)?) } else { None };
                (user, group)
            }
            Err(_) => {
                let name = if first == DEFAULT { DEFAULT_USER } else { first };
                if self.id_of("passwd", name)?.is_none() {
                    let failed = || format!("Error during uid lookup for {first:?}: {}", unknown("user", name));
                    ensure!(first == DEFAULT, failed());
                    self.add_user(name).with_context(|| format!("Error during {name:?} user creation"))?;
                }
                if second.is_none() && self.id_of("group", name)?.is_none() {
                    bail!("Error during gid lookup for {name:?}: {}", unknown("group", name));
                }
                (name.to_owned(), second.is_none().then(|| name.to_owned()))
            }
        };
        if let Some(asked) = second {
            group = Some(match asked.parse::<u32>() {
                Ok(gid) => self.group_of(gid)?,
                Err(_) if self.id_of("group", asked)?.is_some() => asked.to_owned(),
                Err(_) => bail!("Error during groupname lookup for {asked:?}: {}", unknown("group", asked)),
            });
        }
        if user == "root" {
            tracing::warn!("User namespaces: root cannot be remapped with itself; user namespaces are OFF");
            return Ok(None);
        }
        Ok(Some((user, group.unwrap_or_default())))
    }

    fn group_of(&self, gid: u32) -> Result<String> {
        self.by_id("group", gid)?
            .ok_or_else(|| anyhow!("Gid {gid} has no entry in /etc/group: {}", unknown("gid", gid)))
    }

    /// The ranges of a user, one behind the other from 0 on.
    fn remap(&self, user: &str) -> Result<Remap> {
        let id = self.id_of("passwd", user)?.ok_or_else(|| anyhow!("could not get user: {}", unknown("user", user)))?;
        let mappings = |file: &str| -> Result<Vec<IdMapping>> {
            // By number first, as Docker looks.
            let mut ranges = self.ranges(file, Some(&id.to_string()))?;
            ranges.append(&mut self.ranges(file, Some(user))?);
            ensure!(!ranges.is_empty(), "no {file} ranges found for user {user:?}");
            ensure!(ranges.len() <= MOST_LINES, "more than {MOST_LINES} {file} ranges for user {user:?}");
            let mut next = 0_u32;
            let mappings = ranges.into_iter().map(|(start, length)| {
                let mapping = IdMapping { container_id: next, host_id: start, size: length };
                next = next.checked_add(length).with_context(|| format!("{file} ranges of {user:?} are too long"))?;
                Ok(mapping)
            });
            mappings.collect()
        };
        Ok(Remap { uids: mappings("subuid")?, gids: mappings("subgid")? })
    }

    /// First and number of ids: of one owner, or all there are.
    fn ranges(&self, file: &str, owner: Option<&str>) -> Result<Vec<(u32, u32)>> {
        let wrong = || format!("Cannot parse subuid/gid information: Format not correct for /etc/{file} file");
        let text = self.read(file)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut found = Vec::new();
        for line in lines {
            let [name, start, length] = line.split(':').collect::<Vec<_>>()[..] else { bail!(wrong()) };
            if owner.is_none_or(|owner| owner == name) {
                let (start, length) = (start.parse::<u32>().with_context(wrong)?, length.parse().with_context(wrong)?);
                ensure!(length > 0 && start.checked_add(length).is_some(), wrong());
                found.push((start, length));
            }
        }
        Ok(found)
    }

    fn by_id(&self, file: &str, id: u32) -> Result<Option<String>> {
        let text = self.read(file)?;
        let mut entries = text.lines().filter_map(entry);
        Ok(entries.find(|(_, found)| *found == id).map(|(name, _)| name.to_owned()))
    }

    fn id_of(&self, file: &str, name: &str) -> Result<Option<u32>> {
        let text = self.read(file)?;
        let mut entries = text.lines().filter_map(entry);
        Ok(entries.find(|(found, _)| *found == name).map(|(_, id)| id))
    }

    /// Empty where it is missing.
    fn read(&self, name: &str) -> Result<String> {
        let path = self.folder.join(name);
        let mut text = String::new();
        match fs::File::open(&path).and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context(path.display().to_string())
            }
            _ => Ok(text),
        }
    }

    /// A system user and group of this name, and ranges for both unless they came along.
    fn add_user(&self, name: &str) -> Result<()> {
        let add = run("useradd", &["-r", "-s", "/bin/false", name]);
        add.with_context(|| format!("error adding user {name:?}"))?;
        for (file, flag) in [("subuid", "-v"), ("subgid", "-w")] {
            if self.ranges(file, Some(name))?.is_empty() {
                let start = free_start(self.ranges(file, None)?);
                let range = format!("{start}-{}", start.saturating_add(RANGE_LENGTH - 1));
                let added = run("usermod", &[flag, &range, name]);
                added.with_context(|| format!("unable to add {file} range to user: {name:?}"))?;
            }
        }
        Ok(())
    }
}

/// The first start at which a range touches no other.
fn free_start(mut ranges: Vec<(u32, u32)>) -> u32 {
    ranges.sort_unstable();
    ranges.into_iter().fold(RANGE_START, |start, (other, length)| {
        let (end, other_end) = (start.saturating_add(RANGE_LENGTH), other.saturating_add(length));
        if start < other_end && other < end { other_end } else { start }
    })
}

/// Name and id of a line of passwd(5) or group(5).
fn entry(line: &str) -> Option<(&str, u32)> {
    let mut fields = line.split(':');
    let (name, _password, id) = (fields.next()?, fields.next()?, fields.next()?);
    Some((name, id.parse().ok()?))
}

fn unknown(what: &str, who: impl Display) -> String {
    format!("no such {what}: {who}")
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(folder: &Path) -> Accounts<'_> {
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("write");
        write(
            "passwd",
            "root:x:0:0::/root:/bin/sh\nmapped:x:1001:1002::/:/bin/false\nalone:x:1003:1003::/:/bin/false\n",
        );
        write("group", "root:x:0:\nmapped:x:1002:\nothers:x:1001:\n");
        write("subuid", "# ranges\nmapped:100000:1000\n1001:300000:5\n\nelse:400000:65536\n");
        write("subgid", "mapped:500000:10\n");
        Accounts { folder }
    }

    #[test]
    fn users_and_groups_are_named_or_numbered() {
        let folder = tempfile::tempdir().expect("tempdir");
        let accounts = accounts(folder.path());
        let found = |asked: &str| accounts.user_and_group(asked).expect("found").expect("not root");
        let names = |user: &str, group: &str| (user.to_owned(), group.to_owned());
        assert_eq!(found("mapped"), names("mapped", "mapped"));
        // A number alone is the group's, too.
        assert_eq!(found("1001"), names("mapped", "others"));
        assert_eq!(found("1001:1002"), names("mapped", "mapped"));
        assert_eq!(found("alone:others"), names("alone", "others"));
        assert_eq!(accounts.user_and_group("0:0").expect("found"), None);
        let refused = |asked: &str| format!("{:#}", accounts.user_and_group(asked).expect_err("refused"));
        assert_eq!(refused("a:b:c"), "Invalid user/group specification in --userns-remap: \"a:b:c\"");
        assert_eq!(refused("77"), "Uid 77 has no entry in /etc/passwd: no such uid: 77");
        assert_eq!(refused("1003"), "Gid 1003 has no entry in /etc/group: no such gid: 1003");
        assert_eq!(refused("nobody-here"), "Error during uid lookup for \"nobody-here\": no such user: nobody-here");
        assert_eq!(refused("alone"), "Error during gid lookup for \"alone\": no such group: alone");
        assert_eq!(refused("mapped:none"), "Error during groupname lookup for \"none\": no such group: none");
    }

    #[test]
    fn ranges_stand_one_behind_the_other() {
        let folder = tempfile::tempdir().expect("tempdir");
        let accounts = accounts(folder.path());
        let remap = accounts.remap("mapped").expect("ranges");
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert_eq!(remap.uids, [map(0, 300_000, 5), map(5, 100_000, 1000)]);
        assert_eq!(remap.gids[0], map(0, 500_000, 10));
        assert_eq!(remap.root(), (300_000, 500_000));
        let refused = format!("{:#}", accounts.remap("alone").expect_err("none"));
        assert_eq!(refused, "no subuid ranges found for user \"alone\"");
        fs::write(folder.path().join("subuid"), "mapped:1\n").expect("write");
        let refused = format!("{:#}", accounts.remap("mapped").expect_err("malformed"));
        assert_eq!(refused, "Cannot parse subuid/gid information: Format not correct for /etc/subuid file");
    }

    #[test]
    fn a_kernel_that_cannot_map_layers_is_known_by_its_release() {
        assert!(maps_overlays("6.1.0-18-amd64") && maps_overlays("5.19.17") && maps_overlays("10.0-rc1"));
        assert!(!maps_overlays("5.15.0-91-generic") && !maps_overlays("4.19"));
    }

    #[test]
    fn a_new_range_touches_no_other() {
        assert_eq!(free_start(Vec::new()), 100_000);
        assert_eq!(free_start(vec![(165_536, 65_536), (100_000, 65_536)]), 231_072);
        assert_eq!(free_start(vec![(500_000, 10)]), 100_000);
    }

    #[test]
    fn a_data_root_of_its_own_belongs_to_the_group() {
        let folder = tempfile::tempdir().expect("tempdir");
        let remap = accounts(folder.path()).remap("mapped").expect("ranges");
        let mut places = Places::new(Some(folder.path().join("data")), Some(folder.path().join("run")));
        let hash = places.hash.clone();
        let remapped = Remapped { remap };
        if !rustix::process::geteuid().is_root() {
            return;
        }
        remapped.prepare(&mut places).expect("a file system with id-mapped mounts");
        assert_eq!(places.data_root, folder.path().join("data/300000.500000"));
        assert_eq!(places.hash, hash);
        use std::os::unix::fs::MetadataExt;
        let of = |path: &Path| fs::metadata(path).map(|m| (m.mode() & 0o777, m.uid(), m.gid())).expect("stat");
        assert_eq!(of(&places.data_root), (0o710, 0, 500_000));
        assert_eq!(of(&folder.path().join("data")), (0o710, 0, 500_000));
    }
}
