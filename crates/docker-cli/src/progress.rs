//! Shows the progress of pull, push and import: bars that move on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::Write;

use engine_api::json_message::{JsonMessage, Progress};
use engine_client::Lines;

use crate::failure::Failure;
use crate::terminal;
use crate::text::duration::go_duration;
use crate::text::size::human_size;
use crate::text::time::since_epoch;

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
    Nowhere,
}

/// Width that is assumed when the terminal does not tell.
const DEFAULT_WIDTH: u32 = 200;
/// Most layers that have a line of their own.
const MAX_LINES: usize = 4096;

/// Shows a stream to its end; an error in it is the command's.
pub async fn show(mut lines: Lines, output: Output) -> Result<(), Failure> {
    let is_terminal = match output {
        Output::Stdout => terminal::stdout_is_terminal(),
        Output::Stderr => terminal::stderr_is_terminal(),
        Output::Nowhere => false,
    };
    let mut display = Display::new(is_terminal);
    while let Some(message) = lines.next::<JsonMessage>().await? {
        if let Some(error) = error_of(&message) {
            return Err(error);
        }
        let text = display.show(&message);
        write(output, text.as_bytes())?;
    }
    Ok(())
}

/// What ended a stream. Docker shows a refusal of the registry to let someone in in words of its own.
pub fn error_of(message: &JsonMessage) -> Option<Failure> {
    let detail = message.error_detail.as_ref();
    let words = detail.map(|detail| detail.message.clone()).filter(|words| !words.is_empty());
    let words = words.or_else(|| (!message.error.is_empty()).then(|| message.error.clone()))?;
    match detail.map(|detail| detail.code) {
        Some(401) => Some(Failure::text("authentication is required")),
        _ => Some(Failure::Text(words)),
    }
}

fn write(output: Output, bytes: &[u8]) -> Result<(), Failure> {
    match output {
        Output::Stdout => crate::context::write_all(bytes),
        Output::Stderr => Ok(std::io::stderr().lock().write_all(bytes)?),
        Output::Nowhere => Ok(()),
    }
}

/// Which layer has which line.
#[derive(Debug)]
pub struct Display {
    is_terminal: bool,
    lines: HashMap<String, usize>,
}

impl Display {
    fn new(is_terminal: bool) -> Self {
        Self { is_terminal, lines: HashMap::new() }
    }

    /// For what goes to standard output.
    pub fn of_stdout() -> Self {
        Self::new(terminal::stdout_is_terminal())
    }

    /// The text for one message, cursor movements included.
    pub fn show(&mut self, message: &JsonMessage) -> String {
        let width = terminal::size().map_or(DEFAULT_WIDTH, |size| size.width);
        let now = i64::try_from(since_epoch().as_secs()).unwrap_or(0);
        self.line(message, width, now)
    }

    /// The text for one message, cursor movements included.
    fn line(&mut self, message: &JsonMessage, width: u32, now: i64) -> String {
        if message.aux.is_some() {
            return String::new();
        }
        let has_line = !message.id.is_empty() && (message.progress_detail.is_some() || !message.progress.is_empty());
        if !has_line {
            self.lines.clear();
            return self.text(message, width, now);
        }
        let mut out = String::new();
        let mut up = 0;
        if self.is_terminal {
            let count = self.lines.len();
            let line = match self.lines.get(&message.id) {
                Some(line) => *line,
                None if count < MAX_LINES => {
                    self.lines.insert(message.id.clone(), count);
                    out.push('\n');
                    count
                }
                None => count,
            };
            up = self.lines.len().saturating_sub(line);
            if up > 0 {
                out.push_str(&format!("\x1b[{up}A"));
            }
        }
        out.push_str(&self.text(message, width, now));
        if up > 0 {
            out.push_str(&format!("\x1b[{up}B"));
        }
        out
    }

