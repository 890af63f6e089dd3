//! Mistakes shown as a compiler would: the file, the line, the lines around it.

use std::fmt::Write as _;

use dockerfile::{Dockerfile, Lines};

use super::context::{DockerfileText, Source};
use super::show::Shown;
use crate::context::{print, say};
use crate::failure::Failure;

/// Says where it was, before the failure itself is told: where the engine has not, and the file is known here.
pub fn show(file: Option<&DockerfileText>, shown: &Shown, failure: &Failure) {
    let Some(file) = file.filter(|_| !shown.is_placed) else { return };
    let place = match Dockerfile::parse(&file.bytes) {
        Err(error) => error.lines,
        Ok(parsed) => {
            place_of(&parsed, &shown.step).filter(|_| !shown.is_quiet() && !matches!(failure, Failure::Client(_)))
        }
    };
    if let Some(lines) = place {
        say(excerpt(file, lines).trim_end());
    }
}

/// Where a step's text stands.
fn place_of(file: &Dockerfile, step: &str) -> Option<Lines> {
    if step.is_empty() {
        return None;
    }
    let of_stage = file.stages.iter().flat_map(|stage| {
        let steps = stage.statements.iter().map(|statement| (&statement.original, statement.lines));
        std::iter::once((&stage.original, stage.lines)).chain(steps)
    });
    let mut found = of_stage.filter(|(text, _)| text.as_str() == step).map(|(_, lines)| lines);
    // The same text at two places says nothing about which it was.
    found.next().filter(|_| found.next().is_none())
}

/// The lines of a file that something is about, and those around them.
pub fn excerpt(file: &DockerfileText, lines: Lines) -> String {
    dockerfile::excerpt(&file.name, &file.bytes, lines)
}

/// `--check`: what the file's build checks find; nothing is built.
pub fn check(source: &Source) -> Result<u8, Failure> {
    let Some(file) = source.dockerfile_text() else {
        return Err(Failure::text("--check needs a Dockerfile that this client can read"));
    };
    let parsed = match Dockerfile::parse(&file.bytes) {
        Ok(parsed) => parsed,
        Err(error) => {
            if let Some(lines) = error.lines {
                say(excerpt(&file, lines).trim_end());
            }
            return Err(Failure::Text(error.to_string()));
        }
    };
    let findings = dockerfile::check(&parsed);
    let mut out = String::new();
    for finding in &findings {
        let _ = writeln!(out, "WARNING: {} - {}\n{}", finding.rule.name, finding.url(), finding.message);
        let _ = writeln!(out, "{}", excerpt(&file, finding.lines));
    }
    match findings.len() {
        0 => print("Check complete, no warnings found.\n")?,
        1 => print(&format!("Check complete, 1 warning has been found!\n\n{out}"))?,
        count => print(&format!("Check complete, {count} warnings have been found!\n\n{out}"))?,
    }
    Ok(u8::from(!findings.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_step_are_marked() {
        let file = DockerfileText { name: "Dockerfile".to_owned(), bytes: b"FROM a\nRUN x \\\n  y\nCMD z\n".to_vec() };
        let parsed = Dockerfile::parse(&file.bytes).unwrap();
        let lines = place_of(&parsed, "RUN x   y").unwrap();
        assert_eq!(
            excerpt(&file, lines),
            "Dockerfile:2\n--------------------\n   1 |     FROM a\n   2 | >>> RUN x \\\n   3 | >>>   y\n   4 |     CMD z\n--------------------\n"
        );
        assert_eq!(place_of(&parsed, "RUN nothing"), None);
    }
}
