//! What a container wants mounted: `-v`, `--mount`, `--tmpfs` and the image's volumes, in one checked list.

use crate::config::{Config, HostConfig, MountKind, MountPoint, MountRequest, Owners, ReadOnly};
use crate::error::ConfigError;

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
/// Of binds that say nothing; whether it will do is for who knows the source.
pub const DEFAULT_PROPAGATION: &str = "rprivate";

/// All mounts of a container to be, without the sources of volumes (those the service makes). A volume of the image yields
/// to whatever the user mounts at the same place; two mounts of the user at one place are an error.
pub fn wanted_mounts(config: &Config, host: &HostConfig) -> Result<Vec<MountPoint>, ConfigError> {
    let mut mounts = Vec::new();
    for bind in &host.binds {
        add(&mut mounts, from_bind(bind, &host.volume_driver)?)?;
    }
    for request in &host.mounts {
        add(&mut mounts, from_request(request)?)?;
    }
    for (target, options) in &host.tmpfs {
        let destination = destination("tmpfs", target)?;
        tmpfs_options(options)?;
        let mount = MountPoint {
            kind: MountKind::Tmpfs,
            destination,
            mode: options.clone(),
            read_write: !options.split(',').any(|option| option == "ro"),
            ..MountPoint::default()
        };
        add(&mut mounts, mount)?;
    }
    for target in &config.volumes {
        // An image's may be relative (`VOLUME data`): to the root, as the runtime takes it.
        let target = if target.is_empty() { String::new() } else { format!("/{}", target.trim_start_matches('/')) };
        let destination = destination("volume", &target)?;
        if !mounts.iter().any(|mount| mount.destination == destination) {
            mounts.push(MountPoint { driver: host.volume_driver.clone(), ..anonymous(destination) });
        }
    }
    Ok(mounts)
}

fn add(mounts: &mut Vec<MountPoint>, mount: MountPoint) -> Result<(), ConfigError> {
    if mounts.iter().any(|known| known.destination == mount.destination) {
        return Err(ConfigError::DuplicateMount(mount.destination));
    }
    mounts.push(mount);
    Ok(())
}

/// Nobody asked for another driver; the volume may have one all the same.
fn is_local(driver: &str) -> bool {
    matches!(driver, "" | "local")
}

fn anonymous(destination: String) -> MountPoint {
    MountPoint {
        kind: MountKind::Volume,
        destination,
        read_write: true,
        copy_up: true,
        anonymous: true,
        ..MountPoint::default()
    }
}

/// `target`, `source:target` or `source:target:mode`; a source that is no absolute path is a volume's name.
fn from_bind(text: &str, volume_driver: &str) -> Result<MountPoint, ConfigError> {
    let invalid = || ConfigError::VolumeSpecification(text.to_owned());
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        ["", ..] => return Err(invalid()),
        [target] => ("", target, ""),
        // `/foo:rw`: a mode needs a source before it.
        [_, mode] if Mode::parse(mode).is_some() => return Err(invalid()),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(invalid()),
    };
    let parsed = Mode::parse(mode).ok_or_else(|| ConfigError::Value(format!("invalid mode: {mode}")))?;
    let is_bind = source.starts_with('/');
    let kind = if is_bind { MountKind::Bind } else { MountKind::Volume };
    let destination =
        destination(kind.as_str(), target).map_err(|why| ConfigError::Value(format!("{}: {why}", invalid())))?;
    if is_bind {
        return Ok(MountPoint {
            kind,
            source: clean(source),
            destination,
            mode: mode.to_owned(),
            read_write: !parsed.read_only,
            propagation: parsed.propagation.unwrap_or_default().to_owned(),
            create_source: true,
            ..MountPoint::default()
        });
    }
    check_volume_name(source)?;
    Ok(MountPoint {
        name: source.to_owned(),
        // What Docker shows for a local volume that nobody gave a mode.
        mode: if mode.is_empty() && is_local(volume_driver) { "z".to_owned() } else { mode.to_owned() },
        propagation: parsed.propagation.unwrap_or_default().to_owned(),
        driver: volume_driver.to_owned(),
        read_write: !parsed.read_only,
        copy_up: !parsed.no_copy,
        anonymous: source.is_empty(),
        ..anonymous(destination)
    })
}

#[derive(Default)]
struct Mode<'a> {
    read_only: bool,
    no_copy: bool,
    propagation: Option<&'a str>,
}

