//! The systemd unit of a container whose control group systemd makes (systemd.scope(5), systemd.resource-control(5)): its
//! name, its slice, and the resources of the specification as its properties.

use crate::SpecError;
use crate::cgroup_values::{Version, weight_from_shares};
use crate::device_rules::{self, Kind, Rule};
use crate::spec_resources::{Cpu, Resources};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Annotations of this prefix are properties of the unit, their values in GVariant's text form.
const PROPERTY_ANNOTATION: &str = "org.systemd.property.";
/// systemd counts quota in steps of 10 ms a second.
const QUOTA_STEP_US: u64 = 10_000;
const DEFAULT_PERIOD_US: u64 = 100_000;
const SECOND_US: u64 = 1_000_000;
/// What "no limit" is as a property.
const INFINITY: u64 = u64::MAX;
/// Processors and memory nodes that a mask names at most.
const MAX_CPU: usize = 8192;

/// A property's value, by its type on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Switch(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Bytes(Vec<u8>),
    Numbers(Vec<u32>),
    Texts(Vec<String>),
    Pairs(Vec<(String, String)>),
}

pub type Property = (String, Value);

/// Which unit a container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    pub name: String,
    pub slice: String,
}

impl Unit {
    /// From `slice:prefix:name`; an empty path stands for a scope named after the id.
    pub fn parse(cgroups_path: &str, id: &str, default_slice: &str) -> Result<Self, SpecError> {
        if cgroups_path.is_empty() {
            return Ok(Self { name: format!("runc-{id}.scope"), slice: default_slice.into() });
        }
        let parts: Vec<&str> = cgroups_path.split(':').collect();
        let &[slice, prefix, name] = parts.as_slice() else {
            return Err(SpecError::Invalid(format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {cgroups_path:?} instead"
            )));
        };
        let slice = if slice.is_empty() { default_slice } else { slice };
        let name = if name.ends_with(".slice") { name.to_string() } else { format!("{prefix}-{name}.scope") };
        let unit = Self { name, slice: slice.into() };
        unit.check()?;
        Ok(unit)
    }

    /// Both become parts of paths.
    fn check(&self) -> Result<(), SpecError> {
        let plain = |text: &str| {
            text.len() < 256 && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.:\\@".contains(letter))
        };
        if !plain(&self.name) || !plain(&self.slice) || self.slice_path().is_none() {
            return Err(SpecError::Invalid(format!("invalid slice {:?} or unit name {:?}", self.slice, self.name)));
        }
        Ok(())
    }

    /// Slices lie in one another by their names: `a-b.slice` in `a.slice` (systemd.slice(5)).
    fn slice_path(&self) -> Option<String> {
        let stem = self.slice.strip_suffix(".slice")?;
        if stem == "-" {
            return Some(String::new());
        }
        let mut path = String::new();
        let mut end = 0;
        for part in stem.split('-') {
            if part.is_empty() {
                return None;
            }
            end += part.len();
            path.push_str(&format!("/{}.slice", stem.get(..end)?));
            end += 1;
        }
        Some(path)
    }

    /// Where its control group lies below the one of its service manager.
    pub fn control_group(&self, manager: &str) -> String {
        format!("{}{}/{}", manager.trim_end_matches('/'), self.slice_path().unwrap_or_default(), self.name)
    }

    pub fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }
}

/// What of a container its unit is made from.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub id: &'a str,
    pub resources: &'a Resources,
    pub rules: &'a [Rule],
    pub annotations: &'a BTreeMap<String, String>,
    pub version: Version,
    pub drivers: &'a Drivers,
}

/// Names of device drivers by kind and major number (proc(5), /proc/devices).
#[derive(Debug, Clone, Default)]
pub struct Drivers {
    character: BTreeMap<u32, String>,
    block: BTreeMap<u32, String>,
}

