//! Questions to the person in front of the terminal.

use std::io::BufRead;

use crate::context;
use crate::failure::Failure;

/// Longest answer that is read.
const MAX_ANSWER: u64 = 4096;

/// Asks on standard output and reads one line; anything but `y` is no, and so is the end of the input.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    context::print(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    std::io::Read::take(std::io::stdin().lock(), MAX_ANSWER).read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
