//! What this service is asked for, and what it answers.

use std::collections::BTreeMap;

/// A volume that shall be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateVolume {
    /// Empty: a name is made up, and the volume is an anonymous one.
    pub name: String,
    /// Empty: whatever has a volume of this name, else the local driver.
    pub driver: String,
    /// `None` and none are two things to who looks at the volume later.
    pub options: Option<BTreeMap<String, String>>,
    pub labels: Option<BTreeMap<String, String>>,
}

/// How long a volume is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// What is acknowledged survives a power loss.
    #[default]
    Lasting,
    /// It goes with a container that dies with the machine.
    Ephemeral,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct VolumeView {
    pub name: String,
    pub driver: String,
    /// Empty where a plugin has it nowhere until it is mounted.
    pub mountpoint: String,
    /// Nanoseconds since 1970; 0 is unknown.
    pub created_ns: i64,
    pub labels: Option<BTreeMap<String, String>>,
    pub options: Option<BTreeMap<String, String>>,
    pub scope: &'static str,
    /// Whatever a plugin wants to be shown.
    pub status: Option<serde_json::Value>,
    /// Containers that have it.
    pub users: usize,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    pub volumes: Vec<VolumeView>,
    /// Drivers that could not be asked.
    pub warnings: Vec<String>,
}

/// A volume and what it takes on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    pub volume: VolumeView,
    /// `None` when it cannot be told.
    pub bytes: Option<u64>,
}

/// Which of the volumes that nobody uses are to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Those with a name, too.
    pub named: bool,
    /// `key` or `key=value`, all of which a volume must have.
    pub labels: Vec<String>,
    /// Volumes that have all of these stay.
    pub labels_absent: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub names: Vec<String>,
    pub reclaimed: u64,
}

/// Somebody had this volume mounted when the daemon went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveMount {
    pub volume: String,
    pub id: String,
}

/// What happened to a volume, for `docker events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `create`, `destroy`, `prune`.
    pub action: &'static str,
    pub volume: String,
    pub attributes: BTreeMap<String, String>,
    pub time_ns: i64,
}

/// Where events go; must not wait.
pub trait EventSink: Send + Sync {
    fn publish(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync> EventSink for F {
    fn publish(&self, event: Event) {
        self(event);
    }
}
