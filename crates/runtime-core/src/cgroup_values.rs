//! Resources of the specification as files and values of cgroup v1 and v2 (cgroup-v1/*.rst, cgroup-v2.rst).

use crate::SpecError;
use crate::spec_resources::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};

/// One file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The v1 hierarchy, or the v2 controller, that the file belongs to.
    pub controller: &'static str,
    pub file: String,
    pub value: String,
    /// A kernel without the file is no error: what is asked for holds there anyway, or is a refinement that others know.
    pub optional: bool,
    /// Another file and its value, where there is none of the first name.
    pub otherwise: Option<(&'static str, String)>,
    /// The first word that the file has already is put before the value.
    pub keeps_first_word: bool,
}

/// Who asks: v1 wants limits in another order when they exist already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    Create,
    Update,
}

fn write(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Write {
    let (file, value) = (file.into(), value.to_string());
    Write { controller, file, value, optional: false, otherwise: None, keeps_first_word: false }
}

/// What a configuration asks for and no kernel of today does: runtimes leave it out and say so.
pub fn ignored(resources: &Resources, version: Version) -> Vec<String> {
    let memory = &resources.memory;
    let set = |value: Option<i64>| value.is_some_and(|value| value != 0);
    let mut warnings = Vec::new();
    if set(memory.kernel) || version == Version::V2 && set(memory.kernel_tcp) {
        warnings.push("kernel memory limits are ignored: the kernel has none any more".to_string());
    }
    if memory.use_hierarchy == Some(false) {
        warnings.push("memory.useHierarchy: false is ignored: cgroups are always counted with those below".to_string());
    }
    if version == Version::V2 && memory.swappiness.is_some() {
        warnings.push("memory.swappiness is ignored: cgroup v2 does not have it".to_string());
    }
    warnings
}

/// Which version has the controllers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// The hybrid layout included.
    #[default]
    V1,
    V2,
}

/// cgroup v2's weight 1–10000 from v1's shares 2–262144, with 1024 shares as weight 100.
///
/// The curve is the quadratic one through (2, 1), (1024, 100) and (262144, 10000) in logarithms that runtimes use since
/// 2025; the older straight line made 1024 shares a weight of 39.
pub fn weight_from_shares(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            (10_f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
        }
    }
}

/// io.bfq.weight/io.weight 1–10000 from blkio's 10–1000.
pub fn io_weight_from_blkio(weight: u16) -> u64 {
    match weight {
        0 => 0,
        weight => 1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990,
    }
}

/// v2 counts swap alone, the specification memory and swap together. `None`: leave as it is.
pub fn swap_v2(memory_and_swap: i64, memory: i64) -> Result<Option<String>, SpecError> {
    match (memory_and_swap, memory) {
        // No limit of memory and no word of swap: v1 has neither limit then.
        (0, -1) => Ok(Some("max".into())),
        (0, _) => Ok(None),
        (-1, _) => Ok(Some("max".into())),
        (_, 0 | -1) => Err(SpecError::Invalid("unable to set swap limit without memory limit".into())),
        (both, memory) if both < 0 || memory < 0 => {
            Err(SpecError::Invalid(format!("invalid memory limit {memory} or swap {both}")))
        }
        (both, memory) if both < memory => {
            Err(SpecError::Invalid("memory+swap limit should be >= memory limit".into()))
        }
        (both, memory) => Ok(Some((both - memory).to_string())),
    }
}

pub fn v1(resources: &Resources, occasion: Occasion) -> Result<Vec<Write>, SpecError> {
    if !resources.unified.is_empty() {
        return Err(SpecError::Invalid("invalid configuration: cannot use unified on cgroup v1".into()));
    }
    let mut writes = Vec::new();
    memory_v1(&mut writes, &resources.memory, occasion)?;
    cpu_v1(&mut writes, &resources.cpu);
    if let Some(limit) = resources.pids.limit {
        writes.push(write("pids", "pids.max", limit_or_max(limit)));
    }
    blkio_v1(&mut writes, &resources.block_io);
    for limit in &resources.hugepage_limits {
        let size = page_size(&limit.page_size)?;
        writes.push(write("hugetlb", format!("hugetlb.{size}.limit_in_bytes"), limit.limit));
        let reserved = write("hugetlb", format!("hugetlb.{size}.rsvd.limit_in_bytes"), limit.limit);
        writes.push(Write { optional: true, ..reserved });
    }
    rdma(&mut writes, resources)?;
    if let Some(class) = resources.network.class_id {
        writes.push(write("net_cls", "net_cls.classid", class));
    }
    for interface in &resources.network.priorities {
        let value = format!("{} {}", interface.name, interface.priority);
        writes.push(write("net_prio", "net_prio.ifpriomap", value));
    }
    Ok(writes)
}

