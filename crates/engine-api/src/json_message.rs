//! The progress stream of pull, push, import, load and build: one JSON object a line.

use serde_json::Value;

use crate::wire::empty;

wire! {
    /// One line. Which members are set says what it is: a status, a layer's progress, text of a build, an error.
    pub struct JsonMessage {
        stream: String = "stream" | "empty",
        status: String = "status" | "empty",
        progress_detail: Option<Progress> = "progressDetail" | "empty",
        /// The bar as text, for clients before there was a detail.
        progress: String = "progress" | "empty",
        id: String = "id" | "empty",
        from: String = "from" | "empty",
        time: i64 = "time" | "empty",
        time_nano: i64 = "timeNano" | "empty",
        error_detail: Option<ErrorDetail> = "errorDetail" | "empty",
        /// The same text as in the detail.
        error: String = "error" | "empty",
        /// What a program wants to know: the result of a push, the id of a build.
        aux: Option<Value> = "aux" | "empty",
    }

    /// How far a layer is, in bytes unless `units` says otherwise.
    pub struct Progress {
        current: i64 = "current" | "empty",
        total: i64 = "total" | "empty",
        start: i64 = "start" | "empty",
        /// The counts only, without a bar.
        hide_counts: bool = "hidecounts" | "empty",
        units: String = "units" | "empty",
    }

    /// Why the operation ended.
    pub struct ErrorDetail {
        code: i64 = "code" | "empty",
        message: String = "message",
    }

    /// `aux` of a push, once a tag.
    pub struct PushResult {
        tag: String = "Tag",
        digest: String = "Digest",
        size: i64 = "Size",
    }
}

impl JsonMessage {
    /// A line of text: `Digest: sha256:…`.
    pub fn status(status: impl Into<String>) -> Self {
        Self { status: status.into(), ..Self::default() }
    }

    /// A step of one layer: `0123456789ab: Pulling fs layer`. Docker sends an empty detail with it.
    pub fn layer(id: impl Into<String>, status: impl Into<String>) -> Self {
        Self { id: id.into(), status: status.into(), progress_detail: Some(Progress::default()), ..Self::default() }
    }

    /// The end of the stream by an error, behind an answer that was already 200.
    pub fn failure(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            error_detail: Some(ErrorDetail { code: 0, message: message.clone() }),
            error: message,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_as_docker_writes_them() {
        let line = |message: JsonMessage| serde_json::to_string(&message).unwrap();
        assert_eq!(line(JsonMessage::status("Digest: x")), r#"{"status":"Digest: x"}"#);
        assert_eq!(line(JsonMessage::layer("ab", "Waiting")), r#"{"status":"Waiting","progressDetail":{},"id":"ab"}"#);
        assert_eq!(line(JsonMessage::failure("no")), r#"{"errorDetail":{"message":"no"},"error":"no"}"#);
    }
}
