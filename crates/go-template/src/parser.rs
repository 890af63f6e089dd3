//! Tokens to a tree.

use super::TemplateError;
use super::lexer::{Kind, Token};

/// Deepest nesting of blocks and parentheses.
const MAX_DEPTH: usize = 100;

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If { test: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { test: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

/// `$a, $b := command | command`.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub variables: Vec<String>,
    pub declares: bool,
    pub commands: Vec<Command>,
}

/// Operands side by side: a function and its arguments, or one value.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub operands: Vec<Operand>,
    pub at: usize,
    pub end: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub base: Base,
    /// `.A.B` behind it.
    pub fields: Vec<String>,
    pub at: usize,
    pub end: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Function(String),
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    Pipeline(Box<Pipeline>),
}

pub(super) fn parse(tokens: Vec<Token>) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { tokens, at: 0, depth: 0, scopes: vec![vec!["$".to_owned()]], loops: 0 };
    let (nodes, end) = parser.nodes()?;
    match end {
        End::Source => Ok(nodes),
        End::Block => Err(parser.error("unexpected {{end}}")),
        End::Else(_) => Err(parser.error("unexpected {{else}}")),
    }
}

/// What a list of nodes ended at.
enum End {
    Source,
    Block,
    /// The word behind `else`, if any.
    Else(Option<String>),
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    scopes: Vec<Vec<String>>,
    loops: usize,
}

impl Parser {
    fn nodes(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        let mut nodes = Vec::new();
        loop {
            match self.next() {
                None => return Ok((nodes, End::Source)),
                Some(Kind::Text(text)) => nodes.push(Node::Text(text)),
                Some(_) => match self.action()? {
                    Action::Node(node) => nodes.push(node),
                    Action::Stop(end) => return Ok((nodes, end)),
                },
            }
        }
    }

