//! How far a copy is, on a terminal.

use std::future::Future;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::context;
use crate::failure::Failure;
use crate::terminal;
use crate::text::size::human_size_with_precision;

/// How often the figure may change.
const PERIOD: Duration = Duration::from_millis(75);
/// What a shell says of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// Counts what is written.
pub struct Counting<W> {
    target: W,
    count: Arc<AtomicU64>,
}

impl<W: Write> Counting<W> {
    pub fn new(target: W, count: Arc<AtomicU64>) -> Self {
        Self { target, count }
    }
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.target.write(bytes)?;
        self.count.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// A line on standard error; says nothing when that is wanted.
#[derive(Debug)]
pub struct Meter {
    quiet: bool,
    on_terminal: bool,
    header: &'static str,
    count: Arc<AtomicU64>,
}

impl Meter {
    pub fn start(quiet: bool, header: &'static str, count: Arc<AtomicU64>) -> Self {
        let on_terminal = !quiet && terminal::stderr_is_terminal();
        if on_terminal {
            // Save the place, hide the cursor, clear the line.
            draw(&format!("\x1b[s\x1b[?25l\x1b[2K{header}{}", shown(0)));
        }
        Self { quiet, on_terminal, header, count }
    }

    /// Draws while the copy goes on. An interrupt puts the cursor back before it ends the program.
    pub async fn watch<T>(&self, copy: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::pin!(copy);
        if !self.on_terminal {
            return copy.await;
        }
        let mut last = 0;
        loop {
            tokio::select! {
                result = &mut copy => return result,
                _ = tokio::signal::ctrl_c() => {
                    draw("\x1b[?25h\n");
                    return Err(Failure::silent(INTERRUPTED));
                }
                () = tokio::time::sleep(PERIOD) => {
                    let count = self.count.load(Ordering::Relaxed);
                    if count != last {
                        draw(&format!("\x1b[{}G\x1b[0K{}", self.header.len() + 1, shown(count)));
                        last = count;
                    }
                }
            }
        }
    }

    /// Clears the line and says how much it was.
    pub fn end(&self, place: &str) {
        if self.on_terminal {
            draw("\x1b[?25h\x1b[u\x1b[2K");
        }
        if !self.quiet {
            let size = shown(self.count.load(Ordering::Relaxed));
            context::say(&format!("Successfully copied {size} to {place}"));
        }
    }
}

fn shown(count: u64) -> String {
    human_size_with_precision(i64::try_from(count).unwrap_or(i64::MAX), 3)
}

fn draw(text: &str) {
    let mut out = io::stderr().lock();
    // A terminal that is gone needs no progress.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