impl<'a> Mode<'a> {
    /// At most one of each sort; labels and consistency are accepted and mean nothing on this host.
    fn parse(text: &'a str) -> Option<Self> {
        let mut mode = Self::default();
        let mut seen = [false; 5];
        for option in text.split(',').filter(|_| !text.is_empty()) {
            let sort = match option {
                "rw" | "ro" => 0,
                "z" | "Z" => 1,
                "nocopy" => 2,
                "consistent" | "cached" | "delegated" => 3,
                propagation if PROPAGATIONS.contains(&propagation) => 4,
                _ => return None,
            };
            if std::mem::replace(&mut seen[sort], true) {
                return None;
            }
            match option {
                "ro" => mode.read_only = true,
                "nocopy" => mode.no_copy = true,
                propagation if sort == 4 => mode.propagation = Some(propagation),
                _ => {}
            }
        }
        Some(mode)
    }
}

fn from_request(request: &MountRequest) -> Result<MountPoint, ConfigError> {
    let kind = request.kind;
    let wrong = |reason: String| ConfigError::Mount { kind: kind.as_str(), reason };
    if let Some(options) = request.stray_options {
        return Err(wrong(format!("field {options:?} must not be specified")));
    }
    let destination = destination(kind.as_str(), &request.target)?;
    let mut mount = MountPoint { kind, destination, read_write: !request.read_only, ..MountPoint::default() };
    match kind {
        MountKind::Bind => {
            if request.source.is_empty() {
                return Err(wrong("field Source must not be empty".to_owned()));
            }
            if !PROPAGATIONS.contains(&request.propagation.as_str()) && !request.propagation.is_empty() {
                return Err(wrong(format!("invalid propagation mode: {}", request.propagation)));
            }
            if !request.source.starts_with('/') {
                let source = &request.source;
                return Err(wrong(format!("invalid mount path: '{source}' mount path must be absolute")));
            }
            mount.source = clean(&request.source);
            mount.propagation.clone_from(&request.propagation);
            mount.non_recursive = request.non_recursive;
            mount.create_source = request.create_mountpoint;
            mount.read_only = read_only(request)?;
            mount.owners = owners(request).map_err(wrong)?;
        }
        MountKind::Volume => {
            check_subpath(request)?;
            check_volume_name(&request.source)?;
            mount.name.clone_from(&request.source);
            mount.driver.clone_from(&request.volume_driver);
            mount.copy_up = !request.no_copy;
            mount.anonymous = request.source.is_empty();
            mount.subpath.clone_from(&request.subpath);
            mount.labels.clone_from(&request.volume_labels);
            mount.driver_options.clone_from(&request.volume_driver_options);
            if is_local(&mount.driver) {
                mount.mode = "z".to_owned();
            }
        }
        MountKind::Image => {
            if request.source.is_empty() {
                return Err(wrong("field Source must not be empty".to_owned()));
            }
            check_subpath(request)?;
            // Nothing of an image can be written to; the name is resolved to its layers by the service.
            mount.read_write = false;
            mount.name.clone_from(&request.source);
            mount.subpath.clone_from(&request.subpath);
            mount.propagation = DEFAULT_PROPAGATION.to_owned();
        }
        MountKind::Tmpfs => {
            if !request.source.is_empty() {
                return Err(wrong("field Source must not be specified".to_owned()));
            }
            mount.mode = tmpfs_mode(request).map_err(wrong)?;
        }
    }
    Ok(mount)
}

fn owners(request: &MountRequest) -> Result<Owners, String> {
    match request.id_map.as_str() {
        "" => Ok(Owners::Host),
        "match-user" => Ok(Owners::MatchUser),
        other => Err(format!("invalid id mapping: {other} (must be match-user)")),
    }
}

fn read_only(request: &MountRequest) -> Result<ReadOnly, ConfigError> {
    match (request.read_only_non_recursive, request.read_only_force_recursive) {
        (true, true) => {
            Err(ConfigError::Value("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive".to_owned()))
        }
        (true, false) => Ok(ReadOnly::Shallow),
        (false, true) => Ok(ReadOnly::Forced),
        (false, false) => Ok(ReadOnly::Default),
    }
}

