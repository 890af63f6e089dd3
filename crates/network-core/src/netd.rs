//! What dockerd and docker-netd say to each other: one JSON object a line each way. ARCHITECTURE.md, "docker-netd".
//!
//! A request states what shall hold for a sandbox; saying it twice changes nothing. Every request has one answer.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::firewall::PublishedPort;

/// Longest line: a `sync` of some ten thousand sandboxes.
pub const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// Who is there? A new instance knows nothing and wants a `sync`.
    Hello,
    /// This sandbox is so from now on.
    Set {
        sandbox: Sandbox,
    },
    /// This sandbox is no more.
    Remove {
        id: String,
    },
    /// These sandboxes, and no others.
    Sync {
        sandboxes: Vec<Sandbox>,
    },
    List,
    /// End, if no sandbox is left.
    Exit,
}

/// All that is to hold for one sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The container's id.
    pub id: String,
    /// Where to answer names; absent: names are not served in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PublishedPort>,
}

/// The embedded DNS server of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// File of the network namespace.
    pub namespace: PathBuf,
    pub upstream: Upstream,
}

/// Whom to ask for names that are no container's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upstream {
    /// The servers of the host's resolv.conf as it reads at the time.
    Host,
    /// These.
    Servers(Vec<IpAddr>),
    /// Nobody: the sandbox has internal networks only.
    Nobody,
}

/// A sandbox's place in one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub network_id: String,
    pub network_name: String,
    pub addresses: Vec<IpAddr>,
    pub names: Vec<String>,
    /// Names that only this sandbox has for others of the network: its own word, the other's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    Hello {
        /// Drawn at random by each process.
        instance: String,
        pid: u32,
    },
    Done,
    Sandboxes(Vec<Sandbox>),
    /// Sandboxes of a `sync` that could not be made so; the others are.
    Partly(Vec<Failure>),
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Empty where no sandbox is meant.
    #[serde(default)]
    pub sandbox: String,
    pub message: String,
    /// The published port that somebody else holds, if that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_in_use: Option<PublishedPort>,
    /// The published port that cannot be had for another reason: its address is not the host's, the kernel lacks the
    /// protocol. `message` is that reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_refused: Option<PublishedPort>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_and_reads_back() {
        let request = Request::Set {
            sandbox: Sandbox {
                id: "c".to_owned(),
                resolver: Some(Resolver { namespace: "/run/n".into(), upstream: Upstream::Host }),
                endpoints: Vec::new(),
                ports: Vec::new(),
            },
        };
        let line = serde_json::to_string(&request).expect("no map keys but strings");
        assert_eq!(line, r#"{"op":"set","sandbox":{"id":"c","resolver":{"namespace":"/run/n","upstream":"host"}}}"#);
        assert_eq!(serde_json::from_str::<Request>(&line).ok(), Some(request));
    }
}