/// `mlx5_0 hca_handle=2 hca_object=2000`, one device a write.
fn rdma(writes: &mut Vec<Write>, resources: &Resources) -> Result<(), SpecError> {
    for (device, limit) in &resources.rdma {
        if device.is_empty() || device.contains(char::is_whitespace) {
            return Err(SpecError::Invalid(format!("invalid rdma device {device:?}")));
        }
        let mut value = device.clone();
        for (key, number) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)] {
            if let Some(number) = number {
                value.push_str(&format!(" {key}={number}"));
            }
        }
        writes.push(write("rdma", "rdma.max", value));
    }
    Ok(())
}

fn limit_or_max(limit: i64) -> String {
    if limit > 0 { limit.to_string() } else { "max".into() }
}

/// A page size as file names have it: `2MB`. It becomes part of a path.
fn page_size(text: &str) -> Result<&str, SpecError> {
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    if matches!(unit, "KB" | "MB" | "GB") && unit.len() < text.len() {
        return Ok(text);
    }
    Err(SpecError::Invalid(format!("invalid huge page size {text:?}")))
}

fn memory_v1(writes: &mut Vec<Write>, memory: &Memory, occasion: Occasion) -> Result<(), SpecError> {
    let limit = memory.limit.filter(|limit| *limit != 0);
    let swap = memory.swap.filter(|swap| *swap != 0);
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap != -1
        && limit > swap
    {
        return Err(SpecError::Invalid("memory+swap limit should be >= memory limit".into()));
    }
    // Without a limit of memory there is none of memory and swap either.
    let swap = swap.or(limit.filter(|limit| *limit == -1));
    let limit = limit.map(|limit| write("memory", "memory.limit_in_bytes", limit));
    let swap = swap.map(|swap| Write { optional: swap == -1, ..write("memory", "memory.memsw.limit_in_bytes", swap) });
    // memory may never be above memory+swap: growing writes the sum first. The cgroup crate tries the other order too.
    match occasion {
        Occasion::Create => writes.extend([limit, swap].into_iter().flatten()),
        Occasion::Update => writes.extend([swap, limit].into_iter().flatten()),
    }
    if let Some(value) = memory.reservation.filter(|value| *value != 0) {
        writes.push(write("memory", "memory.soft_limit_in_bytes", value));
    }
    if let Some(value) = memory.kernel_tcp.filter(|value| *value != 0) {
        writes.push(write("memory", "memory.kmem.tcp.limit_in_bytes", value));
    }
    if memory.disable_oom_killer == Some(true) {
        writes.push(write("memory", "memory.oom_control", 1));
    }
    match memory.swappiness {
        None => {}
        Some(value) if value <= 100 => writes.push(write("memory", "memory.swappiness", value)),
        Some(value) => {
            return Err(SpecError::Invalid(format!("invalid memory swappiness {value}: it is between 0 and 100")));
        }
    }
    Ok(())
}

fn cpu_v1(writes: &mut Vec<Write>, cpu: &Cpu) {
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        writes.push(write("cpu", "cpu.shares", shares));
    }
    if let Some(period) = cpu.period.filter(|period| *period != 0) {
        writes.push(write("cpu", "cpu.cfs_period_us", period));
    }
    if let Some(burst) = cpu.burst {
        writes.push(write("cpu", "cpu.cfs_burst_us", burst));
    }
    if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
        writes.push(write("cpu", "cpu.cfs_quota_us", quota));
    }
    if let Some(period) = cpu.realtime_period.filter(|period| *period != 0) {
        writes.push(write("cpu", "cpu.rt_period_us", period));
    }
    if let Some(runtime) = cpu.realtime_runtime.filter(|runtime| *runtime != 0) {
        writes.push(write("cpu", "cpu.rt_runtime_us", runtime));
    }
    if let Some(idle) = cpu.idle {
        writes.push(write("cpu", "cpu.idle", idle));
    }
    cpuset(writes, cpu);
}

fn cpuset(writes: &mut Vec<Write>, cpu: &Cpu) {
    if !cpu.cpus.is_empty() {
        writes.push(write("cpuset", "cpuset.cpus", &cpu.cpus));
    }
    if !cpu.mems.is_empty() {
        writes.push(write("cpuset", "cpuset.mems", &cpu.mems));
    }
}