/// A path that stays inside what it is relative to (Go's filepath.IsLocal).
fn check_subpath(request: &MountRequest) -> Result<(), ConfigError> {
    let wrong = |reason: &str| ConfigError::Mount { kind: request.kind.as_str(), reason: reason.to_owned() };
    if request.subpath.is_empty() {
        return Ok(());
    }
    if request.kind == MountKind::Volume && request.source.is_empty() {
        return Err(wrong("must not set Subpath when using anonymous volumes"));
    }
    let mut depth = 0_i32;
    for part in request.subpath.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            break;
        }
    }
    if depth < 0 || request.subpath.starts_with('/') {
        return Err(wrong("subpath must be a relative path within the volume"));
    }
    Ok(())
}

/// The options in the words of `--tmpfs`.
fn tmpfs_mode(request: &MountRequest) -> Result<String, String> {
    let mut options = Vec::new();
    if request.read_only {
        options.push("ro".to_owned());
    }
    if request.tmpfs_mode != 0 {
        options.push(format!("mode={:o}", request.tmpfs_mode));
    }
    if request.tmpfs_size > 0 {
        let units = [("g", 1_i64 << 30), ("m", 1 << 20), ("k", 1 << 10)];
        let unit = units.into_iter().find(|(_, factor)| request.tmpfs_size % factor == 0).unwrap_or(("", 1));
        options.push(format!("size={}{}", request.tmpfs_size / unit.1, unit.0));
    }
    for option in &request.tmpfs_options {
        match &option[..] {
            [word] if matches!(word.as_str(), "exec" | "noexec") => options.push(word.clone()),
            [word] | [word, _] => return Err(format!("invalid option: {word}")),
            _ => return Err("invalid option array length".to_owned()),
        }
    }
    Ok(options.join(","))
}

fn destination(kind: &'static str, target: &str) -> Result<String, ConfigError> {
    let wrong = |reason: String| ConfigError::Mount { kind, reason };
    if target.is_empty() {
        return Err(wrong("field Target must not be empty".to_owned()));
    }
    if !target.starts_with('/') {
        return Err(wrong(format!("invalid mount path: '{target}' mount path must be absolute")));
    }
    match clean(target) {
        root if root == "/" => Err(wrong("invalid specification: destination can't be '/'".to_owned())),
        path => Ok(path),
    }
}

/// Docker's rule for names of local volumes; empty stands for an anonymous one.
fn check_volume_name(name: &str) -> Result<(), ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let good = name.len() > 1
        && name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(allowed);
    if name.is_empty() || good {
        return Ok(());
    }
    Err(ConfigError::Value(match name.len() {
        1 => format!("create {name}: volume name is too short, names should be at least two alphanumeric characters"),
        _ => format!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        ),
    }))
}

