//! `docker update`.

use engine_api::container::UpdateResponse;
use engine_api::host_config::HostConfig;
use engine_client::{Request, escape};
use serde_json::{Value as Json, json};

use super::options::{bytes, parse_restart_policy};
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::text::size::parse_nano_cpus;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("blkio-weight", NONE, Kind::Uint16, "", "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"),
    flag("cpu-period", NONE, Kind::Int, "", "Limit CPU CFS (Completely Fair Scheduler) period"),
    flag("cpu-quota", NONE, Kind::Int, "", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    flag("cpu-rt-period", NONE, Kind::Int, "", "Limit the CPU real-time period in microseconds"),
    flag("cpu-rt-runtime", NONE, Kind::Int, "", "Limit the CPU real-time runtime in microseconds"),
    flag("cpu-shares", 'c', Kind::Int, "", "CPU shares (relative weight)"),
    flag("cpus", NONE, Kind::Decimal, "", "Number of CPUs"),
    flag("cpuset-cpus", NONE, Kind::Text, "", "CPUs in which to allow execution (0-3, 0,1)"),
    flag("cpuset-mems", NONE, Kind::Text, "", "MEMs in which to allow execution (0-3, 0,1)"),
    flag("kernel-memory", NONE, Kind::Bytes, "", "Kernel memory limit (deprecated)").hidden(),
    flag("memory", 'm', Kind::Bytes, "", "Memory limit"),
    flag("memory-reservation", NONE, Kind::Bytes, "", "Memory soft limit"),
    flag("memory-swap", NONE, Kind::Bytes, "", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    flag("pids-limit", NONE, Kind::Int, "", "Tune container pids limit (set -1 for unlimited)"),
    flag("restart", NONE, Kind::Text, "", "Restart policy to apply when a container exits"),
];

pub const COMMAND: Command = Command {
    name: "update",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Update configuration of one or more containers",
    aliases: "docker container update, docker update",
    flags: &[FLAGS],
    args: Args::AtLeast(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// Members of the host configuration that are resources; an update carries them and the restart policy.
const RESOURCES: &[&str] = &[
    "CpuShares",
    "Memory",
    "NanoCpus",
    "CgroupParent",
    "BlkioWeight",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "KernelMemory",
    "KernelMemoryTCP",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "Ulimits",
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
    "IOMaximumBandwidth",
    "RestartPolicy",
];

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    if !FLAGS.iter().any(|flag| flags.given(flag.long)) {
        return Err(Failure::text("you must provide one or more flags when using this command"));
    }
    let body = body(flags).map_err(Failure::Text)?;
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    for name in &flags.args {
        let request = Request::post(format!("/containers/{}/update", escape(name))).json(&body);
        match context.client.call::<UpdateResponse>(request).await {
            Ok(answer) => {
                context::print_line(name)?;
                warnings.extend(answer.warnings.unwrap_or_default());
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    if !warnings.is_empty() {
        context::print_line(&warnings.join("\n"))?;
    }
    if errors.is_empty() { Ok(0) } else { Err(Failure::Text(errors.join("\n"))) }
}

fn body(flags: &Matches) -> Result<Json, String> {
    let cpus = flags.text("cpus");
    let pids = flags.int("pids-limit");
    let config = HostConfig {
        blkio_weight: flags.text("blkio-weight").parse().unwrap_or(0),
        cpuset_cpus: flags.text("cpuset-cpus").to_owned(),
        cpuset_mems: flags.text("cpuset-mems").to_owned(),
        cpu_shares: flags.int("cpu-shares"),
        memory: bytes(flags, "memory"),
        memory_reservation: bytes(flags, "memory-reservation"),
        memory_swap: bytes(flags, "memory-swap"),
        kernel_memory: bytes(flags, "kernel-memory"),
        cpu_period: flags.int("cpu-period"),
        cpu_quota: flags.int("cpu-quota"),
        cpu_realtime_period: flags.int("cpu-rt-period"),
        cpu_realtime_runtime: flags.int("cpu-rt-runtime"),
        nano_cpus: if cpus.is_empty() { 0 } else { parse_nano_cpus(cpus)? },
        pids_limit: (pids != 0).then_some(pids),
        restart_policy: parse_restart_policy(flags.text("restart"))?,
        ..HostConfig::default()
    };
    let mut body = json!(config);
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, _| RESOURCES.contains(&name.as_str()));
    }
    Ok(body)
}
