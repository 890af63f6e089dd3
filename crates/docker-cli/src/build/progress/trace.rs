//! What a build has told, put together: its steps in the order in which they began.

use std::collections::{HashMap, VecDeque};

use buildkit_api::Timestamp;
use buildkit_api::control::{StatusResponse, VertexWarning};

/// Lines of a step that are kept for its failure, and the longest of them.
const MAX_LINES: usize = 100;
const MAX_LINE: usize = 8 << 10;
/// Parts of one step, warnings of one build.
const MAX_PARTS: usize = 10_000;
const MAX_WARNINGS: usize = 1_000;
const SECOND: f64 = 1e9;

/// All steps so far.
#[derive(Debug, Default)]
pub struct Trace {
    pub steps: Vec<Step>,
    places: HashMap<String, usize>,
    pub warnings: Vec<VertexWarning>,
}

/// One step.
#[derive(Debug, Default)]
pub struct Step {
    pub name: String,
    /// Nanoseconds since 1970.
    pub started: Option<i64>,
    pub completed: Option<i64>,
    pub cached: bool,
    pub error: String,
    pub parts: Vec<Part>,
    /// The last lines of its output.
    pub lines: VecDeque<Line>,
    /// Output behind the last line end.
    rest: Vec<u8>,
}

/// A line below a step: `transferring context: 1.2kB`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    pub id: String,
    pub current: i64,
    pub total: i64,
    pub started: Option<i64>,
    pub completed: Option<i64>,
}

/// A line of a step's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Seconds since its step began.
    pub at: f64,
    pub text: String,
}

/// What a message has changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Began(usize),
    Part(usize, Part),
    Printed(usize, Line),
    Ended(usize),
}

impl Trace {
    pub fn apply(&mut self, status: StatusResponse) -> Vec<Change> {
        let mut changes = Vec::new();
        for vertex in status.vertexes {
            let place = self.place(&vertex.digest);
            let step = &mut self.steps[place];
            let (had_begun, had_ended) = (step.started.is_some(), step.completed.is_some());
            step.name = vertex.name;
            (step.cached, step.error) = (vertex.cached, vertex.error);
            step.started = vertex.started.map(nanoseconds).or(step.started);
            step.completed = vertex.completed.map(nanoseconds);
            if step.started.is_some() && !had_begun {
                changes.push(Change::Began(place));
            }
            if step.completed.is_some() && !had_ended {
                let rest = step.take_rest();
                changes.extend(rest.map(|line| Change::Printed(place, line)));
                changes.push(Change::Ended(place));
            }
        }
        for status in status.statuses {
            let place = self.place(&status.vertex);
            let id = if status.id.is_empty() { status.name } else { status.id };
            let part = Part {
                id,
                current: status.current,
                total: status.total,
                started: status.started.map(nanoseconds),
                completed: status.completed.map(nanoseconds),
            };
            if self.steps[place].put(&part) {
                changes.push(Change::Part(place, part));
            }
        }
        for log in status.logs {
            let place = self.place(&log.vertex);
            let at = log.timestamp.map(nanoseconds);
            let lines = self.steps[place].print(&log.msg, at);
            changes.extend(lines.into_iter().map(|line| Change::Printed(place, line)));
        }
        let room = MAX_WARNINGS.saturating_sub(self.warnings.len());
        self.warnings.extend(status.warnings.into_iter().take(room));
        changes
    }

    /// Those that have begun.
    pub fn total(&self) -> usize {
        self.steps.iter().filter(|step| step.started.is_some()).count()
    }

    pub fn completed(&self) -> usize {
        self.steps.iter().filter(|step| step.completed.is_some()).count()
    }

    /// The step that failed by itself, not because another did.
    pub fn failed(&self) -> Option<&Step> {
        self.steps.iter().find(|step| !step.error.is_empty() && !step.is_cancelled())
    }

    fn place(&mut self, digest: &str) -> usize {
        if let Some(place) = self.places.get(digest) {
            return *place;
        }
        self.steps.push(Step::default());
        self.places.insert(digest.to_owned(), self.steps.len() - 1);
        self.steps.len() - 1
    }
}

impl Step {
    pub fn is_cancelled(&self) -> bool {
        self.error.ends_with("context canceled")
    }

    pub fn is_running(&self) -> bool {
        self.started.is_some() && self.completed.is_none()
    }

    /// Seconds that it took, or has taken until now.
    pub fn seconds(&self, now: i64) -> f64 {
        seconds(self.started, self.completed, now)
    }

    /// `false`: there is nothing new in it.
    fn put(&mut self, part: &Part) -> bool {
        let has_room = self.parts.len() < MAX_PARTS;
        match self.parts.iter_mut().find(|known| known.id == part.id) {
            Some(known) if known == part => false,
            Some(known) => {
                known.clone_from(part);
                true
            }
            None if has_room => {
                self.parts.push(part.clone());
                true
            }
            None => false,
        }
    }

