//! Go's text/template, as far as people use it in `--format` and in the tags of log drivers.
//!
//! All of the language but complex numbers: pipelines, `if`, `with`, `range` with `break` and `continue`, `define`,
//! `template`, `block`, variables, comments, trim markers, Go's functions and Docker's own. What is wrong is said in
//! Go's words, with its line and column (text/template and text/template/parse of Go 1.24).
//!
//! Entry point: [`Template::parse`], then [`Template::render`]. No I/O; source, nesting, calls and output are bounded.

mod eval;
mod functions;
mod lexer;
mod literal;
mod parser;
mod printf;
mod tree;
mod value;

pub use functions::Mode;
pub use value::Value;

/// Longest template that is read.
const MAX_SOURCE: usize = 1 << 20;

/// A template that cannot be read, or not be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("template: :{line}: {reason}")]
    Parse { line: usize, reason: String },
    #[error("template: :{line}:{column}: executing {template:?} at <{node}>: {reason}")]
    Execute { line: usize, column: usize, template: String, node: String, reason: String },
    #[error("template is larger than {0} bytes")]
    TooLarge(usize),
}

/// A template, read.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    trees: parser::Trees,
}

impl Template {
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        if source.len() > MAX_SOURCE {
            return Err(TemplateError::TooLarge(MAX_SOURCE));
        }
        Ok(Self { source: source.to_owned(), trees: parser::parse(lexer::lex(source))? })
    }

    /// Filled with one value.
    pub fn render(&self, data: &Value, mode: Mode) -> Result<String, TemplateError> {
        eval::render(&self.source, &self.trees, data, mode)
    }
}

#[cfg(test)]
mod tests;
