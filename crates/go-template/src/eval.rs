//! Fills the trees.

use std::fmt::{self, Display};

use crate::TemplateError;
use crate::functions::{self, Mode};
use crate::parser::Trees;
use crate::tree::{Base, Command, Node, Operand, Pipeline, TemplateCall};
use crate::value::Value;

/// Largest output of one template.
const MAX_OUTPUT: usize = 64 << 20;
/// Deepest calls of templates by templates.
const MAX_CALLS: usize = 100;

pub(crate) fn render(source: &str, trees: &Trees, data: &Value, mode: Mode) -> Result<String, TemplateError> {
    let mut run =
        Run { source, trees, mode, out: String::new(), variables: Vec::new(), place: Place::Start, names: vec![""] };
    run.template("", data)?;
    Ok(run.out)
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// The part that is being looked at: what an error names.
#[derive(Clone, Copy)]
enum Place<'a> {
    Start,
    Operand(&'a Operand),
    /// A function's name alone.
    Function(&'a Operand),
    Command(&'a Command),
    Pipeline(&'a Pipeline),
    Call(&'a TemplateCall),
}

struct Run<'a> {
    source: &'a str,
    trees: &'a Trees,
    mode: Mode,
    out: String,
    variables: Vec<(String, Value)>,
    place: Place<'a>,
    /// Templates that are being filled, the innermost last.
    names: Vec<&'a str>,
}

type Evaluated<T> = Result<T, TemplateError>;

impl<'a> Run<'a> {
    /// One tree, with variables of its own.
    fn template(&mut self, name: &str, dot: &Value) -> Evaluated<()> {
        let Some(nodes) = self.trees.get(name) else {
            return Err(self.failure(format!("template {name:?} not defined")));
        };
        let outside = std::mem::replace(&mut self.variables, vec![("$".to_owned(), dot.clone())]);
        self.nodes(nodes, dot)?;
        self.variables = outside;
        Ok(())
    }

    fn nodes(&mut self, nodes: &'a [Node], dot: &Value) -> Evaluated<Flow> {
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

    fn node(&mut self, node: &'a Node, dot: &Value) -> Evaluated<Flow> {
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
            Node::Call(call) => self.call(call, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn call(&mut self, call: &'a TemplateCall, dot: &Value) -> Evaluated<()> {
        self.place = Place::Call(call);
        if !self.trees.contains_key(&call.name) {
            return Err(self.failure(format!("template {:?} not defined", call.name)));
        }
        if self.names.len() > MAX_CALLS {
            return Err(self.failure(format!("exceeded maximum template depth ({MAX_CALLS})")));
        }
        let argument = match &call.argument {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Missing,
        };
        self.names.push(&call.name);
        self.template(&call.name, &argument)?;
        self.names.pop();
        Ok(())
    }

    fn range(&mut self, over: &'a Pipeline, body: &'a [Node], otherwise: &'a [Node], dot: &Value) -> Evaluated<Flow> {
        let mark = self.variables.len();
        let value = self.commands(over, dot)?;
        if over.variables.len() > 1
            && let Value::Int(count) = value
        {
            return Err(self.failure(format!("can't use {count} to iterate over more than one variable")));
        }
        let items = self.items(value)?;
        if items.is_empty() {
            let flow = self.nodes(otherwise, dot)?;
            self.variables.truncate(mark);
            return Ok(flow);
        }
        for (key, item) in items {
            match &over.variables[..] {
                [one] => self.store(one, item.clone(), over.assigns)?,
                [first, second] => {
                    self.store(first, key, over.assigns)?;
                    self.store(second, item.clone(), over.assigns)?;
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

    fn items(&self, value: Value) -> Evaluated<Vec<(Value, Value)>> {
        Ok(match value {
            Value::List(items) => {
                items.into_iter().enumerate().map(|(at, item)| (Value::Int(at as i64), item)).collect()
            }
            Value::Map(pairs) => pairs.into_iter().map(|(key, item)| (Value::Text(key), item)).collect(),
            Value::Int(count) => (0..count).map(|at| (Value::Int(at), Value::Int(at))).collect(),
            Value::Nil | Value::NilList | Value::NilMap | Value::Missing => Vec::new(),
            other => return Err(self.failure(format!("range can't iterate over {other}"))),
        })
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Value) -> Evaluated<Value> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.store(name, value.clone(), pipeline.assigns)?;
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &'a Pipeline, dot: &Value) -> Evaluated<Value> {
        self.place = Place::Pipeline(pipeline);
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Missing))
    }

    fn store(&mut self, name: &str, value: Value, assigns: bool) -> Evaluated<()> {
        if !assigns {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some(found) => {
                found.1 = value;
                Ok(())
            }
            None => Err(self.failure(format!("undefined variable: {name}"))),
        }
    }

    /// One command; `piped` becomes its last argument.
    fn command(&mut self, command: &'a Command, dot: &Value, piped: Option<Value>) -> Evaluated<Value> {
        let [first, rest @ ..] = &command.operands[..] else { return Ok(Value::Missing) };
        if let (Base::Function(name), true) = (&first.base, first.fields.is_empty()) {
            self.place = Place::Function(first);
            return self.function(name, command, rest, dot, piped);
        }
        let has_arguments = !rest.is_empty() || piped.is_some();
        match &first.base {
            Base::Pipeline(inner) if first.fields.is_empty() => {
                if has_arguments {
                    return Err(self.failure(format!("can't give argument to non-function {inner}")));
                }
                return self.pipeline(inner, dot);
            }
            Base::Nil => {
                self.place = Place::Operand(first);
                return Err(self.failure("nil is not a command"));
            }
            Base::Dot | Base::Constant(..) if has_arguments => {
                self.place = Place::Operand(first);
                return Err(self.failure(format!("can't give argument to non-function {first}")));
            }
            _ => {}
        }
        let value = self.operand(first, dot)?;
        let Value::Method(method) = value else {
            if has_arguments {
                return Err(self.failure(match first.fields.last() {
                    Some(field) => format!("{field} has arguments but cannot be invoked as function"),
                    None => format!("can't give argument to non-function {first}"),
                }));
            }
            return Ok(value);
        };
        let mut arguments = self.arguments(rest, dot)?;
        arguments.extend(piped);
        self.place = Place::Operand(first);
        method(&arguments).map_err(|reason| self.failure(reason))
    }

    fn function(
        &mut self,
        name: &'a str,
        command: &'a Command,
        operands: &'a [Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Evaluated<Value> {
        let count = operands.len() + usize::from(piped.is_some());
        functions::check_count(name, count).map_err(|reason| self.failure(reason))?;
        // The two that stop at the first argument that decides.
        if name == "and" || name == "or" {
            let mut last = Value::Missing;
            for operand in operands {
                last = self.argument(operand, dot)?;
                if last.is_true() == (name == "or") {
                    return Ok(last);
                }
            }
            return Ok(piped.unwrap_or(last));
        }
        let mut arguments = Vec::with_capacity(count);
        for (at, operand) in operands.iter().enumerate() {
            let value = self.argument(operand, dot)?;
            if self.mode != Mode::Header {
                functions::check_argument(name, at, &value, operand.constant())
                    .map_err(|reason| self.failure(reason))?;
            }
            arguments.push(value);
        }
        if let Some(value) = piped {
            if self.mode != Mode::Header {
                functions::check_argument(name, operands.len(), &value, None).map_err(|reason| self.failure(reason))?;
            }
            arguments.push(value);
        }
        self.place = Place::Command(command);
        if name == "call" {
            let called = operands.first().map(ToString::to_string).unwrap_or_default();
            return Err(self.failure(format!("error calling call: {}", functions::refuse_call(&called, &arguments))));
        }
        functions::call(name, &arguments, self.mode)
            .map_err(|reason| self.failure(format!("error calling {name}: {reason}")))
    }

    fn arguments(&mut self, operands: &'a [Operand], dot: &Value) -> Evaluated<Vec<Value>> {
        operands.iter().map(|operand| self.argument(operand, dot)).collect()
    }

    fn argument(&mut self, operand: &'a Operand, dot: &Value) -> Evaluated<Value> {
        self.place = Place::Operand(operand);
        match &operand.base {
            Base::Nil => Ok(Value::Nil),
            _ => self.operand(operand, dot),
        }
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value) -> Evaluated<Value> {
        self.place = Place::Operand(operand);
        let base = match &operand.base {
            Base::Dot | Base::Field => dot.clone(),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.map_or(Value::Missing, |(_, value)| value.clone())
            }
            Base::Function(name) => {
                self.place = Place::Function(operand);
                functions::check_count(name, 0).map_err(|reason| self.failure(reason))?;
                functions::call(name, &[], self.mode)
                    .map_err(|reason| self.failure(format!("error calling {name}: {reason}")))?
            }
            Base::Constant(value, _) => value.clone(),
            Base::Nil => Value::Nil,
            Base::Pipeline(inner) => self.pipeline(inner, dot)?,
        };
        self.fields(base, &operand.fields)
    }

    fn fields(&self, mut value: Value, fields: &[String]) -> Evaluated<Value> {
        for field in fields {
            value = match value {
                Value::Struct(members) => match self.member(&members, field) {
                    Some(Value::LeftOut(value)) => value.as_ref().clone(),
                    Some(member) => member.clone(),
                    None => return Err(self.failure(format!("map has no entry for key {field:?}"))),
                },
                Value::Map(pairs) => match pairs.get(field) {
                    Some(value) => value.clone(),
                    None if self.mode == Mode::Raw => {
                        return Err(self.failure(format!("map has no entry for key {field:?}")));
                    }
                    None => Value::Missing,
                },
                Value::Missing | Value::NilMap => Value::Missing,
                Value::Nil => return Err(self.failure(format!("nil pointer evaluating interface {{}}.{field}"))),
                other => {
                    let kind = if self.mode == Mode::Raw { "interface {}" } else { other.kind() };
                    return Err(self.failure(format!("can't evaluate field {field} in type {kind}")));
                }
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

    fn failure(&self, reason: impl Into<String>) -> TemplateError {
        let at = self.place.at().min(self.source.len());
        let before = &self.source[..at];
        TemplateError::Execute {
            line: before.matches('\n').count() + 1,
            column: at - before.rfind('\n').map_or(0, |end| end + 1),
            template: self.names.last().copied().unwrap_or_default().to_owned(),
            node: self.place.to_string(),
            reason: reason.into(),
        }
    }
}

impl Place<'_> {
    fn at(&self) -> usize {
        match self {
            Self::Start => 0,
            Self::Operand(operand) => operand.at,
            // A function with fields behind it is pointed at itself.
            Self::Function(operand) => {
                let joined: usize = usize::from(!operand.fields.is_empty());
                let name = if let Base::Function(name) = &operand.base { name.len() } else { 0 };
                operand.at - joined * name
            }
            Self::Command(command) => command.at,
            Self::Pipeline(pipeline) => pipeline.at,
            Self::Call(call) => call.at,
        }
    }
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => Ok(()),
            Self::Operand(operand) => operand.fmt(f),
            Self::Function(operand) => match &operand.base {
                Base::Function(name) => f.write_str(name),
                _ => operand.fmt(f),
            },
            Self::Command(command) => command.fmt(f),
            Self::Pipeline(pipeline) => pipeline.fmt(f),
            Self::Call(call) => call.fmt(f),
        }
    }
}
