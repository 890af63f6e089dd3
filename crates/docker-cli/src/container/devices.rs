//! `--device`, `--gpus`, the limits by device and `--ulimit`.

use std::collections::{BTreeMap, BTreeSet};

use engine_api::StringMap;
use engine_api::host_config::{DeviceMapping, DeviceRequest, ThrottleDevice, Ulimit, WeightDevice};
use kernel_names::ResourceLimit;

use super::fields::comma_fields;
use super::options::pairs;
use crate::text::size::parse_bytes;

/// Paths of the host, and names of CDI devices (`vendor.com/class=name`) apart: those are asked for, not mapped.
pub fn split_devices(list: &[String]) -> Result<(Vec<DeviceMapping>, Vec<String>), String> {
    let (mut mapped, mut named) = (Vec::new(), Vec::new());
    for text in list {
        if is_cdi_name(text) {
            named.push(text.clone());
        } else {
            mapped.push(parse_device(text)?);
        }
    }
    Ok((mapped, named))
}

/// Devices asked of drivers: those of `--gpus`, then the CDI ones.
pub fn requests(gpus: &[String], named: Vec<String>) -> Result<Vec<DeviceRequest>, String> {
    let mut requests: Vec<DeviceRequest> = gpus.iter().map(|text| parse_gpus(text)).collect::<Result<_, _>>()?;
    if !named.is_empty() {
        let driver = "cdi".to_owned();
        requests.push(DeviceRequest { driver, device_ids: Some(named), ..DeviceRequest::default() });
    }
    Ok(requests)
}

/// CDI specification 0.6, "fully qualified device name": vendor, class and name with their own alphabets.
fn is_cdi_name(text: &str) -> bool {
    let Some(((vendor, class), name)) =
        text.split_once('=').and_then(|(kind, name)| Some((kind.split_once('/')?, name)))
    else {
        return false;
    };
    let word = |text: &str, first: fn(&char) -> bool, inner: &str| {
        let ends = text.chars().next().filter(first).is_some() && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        ends && text.chars().all(|c| c.is_ascii_alphanumeric() || inner.contains(c))
    };
    let letter = |c: &char| c.is_ascii_alphabetic();
    word(vendor, letter, "_-.") && word(class, letter, "_-.") && word(name, |c| c.is_ascii_alphanumeric(), "_-.:")
}

/// `/dev/sda`, `/dev/sda:/dev/xvda`, `/dev/sda:rwm`, `/dev/sda:/dev/xvda:r`.
fn parse_device(text: &str) -> Result<DeviceMapping, String> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 || parts[0].is_empty() {
        return Err(format!("bad format for path: {text}"));
    }
    let absolute = |path: &str| {
        if path.starts_with('/') { Ok(()) } else { Err(format!("{path} is not an absolute path")) }
    };
    let clean = super::mounts::clean;
    let (host, inside, mode) = match parts[..] {
        [host, mode] if is_device_mode(mode) => {
            absolute(host)?;
            (clean(host), clean(host), mode)
        }
        [host, inside] => {
            absolute(inside)?;
            (host.to_owned(), clean(inside), "rwm")
        }
        [host, inside, mode] => {
            if !is_device_mode(mode) {
                return Err(format!("bad mode specified: {mode}"));
            }
            absolute(inside)?;
            (host.to_owned(), inside.to_owned(), mode)
        }
        _ => {
            absolute(text)?;
            (clean(text), clean(text), "rwm")
        }
    };
    Ok(DeviceMapping { path_on_host: host, path_in_container: inside, cgroup_permissions: mode.to_owned() })
}

/// `r`, `w` and `m`, each at most once.
fn is_device_mode(mode: &str) -> bool {
    let letters: BTreeSet<char> = mode.chars().collect();
    !mode.is_empty() && letters.len() == mode.len() && letters.iter().all(|c| "rwm".contains(*c))
}

/// `--device-cgroup-rule`: `type major:minor mode`, checked while the line is read.
pub fn check_cgroup_rule(rule: &str) -> Result<(), String> {
    let number = |text: &str| text == "*" || !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut parts = rule.split(' ');
    let kind = parts.next().is_some_and(|kind| matches!(kind, "a" | "b" | "c"));
    let place = parts.next().and_then(|place| place.split_once(':'));
    let mode =
        parts.next().is_some_and(|mode| (1..=3).contains(&mode.len()) && mode.chars().all(|c| "rwm".contains(c)));
    if kind && place.is_some_and(|(major, minor)| number(major) && number(minor)) && mode && parts.next().is_none() {
        return Ok(());
    }
    Err(format!("invalid device cgroup format '{rule}'"))
}

