//! Mounts, as asked for (`HostConfig.Mounts`) and as they are (`Mounts` of an inspected container).

use crate::wire::{StringMap, empty};

wire! {
    /// One `--mount`.
    pub struct Mount {
        /// `bind`, `volume`, `tmpfs`, `image`, `npipe` or `cluster`.
        kind: String = "Type" | "empty",
        source: String = "Source" | "empty",
        target: String = "Target" | "empty",
        read_only: bool = "ReadOnly" | "empty",
        consistency: String = "Consistency" | "empty",
        bind_options: Option<BindOptions> = "BindOptions" | "empty",
        volume_options: Option<VolumeOptions> = "VolumeOptions" | "empty",
        image_options: Option<ImageOptions> = "ImageOptions" | "empty",
        tmpfs_options: Option<TmpfsOptions> = "TmpfsOptions" | "empty",
    }

    /// Of a mount of type `bind`.
    pub struct BindOptions {
        propagation: String = "Propagation" | "empty",
        non_recursive: bool = "NonRecursive" | "empty",
        create_mountpoint: bool = "CreateMountpoint" | "empty",
        read_only_non_recursive: bool = "ReadOnlyNonRecursive" | "empty",
        read_only_force_recursive: bool = "ReadOnlyForceRecursive" | "empty",
        /// An extension of this engine: `match-user`.
        id_map: String = "IDMap" | "empty",
    }

    /// Of a mount of type `volume`.
    pub struct VolumeOptions {
        no_copy: bool = "NoCopy" | "empty",
        labels: StringMap = "Labels" | "empty",
        subpath: String = "Subpath" | "empty",
        driver_config: Option<Driver> = "DriverConfig" | "empty",
    }

    /// Of a mount of type `image`.
    pub struct ImageOptions {
        subpath: String = "Subpath" | "empty",
    }

    /// The volume driver and what it is told.
    pub struct Driver {
        name: String = "Name" | "empty",
        options: StringMap = "Options" | "empty",
    }

    /// Of a mount of type `tmpfs`.
    pub struct TmpfsOptions {
        size_bytes: i64 = "SizeBytes" | "empty",
        mode: u32 = "Mode" | "empty",
        options: Vec<Vec<String>> = "Options" | "empty",
    }

    /// A mount that a container has.
    pub struct MountPoint {
        kind: String = "Type" | "empty",
        name: String = "Name" | "empty",
        source: String = "Source",
        destination: String = "Destination",
        driver: String = "Driver" | "empty",
        mode: String = "Mode",
        writable: bool = "RW",
        propagation: String = "Propagation",
    }
}
