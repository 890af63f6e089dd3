//! The lines of `GET /events`.

use crate::wire::{StringMap, empty};

wire! {
    /// One event. The first three members repeat the rest for clients from before API 1.22 and are set for containers
    /// and images only.
    pub struct Event {
        status: String = "status" | "empty",
        id: String = "id" | "empty",
        from: String = "from" | "empty",
        kind: String = "Type",
        action: String = "Action",
        actor: Actor = "Actor",
        scope: String = "scope" | "empty",
        time: i64 = "time" | "empty",
        time_nano: i64 = "timeNano" | "empty",
    }

    /// What it happened to.
    pub struct Actor {
        id: String = "ID",
        attributes: StringMap = "Attributes",
    }
}
