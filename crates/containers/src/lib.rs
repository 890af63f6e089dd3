//! The daemon's containers: create, start, attach, exec, logs, stop, remove, and what happens when daemons die.
//!
//! Entry point: [`Service`], which holds one service a concern: [`Containers`] (the things), [`Lifecycle`] (the
//! processes), [`Execs`], [`Streams`], [`FileSystems`], [`Statistics`]. What they need from neighbours stands in `ports.rs`.
//!
//! This crate owns the intents: which containers there are and whether they are wanted running, in the table
//! `containers`, written before anything else happens. The truth is the shim's, asked through containerd's tasks; events
//! are hints that make this crate look. Decisions are `container-core`'s.
//!
//! Invariants: a container's transitions happen under its own gate, and there is no lock that two containers share across
//! an await; an exit is stored before the shim that remembers it is let go; nothing polls. No HTTP, no wire types.

mod archive_in;
mod archive_out;
mod cdi;
mod changes;
mod commit;
mod containerd;
mod containers;
mod create;
mod devices;
mod ending;
mod error;
mod exec;
mod export;
mod file_systems;
mod files;
mod follow;
mod health;
mod host;
mod index;
mod inside_path;
mod lifecycle;
mod links;
mod logging;
mod membership;
mod messages;
mod mountpoints;
mod owners;
mod ports;
mod propagation;
mod prune;
mod realtime;
mod record;
mod recover;
mod remove;
mod request;
mod rootfs;
mod runtimes;
mod service;
mod settings;
mod shutdown;
mod size;
mod staging;
mod start;
mod statistics;
mod stdio;
mod stop;
mod streams;
mod tar_stream;
mod top;
mod update;
mod user_namespaces;
mod view;
mod volume_copy;
mod volumes;

pub use containers::{Containers, Counts};
pub use error::Error;
pub use exec::Execs;
pub use file_systems::FileSystems;
pub use lifecycle::{Lifecycle, Waiting};
pub use log_drivers::DRIVERS as LOG_DRIVERS;
pub use ports::{
    Acquired, Completion, ContainerEvent, Endpoint, EventSink, EventSubject, Image, ImageCommit, ImageSource,
    LiveSandbox, Parting, PortError, PublishedPort, Sandbox, SandboxMode, SandboxRequest, Sandboxes, Volume,
    VolumeRequest, VolumeSource,
};
pub use recover::Recovered;
pub use request::{
    AttachRequest, Change, ChangeKind, CommitRequest, ContainerFiles, ContainerSize, ContainerSummary, ContainerView,
    CreateRequest, Created, ExecStart, ExecView, GraphDirs, ListRequest, LogEntry, LogStream, LogsRequest, PathStat,
    Processes, PruneRequest, Pruned, PutArchive, RemoveOptions, StopOptions, TtySize, UpdateRequest, WaitCondition,
    WaitResult,
};
pub use service::Service;
pub use settings::{CpuRealtime, Defaults, Neighbours, Runtime, Settings};
pub use statistics::{InterfaceCounters, Sample, Samples, Statistics};
pub use streams::{Attached, Logs, Streams};
pub use tar_stream::{ArchiveSender, ArchiveSource, TarStream, archive_channel};

/// What a sample says of a container's cgroup.
pub use ::cgroup;