impl Drivers {
    /// From the text of /proc/devices.
    pub fn parse(text: &str) -> Self {
        let mut drivers = Self::default();
        let mut block = false;
        for line in text.lines() {
            block |= line.starts_with("Block");
            if let Some((major, name)) = line.trim().split_once(' ')
                && let Ok(major) = major.parse()
            {
                let names = if block { &mut drivers.block } else { &mut drivers.character };
                names.insert(major, name.to_string());
            }
        }
        drivers
    }

    /// What systemd calls the devices of a rule (systemd.resource-control(5), DeviceAllow); `None`: it has no word for them.
    fn specifier(&self, rule: &Rule) -> Option<String> {
        let (word, names) = match rule.kind {
            Kind::Any => return None,
            Kind::Character => ("char", &self.character),
            Kind::Block => ("block", &self.block),
        };
        match (rule.major, rule.minor) {
            (None, None) => Some(format!("{word}-*")),
            (Some(major), None) => names.get(&major).map(|name| format!("{word}-{name}")),
            (Some(major), Some(minor)) => Some(format!("/dev/{word}/{major}:{minor}")),
            (None, Some(_)) => None,
        }
    }
}

/// Everything that the unit begins with, but who its first process is.
pub fn first_properties(unit: &Unit, wanted: &Wanted<'_>) -> Result<Vec<Property>, SpecError> {
    let Wanted { id, resources, rules, annotations, version, drivers } = *wanted;
    let mut properties = vec![("Description".to_string(), Value::Text(format!("libcontainer container {id}")))];
    if unit.is_slice() {
        properties.push(("Wants".into(), Value::Texts(vec![unit.slice.clone()])));
    } else {
        properties.push(("Slice".into(), Value::Text(unit.slice.clone())));
        // The manager keeps its hands off what lies in it.
        properties.push(("Delegate".into(), Value::Switch(true)));
    }
    for name in ["MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"] {
        properties.push((name.into(), Value::Switch(true)));
    }
    properties.push(("DefaultDependencies".into(), Value::Switch(false)));
    properties.extend(device_properties(rules, drivers));
    properties.extend(resource_properties(resources, version)?);
    for (key, text) in annotations {
        if let Some(name) = key.strip_prefix(PROPERTY_ANNOTATION) {
            properties.push(annotated(name, text)?);
        }
    }
    Ok(properties)
}

/// Without these the manager would let all devices in again when it is reloaded (v1).
fn device_properties(rules: &[Rule], drivers: &Drivers) -> Vec<Property> {
    let policy = |word: &str| ("DevicePolicy".to_string(), Value::Text(word.into()));
    if device_rules::allows_all(rules) {
        return vec![policy("auto"), ("DeviceAllow".into(), Value::Pairs(Vec::new()))];
    }
    let allowed = |rule: &Rule| Some((drivers.specifier(rule)?, rule.access_letters()));
    let allowed = rules.iter().filter(|rule| rule.allow).filter_map(allowed).collect();
    vec![policy("strict"), ("DeviceAllow".into(), Value::Pairs(allowed))]
}

/// What can be changed while the unit runs.
pub fn resource_properties(resources: &Resources, version: Version) -> Result<Vec<Property>, SpecError> {
    let mut properties: Vec<Property> = Vec::new();
    let mut put = |name: &str, value: u64| properties.push((name.into(), Value::U64(value)));
    let limit = |value: i64| u64::try_from(value).unwrap_or(INFINITY);
    let memory = &resources.memory;
    if let Some(value) = memory.limit.filter(|value| *value != 0) {
        put(if version == Version::V2 { "MemoryMax" } else { "MemoryLimit" }, limit(value));
    }
    if version == Version::V2 {
        if let Some(value) = memory.reservation.filter(|value| *value != 0) {
            put("MemoryLow", limit(value));
        }
        let swap = crate::cgroup_values::swap_v2(memory.swap.unwrap_or(0), memory.limit.unwrap_or(0))?;
        if let Some(value) = swap {
            put("MemorySwapMax", value.parse().unwrap_or(INFINITY));
        }
    }
    if let Some(shares) = resources.cpu.shares.filter(|shares| *shares != 0) {
        match version {
            Version::V1 => put("CPUShares", shares),
            Version::V2 => put("CPUWeight", weight_from_shares(shares)),
        }
    }
    quota(&resources.cpu, &mut put);
    if let Some(weight) = resources.block_io.weight.filter(|weight| *weight != 0) {
        match version {
            Version::V1 => put("BlockIOWeight", weight.into()),
            Version::V2 => put("IOWeight", crate::cgroup_values::io_weight_from_blkio(weight)),
        }
    }
    if let Some(value) = resources.pids.limit.filter(|value| *value != 0) {
        put("TasksMax", limit(value));
    }
    for (name, list) in [("AllowedCPUs", &resources.cpu.cpus), ("AllowedMemoryNodes", &resources.cpu.mems)] {
        if !list.is_empty() {
            properties.push((name.into(), Value::Bytes(mask(list)?)));
        }
    }
    Ok(properties)
}

