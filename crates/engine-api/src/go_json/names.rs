//! Names that Go's types have in Docker 28, where they are not ours.

/// Our structure, and Go's with its package.
const STRUCTURES: &[(&str, &str)] = &[
    ("AuthConfig", "registry.AuthConfig"),
    ("BindOptions", "mount.BindOptions"),
    ("ConfigReference", "network.ConfigReference"),
    ("Driver", "mount.Driver"),
    ("Empty", "struct {}"),
    ("EndpointIpamConfig", "network.EndpointIPAMConfig"),
    ("EndpointSettings", "network.EndpointSettings"),
    ("ExecCreateRequest", "container.ExecOptions"),
    ("ExecStartRequest", "container.ExecStartOptions"),
    ("HealthConfig", "container.HealthConfig"),
    ("ImageOptions", "mount.ImageOptions"),
    ("Ipam", "network.IPAM"),
    ("IpamConfig", "network.IPAMConfig"),
    ("Mount", "mount.Mount"),
    ("NetworkConnectRequest", "network.ConnectOptions"),
    ("NetworkCreateRequest", "network.CreateRequest"),
    ("NetworkDisconnectRequest", "network.DisconnectOptions"),
    ("NetworkingConfig", "network.NetworkingConfig"),
    ("PortBinding", "nat.PortBinding"),
    ("ThrottleDevice", "blkiodev.ThrottleDevice"),
    ("TmpfsOptions", "mount.TmpfsOptions"),
    ("Ulimit", "units.Ulimit"),
    ("VolumeCreateRequest", "volume.CreateOptions"),
    ("VolumeOptions", "mount.VolumeOptions"),
    ("WeightDevice", "blkiodev.WeightDevice"),
];

/// Members whose type has a name of its own in Go, by our structure.
const MEMBERS: &[(&str, &str, &str)] = &[
    ("BindOptions", "Propagation", "mount.Propagation"),
    ("Config", "ExposedPorts", "nat.PortSet"),
    ("Config", "StopTimeout", "int"),
    ("DeviceRequest", "Count", "int"),
    ("EndpointSettings", "GwPriority", "int"),
    ("HealthConfig", "Interval", "time.Duration"),
    ("HealthConfig", "Retries", "int"),
    ("HealthConfig", "StartInterval", "time.Duration"),
    ("HealthConfig", "StartPeriod", "time.Duration"),
    ("HealthConfig", "Timeout", "time.Duration"),
    ("HostConfig", "BlkioDeviceReadBps", "[]*blkiodev.ThrottleDevice"),
    ("HostConfig", "BlkioDeviceReadIOps", "[]*blkiodev.ThrottleDevice"),
    ("HostConfig", "BlkioDeviceWriteBps", "[]*blkiodev.ThrottleDevice"),
    ("HostConfig", "BlkioDeviceWriteIOps", "[]*blkiodev.ThrottleDevice"),
    ("HostConfig", "BlkioWeightDevice", "[]*blkiodev.WeightDevice"),
    ("HostConfig", "Cgroup", "container.CgroupSpec"),
    ("HostConfig", "CgroupnsMode", "container.CgroupnsMode"),
    ("HostConfig", "ConsoleSize", "[2]uint"),
    ("HostConfig", "IpcMode", "container.IpcMode"),
    ("HostConfig", "Isolation", "container.Isolation"),
    ("HostConfig", "NetworkMode", "container.NetworkMode"),
    ("HostConfig", "OomScoreAdj", "int"),
    ("HostConfig", "PidMode", "container.PidMode"),
    ("HostConfig", "PortBindings", "nat.PortMap"),
    ("HostConfig", "UTSMode", "container.UTSMode"),
    ("HostConfig", "Ulimits", "[]*units.Ulimit"),
    ("HostConfig", "UsernsMode", "container.UsernsMode"),
    ("Mount", "Consistency", "mount.Consistency"),
    ("Mount", "Type", "mount.Type"),
    ("NetworkingConfig", "EndpointsConfig", "map[string]*network.EndpointSettings"),
    ("RestartPolicy", "MaximumRetryCount", "int"),
    ("RestartPolicy", "Name", "container.RestartPolicyMode"),
    ("TmpfsOptions", "Mode", "fs.FileMode"),
];

/// Members of `HostConfig` that Go has in the embedded `Resources`.
const RESOURCES: &[&str] = &[
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeight",
    "BlkioWeightDevice",
    "CgroupParent",
    "CpuCount",
    "CpuPercent",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpuShares",
    "CpusetCpus",
    "CpusetMems",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "IOMaximumBandwidth",
    "IOMaximumIOps",
    "KernelMemory",
    "KernelMemoryTCP",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "NanoCpus",
    "OomKillDisable",
    "PidsLimit",
    "Ulimits",
];

/// Go's name of a structure of ours, with its package.
pub fn structure(name: &str) -> String {
    match STRUCTURES.iter().find(|(ours, _)| *ours == name) {
        Some((_, theirs)) => (*theirs).to_owned(),
        None => format!("container.{name}"),
    }
}

/// The same as it is told of a member: without the package.
pub fn bare(name: &str) -> String {
    let whole = structure(name);
    whole.split_once('.').map_or(whole.clone(), |(_, bare)| bare.to_owned())
}

/// Go's type of a member, if it has a name of its own.
pub fn member_type(structure: &str, member: &str) -> Option<&'static str> {
    MEMBERS.iter().find(|(of, name, _)| *of == structure && *name == member).map(|(_, _, go_type)| *go_type)
}

/// The embedded structure that a member stands in.
pub fn embedded(structure: &str, member: &str) -> Option<&'static str> {
    match structure {
        "HostConfig" => RESOURCES.contains(&member).then_some("Resources"),
        "NetworkCreateRequest" => (member != "Name").then_some("CreateOptions"),
        _ => None,
    }
}
