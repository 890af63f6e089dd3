//! The lines of `GET /containers/x/stats`.

use std::collections::BTreeMap;

use crate::wire::empty;

wire! {
    /// One sample, with the one before it so that a reader can take differences.
    pub struct Stats {
        name: String = "name" | "empty",
        id: String = "id" | "empty",
        read: String = "read",
        preread: String = "preread",
        pids_stats: PidsStats = "pids_stats",
        blkio_stats: BlkioStats = "blkio_stats",
        num_procs: u32 = "num_procs",
        /// Of Windows.
        storage_stats: crate::Empty = "storage_stats",
        cpu_stats: CpuStats = "cpu_stats",
        precpu_stats: CpuStats = "precpu_stats",
        memory_stats: MemoryStats = "memory_stats",
        networks: BTreeMap<String, NetworkStats> = "networks" | "empty",
    }

    /// Processes of the container's cgroup.
    pub struct PidsStats {
        current: u64 = "current" | "empty",
        limit: u64 = "limit" | "empty",
    }

    /// Block I/O by device and operation.
    pub struct BlkioStats {
        io_service_bytes_recursive: Option<Vec<BlkioEntry>> = "io_service_bytes_recursive",
        io_serviced_recursive: Option<Vec<BlkioEntry>> = "io_serviced_recursive",
        io_queue_recursive: Option<Vec<BlkioEntry>> = "io_queue_recursive",
        io_service_time_recursive: Option<Vec<BlkioEntry>> = "io_service_time_recursive",
        io_wait_time_recursive: Option<Vec<BlkioEntry>> = "io_wait_time_recursive",
        io_merged_recursive: Option<Vec<BlkioEntry>> = "io_merged_recursive",
        io_time_recursive: Option<Vec<BlkioEntry>> = "io_time_recursive",
        sectors_recursive: Option<Vec<BlkioEntry>> = "sectors_recursive",
    }

    /// One counter.
    pub struct BlkioEntry {
        major: u64 = "major",
        minor: u64 = "minor",
        op: String = "op",
        value: u64 = "value",
    }

    /// Nanoseconds of processor time.
    pub struct CpuStats {
        cpu_usage: CpuUsage = "cpu_usage",
        system_cpu_usage: u64 = "system_cpu_usage" | "empty",
        online_cpus: u32 = "online_cpus" | "empty",
        throttling_data: ThrottlingData = "throttling_data",
    }

    /// The container's share of them.
    pub struct CpuUsage {
        total_usage: u64 = "total_usage",
        percpu_usage: Vec<u64> = "percpu_usage" | "empty",
        usage_in_kernelmode: u64 = "usage_in_kernelmode",
        usage_in_usermode: u64 = "usage_in_usermode",
    }

    /// How often the quota was used up.
    pub struct ThrottlingData {
        periods: u64 = "periods",
        throttled_periods: u64 = "throttled_periods",
        throttled_time: u64 = "throttled_time",
    }

    /// Bytes; `stats` is memory.stat.
    pub struct MemoryStats {
        usage: u64 = "usage" | "empty",
        max_usage: u64 = "max_usage" | "empty",
        stats: BTreeMap<String, u64> = "stats" | "empty",
        failcnt: u64 = "failcnt" | "empty",
        limit: u64 = "limit" | "empty",
    }

    /// Counters of one interface.
    pub struct NetworkStats {
        rx_bytes: u64 = "rx_bytes",
        rx_packets: u64 = "rx_packets",
        rx_errors: u64 = "rx_errors",
        rx_dropped: u64 = "rx_dropped",
        tx_bytes: u64 = "tx_bytes",
        tx_packets: u64 = "tx_packets",
        tx_errors: u64 = "tx_errors",
        tx_dropped: u64 = "tx_dropped",
    }
}
