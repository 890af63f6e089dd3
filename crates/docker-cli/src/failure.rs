//! How a command ends when it does not end well.

use engine_client::Error;

/// Words for standard error and a number for the shell.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Client(#[from] Error),
    #[error("{0}")]
    Text(String),
    /// With an exit status of its own; nothing is printed when there is no message.
    #[error("{message}")]
    Status { code: u8, message: String },
    #[error(transparent)]
    Template(#[from] crate::template::TemplateError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Failure {
    pub fn text(message: impl Into<String>) -> Self {
        Self::Text(message.into())
    }

    /// Ends with this status and says nothing more.
    pub fn silent(code: u8) -> Self {
        Self::Status { code, message: String::new() }
    }

    pub fn code(&self) -> u8 {
        match self {
            Self::Status { code, .. } => *code,
            _ => 1,
        }
    }
}

/// An error with what is behind it, down to the system's own words.
pub fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(source) = at {
        text.push_str(&format!(": {source}"));
        at = source.source();
    }
    text
}
