//! Go's text/template, as far as people use it in `--format` and in the tags of log drivers.
//!
//! Pipelines, `if`/`else if`/`else`, `range` with `else`, `with`, variables, comments, trim markers, comparison,
//! `index`, `slice`, `len`, the printing functions and Docker's own. Not built: `define`, `template`, `block`, `call`.
//!
//! Entry point: [`Template::parse`], then [`Template::render`]. No I/O; nesting and output are bounded.

mod eval;
mod functions;
mod lexer;
mod parser;
mod printf;
mod value;

pub use functions::Mode;
pub use value::Value;

/// A template that cannot be read, or not be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("template: :{line}: {reason}")]
    Parse { line: usize, reason: String },
    #[error("template: :{line}:{column}: executing \"\" at <{node}>: {reason}")]
    Execute { line: usize, column: usize, node: String, reason: String },
    #[error("template output is larger than {0} bytes")]
    TooLarge(usize),
}

/// A template, read.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    nodes: Vec<parser::Node>,
}

impl Template {
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let tokens = lexer::lex(source)?;
        Ok(Self { source: source.to_owned(), nodes: parser::parse(tokens)? })
    }

    /// Filled with one value.
    pub fn render(&self, data: &Value, mode: Mode) -> Result<String, TemplateError> {
        eval::render(&self.source, &self.nodes, data, mode)
    }
}

#[cfg(test)]
mod tests;
