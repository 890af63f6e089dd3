//! A build's progress, and what is left of it for programs.

use std::io::Write;

use engine_api::json_message::JsonMessage;
use engine_client::Lines;

use crate::context::print;
use crate::failure::Failure;
use crate::progress::{Display, error_of};

/// What a build has told.
pub struct Shown {
    quiet: bool,
    /// The image of the last stage that was finished.
    pub id: String,
    /// Standard output is somebody else's.
    aside: bool,
    /// The text of the step under way.
    pub step: String,
    /// The engine has shown where in the Dockerfile it failed.
    pub is_placed: bool,
}

impl Shown {
    pub fn new(quiet: bool, aside: bool) -> Self {
        Self { quiet, id: String::new(), aside, step: String::new(), is_placed: false }
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
            let is_excerpt = dockerfile::is_excerpt(&message.stream);
            self.is_placed |= is_excerpt;
            let text = display.show(&message);
            if self.aside || is_excerpt {
                std::io::stderr().lock().write_all(text.as_bytes())?;
            } else {
                print(&text)?;
            }
        }
        Ok(())
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}