    fn print(&mut self, bytes: &[u8], at: Option<i64>) -> Vec<Line> {
        let at = match (self.started, at) {
            (Some(started), Some(at)) => (at - started).max(0) as f64 / SECOND,
            _ => 0.0,
        };
        self.rest.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            lines.push(Line { at, text: clean(&line[..end]) });
        }
        if self.rest.len() > MAX_LINE {
            lines.push(Line { at, text: clean(&std::mem::take(&mut self.rest)) });
        }
        for line in &lines {
            self.keep(line.clone());
        }
        lines
    }

    fn take_rest(&mut self) -> Option<Line> {
        let rest = std::mem::take(&mut self.rest);
        let at = self.lines.back().map_or(0.0, |line| line.at);
        let line = (!rest.is_empty()).then(|| Line { at, text: clean(&rest) })?;
        self.keep(line.clone());
        Some(line)
    }

    fn keep(&mut self, line: Line) {
        if self.lines.len() >= MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The last lines as they stand on a terminal, the one that has no end yet among them.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let rest = (!self.rest.is_empty()).then(|| clean(&self.rest));
        let shown = count.saturating_sub(usize::from(rest.is_some()));
        let from = self.lines.len().saturating_sub(shown);
        self.lines.iter().skip(from).map(|line| line.text.clone()).chain(rest).collect()
    }
}

/// Between two times; what has not ended lasts until now.
pub fn seconds(started: Option<i64>, completed: Option<i64>, now: i64) -> f64 {
    started.map_or(0.0, |started| (completed.unwrap_or(now) - started).max(0) as f64 / SECOND)
}

fn nanoseconds(time: Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(time.nanos))
}

/// A line without what would move the cursor: what a carriage return has overwritten and escape sequences are gone.
fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    let text = text.rsplit('\r').next().unwrap_or(text);
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\x1b' if characters.peek() == Some(&'[') => {
                characters.next();
                let _ = characters.find(|c| ('@'..='~').contains(c));
            }
            '\t' => out.push_str("    "),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
pub mod tests {
    use buildkit_api::control::{Vertex, VertexLog};

    use super::*;

    fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos })
    }

    pub fn began(name: &str, seconds: i64) -> StatusResponse {
        let vertex =
            Vertex { digest: name.to_owned(), name: name.to_owned(), started: at(seconds, 0), ..Vertex::default() };
        StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() }
    }

    pub fn ended(name: &str, seconds: i64, cached: bool, error: &str) -> StatusResponse {
        let mut status = began(name, seconds);
        let vertex = &mut status.vertexes[0];
        (vertex.completed, vertex.cached, vertex.error) = (at(seconds + 1, 500_000_000), cached, error.to_owned());
        status
    }

    pub fn printed(name: &str, seconds: i64, text: &[u8]) -> StatusResponse {
        let log =
            VertexLog { vertex: name.to_owned(), timestamp: at(seconds, 250_000_000), stream: 1, msg: text.to_vec() };
        StatusResponse { logs: vec![log], ..StatusResponse::default() }
    }

    #[test]
    fn lines_are_whole_and_clean() {
        let mut trace = Trace::default();
        trace.apply(began("a", 10));
        let changes = trace.apply(printed("a", 11, b"one\n 10%\r 90%\r100%\n\x1b[31mred\x1b[0m\nrest"));
        let texts: Vec<&str> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Printed(0, line) => Some(line.text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(texts, ["one", "100%", "red"]);
        assert_eq!(trace.steps[0].last_lines(2), ["red", "rest"]);
        let changes = trace.apply(ended("a", 10, false, ""));
        assert_eq!(changes, [Change::Printed(0, Line { at: 1.25, text: "rest".to_owned() }), Change::Ended(0)]);
        assert!((trace.steps[0].seconds(0) - 1.5).abs() < 1e-6);
    }

    #[test]
    fn who_failed_is_not_who_was_cancelled() {
        let mut trace = Trace::default();
        trace.apply(ended("a", 1, false, "process failed: context canceled"));
        trace.apply(ended("b", 1, false, "exit code: 1"));
        assert_eq!(trace.failed().unwrap().name, "b");
        assert_eq!((trace.completed(), trace.total()), (2, 2));
    }

    #[test]
    fn what_is_kept_of_a_step_is_bounded() {
        let mut trace = Trace::default();
        for _ in 0..300 {
            trace.apply(printed("a", 1, b"x\n"));
        }
        trace.apply(printed("a", 1, &vec![b'y'; MAX_LINE * 3]));
        assert_eq!(trace.steps[0].lines.len(), MAX_LINES);
        assert!(trace.steps[0].rest.len() <= MAX_LINE);
    }
}
