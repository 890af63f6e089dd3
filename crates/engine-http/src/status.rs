//! The one place where an error becomes an HTTP status and a body.

use std::error::Error;

use engine_api::ErrorResponse;
use errors::{ErrorKind, Kind};
use http::StatusCode;

use crate::reply::{self, Reply};

/// Every route fails with one of these: a status, and the words that the client prints behind "Error response from daemon: ".
#[derive(Debug)]
pub struct Failure {
    pub status: StatusCode,
    pub message: String,
}

pub type Answer = Result<Reply, Failure>;

impl Failure {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { status: status_of(kind), message: message.into() }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// For a request that waits when the daemon goes down, or whose client has gone.
    pub fn going_down() -> Self {
        Self::new(ErrorKind::Unavailable, "the daemon is shutting down")
    }

    /// What Docker answers for a path or a method that it does not have.
    pub fn no_such_page() -> Self {
        Self::new(ErrorKind::NotFound, "page not found")
    }

    /// Nobody answers at this path, which has no version: what belongs to a swarm is answered as by a node that is in none.
    pub fn nobody_at(path: &str) -> Self {
        const NO_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
                                  connect this node to swarm and try again.";
        let first = path.split('/').nth(1).unwrap_or_default();
        match path {
            "/swarm/init" | "/swarm/join" => {
                Self::new(ErrorKind::NotImplemented, "swarm mode is not supported by this engine yet")
            }
            "/swarm/leave" => Self::new(ErrorKind::Unavailable, "This node is not part of a swarm"),
            _ if ["swarm", "nodes", "services", "tasks", "secrets", "configs"].contains(&first) => {
                Self::new(ErrorKind::Unavailable, NO_MANAGER)
            }
            _ => Self::no_plugin_at(path),
        }
    }

    /// There are no managed plugins: one that is named is not found, and none can be made.
    fn no_plugin_at(path: &str) -> Self {
        let rest = path.strip_prefix("/plugins/").unwrap_or_default();
        let (name, verb) = rest.rsplit_once('/').unwrap_or((rest, ""));
        if matches!(rest, "privileges" | "pull" | "create") || verb == "upgrade" {
            return Self::new(ErrorKind::NotImplemented, "managed plugins are not supported by this engine yet");
        }
        // Names have slashes, too.
        let name = if matches!(verb, "json" | "enable" | "disable" | "push" | "set") { name } else { rest };
        match name {
            "" => Self::no_such_page(),
            name => Self::new(ErrorKind::NotFound, format!("plugin {name:?} not found")),
        }
    }
}

impl<E: Kind + Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let failure = Self::new(error.kind(), in_go_words(&errors::chain(&error)));
        if failure.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::debug!(error = failure.message, "internal error answered");
        }
        failure
    }
}

impl Failure {
    /// The answer that says so.
    pub fn into_reply(self) -> Reply {
        if self.status == StatusCode::NOT_MODIFIED {
            return reply::empty(self.status);
        }
        reply::json(self.status, &ErrorResponse { message: self.message })
    }

    /// A line of a stream of this type, for who asked for one.
    pub fn into_line(self, content_type: http::HeaderValue) -> Reply {
        let mut reply = reply::line(self.status, format!("{}\r", self.message));
        reply.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
        reply
    }

    /// The same in plain text, which clients from before API 1.24 print as it is.
    pub fn into_text(self) -> Reply {
        reply::line(self.status, self.message)
    }
}

/// The system's errors as clients know them: `Not a directory (os error 20)` is `not a directory`.
fn in_go_words(text: &str) -> String {
    const MARK: &str = " (os error ";
    let (mut said, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once(MARK) {
        let Some((number, behind)) = after.split_once(')') else { break };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            break;
        }
        let start = before.rfind(": ").map_or(0, |at| at + 2);
        let (lead, words) = before.split_at(start);
        let mut letters = words.chars();
        said.push_str(lead);
        said.extend(letters.next().map(|first| first.to_ascii_lowercase()));
        said.push_str(letters.as_str());
        rest = behind;
    }
    said.push_str(rest);
    said
}

fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
        ErrorKind::ResourceExhausted => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Cancelled | ErrorKind::DataLoss | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_errors_are_told_in_go_s_words() {
        for (text, words) in [
            ("cannot look at /a: Not a directory (os error 20)", "cannot look at /a: not a directory"),
            ("No such file or directory (os error 2): x", "no such file or directory: x"),
            ("a: Is a directory (os error 21): b: Bad (os error 9)", "a: is a directory: b: bad"),
            ("Plain words (os error", "Plain words (os error"),
            ("No such container: x", "No such container: x"),
        ] {
            assert_eq!(in_go_words(text), words);
        }
    }
}
