//! Progress line by line, as BuildKit prints it off a terminal: one step at a time, as far as it lasts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::bytes;
use super::trace::{Change, Part, Trace, seconds};

/// How long a step that says nothing keeps others waiting.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a transfer tells how far it is.
const PART_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub struct Plain {
    current: Option<usize>,
    /// When the current step last said something.
    said: Option<Instant>,
    waiting: BTreeMap<usize, Waiting>,
    parts: BTreeMap<(usize, String), Instant>,
}

/// What a step has to say.
#[derive(Debug, Default)]
struct Waiting {
    text: String,
    is_over: bool,
}

impl Plain {
    /// Takes what has changed; answers what is printed of it now.
    pub fn update(&mut self, trace: &Trace, changes: &[Change], now: i64) -> String {
        for change in changes {
            match change {
                Change::Began(place) => drop(self.waiting.entry(*place).or_default()),
                Change::Part(place, part) => self.part(*place, part, now),
                Change::Printed(place, line) => {
                    let waiting = self.waiting.entry(*place).or_default();
                    let _ = writeln!(waiting.text, "#{} {:.3} {}", place + 1, line.at, line.text);
                }
                Change::Ended(place) => {
                    let (step, waiting) = (&trace.steps[*place], self.waiting.entry(*place).or_default());
                    let number = place + 1;
                    let _ = match step.error.as_str() {
                        "" if step.cached => writeln!(waiting.text, "#{number} CACHED"),
                        "" => writeln!(waiting.text, "#{number} DONE {:.1}s", step.seconds(now)),
                        _ if step.is_cancelled() => writeln!(waiting.text, "#{number} CANCELED"),
                        error => writeln!(waiting.text, "#{number} ERROR: {error}"),
                    };
                    waiting.is_over = true;
                }
            }
        }
        self.say(trace, false)
    }

    /// Everything that is left.
    pub fn finish(&mut self, trace: &Trace) -> String {
        self.say(trace, true)
    }

    fn part(&mut self, place: usize, part: &Part, now: i64) {
        let key = (place, part.id.clone());
        let is_early = self.parts.get(&key).is_some_and(|last| last.elapsed() < PART_EVERY);
        if part.completed.is_none() && (is_early || part.current == 0) {
            self.parts.entry(key).or_insert_with(Instant::now);
            return;
        }
        self.parts.insert(key, Instant::now());
        let took = seconds(part.started, part.completed, now);
        let took = if took > 0.01 { format!(" {took:.1}s") } else { String::new() };
        let done = if part.completed.is_some() { " done" } else { "" };
        let waiting = self.waiting.entry(place).or_default();
        let _ = writeln!(waiting.text, "#{} {}{}{took}{done}", place + 1, part.id, amount(part));
    }

    fn say(&mut self, trace: &Trace, all: bool) -> String {
        let mut out = String::new();
        loop {
            let Some(place) = self.current.or_else(|| self.next(&mut out, trace)) else { return out };
            self.current = Some(place);
            let waiting = self.waiting.entry(place).or_default();
            if !waiting.text.is_empty() {
                self.said = Some(Instant::now());
                out.push_str(&std::mem::take(&mut waiting.text));
            }
            let is_over = waiting.is_over;
            let is_tedious = self.said.is_none_or(|said| said.elapsed() > PATIENCE);
            let others_wait = self.waiting.iter().any(|(other, waiting)| *other != place && !waiting.text.is_empty());
            if !is_over && !(others_wait && (all || is_tedious)) {
                return out;
            }
            if is_over {
                self.waiting.remove(&place);
            } else {
                let _ = writeln!(out, "#{} ...", place + 1);
            }
            self.current = None;
        }
    }

    /// Who is next: one that is over, or else the first that began.
    fn next(&mut self, out: &mut String, trace: &Trace) -> Option<usize> {
        let over = self.waiting.iter().find(|(_, waiting)| waiting.is_over);
        let talking = || self.waiting.iter().find(|(_, waiting)| !waiting.text.is_empty());
        let (place, _) = over.or_else(talking).or_else(|| self.waiting.iter().next())?;
        let _ = writeln!(out, "\n#{} {}", place + 1, trace.steps[*place].name);
        self.said = Some(Instant::now());
        Some(*place)
    }
}

/// ` 1.20MB / 3.40MB`.
pub fn amount(part: &Part) -> String {
    match (part.current, part.total) {
        (current, total) if total > 0 => format!(" {} / {}", bytes(current), bytes(total)),
        (0, _) => String::new(),
        (current, _) => format!(" {}", bytes(current)),
    }
}

#[cfg(test)]
mod tests {
    use buildkit_api::Timestamp;
    use buildkit_api::control::{StatusResponse, VertexStatus};

    use super::super::trace::tests::{began, ended, printed};
    use super::*;

    fn shown(statuses: Vec<StatusResponse>) -> String {
        let (mut trace, mut plain, mut out) = (Trace::default(), Plain::default(), String::new());
        for status in statuses {
            let changes = trace.apply(status);
            out.push_str(&plain.update(&trace, &changes, 0));
        }
        out + &plain.finish(&trace)
    }

    #[test]
    fn a_step_speaks_until_it_is_over() {
        let text = shown(vec![
            began("[1/2] FROM a", 1),
            began("[internal] load", 1),
            printed("[internal] load", 1, b"other\n"),
            printed("[1/2] FROM a", 1, b"hello\n"),
            ended("[internal] load", 1, true, ""),
            ended("[1/2] FROM a", 1, false, ""),
        ]);
        assert_eq!(
            text,
            "\n#1 [1/2] FROM a\n#1 0.250 hello\n#1 DONE 1.5s\n\n#2 [internal] load\n#2 0.250 other\n#2 CACHED\n"
        );
    }

    #[test]
    fn failures_and_transfers_are_told() {
        let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let part = |current, completed| StatusResponse {
            statuses: vec![VertexStatus {
                id: "transferring context:".to_owned(),
                vertex: "load".to_owned(),
                current,
                started: time(1),
                completed,
                ..VertexStatus::default()
            }],
            ..StatusResponse::default()
        };
        let text =
            shown(vec![began("load", 1), part(0, None), part(2_345_678, time(2)), ended("load", 1, false, "no room")]);
        assert_eq!(text, "\n#1 load\n#1 transferring context: 2.35MB 1.0s done\n#1 ERROR: no room\n");
    }

    #[test]
    fn a_step_that_never_ends_is_left_in_the_end() {
        let text = shown(vec![began("a", 1), began("b", 1), printed("b", 1, b"x\n")]);
        assert_eq!(text, "\n#1 a\n#1 ...\n\n#2 b\n#2 0.250 x\n");
    }
}