fn blkio_v1(writes: &mut Vec<Write>, io: &BlockIo) {
    if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
        let otherwise = Some(("blkio.weight", weight.to_string()));
        writes.push(Write { otherwise, ..write("blkio", "blkio.bfq.weight", weight) });
    }
    if let Some(weight) = io.leaf_weight.filter(|weight| *weight != 0) {
        writes.push(write("blkio", "blkio.leaf_weight", weight));
    }
    for device in &io.weight_device {
        if let Some(weight) = device.weight {
            let value = format!("{}:{} {weight}", device.major, device.minor);
            let otherwise = Some(("blkio.weight_device", value.clone()));
            writes.push(Write { otherwise, ..write("blkio", "blkio.bfq.weight_device", value) });
        }
        if let Some(weight) = device.leaf_weight {
            writes.push(write(
                "blkio",
                "blkio.leaf_weight_device",
                format!("{}:{} {weight}", device.major, device.minor),
            ));
        }
    }
    let mut throttle = |file: &str, devices: &[ThrottleDevice]| {
        for device in devices {
            writes.push(write("blkio", file, format!("{}:{} {}", device.major, device.minor, device.rate)));
        }
    };
    throttle("blkio.throttle.read_bps_device", &io.throttle_read_bps_device);
    throttle("blkio.throttle.write_bps_device", &io.throttle_write_bps_device);
    throttle("blkio.throttle.read_iops_device", &io.throttle_read_iops_device);
    throttle("blkio.throttle.write_iops_device", &io.throttle_write_iops_device);
}

pub fn v2(resources: &Resources) -> Result<Vec<Write>, SpecError> {
    let mut writes = Vec::new();
    memory_v2(&mut writes, &resources.memory)?;
    cpu_v2(&mut writes, &resources.cpu)?;
    if let Some(limit) = resources.pids.limit {
        writes.push(write("pids", "pids.max", limit_or_max(limit)));
    }
    io_v2(&mut writes, &resources.block_io)?;
    for limit in &resources.hugepage_limits {
        let size = page_size(&limit.page_size)?;
        writes.push(write("hugetlb", format!("hugetlb.{size}.max"), limit.limit));
        writes.push(Write { optional: true, ..write("hugetlb", format!("hugetlb.{size}.rsvd.max"), limit.limit) });
    }
    rdma(&mut writes, resources)?;
    if resources.network.class_id.is_some() || !resources.network.priorities.is_empty() {
        return Err(SpecError::Unsupported("linux.resources.network on cgroup v2".into()));
    }
    for (file, value) in &resources.unified {
        // The name becomes part of a path below the container's own cgroup.
        if file.contains('/') || !file.contains('.') || file.starts_with('.') {
            return Err(SpecError::Invalid(format!("unified resource {file:?} must be a file name of a controller")));
        }
        writes.push(write("unified", file.as_str(), value));
    }
    Ok(writes)
}

fn memory_v2(writes: &mut Vec<Write>, memory: &Memory) -> Result<(), SpecError> {
    let number = |value: i64| if value < 0 { "max".to_string() } else { value.to_string() };
    if let Some(swap) = swap_v2(memory.swap.unwrap_or(0), memory.limit.unwrap_or(0))? {
        // Without swap there is none to be limited.
        let optional = swap == "max" || swap == "0";
        writes.push(Write { optional, ..write("memory", "memory.swap.max", swap) });
    }
    if let Some(limit) = memory.limit.filter(|limit| *limit != 0) {
        writes.push(write("memory", "memory.max", number(limit)));
    }
    if let Some(low) = memory.reservation.filter(|low| *low != 0) {
        writes.push(write("memory", "memory.low", number(low)));
    }
    if memory.disable_oom_killer == Some(true) {
        return Err(SpecError::Unsupported("disableOOMKiller on cgroup v2".into()));
    }
    Ok(())
}

fn cpu_v2(writes: &mut Vec<Write>, cpu: &Cpu) -> Result<(), SpecError> {
    if cpu.realtime_period.is_some_and(|value| value != 0) || cpu.realtime_runtime.is_some_and(|value| value != 0) {
        return Err(SpecError::Unsupported("real-time CPU limits on cgroup v2".into()));
    }
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        writes.push(write("cpu", "cpu.weight", weight_from_shares(shares)));
    }
    if let Some(idle) = cpu.idle {
        writes.push(write("cpu", "cpu.idle", idle));
    }
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period != 0);
    let quota = quota.map(|quota| if quota > 0 { quota.to_string() } else { "max".into() });
    match (quota, period) {
        (Some(quota), Some(period)) => writes.push(write("cpu", "cpu.max", format!("{quota} {period}"))),
        // The kernel keeps the period.
        (Some(quota), None) => writes.push(write("cpu", "cpu.max", quota)),
        (None, Some(period)) => {
            writes.push(Write { keeps_first_word: true, ..write("cpu", "cpu.max", period) });
        }
        (None, None) => {}
    }
    if let Some(burst) = cpu.burst {
        writes.push(write("cpu", "cpu.max.burst", burst));
    }
    cpuset(writes, cpu);
    Ok(())
}

