//! Tokens to trees: one of the template itself, and one a name that it defines.

use std::collections::BTreeMap;

use crate::TemplateError;
use crate::lexer::{Kind, Token};
use crate::literal;
use crate::tree::{Base, Command, Node, Operand, Pipeline, TemplateCall};
use crate::value::Value;

/// Deepest nesting of blocks and parentheses.
const MAX_DEPTH: usize = 100;

/// All trees of a source; the nameless one is its own.
pub(crate) type Trees = BTreeMap<String, Vec<Node>>;

pub(crate) fn parse(tokens: Vec<Token>) -> Result<Trees, TemplateError> {
    let mut parser = Parser {
        tokens,
        at: 0,
        line: 1,
        depth: 0,
        scopes: Parser::fresh_scopes(),
        loops: 0,
        trees: Trees::new(),
        top: true,
    };
    let (nodes, end) = parser.nodes()?;
    match end {
        End::Source => {}
        End::Block => return Err(parser.error("unexpected {{end}}")),
        End::Else(_) => return Err(parser.error("unexpected {{else}}")),
    }
    parser.define(String::new(), nodes)?;
    Ok(parser.trees)
}

/// What a list of nodes ended at.
enum End {
    Source,
    Block,
    /// The word behind `else`, if any.
    Else(Option<String>),
}

/// What an action is.
enum Action {
    Node(Node),
    /// A definition, which shows nothing where it stands.
    Nothing,
    Stop(End),
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    /// Of the last token taken: what errors name.
    line: usize,
    depth: usize,
    scopes: Vec<Vec<String>>,
    loops: usize,
    trees: Trees,
    /// Not inside of any block: definitions are allowed.
    top: bool,
}

type Parsed<T> = Result<T, TemplateError>;

impl Parser {
    fn fresh_scopes() -> Vec<Vec<String>> {
        vec![vec!["$".to_owned()]]
    }

