//! What a build tells, shown: live on a terminal, line by line elsewhere, as JSON for programs, or not at all.

mod plain;
mod rawjson;
mod trace;
mod tty;

use std::fmt::Write as _;
use std::io::Write as _;

use buildkit_api::control::StatusResponse;

use self::plain::Plain;
use self::trace::Trace;
use self::tty::Tty;
use crate::failure::Failure;
use crate::terminal;
use crate::text::time::since_epoch;

/// Lines of a failed step's output.
const FAILED_LINES: usize = 40;

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Plain,
    Tty,
    Quiet,
    RawJson,
}

impl Mode {
    /// `auto`: live where there is a terminal.
    pub fn of(text: &str, is_quiet: bool) -> Result<Self, Failure> {
        let is_terminal = terminal::stderr_is_terminal();
        Ok(match text {
            _ if is_quiet => Self::Quiet,
            "plain" => Self::Plain,
            "quiet" | "none" => Self::Quiet,
            "rawjson" => Self::RawJson,
            "tty" if is_terminal => Self::Tty,
            "tty" => return Err(Failure::text("ERROR: failed to get console: provided file is not a console")),
            "auto" | "" => match is_terminal {
                true => Self::Tty,
                false => Self::Plain,
            },
            other => return Err(Failure::Text(format!("invalid progress mode {other}"))),
        })
    }
}

/// Shows a build on standard error.
#[derive(Debug)]
pub struct Display {
    trace: Trace,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Plain(Plain),
    Tty(Tty),
    RawJson,
    Quiet,
}

impl Display {
    /// `builder` is what builds, and its kind.
    pub fn new(mode: Mode, builder: &str) -> Self {
        let kind = match mode {
            Mode::Plain => Kind::Plain(Plain::default()),
            Mode::Tty => {
                let is_coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
                Kind::Tty(Tty::new(format!("docker:{builder}"), is_coloured, now()))
            }
            Mode::RawJson => Kind::RawJson,
            Mode::Quiet => Kind::Quiet,
        };
        if let Kind::Plain(_) = kind {
            say(&format!("#0 building with \"{builder}\" instance using docker driver\n"));
        }
        Self { trace: Trace::default(), kind }
    }

    pub fn take(&mut self, status: StatusResponse) {
        if let Kind::RawJson = self.kind {
            say(&rawjson::line(&status));
        }
        let changes = self.trace.apply(status);
        if let Kind::Plain(plain) = &mut self.kind {
            say(&plain.update(&self.trace, &changes, now()));
        }
    }

    /// Time has passed.
    pub fn tick(&mut self) {
        match &mut self.kind {
            Kind::Plain(plain) => say(&plain.update(&self.trace, &[], now())),
            Kind::Tty(tty) => say(&tty.frame(&self.trace, terminal::error_size(), now(), false)),
            Kind::RawJson | Kind::Quiet => {}
        }
    }

    /// Nothing more is told. `failed`: what a step that failed has printed is shown once more.
    pub fn finish(&mut self, failed: bool) {
        match &mut self.kind {
            Kind::Plain(plain) => say(&plain.finish(&self.trace)),
            Kind::Tty(tty) => say(&tty.frame(&self.trace, terminal::error_size(), now(), true)),
            Kind::RawJson => return,
            Kind::Quiet => {}
        }
        if let Some(step) = self.trace.failed().filter(|_| failed) {
            say(&failure(step));
        }
        if !failed && !matches!(self.kind, Kind::Quiet) {
            say(&warnings(&self.trace));
        }
    }
}

fn failure(step: &trace::Step) -> String {
    let mut out = format!("------\n > {}:\n", step.name);
    let from = step.lines.len().saturating_sub(FAILED_LINES);
    for line in step.lines.iter().skip(from) {
        let _ = writeln!(out, "{:.3} {}", line.at, line.text);
    }
    out + "------\n"
}

fn warnings(trace: &Trace) -> String {
    let count = trace.warnings.len();
    if count == 0 {
        return String::new();
    }
    let noun = if count == 1 { "warning" } else { "warnings" };
    let mut out = format!("\n {count} {noun} found:\n");
    for warning in &trace.warnings {
        let line = warning.ranges.iter().filter_map(|range| Some(range.start.as_ref()?.line)).min();
        let place = line.map(|line| format!(" (line {line})")).unwrap_or_default();
        let _ = writeln!(out, " - {}{place}", String::from_utf8_lossy(&warning.short));
    }
    out
}

fn now() -> i64 {
    i64::try_from(since_epoch().as_nanos()).unwrap_or(i64::MAX)
}

/// Progress that nobody can see is none.
fn say(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// `12B`, `1.23kB`, `2.35MB`.
fn bytes(count: i64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count}B"),
        _ => format!("{value:.2}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_decimal() {
        assert_eq!([bytes(0), bytes(999), bytes(1_234), bytes(2_345_678)], ["0B", "999B", "1.23kB", "2.35MB"]);
    }

    #[test]
    fn modes_are_named() {
        assert_eq!(Mode::of("plain", false).unwrap(), Mode::Plain);
        assert_eq!(Mode::of("plain", true).unwrap(), Mode::Quiet);
        assert_eq!(Mode::of("x", false).unwrap_err().to_string(), "invalid progress mode x");
    }

    #[test]
    fn a_failed_step_is_shown_with_its_last_lines() {
        use trace::tests::{began, ended, printed};
        let mut trace = Trace::default();
        trace.apply(began("[2/2] RUN x", 1));
        trace.apply(printed("[2/2] RUN x", 1, b"no such file\n"));
        trace.apply(ended("[2/2] RUN x", 1, false, "exit code: 1"));
        assert_eq!(failure(trace.failed().unwrap()), "------\n > [2/2] RUN x:\n0.250 no such file\n------\n");
    }
}