    fn text(&self, message: &JsonMessage, width: u32, now: i64) -> String {
        let bar = message.progress_detail.as_ref().map(|progress| bar(progress, width, now));
        let mut out = String::new();
        let mut end = "";
        if self.is_terminal && message.stream.is_empty() && bar.is_some() {
            end = "\r";
            out.push_str("\x1b[2K\r");
        } else if bar.as_ref().is_some_and(|bar| !bar.is_empty()) {
            // Off a terminal only the steps are told.
            return String::new();
        }
        if !message.id.is_empty() {
            out.push_str(&format!("{}: ", message.id));
        }
        if !message.from.is_empty() {
            out.push_str(&format!("(from {}) ", message.from));
        }
        match bar {
            Some(bar) if self.is_terminal => out.push_str(&format!("{} {bar}{end}", message.status)),
            _ if !message.progress.is_empty() => out.push_str(&format!("{} {}{end}", message.status, message.progress)),
            _ if !message.stream.is_empty() => out.push_str(&format!("{}{end}", message.stream)),
            _ => out.push_str(&format!("{}{end}\n", message.status)),
        }
        out
    }
}

/// `[=====>     ]  12.3MB/45.6MB 3s`.
fn bar(progress: &Progress, width: u32, now: i64) -> String {
    let (current, total) = (progress.current, progress.total);
    if current <= 0 && total <= 0 {
        return String::new();
    }
    if total <= 0 {
        return if progress.units.is_empty() {
            format!("{:>8}", human_size(current))
        } else {
            format!("{current} {}", progress.units)
        };
    }
    let percentage = usize::try_from(current.saturating_mul(100) / total / 2).unwrap_or(0).min(50);
    let mut out = String::new();
    if width > 110 {
        out.push_str(&format!("[{}>{}] ", "=".repeat(percentage), " ".repeat(50 - percentage)));
    }
    if !progress.hide_counts {
        out.push_str(&match (progress.units.as_str(), current > total) {
            ("", true) => format!("{:>8}", human_size(current)),
            ("", false) => format!("{:>8}/{}", human_size(current), human_size(total)),
            (units, true) => format!("{current} {units}"),
            (units, false) => format!("{current}/{total} {units}"),
        });
    }
    if width > 50 && current > 0 && progress.start > 0 && percentage < 50 {
        let elapsed = (now - progress.start).max(0);
        let left = elapsed.saturating_mul((total - current).max(0)) / current;
        out.push_str(&format!(" {}", go_duration(left.saturating_mul(1_000_000_000))));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> JsonMessage {
        serde_json::from_str(json).unwrap()
    }

    fn shown(is_terminal: bool, lines: &[&str]) -> String {
        let mut display = Display::new(is_terminal);
        lines.iter().map(|line| display.line(&message(line), 120, 0)).collect()
    }

    const PULL: &[&str] = &[
        r#"{"status":"Pulling from library/a","id":"latest"}"#,
        r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aa"}"#,
        r#"{"status":"Pulling fs layer","progressDetail":{},"id":"bb"}"#,
        r#"{"status":"Downloading","progressDetail":{"current":50,"total":100},"progress":"x","id":"aa"}"#,
        r#"{"status":"Pull complete","progressDetail":{},"id":"aa"}"#,
        r#"{"status":"Digest: sha256:0"}"#,
    ];

    #[test]
    fn off_a_terminal_only_steps_are_told() {
        assert_eq!(
            shown(false, PULL),
            "latest: Pulling from library/a\naa: Pulling fs layer\nbb: Pulling fs layer\naa: Pull complete\nDigest: sha256:0\n"
        );
    }

    #[test]
    fn on_a_terminal_each_layer_keeps_its_line() {
        let text = shown(true, PULL);
        assert!(text.starts_with("latest: Pulling from library/a\n\n\x1b[1A\x1b[2K\raa: Pulling fs layer \r\x1b[1B"));
        assert!(text.contains("\x1b[2A\x1b[2K\raa: Downloading [=========================>                         ]      50B/100B\r\x1b[2B"));
        assert!(text.ends_with("Digest: sha256:0\n"));
    }

    #[test]
    fn an_error_in_the_stream_is_an_error() {
        assert_eq!(error_of(&JsonMessage::failure("no")).unwrap().to_string(), "no");
        assert!(error_of(&JsonMessage::status("fine")).is_none());
        let refused = message(r#"{"errorDetail":{"code":401,"message":"x"},"error":"x"}"#);
        assert_eq!(error_of(&refused).unwrap().to_string(), "authentication is required");
    }
}
