//! Functions: Go's and Docker's.

use std::cmp::Ordering;

use super::printf::printf;
use super::value::Value;

/// What a template is filled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A row of a table. As JSON its angle brackets are escaped, as Go's marshaller does for rows.
    Row,
    /// An object as the daemon described it.
    Object,
    /// The same without Docker's structures: all are maps, and a key that a map lacks is an error for `.Key`.
    Raw,
    /// The head of a table: the values are column titles, which functions leave alone.
    Header,
}

/// What a function takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Any,
    Text,
    Whole,
    Texts,
}

/// A function: its name, its first arguments, and whether more of any kind may follow.
struct Signature {
    name: &'static str,
    first: &'static [Takes],
    more: bool,
}

const fn signature(name: &'static str, first: &'static [Takes], more: bool) -> Signature {
    Signature { name, first, more }
}

const SIGNATURES: &[Signature] = &[
    signature("and", &[Takes::Any], true),
    signature("call", &[Takes::Any], true),
    signature("eq", &[Takes::Any], true),
    signature("ge", &[Takes::Any, Takes::Any], false),
    signature("gt", &[Takes::Any, Takes::Any], false),
    signature("html", &[], true),
    signature("index", &[Takes::Any], true),
    signature("join", &[Takes::Texts, Takes::Text], false),
    signature("js", &[], true),
    signature("json", &[Takes::Any], false),
    signature("le", &[Takes::Any, Takes::Any], false),
    signature("len", &[Takes::Any], false),
    signature("lower", &[Takes::Text], false),
    signature("lt", &[Takes::Any, Takes::Any], false),
    signature("ne", &[Takes::Any, Takes::Any], false),
    signature("not", &[Takes::Any], false),
    signature("or", &[Takes::Any], true),
    signature("pad", &[Takes::Text, Takes::Whole, Takes::Whole], false),
    signature("print", &[], true),
    signature("printf", &[Takes::Text], true),
    signature("println", &[], true),
    signature("slice", &[Takes::Any], true),
    signature("split", &[Takes::Text, Takes::Text], false),
    signature("title", &[Takes::Text], false),
    signature("truncate", &[Takes::Text, Takes::Whole], false),
    signature("upper", &[Takes::Text], false),
    signature("urlquery", &[], true),
];

fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.name == name)
}

pub(super) fn exists(name: &str) -> bool {
    find(name).is_some()
}

/// Refuses another number of arguments.
pub(super) fn check_count(name: &str, count: usize) -> Result<(), String> {
    let Some(signature) = find(name) else { return Ok(()) };
    let wanted = signature.first.len();
    let refused = |least: &str| Err(format!("wrong number of args for {name}: want {least}{wanted} got {count}"));
    match signature.more {
        true if count < wanted => refused("at least "),
        false if count != wanted => refused(""),
        _ => Ok(()),
    }
}

