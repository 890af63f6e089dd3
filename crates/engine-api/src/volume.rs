//! Volumes.

use crate::wire::{StringMap, empty};

wire! {
    /// A volume in lists, inspection and the answer to its creation.
    pub struct Volume {
        created_at: String = "CreatedAt" | "empty",
        driver: String = "Driver",
        labels: Option<StringMap> = "Labels",
        mountpoint: String = "Mountpoint",
        name: String = "Name",
        options: Option<StringMap> = "Options",
        scope: String = "Scope",
        status: Option<serde_json::Value> = "Status" | "empty",
        usage_data: Option<UsageData> = "UsageData" | "empty",
    }

    /// Only in `GET /system/df`; -1 is unknown.
    pub struct UsageData {
        ref_count: i64 = "RefCount",
        size: i64 = "Size",
    }

    /// Answer to `GET /volumes`.
    pub struct ListResponse {
        volumes: Vec<Volume> = "Volumes",
        warnings: Option<Vec<String>> = "Warnings",
    }

    /// Body of `POST /volumes/create`.
    #[serde(rename = "VolumeCreateRequest")]
    pub struct CreateRequest {
        driver: String = "Driver" | "empty",
        driver_opts: Option<StringMap> = "DriverOpts" | "empty",
        labels: Option<StringMap> = "Labels" | "empty",
        name: String = "Name" | "empty",
        /// Of a volume of a swarm.
        cluster_volume_spec: Option<serde_json::Value> = "ClusterVolumeSpec" | "empty",
    }

    /// Answer to `POST /volumes/prune`.
    pub struct PruneReport {
        volumes_deleted: Option<Vec<String>> = "VolumesDeleted",
        space_reclaimed: u64 = "SpaceReclaimed",
    }
}
