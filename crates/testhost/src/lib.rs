//! Tests on hosts of their own: namespaces, daemons, a registry, and a comparison with before.
//!
//! [`run`] is the `main` of a test file. Each test runs in a process of its own, in a mount and a network namespace of its
//! own, with real daemons on roots of its own; when it ends, whatever it left behind fails it: a mount, a link, an
//! nftables rule, a control group, a process. A test says what it [`Needs`]; where that is missing it is skipped, and the
//! reason is printed. Conditions are waited for with [`wait_until`], never slept for.

mod apart;
mod busybox;
mod crowd;
mod differ;
mod docker;
mod dockerfiles;
mod engine;
mod host;
mod http;
mod kill;
mod layout;
mod outside;
mod pty;
mod random;
mod registry;
mod runner;
mod running;
mod runtime_rounds;
mod screen;
mod soak;
mod traces;
mod transcript;

pub use busybox::archive as busybox_archive;
pub use crowd::run as run_crowd;
pub use differ::{Part as DifferPart, Selection as DifferSelection, run as run_differ};
pub use docker::{Docker, Ran};
pub use dockerfiles::{Dockerfiles, run as run_dockerfiles};
pub use engine::{Engine, kill as kill_process};
pub use host::{Host, wait_until};
pub use http::{Reply, raw as raw_request, request};
pub use kill::{Rounds, run as run_kill_rounds};
pub use layout::{TAG as LAYOUT_TAG, oci_layout};
pub use outside::{HOST_ADDRESS, Outside};
pub use pty::Terminal;
pub use registry::{PASSWORD, PlacedLayer, Registry, RegistrySettings, USER};
pub use runner::{Needs, Test, in_fresh_host, run, test};
pub use running::Running;
pub use runtime_rounds::run as run_runtime_rounds;
pub use soak::{Soak, run as run_soak};
pub use transcript::{Stage, Transcript, play};