fn quota(cpu: &Cpu, put: &mut impl FnMut(&str, u64)) {
    let period = cpu.period.filter(|period| *period != 0);
    if let Some(period) = period {
        put("CPUQuotaPeriodUSec", period);
    }
    match cpu.quota.filter(|quota| *quota != 0) {
        Some(quota) if quota > 0 => {
            let per_second = quota.unsigned_abs().saturating_mul(SECOND_US) / period.unwrap_or(DEFAULT_PERIOD_US);
            put("CPUQuotaPerSecUSec", per_second.div_ceil(QUOTA_STEP_US) * QUOTA_STEP_US);
        }
        Some(_) => put("CPUQuotaPerSecUSec", INFINITY),
        None => {}
    }
}

/// `0-3,7` as bits, the lowest first.
fn mask(list: &str) -> Result<Vec<u8>, SpecError> {
    let invalid = || SpecError::Invalid(format!("invalid list of processors or memory nodes {list:?}"));
    let mut bytes = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) =
            (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
        if first > last || last >= MAX_CPU {
            return Err(invalid());
        }
        if bytes.len() <= last / 8 {
            bytes.resize(last / 8 + 1, 0);
        }
        for bit in first..=last {
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    Ok(bytes)
}

/// A property of an annotation. Times in seconds go over the bus in microseconds, under another name.
fn annotated(name: &str, text: &str) -> Result<Property, SpecError> {
    let invalid = || SpecError::Invalid(format!("annotation {PROPERTY_ANNOTATION}{name}={text} is not valid"));
    if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphabetic()) {
        return Err(invalid());
    }
    let value = parse_variant(text.trim()).ok_or_else(invalid)?;
    match name.strip_suffix("Sec") {
        Some(stem) if !name.ends_with("USec") => {
            let seconds = match value {
                Value::I32(seconds) => u64::try_from(seconds).ok(),
                Value::U32(seconds) => Some(seconds.into()),
                Value::I64(seconds) => u64::try_from(seconds).ok(),
                Value::U64(seconds) => Some(seconds),
                _ => None,
            };
            Ok((format!("{stem}USec"), Value::U64(seconds.ok_or_else(invalid)?.saturating_mul(SECOND_US))))
        }
        _ => Ok((name.into(), value)),
    }
}