/// Refuses an argument of another kind. What stands in the template itself is refused by its spelling.
pub(super) fn check_argument(name: &str, at: usize, value: &Value, spelling: Option<&str>) -> Result<(), String> {
    let takes = find(name).and_then(|signature| signature.first.get(at)).copied().unwrap_or(Takes::Any);
    let fits = match (takes, value) {
        (Takes::Any, _)
        | (Takes::Text, Value::Text(_))
        | (Takes::Whole, Value::Int(_))
        | (Takes::Texts, Value::List(_) | Value::NilList | Value::Nil) => true,
        (Takes::Whole, Value::Float(value)) => spelling.is_some() && value.fract() == 0.0,
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let (constant, kind) = match takes {
        Takes::Any | Takes::Text => ("string", "string"),
        Takes::Whole => ("integer", "int"),
        Takes::Texts => ("[]string", "[]string"),
    };
    Err(match (spelling, takes) {
        (Some("nil"), _) => format!("cannot assign nil to {kind}"),
        (Some(spelling), Takes::Texts) => format!("can't handle {spelling} for arg of type {kind}"),
        (Some(spelling), _) => format!("expected {constant}; found {spelling}"),
        (None, _) if matches!(value, Value::Nil | Value::Missing) => format!("invalid value; expected {kind}"),
        (None, _) => format!("wrong type for value; expected {kind}; got {}", value.kind()),
    })
}

/// Values here are data: none of them can be called.
pub(super) fn refuse_call(spelling: &str, arguments: &[Value]) -> String {
    match arguments.first() {
        None | Some(Value::Nil | Value::Missing) => "call of nil".to_owned(),
        Some(value) => format!("non-function {spelling} of type {}", value.kind()),
    }
}

pub(super) fn call(name: &str, arguments: &[Value], mode: Mode) -> Result<Value, String> {
    if mode == Mode::Header && is_text_function(name) {
        return header(name, arguments);
    }
    match name {
        "not" => Ok(Value::Bool(!one(arguments).is_true())),
        "eq" => equal_to_any(arguments).map(Value::Bool),
        "ne" => equal_to_any(arguments).map(|equal| Value::Bool(!equal)),
        "lt" | "le" | "gt" | "ge" => compare(name, arguments).map(Value::Bool),
        "len" => length(one(arguments)),
        "index" => index(arguments, mode),
        "slice" => slice(arguments),
        "print" => Ok(Value::Text(print(arguments))),
        "println" => Ok(Value::Text(println(arguments))),
        "printf" => match arguments {
            [Value::Text(format), rest @ ..] => Ok(Value::Text(printf(format, rest))),
            _ => Ok(Value::text("")),
        },
        "html" => Ok(Value::Text(html(&shown(arguments)))),
        "js" => Ok(Value::Text(javascript(&shown(arguments)))),
        "urlquery" => Ok(Value::Text(url_query(&shown(arguments)))),
        "json" => {
            let value = one(arguments);
            let text = json(value);
            let is_row = mode == Mode::Row && matches!(value, Value::Struct(_));
            Ok(Value::Text(if is_row { escape_angles(&text) } else { text }))
        }
        _ => text_function(name, arguments),
    }
}

/// `<`, `>` and `&` of JSON text as `\u003c`.
fn escape_angles(text: &str) -> String {
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

/// Compact; a float without a fraction is a whole number there.
fn json(value: &Value) -> String {
    match value {
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 1e21 => format!("{value:.0}"),
        value => value.to_json().to_string(),
    }
}

fn is_text_function(name: &str) -> bool {
    matches!(name, "json" | "split" | "join" | "title" | "lower" | "upper" | "pad" | "truncate")
}

/// In a header the title comes through, wherever it stands among the arguments.
fn header(name: &str, arguments: &[Value]) -> Result<Value, String> {
    match (name, arguments) {
        ("pad", [value, Value::Int(before), Value::Int(after)]) => {
            Ok(Value::Text(pad(&value.to_string(), *before, *after)))
        }
        (_, [value, ..]) => Ok(value.clone()),
        _ => Err(format!("no such function: {name}")),
    }
}

fn text_function(name: &str, arguments: &[Value]) -> Result<Value, String> {
    match (name, arguments) {
        ("split", [text, separator]) => {
            let (text, separator) = (text.to_string(), separator.to_string());
            let parts: Vec<&str> = if separator.is_empty() {
                text.split("").filter(|part| !part.is_empty()).collect()
            } else {
                text.split(separator.as_str()).collect()
            };
            Ok(Value::List(parts.into_iter().map(Value::text).collect()))
        }
        ("join", [Value::List(items), separator]) => {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            Ok(Value::Text(items.join(&separator.to_string())))
        }
        ("join", [Value::Nil | Value::NilList, _]) => Ok(Value::text("")),
        ("title", [text]) => Ok(Value::Text(title(&text.to_string()))),
        ("lower", [text]) => Ok(Value::Text(text.to_string().chars().map(|c| single(c, c.to_lowercase())).collect())),
        ("upper", [text]) => Ok(Value::Text(text.to_string().chars().map(|c| single(c, c.to_uppercase())).collect())),
        ("pad", [text, before, after]) => {
            let (before, after) = (whole(before), whole(after));
            if before < 0 || after < 0 {
                return Err("strings: negative Repeat count".to_owned());
            }
            Ok(Value::Text(pad(&text.to_string(), before, after)))
        }
        ("truncate", [text, width]) => {
            let width = whole(width);
            let cut =
                usize::try_from(width).map_err(|_| format!("runtime error: slice bounds out of range [:{width}]"))?;
            // By bytes, as Docker cuts.
            let text = text.to_string();
            let head = &text.as_bytes()[..cut.min(text.len())];
            Ok(Value::Text(String::from_utf8_lossy(head).into_owned()))
        }
        _ => Err(format!("no such function: {name}")),
    }
}

/// A number that was checked to be one.
fn whole(value: &Value) -> i64 {
    match value {
        Value::Int(value) => *value,
        Value::Float(value) => *value as i64,
        _ => 0,
    }
}

/// Most blanks that `pad` puts on a side.
const MAX_PAD: usize = 4096;

/// Blanks around text that is not empty.
fn pad(text: &str, before: i64, after: i64) -> String {
    let blanks = |count: i64| " ".repeat(usize::try_from(count).unwrap_or(0).min(MAX_PAD));
    if text.is_empty() { String::new() } else { format!("{}{text}{}", blanks(before), blanks(after)) }
}

/// The first letter of each word in upper case. A word ends at anything of ASCII that is no letter, digit or underscore.
fn title(text: &str) -> String {
    let mut previous = ' ';
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let inside = if previous.is_ascii() {
            previous.is_ascii_alphanumeric() || previous == '_'
        } else {
            previous.is_alphanumeric() || !previous.is_whitespace()
        };
        out.push(if inside { c } else { single(c, c.to_uppercase()) });
        previous = c;
    }
    out
}

/// A letter whose other case is one letter; as Go has it, any other stays.
fn single(c: char, mut cased: impl Iterator<Item = char>) -> char {
    match (cased.next(), cased.next()) {
        (Some(other), None) => other,
        _ => c,
    }
}

fn one(arguments: &[Value]) -> &Value {
    arguments.first().unwrap_or(&Value::Missing)
}

fn equal_to_any(arguments: &[Value]) -> Result<bool, String> {
    let [first, rest @ ..] = arguments else { return Err("missing argument for comparison".to_owned()) };
    if rest.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in rest {
        let equal = match (first, other) {
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Nil | Value::Missing, Value::Nil | Value::Missing) => true,
            (Value::Nil | Value::Missing, _) | (_, Value::Nil | Value::Missing) => false,
            (Value::List(_) | Value::Map(_) | Value::NilList | Value::NilMap, _) => {
                return Err(format!("non-comparable type {first}: {}", first.kind()));
            }
            _ => return Err("incompatible types for comparison".to_owned()),
        };
        if equal {
            return Ok(true);
        }
    }
    Ok(false)
}

