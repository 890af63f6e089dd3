//! OCI runtime spec plus host facts become an ordered init plan; seccomp filters and cgroup values. No I/O.
//!
//! Entry points: [`spec::Spec`] (what `config.json` says), [`plan::create::plan`] and [`plan::exec::plan`] (what the process between
//! clone and exec does, step by step), [`seccomp::compile`] (a profile as classic BPF), [`cgroup_values`] (resources as
//! files and values of cgroup v1 and v2), [`unit`] (the same as properties of a systemd unit). Facts about the host come in as
//! arguments; nothing here opens a file, asks the clock or reads the environment. What a `config.json` asks for and is not
//! built is an error, never left out silently.

pub mod capability;
pub mod cgroup_values;
pub mod device_rules;
pub mod error;
pub mod plan;
pub mod seccomp;
pub mod spec;
pub mod spec_resources;
pub mod template;
pub mod unit;
pub mod validate;

pub use error::SpecError;