/// An absolute path without `.`, `..`, empty parts and trailing slash.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The options of a tmpfs: Docker's defaults, each of which the user's opposite takes back.
pub(crate) fn tmpfs_options(asked: &str) -> Result<Vec<String>, ConfigError> {
    const FLAGS: [(&str, &str); 9] = [
        ("noexec", "exec"),
        ("nosuid", "suid"),
        ("nodev", "dev"),
        ("ro", "rw"),
        ("sync", "async"),
        ("noatime", "atime"),
        ("nodiratime", "diratime"),
        ("norelatime", "relatime"),
        ("nostrictatime", "strictatime"),
    ];
    const KEYS: [&str; 8] = ["size", "nr_inodes", "nr_blocks", "mode", "uid", "gid", "mpol", "huge"];
    let mut options: Vec<String> = ["noexec", "nosuid", "nodev", "rprivate"].map(str::to_owned).to_vec();
    for option in asked.split(',').filter(|option| !option.is_empty()) {
        let key = option.split_once('=').map(|(key, _)| key);
        let replaces: Vec<&str> = match (key, FLAGS.iter().find(|(off, on)| option == *off || option == *on)) {
            (Some(key), _) if KEYS.contains(&key) => vec![key],
            (None, Some((off, on))) => vec![off, on],
            (None, None) if PROPAGATIONS.contains(&option) => PROPAGATIONS.to_vec(),
            _ => return Err(ConfigError::Value(format!("invalid tmpfs option [\"{option}\"]"))),
        };
        options.retain(|known| {
            let known_key = known.split_once('=').map_or(known.as_str(), |(key, _)| key);
            !replaces.contains(&known_key)
        });
        options.push(option.to_owned());
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StrayOptions;

    fn bind(text: &str) -> Result<MountPoint, String> {
        from_bind(text, "").map_err(|error| error.to_string())
    }

    #[test]
    fn an_absolute_source_is_a_bind_and_a_name_a_volume() {
        let mount = bind("/host/./x/:/in//side:ro,rslave").unwrap();
        assert_eq!((mount.source.as_str(), mount.destination.as_str()), ("/host/x", "/in/side"));
        assert_eq!((mount.read_write, mount.propagation.as_str()), (false, "rslave"));
        let volume = bind("data:/var/data").unwrap();
        assert_eq!((volume.kind, volume.name.as_str(), volume.copy_up), (MountKind::Volume, "data", true));
        assert!(bind("/only/target").unwrap().anonymous);
    }

    #[test]
    fn broken_specifications_are_refused_in_dockers_words() {
        assert_eq!(bind("/a:rw").unwrap_err(), "invalid volume specification: '/a:rw'");
        assert_eq!(bind("").unwrap_err(), "invalid volume specification: ''");
        assert_eq!(bind("/a:/b:fast").unwrap_err(), "invalid mode: fast");
        assert_eq!(bind("/a:/b:ro,rw").unwrap_err(), "invalid mode: ro,rw");
        assert_eq!(
            bind("/a:/").unwrap_err(),
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: \
             destination can't be '/'"
        );
        assert!(bind("./x:/b").unwrap_err().contains("includes invalid characters for a local volume name"));
        assert!(bind("/a:b").unwrap_err().contains("mount path must be absolute"));
    }

    #[test]
    fn mounts_of_every_type_are_checked_in_dockers_words() {
        let refused = |request: MountRequest| {
            let request = MountRequest { target: "/x".into(), ..request };
            from_request(&request).unwrap_err().to_string()
        };
        let of = |kind| MountRequest { kind, ..MountRequest::default() };
        assert_eq!(
            refused(MountRequest { subpath: "a".into(), ..of(MountKind::Volume) }),
            "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes"
        );
        for out in ["../x", "/x", "a/../../x"] {
            let request = MountRequest { subpath: out.into(), source: "data".into(), ..of(MountKind::Volume) };
            assert!(refused(request).ends_with("subpath must be a relative path within the volume"), "{out}");
        }
        assert!(refused(of(MountKind::Image)).ends_with("field Source must not be empty"));
        let stray = MountRequest { stray_options: Some(StrayOptions::BindOptions), ..of(MountKind::Volume) };
        assert!(refused(stray).ends_with("\"volume\": field BindOptions must not be specified"));
        let both = MountRequest {
            source: "/".into(),
            read_only_non_recursive: true,
            read_only_force_recursive: true,
            ..of(MountKind::Bind)
        };
        assert_eq!(refused(both), "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive");
        let odd = MountRequest { tmpfs_options: vec![vec!["suid".into()]], ..of(MountKind::Tmpfs) };
        assert!(refused(odd).ends_with("invalid option: suid"));
    }

    #[test]
    fn a_tmpfs_by_mount_has_the_words_of_tmpfs() {
        let request = MountRequest {
            kind: MountKind::Tmpfs,
            target: "/t".into(),
            tmpfs_size: 64 << 20,
            tmpfs_mode: 0o1770,
            tmpfs_options: vec![vec!["exec".into()]],
            ..MountRequest::default()
        };
        assert_eq!(from_request(&request).unwrap().mode, "mode=1770,size=64m,exec");
    }

    #[test]
    fn two_mounts_at_one_place_are_an_error_but_the_images_volume_yields() {
        let host = HostConfig { binds: vec!["/a:/x".into(), "/b:/x/".into()], ..HostConfig::default() };
        let error = wanted_mounts(&Config::default(), &host).unwrap_err();
        assert_eq!(error.to_string(), "Duplicate mount point: /x");
        let config = Config { volumes: ["/x".to_owned(), "y".to_owned()].into(), ..Config::default() };
        let host = HostConfig { binds: vec!["/a:/x".into()], ..HostConfig::default() };
        let mounts = wanted_mounts(&config, &host).unwrap();
        assert_eq!(mounts.len(), 2);
        assert_eq!((mounts[0].kind, mounts[1].anonymous), (MountKind::Bind, true));
    }

    #[test]
    fn tmpfs_options_override_the_defaults_one_by_one() {
        let options = tmpfs_options("exec,size=64m,size=1g,mode=1770").unwrap();
        assert_eq!(options, ["nosuid", "nodev", "rprivate", "exec", "size=1g", "mode=1770"]);
        assert!(tmpfs_options("upperdir=/etc").is_err());
    }
}
