//! A build's progress, and what is left of it for programs.

use engine_api::json_message::JsonMessage;
use engine_client::Lines;
use serde_json::json;

use crate::context::print;
use crate::failure::Failure;
use crate::progress::{Display, error_of};

/// What a build has told.
pub struct Shown {
    quiet: bool,
    /// The image of the last stage that was finished.
    id: String,
    /// The text of the step under way.
    pub step: String,
}

impl Shown {
    pub fn new(quiet: bool) -> Self {
        Self { quiet, id: String::new(), step: String::new() }
    }

    /// Shows a stream to its end; an error in it is the command's, with the code of the program that failed.
    pub async fn show(&mut self, mut lines: Lines) -> Result<(), Failure> {
        let mut display = Display::of_stdout();
        while let Some(message) = lines.next::<JsonMessage>().await? {
            if let Some(failure) = error_of(&message) {
                let code = message.error_detail.as_ref().and_then(|detail| u8::try_from(detail.code).ok());
                return Err(match (failure, code.filter(|code| *code != 0)) {
                    (Failure::Text(message), Some(code)) => Failure::Status { code, message },
                    (failure, _) => failure,
                });
            }
            if let Some(id) = message.aux.as_ref().and_then(|aux| aux.get("ID")).and_then(|id| id.as_str()) {
                id.clone_into(&mut self.id);
            }
            if let Some((_, step)) = message.stream.strip_prefix("Step ").and_then(|text| text.split_once(" : ")) {
                step.trim_end().clone_into(&mut self.step);
            }
            print(&display.show(&message))?;
        }
        Ok(())
    }

    /// Writes what was asked for about the image.
    pub fn finish(&self, id_file: &str, metadata_file: &str) -> Result<(), Failure> {
        if !id_file.is_empty() {
            if self.id.is_empty() {
                return Err(Failure::Text(format!(
                    "cannot write {id_file} because server did not provide an image ID"
                )));
            }
            std::fs::write(id_file, &self.id)?;
        }
        if !metadata_file.is_empty() {
            let metadata = json!({ "containerimage.config.digest": self.id, "containerimage.digest": self.id });
            let text = serde_json::to_string_pretty(&metadata).unwrap_or_default();
            std::fs::write(metadata_file, text)?;
        }
        Ok(())
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}
