//! Live progress on a terminal: a headline with the counts, a row for each step with its time, the last lines of what runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::plain::amount;
use super::trace::{Step, Trace, seconds};
use crate::terminal::Size;
use crate::text::ellipsis::columns;

/// Lines of a running step's output.
const OUTPUT_LINES: usize = 6;
/// Size that is assumed when the terminal does not tell.
const DEFAULT: Size = Size { height: 24, width: 80 };
const BLUE: &str = "\x1b[34m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const END: &str = "\x1b[0m";

#[derive(Debug)]
pub struct Tty {
    /// What builds: `docker:default`.
    builder: String,
    is_coloured: bool,
    /// When the build began, in nanoseconds since 1970.
    began: i64,
    /// Rows of the last frame.
    rows: usize,
}

struct Row {
    color: &'static str,
    text: String,
    /// Of output there is none.
    seconds: Option<f64>,
    /// Whether it may go where there is no room.
    is_over: bool,
}

impl Tty {
    pub fn new(builder: String, is_coloured: bool, began: i64) -> Self {
        Self { builder, is_coloured, began, rows: 0 }
    }

    /// The next frame, over the last one. The last one of all shows everything, and what a build ends with is shown longer than
    /// the terminal is high.
    pub fn frame(&mut self, trace: &Trace, size: Option<Size>, now: i64, is_last: bool) -> String {
        let size = size.unwrap_or(DEFAULT);
        let (width, height) = (size.width.max(20) as usize, size.height.max(5) as usize);
        let mut rows = rows(trace, now, is_last);
        if !is_last {
            // The headline, and the line that the cursor is in.
            shorten(&mut rows, height - 2);
        }
        let mut out = String::from("\x1b[?25l");
        if self.rows > 0 {
            let _ = write!(out, "\x1b[{}A", self.rows);
        }
        out.push_str("\r\x1b[J");
        let is_finished = trace.total() > 0 && trace.completed() == trace.total();
        let word = if is_finished && is_last { " FINISHED" } else { "" };
        let (completed, total) = (trace.completed(), trace.total());
        let took = seconds(Some(self.began), None, now);
        let head = format!("[+] Building {took:.1}s ({completed}/{total}){word}");
        out.push_str(&line(&head, &self.builder, width));
        out.push('\n');
        for row in &rows {
            let time = row.seconds.map(|seconds| format!("{:3.1}s", if seconds < 0.05 { 0.0 } else { seconds }));
            let text = line(&row.text, &time.unwrap_or_default(), width);
            match row.color {
                color if self.is_coloured && !color.is_empty() => {
                    let _ = writeln!(out, "{color}{text}{END}");
                }
                _ => {
                    let _ = writeln!(out, "{text}");
                }
            }
        }
        self.rows = rows.len() + 1;
        if is_last {
            out.push_str("\x1b[?25h");
        }
        out
    }
}

fn rows(trace: &Trace, now: i64, is_last: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    // Several with one name are told once.
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for step in trace.steps.iter().filter(|step| step.started.is_some()) {
        let is_same = step.completed.is_some() && known.insert(&step.name, rows.len()).is_some();
        if is_same && step.error.is_empty() && step.cached {
            continue;
        }
        step_rows(step, now, is_last, &mut rows);
    }
    rows
}

fn step_rows(step: &Step, now: i64, is_last: bool, rows: &mut Vec<Row>) {
    let (mark, color) = match step.error.as_str() {
        "" if step.cached => ("CACHED ", BLUE),
        "" if step.completed.is_some() => ("", BLUE),
        "" => ("", ""),
        _ if step.is_cancelled() => ("CANCELED ", YELLOW),
        _ => ("ERROR ", RED),
    };
    let is_over = step.completed.is_some();
    let name = step.name.replace('\n', " ");
    let time = Some(step.seconds(now));
    rows.push(Row { color, text: format!(" => {mark}{name}"), seconds: time, is_over });
    for part in &step.parts {
        let text = format!(" => => {}{}", part.id, amount(part));
        let color = if part.completed.is_some() { BLUE } else { "" };
        let time = Some(seconds(part.started, part.completed.or(step.completed), now));
        rows.push(Row { color, text, seconds: time, is_over });
    }
    if step.is_running() && !is_last {
        for text in step.last_lines(OUTPUT_LINES) {
            rows.push(Row { color: DIM, text: format!(" => => # {text}"), seconds: None, is_over });
        }
    }
}

/// Steps that are over go first, the oldest before the others; then whatever stands at the top.
fn shorten(rows: &mut Vec<Row>, room: usize) {
    let mut surplus = rows.len().saturating_sub(room);
    rows.retain(|row| {
        let goes = surplus > 0 && row.is_over;
        surplus -= usize::from(goes);
        !goes
    });
    rows.drain(..surplus);
}

/// A text, and another at the right edge; the first is shortened where both have no room.
fn line(left: &str, right: &str, width: usize) -> String {
    let taken: usize = right.chars().map(columns).sum();
    let room = width.saturating_sub(taken + usize::from(taken > 0));
    let mut shown = String::new();
    let mut used = 0;
    let whole: usize = left.chars().map(columns).sum();
    let limit = if whole <= room { room } else { room.saturating_sub(3) };
    for c in left.chars() {
        if used + columns(c) > limit {
            break;
        }
        used += columns(c);
        shown.push(c);
    }
    if whole > room {
        shown.push_str("...");
        used += 3;
    }
    if right.is_empty() {
        return shown;
    }
    format!("{shown}{}{right}", " ".repeat(width.saturating_sub(used + taken)))
}

#[cfg(test)]
mod tests {
    use super::super::trace::tests::{began, ended, printed};
    use super::*;

    const NOW: i64 = 5_000_000_000;

    fn trace() -> Trace {
        let mut trace = Trace::default();
        trace.apply(ended("[1/3] FROM a", 1, true, ""));
        trace.apply(began("[2/3] RUN make", 2));
        trace.apply(printed("[2/3] RUN make", 3, b"compiling\nlinking\n"));
        trace
    }

    #[test]
    fn a_frame_has_counts_times_and_the_output_of_what_runs() {
        let mut tty = Tty::new("docker:default".to_owned(), false, 1_000_000_000);
        let frame = tty.frame(&trace(), Some(Size { height: 24, width: 50 }), NOW, false);
        let lines: Vec<&str> = frame.lines().collect();
        assert_eq!(
            lines,
            [
                "\x1b[?25l\r\x1b[J[+] Building 4.0s (1/2)             docker:default",
                " => CACHED [1/3] FROM a                       1.5s",
                " => [2/3] RUN make                            3.0s",
                " => => # compiling",
                " => => # linking",
            ]
        );
        let next = tty.frame(&trace(), Some(Size { height: 24, width: 50 }), NOW, false);
        assert!(next.starts_with("\x1b[?25l\x1b[5A\r\x1b[J"), "{next:?}");
    }

    #[test]
    fn steps_that_are_over_make_room() {
        let mut trace = Trace::default();
        for number in 0..10 {
            trace.apply(ended(&format!("old {number}"), 1, false, ""));
        }
        trace.apply(began("running", 2));
        let mut tty = Tty::new(String::new(), false, 0);
        let frame = tty.frame(&trace, Some(Size { height: 6, width: 40 }), NOW, false);
        let lines: Vec<&str> = frame.lines().skip(1).map(|line| line[4..].split("  ").next().unwrap()).collect();
        assert_eq!(lines, ["old 7", "old 8", "old 9", "running"]);
        trace.apply(ended("running", 2, false, "exit code: 1"));
        let last = tty.frame(&trace, Some(Size { height: 6, width: 40 }), NOW, true);
        assert!(
            last.contains("(11/11) FINISHED") && last.contains("old 0") && last.contains("ERROR running"),
            "{last}"
        );
        assert!(last.ends_with("\x1b[?25h"));
    }

    #[test]
    fn long_names_are_cut_at_the_edge() {
        assert_eq!(line(" => abcdefghij", "0.1s", 16), " => abcd... 0.1s");
        assert_eq!(line("ab", "1s", 8), "ab    1s");
        assert_eq!(line(" => => # abcdefgh", "", 12), " => => # ...");
    }
}
