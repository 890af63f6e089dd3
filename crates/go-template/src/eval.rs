//! Fills the tree.

use super::TemplateError;
use super::functions::{self, Mode};
use super::parser::{Base, Command, Node, Operand, Pipeline};
use super::value::Value;

/// Largest output of one template.
const MAX_OUTPUT: usize = 64 << 20;

pub(super) fn render(source: &str, nodes: &[Node], data: &Value, mode: Mode) -> Result<String, TemplateError> {
    let variables = vec![("$".to_owned(), data.clone())];
    let mut run = Run { source, mode, out: String::new(), variables };
    run.nodes(nodes, data)?;
    Ok(run.out)
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    source: &'a str,
    mode: Mode,
    out: String,
    variables: Vec<(String, Value)>,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
            if self.out.len() > MAX_OUTPUT {
                return Err(TemplateError::TooLarge(MAX_OUTPUT));
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.out.push_str(&value.to_string());
                }
            }
            Node::If { test, then, otherwise } => {
                let mark = self.variables.len();
                let branch = if self.pipeline(test, dot)?.is_true() { then } else { otherwise };
                let flow = self.nodes(branch, dot)?;
                self.variables.truncate(mark);
                return Ok(flow);
            }
            Node::With { test, then, otherwise } => {
                let mark = self.variables.len();
                let value = self.pipeline(test, dot)?;
                let flow = if value.is_true() { self.nodes(then, &value)? } else { self.nodes(otherwise, dot)? };
                self.variables.truncate(mark);
                return Ok(flow);
            }
            Node::Range { over, body, otherwise } => return self.range(over, body, otherwise, dot),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let mark = self.variables.len();
        let plain = Pipeline { variables: Vec::new(), declares: false, commands: over.commands.clone() };
        let value = self.pipeline(&plain, dot)?;
        let items: Vec<(Value, Value)> = match value {
            Value::List(items) => {
                items.into_iter().enumerate().map(|(at, item)| (Value::Int(at as i64), item)).collect()
            }
            Value::Map(pairs) => pairs.into_iter().map(|(key, item)| (Value::Text(key), item)).collect(),
            Value::Int(count) => (0..count).map(|at| (Value::Int(at), Value::Int(at))).collect(),
            Value::Nil | Value::NilList | Value::NilMap | Value::Missing => Vec::new(),
            other => return Err(self.failure(&over.commands[0], format!("range can't iterate over {other}"))),
        };
        if items.is_empty() {
            let flow = self.nodes(otherwise, dot)?;
            self.variables.truncate(mark);
            return Ok(flow);
        }
        for (key, item) in items {
            match &over.variables[..] {
                [one] => self.store(one, item.clone(), over.declares),
                [first, second] => {
                    self.store(first, key, over.declares);
                    self.store(second, item.clone(), over.declares);
                }
                _ => {}
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(mark);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Missing);
        for name in &pipeline.variables {
            self.store(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn store(&mut self, name: &str, value: Value, declares: bool) {
        if !declares && let Some(found) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            found.1 = value;
            return;
        }
        self.variables.push((name.to_owned(), value));
    }

    /// One command; `piped` becomes its last argument.
    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Result<Value, TemplateError> {
        let [first, rest @ ..] = &command.operands[..] else { return Ok(Value::Missing) };
        if let Base::Function(name) = &first.base {
            let value = self.function(name, command, rest, dot, piped)?;
            return self.fields(value, &first.fields, first);
        }
        let value = self.operand(first, dot)?;
        let Value::Method(method) = value else {
            if !rest.is_empty() || piped.is_some() {
                return Err(self.failure(command, format!("can't give argument to non-function {}", self.shown(first))));
            }
            return Ok(value);
        };
        let mut arguments = self.arguments(rest, dot)?;
        arguments.extend(piped);
        method(&arguments).map_err(|reason| self.failure(command, reason))
    }

    fn function(
        &mut self,
        name: &str,
        command: &Command,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, TemplateError> {
        // The two that stop at the first argument that decides.
        if name == "and" || name == "or" {
            let mut last = None;
            for operand in operands {
                let value = self.operand(operand, dot)?;
                if value.is_true() == (name == "or") {
                    return Ok(value);
                }
                last = Some(value);
            }
            return piped.or(last).ok_or_else(|| self.failure(command, wrong_count(name, "at least 1", 0)));
        }
        let mut arguments = self.arguments(operands, dot)?;
        arguments.extend(piped);
        functions::call(name, &arguments, self.mode)
            .map_err(|reason| self.failure(command, format!("error calling {name}: {reason}")))
    }

    fn arguments(&mut self, operands: &[Operand], dot: &Value) -> Result<Vec<Value>, TemplateError> {
        operands.iter().map(|operand| self.operand(operand, dot)).collect()
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        let base = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.map_or(Value::Missing, |(_, value)| value.clone())
            }
            Base::Function(name) => functions::call(name, &[], self.mode).map_err(|reason| {
                self.failure_at(operand.at, operand.end, format!("error calling {name}: {reason}"))
            })?,
            Base::Text(text) => Value::Text(text.clone()),
            Base::Int(value) => Value::Int(*value),
            Base::Float(value) => Value::Float(*value),
            Base::Bool(value) => Value::Bool(*value),
            Base::Nil => Value::Nil,
            Base::Pipeline(inner) => self.pipeline(inner, dot)?,
        };
        self.fields(base, &operand.fields, operand)
    }

    fn fields(&self, mut value: Value, fields: &[String], operand: &Operand) -> Result<Value, TemplateError> {
        for (depth, field) in fields.iter().enumerate() {
            let refused = |reason: String| {
                // Go points at the field, and names all up to it.
                let passed: usize = fields[..depth].iter().map(|field| field.len() + 1).sum();
                self.failure_named(operand.at + passed, format!(".{}", fields[..=depth].join(".")), reason)
            };
            value = match value {
                Value::Struct(members) => match self.member(&members, field) {
                    Some(Value::LeftOut(value)) => value.as_ref().clone(),
                    Some(member) => member.clone(),
                    None => return Err(refused(format!("map has no entry for key {field:?}"))),
                },
                Value::Map(pairs) => pairs.get(field).cloned().unwrap_or(Value::Missing),
                Value::Missing | Value::NilMap => Value::Missing,
                Value::Nil => return Err(refused(format!("nil pointer evaluating interface {{}}.{field}"))),
                other => return Err(refused(format!("can't evaluate field {field} in type {}", other.kind()))),
            };
        }
        Ok(value)
    }

    /// Docker's own structures name some members in other capitals than JSON does (`ID`, `APIVersion`): both work.
    fn member<'v>(&self, members: &'v [(String, Value)], field: &str) -> Option<&'v Value> {
        let exact = members.iter().find(|(name, _)| name == field);
        let found = exact
            .or_else(|| members.iter().find(|(name, _)| self.mode == Mode::Object && name.eq_ignore_ascii_case(field)));
        found.map(|(_, member)| member)
    }

    fn shown(&self, operand: &Operand) -> String {
        self.source[operand.at..operand.end].trim().to_owned()
    }

    fn failure(&self, command: &Command, reason: impl Into<String>) -> TemplateError {
        self.failure_at(command.at, command.end, reason.into())
    }

    fn failure_at(&self, at: usize, end: usize, reason: String) -> TemplateError {
        self.failure_named(at, self.source[at..end.max(at)].trim().to_owned(), reason)
    }

    fn failure_named(&self, at: usize, node: String, reason: String) -> TemplateError {
        let before = &self.source[..at];
        let line = before.matches('\n').count() + 1;
        let column = at - before.rfind('\n').map_or(0, |end| end + 1);
        TemplateError::Execute { line, column, node, reason }
    }
}

fn wrong_count(name: &str, wanted: &str, got: usize) -> String {
    format!("wrong number of args for {name}: want {wanted} got {got}")
}
