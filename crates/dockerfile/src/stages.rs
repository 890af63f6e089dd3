//! A whole Dockerfile: arguments before the first FROM, then stages.

use crate::directives::Directives;
use crate::error::ParseError;
use crate::flags::{self, Flags};
use crate::instruction::{Instruction, Statement};
use crate::lines::{self, Lines, Node, is_blank};
use crate::{MAX_BYTES, parse};

/// How a Dockerfile begins.
const BEGINNING: &str = "a Dockerfile begins with FROM image; ARG alone may stand before it";
const FROM_FORM: &str = "FROM image, or FROM image AS name";
/// Stages of one Dockerfile.
const MAX_STAGES: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    pub directives: Directives,
    /// `ARG` before the first FROM.
    pub arguments: Vec<Statement>,
    pub stages: Vec<Stage>,
    /// Where lines without anything on them stand within an instruction.
    pub empty_continuations: Vec<Lines>,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// An image, a stage before this one, or `scratch`; variables are not expanded yet.
    pub base: String,
    /// As written.
    pub name: Option<String>,
    /// Of `--platform`, not expanded.
    pub platform: Option<String>,
    pub statements: Vec<Statement>,
    pub original: String,
    /// `FROM` and `AS` as written.
    pub keyword: String,
    pub as_keyword: Option<String>,
    pub lines: Lines,
}

impl Dockerfile {
    /// Reads a Dockerfile; bytes that are no UTF-8 are replaced.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MAX_BYTES {
            return Err(ParseError::whole(format!("the file has more than {MAX_BYTES} bytes")));
        }
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let directives = Directives::parse(text)?;
        let nodes = lines::split(text, directives.escape, 1)?;
        if nodes.is_empty() {
            return Err(ParseError::whole("file with no instructions").of_form(BEGINNING));
        }
        let mut found = Self {
            directives,
            arguments: Vec::new(),
            stages: Vec::new(),
            empty_continuations: Vec::new(),
            text: text.to_owned(),
        };
        for node in &nodes {
            found.add(node)?;
        }
        if found.stages.is_empty() {
            return Err(no_stage(ParseError::whole));
        }
        Ok(found)
    }

    /// The stage of this name, or of this number as written.
    pub fn stage(&self, name: &str) -> Option<usize> {
        let named = |stage: &Stage| stage.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name));
        self.stages.iter().position(named).or_else(|| name.parse().ok().filter(|at| *at < self.stages.len()))
    }

    fn add(&mut self, node: &Node) -> Result<(), ParseError> {
        if node.empty_continuations {
            self.empty_continuations.push(node.lines);
        }
        if node.keyword.eq_ignore_ascii_case("FROM") {
            if self.stages.len() >= MAX_STAGES {
                return Err(ParseError::new(node.lines, format!("more than {MAX_STAGES} build stages")));
            }
            self.stages.push(from(node, self.directives.escape)?);
            return Ok(());
        }
        let statement = parse::statement(node, self.directives.escape)?;
        match (self.stages.last_mut(), &statement.instruction) {
            (Some(stage), _) => stage.statements.push(statement),
            (None, Instruction::Arg(_)) => self.arguments.push(statement),
            (None, _) => return Err(no_stage(|message| ParseError::new(node.lines, message))),
        }
        Ok(())
    }
}

fn no_stage(error: impl FnOnce(&'static str) -> ParseError) -> ParseError {
    error("no build stage in current context").of_form(BEGINNING)
}

fn from(node: &Node, escape: u8) -> Result<Stage, ParseError> {
    let (flags, rest) = flags::take(&node.rest, escape);
    let told = |error: flags::FlagError| ParseError::new(node.lines, error.message).hinting(error.hint.as_deref());
    let flags = Flags::parse(&flags, &["platform"], &[]).map_err(told)?;
    let platform = flags.text("platform").map_err(told)?.map(str::to_owned);
    let words: Vec<&str> = rest.split(is_blank).filter(|word| !word.is_empty()).collect();
    let (base, name, as_keyword) = match words[..] {
        [base] => (base, None, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (base, Some(name), Some(keyword)),
        _ => return Err(ParseError::new(node.lines, "FROM requires either one or three arguments").of_form(FROM_FORM)),
    };
    if let Some(name) = name.filter(|name| !is_stage_name(name)) {
        let message =
            format!("invalid name for build stage: {name:?}, name can't start with a number or contain symbols");
        return Err(ParseError::new(node.lines, message));
    }
    Ok(Stage {
        base: base.to_owned(),
        name: name.map(str::to_owned),
        platform,
        statements: Vec::new(),
        original: node.original.clone(),
        keyword: node.keyword.clone(),
        as_keyword: as_keyword.map(str::to_owned),
        lines: node.lines,
    })
}

fn is_stage_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(inner)
}

#[cfg(test)]
mod tests;
