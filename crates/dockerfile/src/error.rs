//! What is wrong with a Dockerfile, where, and what may have been meant.

use errors::{ErrorKind, Kind};

use crate::lines::Lines;

/// Shown as Docker's builder shows it: `dockerfile parse error on line 1: unknown instruction: FORM (did you mean FROM?)`,
/// with a line `hint: …` behind it where there is more to say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}{}{}", place(.lines), meant(.hint), form_line(.form))]
pub struct ParseError {
    /// `None`: the whole file.
    pub lines: Option<Lines>,
    pub message: String,
    /// The word that was probably meant.
    pub hint: Option<String>,
    /// The form that an instruction has.
    pub form: Option<&'static str>,
}

impl ParseError {
    pub(crate) fn new(lines: Lines, message: impl Into<String>) -> Self {
        Self { lines: Some(lines), message: message.into(), hint: None, form: None }
    }

    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self { lines: None, message: message.into(), hint: None, form: None }
    }

    pub(crate) fn hinting(mut self, hint: Option<&str>) -> Self {
        self.hint = hint.map(str::to_owned);
        self
    }

    pub(crate) fn of_form(mut self, form: &'static str) -> Self {
        self.form = Some(form);
        self
    }
}

impl Kind for ParseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

fn place(lines: &Option<Lines>) -> String {
    match lines {
        Some(lines) => format!("dockerfile parse error on line {}", lines.first),
        None => "failed to parse Dockerfile".to_owned(),
    }
}

fn meant(hint: &Option<String>) -> String {
    hint.as_ref().map(|word| format!(" (did you mean {word}?)")).unwrap_or_default()
}

fn form_line(form: &Option<&'static str>) -> String {
    form.map(|form| format!("\nhint: {form}")).unwrap_or_default()
}