/// `all`, a number, or `device=0,1` with a driver and capabilities.
pub fn parse_gpus(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest { options: Some(StringMap::new()), ..DeviceRequest::default() };
    let count = |value: &str| match value {
        "all" => Ok(-1),
        value => value.parse().map_err(|_| {
            format!("invalid count ({value}): value must be either \"all\" or an integer: invalid syntax")
        }),
    };
    let mut seen = BTreeSet::new();
    for field in comma_fields(text)? {
        let key = field.split('=').next().unwrap_or_default();
        if !seen.insert(key.to_owned()) {
            return Err(format!("gpu request key '{key}' can be specified only once"));
        }
        match field.split_once('=') {
            None => {
                seen.insert("count".to_owned());
                request.count = count(&field)?;
            }
            Some(("count", value)) => request.count = count(value)?,
            Some(("driver", value)) => value.clone_into(&mut request.driver),
            Some(("device", value)) => request.device_ids = Some(value.split(',').map(str::to_owned).collect()),
            Some(("capabilities", value)) => {
                let asked = value.split(',').chain(["gpu"]).map(str::to_owned).collect();
                request.capabilities = Some(vec![asked]);
            }
            Some(("options", value)) => {
                let fields = comma_fields(value).map_err(|reason| format!("failed to read gpu options: {reason}"))?;
                request.options = Some(pairs(&fields));
            }
            Some((key, _)) => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !seen.contains("count") && request.device_ids.is_none() {
        request.count = 1;
    }
    request.capabilities.get_or_insert_with(|| vec![vec!["gpu".to_owned()]]);
    Ok(request)
}

/// One limit a name, the last one counts.
pub fn ulimits(list: &[String]) -> Result<Vec<Ulimit>, String> {
    let all: Result<BTreeMap<String, Ulimit>, String> =
        list.iter().map(|text| parse_ulimit(text).map(|limit| (limit.name.clone(), limit))).collect();
    Ok(all?.into_values().collect())
}

/// `nofile=1024` or `nofile=1024:2048`.
pub fn parse_ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, limits) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ResourceLimit::by_ulimit(name).is_some_and(ResourceLimit::is_for_containers) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number =
        |part: &str| part.parse::<i64>().map_err(|_| format!("strconv.ParseInt: parsing {part:?}: invalid syntax"));
    let parts: Vec<&str> = limits.split(':').collect();
    let (soft, hard) = match parts[..] {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => {
            return Err(format!("too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"));
        }
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok(Ulimit { name: name.to_owned(), hard, soft })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Operations,
}

/// `/dev/sda:1mb`.
pub fn throttles(list: &[String], unit: Unit) -> Result<Vec<ThrottleDevice>, String> {
    let one = |text: &String| {
        let (path, rate) = device_and_value(text)?;
        let value = match unit {
            Unit::Bytes => parse_bytes(rate).and_then(|rate| u64::try_from(rate).ok()),
            Unit::Operations => rate.parse().ok(),
        };
        let hint = match unit {
            Unit::Bytes => {
                ". The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
            }
            Unit::Operations => ". The correct format is <device-path>:<number>. Number must be a positive integer",
        };
        let rate = value.ok_or_else(|| format!("invalid rate for device: {text}{hint}"))?;
        Ok(ThrottleDevice { path: path.to_owned(), rate })
    };
    list.iter().map(one).collect()
}

/// `/dev/sda:500`.
pub fn weights(list: &[String]) -> Result<Vec<WeightDevice>, String> {
    let one = |text: &String| {
        let (path, weight) = device_and_value(text)?;
        let weight = weight.parse().ok().filter(|weight| *weight == 0 || (10..=1000).contains(weight));
        let weight = weight.ok_or_else(|| format!("invalid weight for device: {text}"))?;
        Ok(WeightDevice { path: path.to_owned(), weight })
    };
    list.iter().map(one).collect()
}

/// `--blkio-weight-device`, checked while the line is read.
pub fn check_weight(value: &str) -> Result<(), String> {
    weights(&[value.to_owned()]).map(drop)
}

/// `--device-read-bps` and its sibling.
pub fn check_bytes_rate(value: &str) -> Result<(), String> {
    throttles(&[value.to_owned()], Unit::Bytes).map(drop)
}

/// `--device-read-iops` and its sibling.
pub fn check_operations_rate(value: &str) -> Result<(), String> {
    throttles(&[value.to_owned()], Unit::Operations).map(drop)
}

fn device_and_value(text: &str) -> Result<(&str, &str), String> {
    let (path, value) =
        text.split_once(':').filter(|(path, _)| !path.is_empty()).ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_limits_and_gpus_are_read() {
        assert_eq!(parse_device("/dev/a:/dev/b:r").unwrap().cgroup_permissions, "r");
        assert_eq!(parse_device("/dev/a:rw").unwrap().path_in_container, "/dev/a");
        assert_eq!(parse_device("/dev/a:rr").unwrap_err(), "rr is not an absolute path");
        assert_eq!(parse_ulimit("nofile=1:2").unwrap(), Ulimit { name: "nofile".into(), hard: 2, soft: 1 });
        assert!(parse_ulimit("nofile=2:1").is_err());
        assert_eq!(parse_ulimit("x=1").unwrap_err(), "invalid ulimit type: x");
        assert_eq!(parse_gpus("all").unwrap().count, -1);
        let two = parse_gpus("\"device=0,1\",driver=nv").unwrap();
        assert_eq!(two.device_ids.unwrap(), ["0", "1"]);
        assert_eq!((two.driver.as_str(), two.count), ("nv", 0));
    }

    #[test]
    fn a_name_with_vendor_and_class_is_asked_for_and_not_mapped() {
        for name in ["vendor.com/gpu=all", "a/b=0", "v/c=a:1"] {
            assert!(is_cdi_name(name), "{name}");
        }
        for name in ["/dev/null", "a/b", "1a/b=c", "a/b=", "a-/b=c", "a/b=c d"] {
            assert!(!is_cdi_name(name), "{name}");
        }
    }

    #[test]
    fn a_rule_names_type_place_and_mode() {
        assert!(check_cgroup_rule("c 1:3 mr").is_ok() && check_cgroup_rule("a *:* rwm").is_ok());
        for rule in ["x 1:3 r", "c 1 r", "c 1:3", "c 1:3 rwmr", "c a:3 r", "c 1:3 r x"] {
            assert!(check_cgroup_rule(rule).is_err(), "{rule}");
        }
    }
}
