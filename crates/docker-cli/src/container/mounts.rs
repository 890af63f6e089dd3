//! `-v` and `--mount`.

use std::collections::BTreeMap;

use engine_api::mount::{BindOptions, Driver, ImageOptions, Mount, VolumeOptions};
use engine_api::{Empty, StringMap};

use super::fields::comma_fields;
use crate::command::flag::parse_bool;
use crate::text::size::parse_bytes;

/// `-v`: binds, and the anonymous volumes apart. A path of the host is made absolute here.
pub fn split_volumes(list: &[String]) -> Result<(Vec<String>, BTreeMap<String, Empty>), String> {
    let mut binds = Vec::new();
    let mut volumes = BTreeMap::new();
    for text in list {
        if !has_source(text)? {
            volumes.insert(text.clone(), Empty {});
            continue;
        }
        let bind = match text.split_once(':') {
            Some((source, rest)) if source.starts_with('.') => format!("{}:{rest}", absolute(source)),
            _ => text.clone(),
        };
        if !binds.contains(&bind) {
            binds.push(bind);
        }
    }
    Ok((binds, volumes))
}

/// Whether a specification names what is mounted, and not only where. Two letters are a place, a letter in front of a
/// colon a drive.
fn has_source(text: &str) -> Result<bool, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if text.len() <= 2 {
        return Ok(false);
    }
    let mut parts: Vec<String> = vec![String::new()];
    for c in text.chars() {
        let last = parts.last_mut().map_or("", |part| part.as_str());
        let is_drive = c == ':' && last.len() == 1 && last.starts_with(|c: char| c.is_alphabetic());
        if c == ':' && !is_drive {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    // In the order in which they are met: an empty part, or one too many.
    for (at, part) in parts.iter().enumerate() {
        let refused = |reason: &str| Err(format!("invalid spec: {text}: {reason}"));
        if part.is_empty() {
            return refused("empty section between colons");
        }
        if at == 2 && parts.len() > 3 {
            return refused("too many colons");
        }
    }
    Ok(parts.len() > 1)
}

/// `./x` from here.
fn absolute(path: &str) -> String {
    match std::env::current_dir() {
        Ok(here) => clean(&format!("{}/{path}", here.display())),
        Err(_) => path.to_owned(),
    }
}

/// An absolute path without `.`, `..` and doubled slashes.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

pub fn parse_all(list: &[String]) -> Result<Vec<Mount>, String> {
    list.iter().map(|text| parse_mount(text)).collect()
}

/// `type=bind,source=/a,target=/b,readonly`.
pub fn parse_mount(text: &str) -> Result<Mount, String> {
    let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
    for field in comma_fields(text)? {
        match field.split_once('=') {
            Some((key, value)) => set_field(&mut mount, &key.to_lowercase(), value, &field)?,
            None => set_flag(&mut mount, &field)?,
        }
    }
    check_mount(mount)
}

/// A field without a value.
fn set_flag(mount: &mut Mount, field: &str) -> Result<(), String> {
    match field.to_lowercase().as_str() {
        "readonly" | "ro" => mount.read_only = true,
        "volume-nocopy" => volume(mount).no_copy = true,
        "bind-nonrecursive" => mount.bind_options.get_or_insert_default().non_recursive = true,
        _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
    }
    Ok(())
}

fn set_field(mount: &mut Mount, key: &str, value: &str, field: &str) -> Result<(), String> {
    let invalid = || format!("invalid value for {key}: {value}");
    let truth = || parse_bool(value).ok_or_else(invalid);
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => mount.source = if value.starts_with('.') { absolute(value) } else { value.to_owned() },
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "readonly" | "ro" => mount.read_only = truth()?,
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => mount.bind_options.get_or_insert_default().propagation = value.to_lowercase(),
        "bind-nonrecursive" => mount.bind_options.get_or_insert_default().non_recursive = truth()?,
        // An extension of this engine: Docker's refuses what it does not know.
        "bind-idmap" => set_id_map(mount.bind_options.get_or_insert_default(), value)?,
        "bind-recursive" => set_recursive(mount.bind_options.get_or_insert_default(), value)?,
        "volume-subpath" => value.clone_into(&mut volume(mount).subpath),
        "volume-nocopy" => volume(mount).no_copy = truth()?,
        "volume-label" => set_pair(&mut volume(mount).labels, value),
        "volume-driver" => value.clone_into(&mut driver(mount).name),
        "volume-opt" => set_pair(&mut driver(mount).options, value),
        "image-subpath" => mount.image_options = Some(ImageOptions { subpath: value.to_owned() }),
        "tmpfs-size" => {
            mount.tmpfs_options.get_or_insert_default().size_bytes = parse_bytes(value).ok_or_else(invalid)?;
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8).map_err(|_| invalid())?;
            mount.tmpfs_options.get_or_insert_default().mode = mode;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn set_pair(map: &mut StringMap, value: &str) {
    let (key, value) = value.split_once('=').unwrap_or((value, ""));
    if !key.is_empty() {
        map.insert(key.to_owned(), value.to_owned());
    }
}

/// A volume's options always come with a driver, be it an unnamed one.
fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    let options = mount.volume_options.get_or_insert_default();
    options.driver_config.get_or_insert_default();
    options
}

fn driver(mount: &mut Mount) -> &mut Driver {
    volume(mount).driver_config.get_or_insert_default()
}

fn set_id_map(options: &mut BindOptions, value: &str) -> Result<(), String> {
    if value != "match-user" {
        return Err(format!("invalid value for bind-idmap: {value} (must be \"match-user\")"));
    }
    value.clone_into(&mut options.id_map);
    Ok(())
}

fn set_recursive(options: &mut BindOptions, value: &str) -> Result<(), String> {
    match value {
        "enabled" => {}
        "disabled" => options.non_recursive = true,
        "writable" => options.read_only_non_recursive = true,
        "readonly" => options.read_only_force_recursive = true,
        _ => {
            return Err(format!(
                "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
            ));
        }
    }
    Ok(())
}

fn check_mount(mount: Mount) -> Result<Mount, String> {
    let kind = mount.kind.as_str();
    let mixed = |part: &str| Err(format!("cannot mix '{part}-*' options with mount type '{kind}'"));
    if kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    if mount.volume_options.is_some() && kind != "volume" {
        return mixed("volume");
    }
    if mount.image_options.is_some() && kind != "image" {
        return mixed("image");
    }
    if mount.bind_options.is_some() && kind != "bind" {
        return mixed("bind");
    }
    if mount.tmpfs_options.is_some() && kind != "tmpfs" {
        return mixed("tmpfs");
    }
    if let Some(bind) = &mount.bind_options {
        if bind.read_only_non_recursive && !mount.read_only {
            return Err(
                "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction".to_owned()
            );
        }
        if bind.read_only_force_recursive && !mount.read_only {
            return Err(
                "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".to_owned()
            );
        }
        if bind.read_only_force_recursive && bind.propagation != "rprivate" {
            return Err(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
                    .to_owned(),
            );
        }
    }
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use engine_api::mount::TmpfsOptions;

    use super::*;

    #[test]
    fn volumes_are_binds_or_anonymous() {
        let list = ["/a:/b:ro", "vol:/c", "/anon"].map(str::to_owned);
        let (binds, volumes) = split_volumes(&list).unwrap();
        assert_eq!(binds, ["/a:/b:ro", "vol:/c"]);
        assert!(volumes.contains_key("/anon"));
        let (binds, _) = split_volumes(&["./x:/y".to_owned()]).unwrap();
        assert!(binds[0].starts_with('/') && binds[0].ends_with("/x:/y"));
        assert_eq!(clean("/a/./b/../c//d"), "/a/c/d");
        let (binds, volumes) = split_volumes(&["c:/x:/y".to_owned(), ":".to_owned()]).unwrap();
        assert_eq!((binds[0].as_str(), volumes.contains_key(":")), ("c:/x:/y", true));
        let refusal = |text: &str| split_volumes(&[text.to_owned()]).unwrap_err();
        assert_eq!(refusal("/a::/b"), "invalid spec: /a::/b: empty section between colons");
        assert_eq!(refusal("/a:/b:ro:x"), "invalid spec: /a:/b:ro:x: too many colons");
    }

    #[test]
    fn mounts_are_read_and_checked() {
        let mount = parse_mount("type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave").unwrap();
        assert!(mount.read_only);
        assert_eq!(mount.bind_options.unwrap().propagation, "rslave");
        let mount = parse_mount("type=bind,src=/a,dst=/b,bind-idmap=match-user").unwrap();
        assert_eq!(mount.bind_options.unwrap().id_map, "match-user");
        let refused = "invalid value for bind-idmap: 7 (must be \"match-user\")";
        assert_eq!(parse_mount("type=bind,src=/a,dst=/b,bind-idmap=7").unwrap_err(), refused);
        let mount = parse_mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap();
        assert_eq!(mount.tmpfs_options.unwrap(), TmpfsOptions { size_bytes: 1 << 20, mode: 0o1770, options: vec![] });
        assert_eq!(parse_mount("foo").unwrap_err(), "invalid field 'foo' must be a key=value pair");
        assert_eq!(parse_mount("type=bind,src=/a").unwrap_err(), "target is required");
        assert_eq!(parse_mount("dst=/a,x=y").unwrap_err(), "unexpected key 'x' in 'x=y'");
        assert!(parse_mount("type=bind,dst=/a,volume-nocopy").is_err());
        assert_eq!(parse_mount("\"src=a,b\",dst=/c").unwrap().source, "a,b");
    }
}
