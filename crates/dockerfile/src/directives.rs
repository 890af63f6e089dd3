//! Parser directives: comments of a set form before everything else.

use crate::error::ParseError;
use crate::lines::Lines;

/// What the head of a Dockerfile says about the rest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// The front end that is to read it; `docker/dockerfile:1`.
    pub syntax: Option<String>,
    /// The byte that escapes: a backslash or a backtick.
    pub escape: u8,
    /// `skip=A,B;error=true`, `skip=all`.
    pub check: Option<String>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, escape: b'\\', check: None }
    }
}

impl Directives {
    /// Reads the lines up to the first that is no directive. What is no known one is a comment, and ends them.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let mut found = Self::default();
        let mut escape = None;
        for (at, line) in text.lines().enumerate() {
            let at = u32::try_from(at + 1).unwrap_or(u32::MAX);
            let lines = Lines { first: at, last: at };
            let Some((key, value)) = directive(line) else {
                // A program's own first line may stand above them.
                if at == 1 && line.starts_with("#!") {
                    continue;
                }
                break;
            };
            let slot = match key.as_str() {
                "syntax" => &mut found.syntax,
                "check" => &mut found.check,
                "escape" => &mut escape,
                _ => break,
            };
            if slot.is_some() {
                return Err(ParseError::new(lines, format!("only one {key} parser directive can be used")));
            }
            if key == "escape" {
                found.escape = match value {
                    "\\" => b'\\',
                    "`" => b'`',
                    other => {
                        return Err(ParseError::new(lines, format!("invalid ESCAPE '{other}'. Must be ` or \\")));
                    }
                };
            }
            *slot = Some(value.to_owned());
        }
        Ok(found)
    }
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let key = key.trim();
    let is_word = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    is_word.then(|| (key.to_ascii_lowercase(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_end_with_the_first_other_line() {
        let text = "# syntax = docker/dockerfile:1\n#Escape=`\n# check=skip=all\n\n# escape=\\\nFROM a";
        let found = Directives::parse(text).unwrap();
        assert_eq!(found.syntax.as_deref(), Some("docker/dockerfile:1"));
        assert_eq!((found.escape, found.check.as_deref()), (b'`', Some("skip=all")));
        assert_eq!(Directives::parse("# a comment\n# escape=`\n").unwrap(), Directives::default());
        assert_eq!(Directives::parse("# unknown=1\n# escape=`\n").unwrap(), Directives::default());
    }

    #[test]
    fn a_directive_that_cannot_be_meant_is_an_error_with_its_line() {
        let error = Directives::parse("# escape=`\n# escape=`\n").unwrap_err().to_string();
        assert_eq!(error, "dockerfile parse error on line 2: only one escape parser directive can be used");
        let error = Directives::parse("# escape=x\n").unwrap_err().to_string();
        assert_eq!(error, "dockerfile parse error on line 1: invalid ESCAPE 'x'. Must be ` or \\");
    }
}
