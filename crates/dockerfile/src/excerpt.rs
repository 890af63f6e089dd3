//! The lines of a Dockerfile that a mistake is about, as a compiler shows them.

use std::fmt::Write as _;

use crate::lines::Lines;

/// Lines before and behind what is shown.
const AROUND: u32 = 2;
const RULE: &str = "--------------------\n";

/// The lines that something is about, marked, and those around them.
pub fn excerpt(name: &str, text: &[u8], lines: Lines) -> String {
    let text = String::from_utf8_lossy(text);
    let mut out = format!("{name}:{}\n{RULE}", lines.first);
    let (from, to) = (lines.first.saturating_sub(AROUND).max(1), lines.last.saturating_add(AROUND));
    for (number, line) in (1..).zip(text.lines()).filter(|(number, _)| (from..=to).contains(number)) {
        let mark = if (lines.first..=lines.last).contains(&number) { ">>>" } else { "   " };
        let shown = format!("{number:4} | {mark} {line}");
        let _ = writeln!(out, "{}", shown.trim_end());
    }
    out + RULE
}

/// Whether a text is what [`excerpt`] makes.
pub fn is_excerpt(text: &str) -> bool {
    let place = |first: &str| first.rsplit_once(':').is_some_and(|(_, line)| line.parse::<u32>().is_ok());
    text.ends_with(RULE) && text.split_once('\n').is_some_and(|(first, rest)| place(first) && rest.starts_with(RULE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_marked_among_their_neighbours() {
        let text = b"FROM a\n\nRUN x \\\n  y\nCMD z\nUSER u\nEXPOSE 1\n";
        let shown = excerpt("sub/Dockerfile", text, Lines { first: 3, last: 4 });
        assert_eq!(
            shown,
            "sub/Dockerfile:3\n--------------------\n   1 |     FROM a\n   2 |\n   3 | >>> RUN x \\\n   4 | >>>   y\n   5 |     CMD z\n   6 |     USER u\n--------------------\n"
        );
        assert!(is_excerpt(&shown));
        assert!(!is_excerpt("Step 1/2 : RUN x\n"));
        assert!(excerpt("f", b"FROM a", Lines { first: 7, last: 9 }).starts_with("f:7\n"));
    }
}
