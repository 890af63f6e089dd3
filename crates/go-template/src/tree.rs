//! What a template is made of, and how errors show its parts.

use std::fmt;

use crate::value::Value;

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Text(String),
    Action(Pipeline),
    If { test: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { test: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Call(TemplateCall),
    Break,
    Continue,
}

/// `{{template "name" pipeline}}`.
#[derive(Debug, Clone)]
pub(crate) struct TemplateCall {
    pub name: String,
    pub argument: Option<Pipeline>,
    pub at: usize,
}

/// `$a, $b := command | command`.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub variables: Vec<String>,
    pub assigns: bool,
    pub commands: Vec<Command>,
    pub at: usize,
}

/// Operands side by side: a function and its arguments, or one value.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub operands: Vec<Operand>,
    pub at: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub base: Base,
    /// `.A.B` behind it.
    pub fields: Vec<String>,
    /// Of the first of several fields that are joined to something, else its start: where Go points.
    pub at: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Base {
    Dot,
    /// The fields start at the dot.
    Field,
    Variable(String),
    Function(String),
    /// With its spelling.
    Constant(Value, String),
    Nil,
    Pipeline(Box<Pipeline>),
}

impl Operand {
    /// Whether it can take arguments: nothing else may come behind the first stage of a pipeline.
    pub fn is_executable(&self) -> bool {
        !self.fields.is_empty() || !matches!(self.base, Base::Dot | Base::Constant(..) | Base::Nil)
    }

    /// The spelling of what stands in the template itself: Go judges it before it is filled.
    pub fn constant(&self) -> Option<&str> {
        match &self.base {
            Base::Constant(_, spelling) => Some(spelling),
            Base::Nil => Some("nil"),
            _ => None,
        }
    }
}

fn joined<T: fmt::Display>(f: &mut fmt::Formatter<'_>, parts: &[T], between: &str) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        let gap = if at == 0 { "" } else { between };
        write!(f, "{gap}{part}")?;
    }
    Ok(())
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            joined(f, &self.variables, ", ")?;
            f.write_str(if self.assigns { " = " } else { " := " })?;
        }
        joined(f, &self.commands, " | ")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, &self.operands, " ")
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.base {
            Base::Dot => f.write_str(".")?,
            Base::Field => {}
            Base::Variable(name) | Base::Function(name) => f.write_str(name)?,
            Base::Constant(_, spelling) => f.write_str(spelling)?,
            Base::Nil => f.write_str("nil")?,
            Base::Pipeline(inner) => write!(f, "({inner})")?,
        }
        self.fields.iter().try_for_each(|field| write!(f, ".{field}"))
    }
}

impl fmt::Display for TemplateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {:?}", self.name)?;
        if let Some(argument) = &self.argument {
            write!(f, " {argument}")?;
        }
        f.write_str("}}")
    }
}