    fn nodes(&mut self) -> Parsed<(Vec<Node>, End)> {
        let mut nodes = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::End => return Ok((nodes, End::Source)),
                Kind::Text => nodes.push(Node::Text(token.text)),
                Kind::Open => match self.action()? {
                    Action::Node(node) => nodes.push(node),
                    Action::Nothing => {}
                    Action::Stop(end) => return Ok((nodes, end)),
                },
                _ => return Err(self.unexpected(&token, "input")),
            }
        }
    }

    fn action(&mut self) -> Parsed<Action> {
        if self.peek().kind != Kind::Keyword {
            let pipeline = self.pipeline("command", Kind::Close)?;
            return Ok(Action::Node(Node::Action(pipeline)));
        }
        let token = self.peek().clone();
        match token.text.as_str() {
            "if" | "with" | "range" => {
                self.next();
                self.block(&token.text).map(Action::Node)
            }
            "end" => {
                self.next();
                self.close("end")?;
                Ok(Action::Stop(End::Block))
            }
            "else" => {
                self.next();
                self.otherwise()
            }
            "break" | "continue" => {
                self.next();
                self.close(&format!("{{{{{}}}}}", token.text))?;
                if self.loops == 0 {
                    return Err(self.error(format!("{{{{{}}}}} outside {{{{range}}}}", token.text)));
                }
                Ok(Action::Node(if token.text == "break" { Node::Break } else { Node::Continue }))
            }
            "template" => {
                self.next();
                self.template_call().map(Action::Node)
            }
            "block" => {
                self.next();
                self.named_block().map(Action::Node)
            }
            "define" if self.top => {
                self.next();
                self.definition().map(|()| Action::Nothing)
            }
            _ => Err(self.unexpected(&token, "command")),
        }
    }

    fn otherwise(&mut self) -> Parsed<Action> {
        let next = self.peek().clone();
        if next.kind == Kind::Keyword && matches!(next.text.as_str(), "if" | "with") {
            self.next();
            return Ok(Action::Stop(End::Else(Some(next.text))));
        }
        self.close("else")?;
        Ok(Action::Stop(End::Else(None)))
    }

    /// Behind `if`, `with` or `range`, to the matching end.
    fn block(&mut self, word: &str) -> Parsed<Node> {
        self.deeper()?;
        let top = std::mem::replace(&mut self.top, false);
        self.scopes.push(Vec::new());
        let test = self.pipeline(word, Kind::Close)?;
        self.loops += usize::from(word == "range");
        let (then, end) = self.nodes()?;
        self.loops -= usize::from(word == "range");
        let otherwise = match end {
            End::Source => return Err(self.error("unexpected EOF")),
            End::Block => Vec::new(),
            // `else if` is an if inside the else, and shares its end.
            End::Else(Some(next)) if next == word => vec![self.block(&next)?],
            End::Else(Some(next)) => {
                let line = self.line;
                return Err(TemplateError::Parse { line, reason: format!("unexpected <{next}> in else") });
            }
            End::Else(None) => match self.nodes()? {
                (nodes, End::Block) => nodes,
                (_, End::Source) => return Err(self.error("unexpected EOF")),
                (_, End::Else(_)) => return Err(self.error("expected end; found {{else}}")),
            },
        };
        self.scopes.pop();
        self.top = top;
        self.depth -= 1;
        Ok(match word {
            "if" => Node::If { test, then, otherwise },
            "with" => Node::With { test, then, otherwise },
            _ => Node::Range { over: test, body: then, otherwise },
        })
    }

    fn template_call(&mut self) -> Parsed<Node> {
        let (name, at) = self.name("template clause")?;
        let argument = match self.peek().kind {
            Kind::Close => {
                self.next();
                None
            }
            _ => Some(self.pipeline("template clause", Kind::Close)?),
        };
        Ok(Node::Call(TemplateCall { name, argument, at }))
    }

    /// A definition and a call of it in one.
    fn named_block(&mut self) -> Parsed<Node> {
        let (name, at) = self.name("block clause")?;
        let argument = self.pipeline("block clause", Kind::Close)?;
        self.body_of(name.clone())?;
        Ok(Node::Call(TemplateCall { name, argument: Some(argument), at }))
    }

    fn definition(&mut self) -> Parsed<()> {
        let (name, _) = self.name("define clause")?;
        self.close("define clause")?;
        self.body_of(name)
    }

    /// A tree of its own: without the variables and loops around it.
    fn body_of(&mut self, name: String) -> Parsed<()> {
        self.deeper()?;
        let scopes = std::mem::replace(&mut self.scopes, Self::fresh_scopes());
        let (loops, was_top) = (std::mem::take(&mut self.loops), std::mem::take(&mut self.top));
        let (nodes, end) = self.nodes()?;
        match end {
            End::Block => {}
            End::Source => return Err(self.error("unexpected EOF")),
            End::Else(_) => return Err(self.error("unexpected {{else}} in define clause")),
        }
        (self.scopes, self.loops, self.top) = (scopes, loops, was_top);
        self.depth -= 1;
        self.define(name, nodes)
    }

    /// Only what shows nothing may be defined anew.
    fn define(&mut self, name: String, nodes: Vec<Node>) -> Parsed<()> {
        let is_empty =
            |nodes: &[Node]| nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()));
        match self.trees.get(&name) {
            Some(known) if !is_empty(known) && !is_empty(&nodes) => {
                Err(self.error(format!("template: multiple definition of template {name:?}")))
            }
            Some(known) if !is_empty(known) => Ok(()),
            _ => {
                self.trees.insert(name, nodes);
                Ok(())
            }
        }
    }

    fn name(&mut self, context: &str) -> Parsed<(String, usize)> {
        let token = self.next();
        let name = match token.kind {
            Kind::Quoted => literal::quoted(&token.text).map_err(|reason| self.error(reason))?,
            Kind::Raw => token.text[1..token.text.len() - 1].to_owned(),
            _ => return Err(self.unexpected(&token, context)),
        };
        Ok((name, token.at))
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipeline> {
        self.deeper()?;
        let at = self.peek().at;
        let (variables, assigns) = self.declarations(context)?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.extend(variables.iter().cloned());
        }
        let mut commands = Vec::new();
        loop {
            let token = self.peek().clone();
            match token.kind {
                kind if kind == end => {
                    self.next();
                    break;
                }
                Kind::Bool
                | Kind::Character
                | Kind::Dot
                | Kind::Field
                | Kind::Name
                | Kind::Number
                | Kind::Nil
                | Kind::Raw
                | Kind::Quoted
                | Kind::Variable
                | Kind::LeftParen => commands.push(self.command()?),
                _ => {
                    self.next();
                    return Err(self.unexpected(&token, context));
                }
            }
        }
        if commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        let later = commands.iter().enumerate().skip(1);
        if let Some((stage, _)) = later.into_iter().find(|(_, command)| !command.operands[0].is_executable()) {
            return Err(self.error(format!("non executable command in pipeline stage {}", stage + 1)));
        }
        self.depth -= 1;
        Ok(Pipeline { variables, assigns, commands, at })
    }

    /// `$a :=`, `$a, $b :=` or `$a =` at the start of a pipeline.
    fn declarations(&mut self, context: &str) -> Parsed<(Vec<String>, bool)> {
        let mut names = Vec::new();
        while self.peek().kind == Kind::Variable {
            let next = &self.tokens[(self.at + 1).min(self.tokens.len() - 1)];
            match next.kind {
                Kind::Declare | Kind::Assign => {
                    let assigns = next.kind == Kind::Assign;
                    names.push(self.next().text);
                    self.next();
                    return Ok((names, assigns));
                }
                Kind::Char if next.text == "," => {
                    names.push(self.next().text);
                    self.next();
                    if context != "range" || names.len() > 1 {
                        return Err(self.error(format!("too many declarations in {context}")));
                    }
                    if !matches!(self.peek().kind, Kind::Variable | Kind::Close | Kind::RightParen) {
                        return Err(self.error("range can only initialize variables"));
                    }
                }
                _ => break,
            }
        }
        Ok((names, false))
    }

    fn command(&mut self) -> Parsed<Command> {
        let at = self.peek().at;
        let mut operands: Vec<Operand> = Vec::new();
        loop {
            let token = self.peek().clone();
            match token.kind {
                Kind::Close | Kind::RightParen => break,
                Kind::Pipe => {
                    self.next();
                    break;
                }
                _ if !operands.is_empty() && !token.spaced => {
                    self.next();
                    return Err(self.unexpected(&token, "operand"));
                }
                _ => match self.operand()? {
                    Some(operand) => operands.push(operand),
                    None => {
                        self.next();
                        return Err(self.unexpected(&token, "operand"));
                    }
                },
            }
        }
        Ok(Command { operands, at })
    }

    /// A term with what is joined to it; none when there is no term here.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let token = self.peek().clone();
        let mut fields = Vec::new();
        let base = match token.kind {
            Kind::Dot => Base::Dot,
            Kind::Field => {
                fields.push(token.text[1..].to_owned());
                Base::Field
            }
            Kind::Variable => {
                let known = self.scopes.iter().flatten().any(|known| *known == token.text);
                if !known {
                    self.next();
                    return Err(self.error(format!("undefined variable {:?}", token.text)));
                }
                Base::Variable(token.text.clone())
            }
            Kind::Name => {
                if !crate::functions::exists(&token.text) {
                    self.next();
                    return Err(self.error(format!("function {:?} not defined", token.text)));
                }
                Base::Function(token.text.clone())
            }
            Kind::Bool => Base::Constant(Value::Bool(token.text == "true"), token.text.clone()),
            Kind::Nil => Base::Nil,
            Kind::Quoted => self.constant(&token, literal::quoted(&token.text).map(Value::Text))?,
            Kind::Raw => {
                let text = Value::text(&token.text[1..token.text.len() - 1]);
                Base::Constant(text, token.text.clone())
            }
            Kind::Character => self.constant(&token, literal::character(&token.text))?,
            Kind::Number => self.constant(&token, literal::number(&token.text))?,
            Kind::LeftParen => {
                self.next();
                let inner = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                let joined = self.joined(&mut fields);
                return Ok(Some(Operand {
                    base: Base::Pipeline(Box::new(inner)),
                    fields,
                    at: joined.unwrap_or(token.at),
                }));
            }
            _ => return Ok(None),
        };
        self.next();
        let first = self.joined(&mut fields);
        if first.is_some() && matches!(base, Base::Constant(..) | Base::Nil | Base::Dot) {
            let shown = match base {
                Base::Dot => ".".to_owned(),
                Base::Nil => "nil".to_owned(),
                _ => token.text.clone(),
            };
            return Err(self.error(format!("unexpected . after term {shown:?}")));
        }
        Ok(Some(Operand { base, fields, at: first.unwrap_or(token.at) }))
    }

    /// Fields directly behind; where the first of them stands.
    fn joined(&mut self, fields: &mut Vec<String>) -> Option<usize> {
        let mut first = None;
        while self.peek().kind == Kind::Field && !self.peek().spaced {
            let token = self.next();
            first.get_or_insert(token.at);
            fields.push(token.text[1..].to_owned());
        }
        first
    }

    fn constant(&mut self, token: &Token, read: Result<Value, String>) -> Parsed<Base> {
        match read {
            Ok(value) => Ok(Base::Constant(value, token.text.clone())),
            Err(reason) => {
                self.next();
                Err(self.error(reason))
            }
        }
    }

    fn close(&mut self, context: &str) -> Parsed<()> {
        let token = self.next();
        if token.kind == Kind::Close { Ok(()) } else { Err(self.unexpected(&token, context)) }
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.error("template is nested too deeply")) } else { Ok(()) }
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.line = token.line;
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn unexpected(&self, token: &Token, context: &str) -> TemplateError {
        match token.kind {
            Kind::Wrong => TemplateError::Parse { line: token.line, reason: token.text.clone() },
            Kind::End => self.error("unexpected EOF"),
            _ => self.error(format!("unexpected {token} in {context}")),
        }
    }

    fn error(&self, reason: impl Into<String>) -> TemplateError {
        TemplateError::Parse { line: self.line, reason: reason.into() }
    }
}