fn io_v2(writes: &mut Vec<Write>, io: &BlockIo) -> Result<(), SpecError> {
    if io.leaf_weight.is_some_and(|weight| weight != 0) {
        return Err(SpecError::Unsupported("leafWeight on cgroup v2".into()));
    }
    if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
        // BFQ keeps the old range; without BFQ the generic file has its own.
        let otherwise = Some(("io.weight", io_weight_from_blkio(weight).to_string()));
        writes.push(Write { otherwise, ..write("io", "io.bfq.weight", weight) });
    }
    for device in &io.weight_device {
        if let Some(weight) = device.weight {
            writes.push(write("io", "io.bfq.weight", format!("{}:{} {weight}", device.major, device.minor)));
        }
    }
    let mut throttle = |key: &str, devices: &[ThrottleDevice]| {
        for device in devices {
            writes.push(write("io", "io.max", format!("{}:{} {key}={}", device.major, device.minor, device.rate)));
        }
    };
    throttle("rbps", &io.throttle_read_bps_device);
    throttle("wbps", &io.throttle_write_bps_device);
    throttle("riops", &io.throttle_read_iops_device);
    throttle("wiops", &io.throttle_write_iops_device);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_shares_are_the_default_weight() {
        assert_eq!(weight_from_shares(1024), 100);
        assert_eq!(weight_from_shares(2), 1);
        assert_eq!(weight_from_shares(262_144), 10_000);
        assert!((1..1023).all(|shares| weight_from_shares(shares) <= weight_from_shares(shares + 1)));
    }

    #[test]
    fn io_weights_span_their_whole_range() {
        assert_eq!((io_weight_from_blkio(10), io_weight_from_blkio(1000)), (1, 10_000));
    }

    #[test]
    fn swap_on_v2_is_the_difference() {
        assert_eq!(swap_v2(300, 100), Ok(Some("200".into())));
        assert_eq!(swap_v2(-1, 100), Ok(Some("max".into())));
        assert_eq!(swap_v2(0, 100), Ok(None));
        assert_eq!(swap_v2(0, -1), Ok(Some("max".into())));
        assert!(swap_v2(100, 0).is_err() && swap_v2(50, 100).is_err());
    }

    #[test]
    fn a_page_size_cannot_leave_its_folder() {
        assert!(page_size("2MB").is_ok());
        assert!(page_size("../2MB").is_err() && page_size("MB").is_err());
    }

    #[test]
    fn the_same_limits_are_named_differently_on_both_versions() {
        let mut resources = Resources::default();
        resources.memory.limit = Some(1 << 20);
        resources.cpu.quota = Some(50_000);
        resources.pids.limit = Some(0);
        let lines = |writes: Vec<Write>| writes.iter().map(|w| format!("{}={}", w.file, w.value)).collect::<Vec<_>>();
        let old = lines(v1(&resources, Occasion::Create).expect("valid"));
        assert_eq!(old, ["memory.limit_in_bytes=1048576", "cpu.cfs_quota_us=50000", "pids.max=max"]);
        let new = lines(v2(&resources).expect("valid"));
        assert_eq!(new, ["memory.max=1048576", "cpu.max=50000", "pids.max=max"]);
    }

    #[test]
    fn what_no_kernel_does_any_more_is_told() {
        let mut resources = Resources::default();
        resources.memory.kernel = Some(1 << 20);
        resources.memory.swappiness = Some(10);
        resources.memory.use_hierarchy = Some(true);
        assert_eq!(ignored(&resources, Version::V1).len(), 1);
        assert_eq!(ignored(&resources, Version::V2).len(), 2);
        assert!(v2(&resources).expect("valid").is_empty());
    }

    #[test]
    fn no_limit_of_memory_is_none_of_swap_either() {
        let mut resources = Resources::default();
        resources.memory.limit = Some(-1);
        let old = v1(&resources, Occasion::Update).expect("valid");
        let files: Vec<&str> = old.iter().map(|write| write.file.as_str()).collect();
        assert_eq!(files, ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"]);
        assert!(old[0].optional);
    }

    #[test]
    fn rdma_devices_have_a_line_each() {
        let mut resources = Resources::default();
        let limit = crate::spec_resources::RdmaLimit { hca_handles: Some(2), hca_objects: None };
        resources.rdma.insert("mlx5_0".into(), limit.clone());
        assert_eq!(v2(&resources).expect("valid")[0].value, "mlx5_0 hca_handle=2");
        resources.rdma.insert("a b".into(), limit);
        assert!(v1(&resources, Occasion::Create).is_err());
    }
}