/// The part of GVariant's text form that properties need: strings, booleans, numbers, lists of strings.
fn parse_variant(text: &str) -> Option<Value> {
    let quoted = |text: &str| {
        let inner = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let inner = inner.or_else(|| text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')))?;
        (!inner.contains(['\'', '"', '\\'])).then(|| inner.to_string())
    };
    if let Some(text) = quoted(text) {
        return Some(Value::Text(text));
    }
    if let Some(list) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return list.split(',').map(|item| quoted(item.trim())).collect::<Option<_>>().map(Value::Texts);
    }
    match text.split_once(' ') {
        Some(("int32", number)) => number.parse().ok().map(Value::I32),
        Some(("uint32", number)) => number.parse().ok().map(Value::U32),
        Some(("int64", number)) => number.parse().ok().map(Value::I64),
        Some(("uint64", number)) => number.parse().ok().map(Value::U64),
        Some(_) => None,
        None if text == "true" => Some(Value::Switch(true)),
        None if text == "false" => Some(Value::Switch(false)),
        None => text.parse().ok().map(Value::I32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_three_parts_is_a_scope_in_its_slices() {
        let unit = Unit::parse("machine-qemu.slice:libpod:abc", "id", "system.slice").expect("valid");
        assert_eq!(unit.control_group("/"), "/machine.slice/machine-qemu.slice/libpod-abc.scope");
        let unit = Unit::parse("", "id", "system.slice").expect("valid");
        assert_eq!(unit.control_group("/user.slice/u"), "/user.slice/u/system.slice/runc-id.scope");
        let unit = Unit::parse("-.slice:a:b.slice", "id", "system.slice").expect("valid");
        assert_eq!((unit.control_group(""), unit.is_slice()), ("/b.slice".to_string(), true));
    }

    #[test]
    fn what_is_no_unit_is_refused() {
        for path in ["/docker/x", "a:b", "a.slice:b:c:d", "a--b.slice:p:n", "a:p:n", "a.slice:p:../n", "/.slice:p:n"] {
            assert!(Unit::parse(path, "id", "system.slice").is_err(), "{path}");
        }
    }

    #[test]
    fn resources_become_properties_of_either_version() {
        let mut resources = Resources::default();
        resources.memory.limit = Some(1000);
        resources.memory.swap = Some(1500);
        resources.cpu.shares = Some(1024);
        resources.cpu.quota = Some(50_001);
        resources.pids.limit = Some(-1);
        resources.cpu.cpus = "0-2,9".into();
        let names = |version| {
            let properties = resource_properties(&resources, version).expect("valid");
            properties.into_iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>()
        };
        let shared =
            ["CPUQuotaPerSecUSec=U64(510000)", "TasksMax=U64(18446744073709551615)", "AllowedCPUs=Bytes([7, 2])"];
        assert_eq!(names(Version::V1)[..2], ["MemoryLimit=U64(1000)", "CPUShares=U64(1024)"]);
        assert_eq!(names(Version::V1)[2..], shared);
        assert_eq!(names(Version::V2)[..3], ["MemoryMax=U64(1000)", "MemorySwapMax=U64(500)", "CPUWeight=U64(100)"]);
        assert_eq!(names(Version::V2)[3..], shared);
    }

    #[test]
    fn devices_have_systemds_names() {
        let drivers = Drivers::parse("Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n");
        let properties = device_properties(&device_rules::DEFAULTS, &drivers);
        let Value::Pairs(allowed) = &properties[1].1 else { panic!("a list") };
        let has = |name: &str, access: &str| allowed.contains(&(name.to_string(), access.to_string()));
        assert!(has("/dev/char/1:3", "rwm") && has("char-pts", "rwm") && has("block-*", "m"), "{allowed:?}");
        assert_eq!(properties[0].1, Value::Text("strict".into()));
    }

    #[test]
    fn annotations_are_properties() {
        let value = |name, text| annotated(name, text).ok();
        assert_eq!(value("TimeoutStopSec", "7"), Some(("TimeoutStopUSec".into(), Value::U64(7_000_000))));
        assert_eq!(value("TimeoutStopUSec", "uint64 7"), Some(("TimeoutStopUSec".into(), Value::U64(7))));
        assert_eq!(
            value("CollectMode", "'inactive-or-failed'").map(|found| found.1),
            Some(Value::Text("inactive-or-failed".into()))
        );
        assert_eq!(
            value("Wants", "['a.service', 'b.service']").map(|found| found.1),
            Some(Value::Texts(vec!["a.service".into(), "b.service".into()]))
        );
        for (name, text) in [("Bad Name", "1"), ("X", "'"), ("X", "nonsense"), ("TimeoutStopSec", "'a'"), ("X", "[1]")]
        {
            assert_eq!(value(name, text), None, "{name} {text}");
        }
    }

    #[test]
    fn a_hostile_list_is_no_memory() {
        assert!(mask("0-99999999").is_err());
        assert!(mask("3-1").is_err());
    }
}
