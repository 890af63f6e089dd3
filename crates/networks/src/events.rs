//! What happened to a network, for `docker events`.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventAction {
    Create,
    Connect,
    Disconnect,
    Destroy,
    /// Those that nobody used are gone; of no one network.
    Prune,
}

impl EventAction {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Destroy => "destroy",
            Self::Prune => "prune",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub action: EventAction,
    pub network_id: String,
    /// `name`, `type`, and `container` where one is meant.
    pub attributes: BTreeMap<String, String>,
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