fn compare(name: &str, pair: &[Value]) -> Result<bool, String> {
    let order = match (&pair[0], &pair[1]) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Less),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Int(_) | Value::Float(_) | Value::Text(_), Value::Int(_) | Value::Float(_) | Value::Text(_)) => {
            return Err("incompatible types for comparison".to_owned());
        }
        _ => return Err("invalid type for comparison".to_owned()),
    };
    Ok(match name {
        "lt" => order.is_lt(),
        "le" => order.is_le(),
        "gt" => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn length(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(pairs) => pairs.len(),
        Value::NilList | Value::NilMap => 0,
        Value::Nil => return Err("reflect: call of reflect.Value.Type on zero Value".to_owned()),
        other => return Err(format!("len of type {}", other.kind())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(arguments: &[Value], mode: Mode) -> Result<Value, String> {
    let [first, keys @ ..] = arguments else { return Err("missing argument".to_owned()) };
    let mut value = first.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Map(pairs), Value::Text(key)) if mode == Mode::Raw => {
                pairs.get(key).filter(|value| !matches!(value, Value::Nil)).cloned().unwrap_or(Value::Missing)
            }
            (Value::Map(pairs), Value::Text(key)) => pairs.get(key).cloned().unwrap_or_else(|| zero_of(pairs)),
            (Value::Struct(_), _) if mode == Mode::Object => return Err("can't index item of type struct".to_owned()),
            (Value::Struct(members), Value::Text(key)) => {
                let found = members.iter().find(|(name, _)| name == key);
                found.map_or_else(|| Value::text(""), |(_, member)| member.clone())
            }
            (Value::List(items), Value::Int(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| items.get(at));
                found.cloned().ok_or_else(|| format!("index out of range: {at}"))?
            }
            (Value::Text(text), Value::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                Value::Int(i64::from(*byte.ok_or_else(|| format!("index out of range: {at}"))?))
            }
            (Value::NilMap, Value::Text(_)) => Value::text(""),
            (Value::NilList, Value::Int(at)) => return Err(format!("index out of range: {at}")),
            (Value::Nil | Value::Missing, _) => return Err("index of untyped nil".to_owned()),
            (Value::Map(_) | Value::Struct(_), other) => {
                return Err(format!("value has type {}; should be string", other.kind()));
            }
            (Value::List(_), Value::Nil) => return Err("cannot index slice/array with nil".to_owned()),
            (Value::List(_), other) => return Err(format!("cannot index slice/array with type {}", other.kind())),
            (other, _) => return Err(format!("can't index item of type {}", other.kind())),
        };
    }
    Ok(value)
}

/// What a map answers for a key it lacks: the zero value of what it holds.
fn zero_of(pairs: &std::collections::BTreeMap<String, Value>) -> Value {
    match pairs.values().next() {
        Some(Value::List(_) | Value::NilList) => Value::NilList,
        Some(Value::Struct(_) | Value::Nil) => Value::Missing,
        _ => Value::text(""),
    }
}

fn slice(arguments: &[Value]) -> Result<Value, String> {
    let [value, bounds @ ..] = arguments else { return Err("missing argument".to_owned()) };
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let length = match value {
        Value::Text(_) if bounds.len() == 3 => return Err("cannot 3-index slice a string".to_owned()),
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::NilList => 0,
        Value::Nil | Value::Missing => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.kind())),
    };
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(Value::Int(value)) => usize::try_from(*value)
            .ok()
            .filter(|value| *value <= length)
            .ok_or_else(|| format!("index out of range: {value}")),
        Some(other) => Err(format!("cannot index slice/array with type {}", other.kind())),
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match value {
        Value::List(items) => Ok(Value::List(items[from..to].to_vec())),
        Value::NilList => Ok(Value::NilList),
        other => {
            let text = other.to_string();
            text.get(from..to).map(Value::text).ok_or_else(|| "slice inside a character".to_owned())
        }
    }
}

/// Blanks between operands when neither is text.
fn print(arguments: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in arguments.iter().enumerate() {
        let texts = matches!(value, Value::Text(_)) || at > 0 && matches!(arguments[at - 1], Value::Text(_));
        if at > 0 && !texts {
            out.push(' ');
        }
        out.push_str(&value.to_string());
    }
    out
}

/// The same for what is escaped: one operand alone may be nothing.
fn shown(arguments: &[Value]) -> String {
    match arguments {
        [Value::Nil] => Value::Missing.to_string(),
        arguments => print(arguments),
    }
}

fn println(arguments: &[Value]) -> String {
    let parts: Vec<String> = arguments.iter().map(Value::to_string).collect();
    parts.join(" ") + "\n"
}

fn html(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

fn javascript(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", c as u32)),
            other => out.push(other),
        }
    }
    out
}

fn url_query(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
