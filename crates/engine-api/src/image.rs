//! Images: lists, inspection, history, deletion.

use std::collections::BTreeMap;

use crate::container::{Config, DriverData, HealthConfig};
use crate::wire::{Empty, StringMap, Words, empty};

wire! {
    /// A line of `GET /images/json`. -1 in the counters is "not computed".
    pub struct Summary {
        containers: i64 = "Containers",
        /// Seconds since 1970.
        created: i64 = "Created",
        id: String = "Id",
        labels: Option<StringMap> = "Labels",
        parent_id: String = "ParentId",
        descriptor: Option<Descriptor> = "Descriptor" | "empty",
        repo_digests: Vec<String> = "RepoDigests",
        repo_tags: Vec<String> = "RepoTags",
        shared_size: i64 = "SharedSize",
        size: i64 = "Size",
        /// Until API 1.43, equal to the size.
        virtual_size: i64 = "VirtualSize" | "empty",
        /// Since API 1.47, where it was asked for.
        manifests: Option<Vec<ManifestSummary>> = "Manifests" | "empty",
    }

    /// One manifest of an image, and how much of it is here.
    pub struct ManifestSummary {
        /// The manifest's digest.
        id: String = "ID",
        descriptor: Descriptor = "Descriptor",
        available: bool = "Available",
        size: ManifestSize = "Size",
        /// `image`, `attestation` or `unknown`.
        kind: String = "Kind",
        image_data: Option<ManifestImage> = "ImageData" | "empty",
        attestation_data: Option<ManifestAttestation> = "AttestationData" | "empty",
    }

    pub struct ManifestSize {
        /// Blobs.
        content: i64 = "Content",
        /// The same with what is unpacked.
        total: i64 = "Total",
    }

    pub struct ManifestImage {
        platform: Platform = "Platform",
        containers: Vec<String> = "Containers",
        size: UnpackedSize = "Size",
    }

    pub struct UnpackedSize {
        unpacked: i64 = "Unpacked",
    }

    pub struct ManifestAttestation {
        /// The manifest that it speaks of.
        of: String = "For",
    }

    /// Answer to `GET /distribution/x/json`.
    pub struct DistributionInspect {
        descriptor: Descriptor = "Descriptor",
        platforms: Vec<Platform> = "Platforms",
    }

    /// Answer to `GET /images/x/json`.
    pub struct Inspect {
        id: String = "Id",
        repo_tags: Vec<String> = "RepoTags",
        repo_digests: Vec<String> = "RepoDigests",
        parent: String = "Parent",
        comment: String = "Comment",
        created: String = "Created" | "empty",
        /// Until API 1.44.
        container: String = "Container" | "empty",
        container_config: Option<Config> = "ContainerConfig" | "empty",
        docker_version: String = "DockerVersion",
        author: String = "Author",
        config: Option<ImageConfig> = "Config",
        architecture: String = "Architecture",
        variant: String = "Variant" | "empty",
        os: String = "Os",
        os_version: String = "OsVersion" | "empty",
        size: i64 = "Size",
        virtual_size: i64 = "VirtualSize" | "empty",
        graph_driver: DriverData = "GraphDriver",
        root_fs: RootFs = "RootFS",
        metadata: Metadata = "Metadata",
        descriptor: Option<Descriptor> = "Descriptor" | "empty",
        /// Since API 1.48, where it was asked for.
        manifests: Option<Vec<ManifestSummary>> = "Manifests" | "empty",
    }

    /// What an image says about its containers; only what was set is written (API 1.50).
    pub struct ImageConfig {
        user: String = "User" | "empty",
        exposed_ports: Option<BTreeMap<String, Empty>> = "ExposedPorts" | "empty",
        env: Option<Vec<String>> = "Env" | "empty",
        entrypoint: Option<Words> = "Entrypoint" | "empty",
        cmd: Option<Words> = "Cmd" | "empty",
        volumes: Option<BTreeMap<String, Empty>> = "Volumes" | "empty",
        working_dir: String = "WorkingDir" | "empty",
        labels: Option<StringMap> = "Labels" | "empty",
        stop_signal: String = "StopSignal" | "empty",
        args_escaped: bool = "ArgsEscaped" | "empty",
        healthcheck: Option<HealthConfig> = "Healthcheck" | "empty",
        on_build: Option<Vec<String>> = "OnBuild" | "empty",
        shell: Option<Words> = "Shell" | "empty",
    }

    /// The layers, by the digest of their content.
    pub struct RootFs {
        kind: String = "Type" | "empty",
        layers: Vec<String> = "Layers" | "empty",
    }

    /// What the engine knows and the image does not.
    pub struct Metadata {
        /// Go's zero time when the image never had a name.
        last_tag_time: String = "LastTagTime",
    }

    /// OCI content descriptor.
    pub struct Descriptor {
        media_type: String = "mediaType",
        digest: String = "digest",
        size: i64 = "size",
        urls: Vec<String> = "urls" | "empty",
        annotations: StringMap = "annotations" | "empty",
        platform: Option<Platform> = "platform" | "empty",
    }

    /// OCI platform.
    pub struct Platform {
        architecture: String = "architecture",
        os: String = "os",
        os_version: String = "os.version" | "empty",
        os_features: Vec<String> = "os.features" | "empty",
        variant: String = "variant" | "empty",
    }

    /// A line of `GET /images/x/history`, newest first.
    pub struct HistoryItem {
        comment: String = "Comment",
        /// Seconds since 1970.
        created: i64 = "Created",
        created_by: String = "CreatedBy",
        /// `<missing>` for all but the newest.
        id: String = "Id",
        size: i64 = "Size",
        tags: Option<Vec<String>> = "Tags",
    }

    /// A line of the answer to `DELETE /images/x`: one member of the two is set.
    pub struct DeleteResponse {
        deleted: String = "Deleted" | "empty",
        untagged: String = "Untagged" | "empty",
    }

    /// Answer to `POST /images/prune`.
    pub struct PruneReport {
        images_deleted: Option<Vec<DeleteResponse>> = "ImagesDeleted",
        space_reclaimed: u64 = "SpaceReclaimed",
    }

    /// A line of `GET /images/search`.
    pub struct SearchResult {
        star_count: i64 = "star_count",
        is_official: bool = "is_official",
        name: String = "name",
        is_automated: bool = "is_automated",
        description: String = "description",
    }
}
