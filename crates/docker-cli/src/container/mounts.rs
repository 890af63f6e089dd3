//! `-v` and `--mount`.

use std::collections::BTreeMap;

use engine_api::Empty;
use engine_api::mount::{BindOptions, Driver, ImageOptions, Mount};

use crate::text::size::parse_bytes;

/// `-v`: binds, and the anonymous volumes apart. A path of the host is made absolute here.
pub fn split_volumes(list: &[String]) -> Result<(Vec<String>, BTreeMap<String, Empty>), String> {
    let mut binds = Vec::new();
    let mut volumes = BTreeMap::new();
    for text in list {
        if text.is_empty() {
            return Err("invalid empty volume spec".to_owned());
        }
        match text.split_once(':') {
            _ if text.split(':').any(str::is_empty) => {
                return Err(format!("invalid spec: {text}: empty section between colons"));
            }
            None => {
                volumes.insert(text.clone(), Empty {});
            }
            Some((source, rest)) if source.starts_with('.') => {
                binds.push(format!("{}:{rest}", absolute(source)));
            }
            Some(_) => binds.push(text.clone()),
        }
    }
    Ok((binds, volumes))
}

/// `./x` from here.
fn absolute(path: &str) -> String {
    match std::env::current_dir() {
        Ok(here) => clean(&format!("{}/{path}", here.display())),
        Err(_) => path.to_owned(),
    }
}

/// Without `.`, `..` and doubled slashes.
fn clean(path: &str) -> String {
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
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        if key.trim() != key {
            return Err(format!("invalid option '{key}' in '{field}': option should not have whitespace"));
        }
        set_field(&mut mount, &key, value, &field)?;
    }
    check_mount(mount)
}

fn set_field(mount: &mut Mount, key: &str, value: Option<&str>, field: &str) -> Result<(), String> {
    let Some(value) = value else {
        match key {
            "readonly" | "ro" => mount.read_only = true,
            "volume-nocopy" => mount.volume_options.get_or_insert_default().no_copy = true,
            "bind-nonrecursive" => mount.bind_options.get_or_insert_default().non_recursive = true,
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
        return Ok(());
    };
    let truth = || match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value}")),
    };
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => {
            let relative = value == "." || value.starts_with("./") || value.starts_with("../");
            mount.source = if relative { absolute(value) } else { value.to_owned() };
        }
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "readonly" | "ro" => mount.read_only = truth()?,
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => mount.bind_options.get_or_insert_default().propagation = value.to_lowercase(),
        "bind-nonrecursive" => mount.bind_options.get_or_insert_default().non_recursive = truth()?,
        "bind-recursive" => set_recursive(mount.bind_options.get_or_insert_default(), value)?,
        "bind-create-src" => mount.bind_options.get_or_insert_default().create_mountpoint = truth()?,
        "volume-subpath" => value.clone_into(&mut mount.volume_options.get_or_insert_default().subpath),
        "volume-nocopy" => mount.volume_options.get_or_insert_default().no_copy = truth()?,
        "volume-label" => {
            let (label, value) = value.split_once('=').unwrap_or((value, ""));
            let labels = &mut mount.volume_options.get_or_insert_default().labels;
            labels.insert(label.to_owned(), value.to_owned());
        }
        "volume-driver" => value.clone_into(&mut driver(mount).name),
        "volume-opt" => {
            let (option, value) = value.split_once('=').unwrap_or((value, ""));
            driver(mount).options.insert(option.to_owned(), value.to_owned());
        }
        "image-subpath" => mount.image_options = Some(ImageOptions { subpath: value.to_owned() }),
        "tmpfs-size" => {
            let size = parse_bytes(value).ok_or_else(|| format!("invalid value for {key}: {value}"))?;
            mount.tmpfs_options.get_or_insert_default().size_bytes = size;
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8).map_err(|_| format!("invalid value for {key}: {value}"))?;
            mount.tmpfs_options.get_or_insert_default().mode = mode;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn driver(mount: &mut Mount) -> &mut Driver {
    mount.volume_options.get_or_insert_default().driver_config.get_or_insert_default()
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
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    if mount.volume_options.is_some() && kind != "volume" {
        return mixed("volume");
    }
    if mount.bind_options.is_some() && kind != "bind" {
        return mixed("bind");
    }
    if mount.tmpfs_options.is_some() && kind != "tmpfs" {
        return mixed("tmpfs");
    }
    if mount.image_options.is_some() && kind != "image" {
        return mixed("image");
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
    }
    Ok(mount)
}

/// Comma-separated fields; quotes around a field keep its commas (RFC 4180).
pub fn comma_fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text.trim_end_matches('\n');
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, behind) = rest.split_once(',').map_or((rest, None), |(field, behind)| (field, Some(behind)));
            fields.push(field.to_owned());
            match behind {
                Some(behind) => rest = behind,
                None => return Ok(fields),
            }
            continue;
        };
        let end = quoted.find('"').ok_or_else(|| "extraneous or missing \" in quoted-field".to_owned())?;
        fields.push(quoted[..end].to_owned());
        match quoted[end + 1..].strip_prefix(',') {
            Some(behind) => rest = behind,
            None if end + 1 == quoted.len() => return Ok(fields),
            None => return Err("extraneous or missing \" in quoted-field".to_owned()),
        }
    }
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
    }

    #[test]
    fn mounts_are_read_and_checked() {
        let mount = parse_mount("type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave").unwrap();
        assert!(mount.read_only);
        assert_eq!(mount.bind_options.unwrap().propagation, "rslave");
        let mount = parse_mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap();
        assert_eq!(mount.tmpfs_options.unwrap(), TmpfsOptions { size_bytes: 1 << 20, mode: 0o1770, options: vec![] });
        assert_eq!(parse_mount("foo").unwrap_err(), "invalid field 'foo' must be a key=value pair");
        assert_eq!(parse_mount("type=bind,src=/a").unwrap_err(), "target is required");
        assert_eq!(parse_mount("dst=/a,x=y").unwrap_err(), "unexpected key 'x' in 'x=y'");
        assert!(parse_mount("type=bind,dst=/a,volume-nocopy").is_err());
        assert_eq!(parse_mount("\"src=a,b\",dst=/c").unwrap().source, "a,b");
    }
}