    fn action(&mut self) -> Result<Action, TemplateError> {
        let word = match self.peek() {
            Some(Kind::Word(word)) => word.clone(),
            Some(Kind::Close) => return Err(self.error("missing value for command")),
            _ => String::new(),
        };
        let node = match word.as_str() {
            "end" => {
                self.at += 1;
                self.close("end")?;
                return Ok(Action::Stop(End::Block));
            }
            "else" => return self.otherwise(),
            "if" | "with" | "range" => {
                self.at += 1;
                self.block(&word)?
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(self.error(format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                self.at += 1;
                self.close(&word)?;
                if word == "break" { Node::Break } else { Node::Continue }
            }
            "define" | "template" | "block" => {
                return Err(self.error(format!("{{{{{word}}}}} is not supported here")));
            }
            _ => {
                let pipeline = self.pipeline("command")?;
                self.close("command")?;
                Node::Action(pipeline)
            }
        };
        Ok(Action::Node(node))
    }

    fn otherwise(&mut self) -> Result<Action, TemplateError> {
        self.at += 1;
        if let Some(Kind::Word(word)) = self.peek()
            && matches!(word.as_str(), "if" | "with")
        {
            let word = word.clone();
            self.at += 1;
            return Ok(Action::Stop(End::Else(Some(word))));
        }
        self.close("else")?;
        Ok(Action::Stop(End::Else(None)))
    }

    /// Behind `if`, `with` or `range`, to the matching end.
    fn block(&mut self, word: &str) -> Result<Node, TemplateError> {
        self.deeper()?;
        self.scopes.push(Vec::new());
        let test = self.pipeline(word)?;
        self.close(word)?;
        self.loops += usize::from(word == "range");
        let (then, end) = self.nodes()?;
        self.loops -= usize::from(word == "range");
        self.scopes.pop();
        let otherwise = match end {
            End::Source => return Err(self.error("unexpected EOF")),
            End::Block => Vec::new(),
            // `else if` is an if inside the else, and shares its end.
            End::Else(Some(next)) => vec![self.block(&next)?],
            End::Else(None) => match self.nodes()? {
                (nodes, End::Block) => nodes,
                (_, End::Source) => return Err(self.error("unexpected EOF")),
                (_, End::Else(_)) => return Err(self.error("expected end; found {{else}}")),
            },
        };
        self.depth -= 1;
        Ok(match word {
            "if" => Node::If { test, then, otherwise },
            "with" => Node::With { test, then, otherwise },
            _ => Node::Range { over: test, body: then, otherwise },
        })
    }

    fn pipeline(&mut self, context: &str) -> Result<Pipeline, TemplateError> {
        self.deeper()?;
        let (variables, declares) = self.declaration(context)?;
        let mut commands = vec![self.command()?];
        while self.peek() == Some(&Kind::Pipe) {
            self.at += 1;
            commands.push(self.command()?);
        }
        if declares && let Some(scope) = self.scopes.last_mut() {
            scope.extend(variables.iter().cloned());
        }
        self.depth -= 1;
        Ok(Pipeline { variables, declares, commands })
    }

    /// `$a :=`, `$a, $b :=` or `$a =` at the start of a pipeline.
    fn declaration(&mut self, context: &str) -> Result<(Vec<String>, bool), TemplateError> {
        let kind = |offset: usize| self.tokens.get(self.at + offset).map(|token| &token.kind);
        let (names, length) = match (kind(0), kind(1), kind(2), kind(3)) {
            (Some(Kind::Variable(a)), Some(Kind::Declare | Kind::Assign), ..) => (vec![a.clone()], 1),
            (
                Some(Kind::Variable(a)),
                Some(Kind::Comma),
                Some(Kind::Variable(b)),
                Some(Kind::Declare | Kind::Assign),
            ) if context == "range" => (vec![a.clone(), b.clone()], 3),
            (Some(Kind::Variable(_)), Some(Kind::Comma), ..) => {
                return Err(self.error(format!("too many declarations in {context}")));
            }
            _ => return Ok((Vec::new(), false)),
        };
        let declares = kind(length) == Some(&Kind::Declare);
        if !declares {
            for name in &names {
                self.check_variable(name)?;
            }
        }
        self.at += length + 1;
        Ok((names, declares))
    }

    fn command(&mut self) -> Result<Command, TemplateError> {
        let mut operands: Vec<Operand> = Vec::new();
        while let Some(operand) = self.operand()? {
            operands.push(operand);
        }
        let (Some(first), Some(last)) = (operands.first(), operands.last()) else {
            return Err(match self.peek() {
                None => self.error("unexpected EOF"),
                Some(Kind::Pipe | Kind::Close | Kind::RightParen) => self.error("missing value for command"),
                Some(other) => self.error(format!("unexpected {} in operand", shown(other))),
            });
        };
        Ok(Command { at: first.at, end: last.end, operands })
    }

    fn operand(&mut self) -> Result<Option<Operand>, TemplateError> {
        let Some(token) = self.tokens.get(self.at).cloned() else { return Ok(None) };
        let mut fields = Vec::new();
        let base = match token.kind {
            Kind::Dot => Base::Dot,
            Kind::Field { name, .. } => {
                fields.push(name);
                Base::Dot
            }
            Kind::Variable(name) => {
                self.check_variable(&name)?;
                Base::Variable(name)
            }
            Kind::Word(word) => match word.as_str() {
                "true" => Base::Bool(true),
                "false" => Base::Bool(false),
                "nil" => Base::Nil,
                name if super::functions::exists(name) => Base::Function(word),
                name => return Err(self.error(format!("function {name:?} not defined"))),
            },
            Kind::Str(text) => Base::Text(text),
            Kind::Int(value) => Base::Int(value),
            Kind::Float(value) => Base::Float(value),
            Kind::LeftParen => {
                self.at += 1;
                let inner = self.pipeline("parenthesized pipeline")?;
                if self.peek() != Some(&Kind::RightParen) {
                    return Err(self.error("unclosed left paren"));
                }
                Base::Pipeline(Box::new(inner))
            }
            Kind::Pipe | Kind::Close | Kind::RightParen => return Ok(None),
            other => return Err(self.error(format!("unexpected {} in operand", shown(&other)))),
        };
        self.at += 1;
        while let Some(Kind::Field { name, joined: true }) = self.peek() {
            fields.push(name.clone());
            self.at += 1;
        }
        let end = self.tokens.get(self.at).map_or(token.at, |next| next.at);
        Ok(Some(Operand { base, fields, at: token.at, end }))
    }

    fn check_variable(&self, name: &str) -> Result<(), TemplateError> {
        let known = self.scopes.iter().flatten().any(|known| known == name);
        if known { Ok(()) } else { Err(self.error(format!("undefined variable {name:?}"))) }
    }

    fn close(&mut self, context: &str) -> Result<(), TemplateError> {
        match self.next() {
            Some(Kind::Close) => Ok(()),
            Some(other) => Err(self.error(format!("unexpected {} in {context}", shown(&other)))),
            None => Err(self.error("unexpected EOF")),
        }
    }

    fn deeper(&mut self) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.error("template is nested too deeply")) } else { Ok(()) }
    }

    fn next(&mut self) -> Option<Kind> {
        let kind = self.tokens.get(self.at).map(|token| token.kind.clone());
        self.at += 1;
        kind
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn error(&self, reason: impl Into<String>) -> TemplateError {
        let line = self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |token| token.line);
        TemplateError::Parse { line, reason: reason.into() }
    }
}

enum Action {
    Node(Node),
    Stop(End),
}

fn shown(kind: &Kind) -> String {
    match kind {
        Kind::Field { name, .. } => format!("<.{name}>"),
        Kind::Variable(name) | Kind::Word(name) => format!("<{name}>"),
        Kind::Str(text) => format!("{text:?}"),
        Kind::Int(value) => format!("{value:?}"),
        Kind::Float(value) => format!("{value:?}"),
        Kind::Comma => "\",\"".to_owned(),
        Kind::Declare => "\":=\"".to_owned(),
        Kind::Assign => "\"=\"".to_owned(),
        Kind::RightParen => "right paren".to_owned(),
        Kind::Dot => "<.>".to_owned(),
        Kind::Open | Kind::Close | Kind::Pipe | Kind::LeftParen | Kind::Text(_) => "token".to_owned(),
    }
}
