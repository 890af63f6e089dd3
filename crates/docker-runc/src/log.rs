//! The log that callers read: go-runc and containerd take the error from its JSON lines.

use crate::arguments::Parsed;
use runtime::time;
use std::fs::{File, OpenOptions};
use std::io::Write;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Text,
    Json,
}

/// Where lines go: a file, or stderr.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    format: Format,
    debug: bool,
}

impl Log {
    pub fn open(global: &Parsed) -> Result<Self, String> {
        let format = match global.value("log-format") {
            None | Some("text" | "") => Format::Text,
            Some("json") => Format::Json,
            Some(other) => return Err(format!("invalid log-format: {other}")),
        };
        let file = match global.value("log") {
            None | Some("" | "/dev/stderr") => None,
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                Some(file.map_err(|error| format!("open {path}: {error}"))?)
            }
        };
        Ok(Self { file, format, debug: global.is_set("debug") })
    }

    pub fn is_stderr(&self) -> bool {
        self.file.is_none()
    }

    pub fn error(&self, message: &str) {
        self.line("error", message);
    }

    pub fn warning(&self, message: &str) {
        self.line("warning", message);
    }

    pub fn debug(&self, message: &str) {
        if self.debug {
            self.line("debug", message);
        }
    }

    fn line(&self, level: &str, message: &str) {
        let time = time::now();
        let line = match self.format {
            Format::Json => format!("{}\n", serde_json::json!({ "level": level, "msg": message, "time": time })),
            Format::Text => format!("time=\"{time}\" level={level} msg={message:?}\n"),
        };
        // A log that cannot be written must not keep a container from starting; stderr may be closed.
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}
