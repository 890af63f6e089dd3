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
    /// The head of a table: the values are column titles, which functions leave alone.
    Header,
}

const NAMES: &[&str] = &[
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "printf", "println",
    "html", "js", "urlquery", "json", "split", "join", "title", "lower", "upper", "pad", "truncate",
];

pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

pub(super) fn call(name: &str, arguments: &[Value], mode: Mode) -> Result<Value, String> {
    if mode == Mode::Header && is_text_function(name) {
        return header(name, arguments);
    }
    match name {
        "not" => Ok(Value::Bool(!one(name, arguments)?.is_true())),
        "eq" => equal_to_any(arguments).map(Value::Bool),
        "ne" => equal_to_any(two(name, arguments)?).map(|equal| Value::Bool(!equal)),
        "lt" | "le" | "gt" | "ge" => compare(name, two(name, arguments)?).map(Value::Bool),
        "len" => length(one(name, arguments)?),
        "index" => index(arguments),
        "slice" => slice(arguments),
        "print" => Ok(Value::Text(print(arguments))),
        "println" => Ok(Value::Text(println(arguments))),
        "printf" => match arguments {
            [Value::Text(format), rest @ ..] => Ok(Value::Text(printf(format, rest))),
            _ => Err("wrong type for value; expected string".to_owned()),
        },
        "html" => Ok(Value::Text(html(&print(arguments)))),
        "js" => Ok(Value::Text(javascript(&print(arguments)))),
        "urlquery" => Ok(Value::Text(url_query(&print(arguments)))),
        "json" => {
            let value = one(name, arguments)?;
            let text = value.to_json().to_string();
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
        _ => Err(count(name, "1", arguments)),
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
        ("join", [other, _]) => Err(format!("wrong type for value; expected []string; got {}", other.kind())),
        ("title", [text]) => Ok(Value::Text(title(&text.to_string()))),
        ("lower", [text]) => Ok(Value::Text(text.to_string().to_lowercase())),
        ("upper", [text]) => Ok(Value::Text(text.to_string().to_uppercase())),
        ("pad", [text, Value::Int(before), Value::Int(after)]) => {
            Ok(Value::Text(pad(&text.to_string(), *before, *after)))
        }
        ("truncate", [text, Value::Int(width)]) => {
            let width = usize::try_from(*width).map_err(|_| "the width must not be negative".to_owned())?;
            Ok(Value::Text(text.to_string().chars().take(width).collect()))
        }
        ("title" | "lower" | "upper", _) => Err(count(name, "1", arguments)),
        ("pad", [_, _, _]) | ("truncate", [_, _]) => Err("wrong type for value; expected int".to_owned()),
        ("pad", _) => Err(count(name, "3", arguments)),
        _ => Err(count(name, "2", arguments)),
    }
}

/// Most blanks that `pad` puts on a side.
const MAX_PAD: usize = 4096;

/// Blanks around text that is not empty.
fn pad(text: &str, before: i64, after: i64) -> String {
    let blanks = |count: i64| " ".repeat(usize::try_from(count).unwrap_or(0).min(MAX_PAD));
    if text.is_empty() { String::new() } else { format!("{}{text}{}", blanks(before), blanks(after)) }
}

/// The first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut previous = ' ';
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if previous.is_alphanumeric() || previous == '_' || previous == '\'' {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        previous = c;
    }
    out
}

fn one<'a>(name: &str, arguments: &'a [Value]) -> Result<&'a Value, String> {
    match arguments {
        [value] => Ok(value),
        _ => Err(count(name, "1", arguments)),
    }
}

fn two<'a>(name: &str, arguments: &'a [Value]) -> Result<&'a [Value], String> {
    if arguments.len() == 2 { Ok(arguments) } else { Err(count(name, "2", arguments)) }
}

fn count(name: &str, wanted: &str, arguments: &[Value]) -> String {
    format!("wrong number of args for {name}: want {wanted} got {}", arguments.len())
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
            (Value::List(_) | Value::Map(_) | Value::Struct(_), _) => {
                return Err("non-comparable type in comparison".to_owned());
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
        (Value::Bool(_), _) | (Value::List(_), _) | (Value::Map(_), _) => {
            return Err("invalid type for comparison".to_owned());
        }
        _ => return Err("incompatible types for comparison".to_owned()),
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
        Value::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.kind())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(arguments: &[Value]) -> Result<Value, String> {
    let [first, keys @ ..] = arguments else { return Err("missing argument".to_owned()) };
    let mut value = first.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Map(pairs), Value::Text(key)) => pairs.get(key).cloned().unwrap_or_else(|| Value::text("")),
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
            (Value::List(_), other) => return Err(format!("cannot index slice/array with type {}", other.kind())),
            (other, _) => return Err(format!("can't index item of type {}", other.kind())),
        };
    }
    Ok(value)
}

fn slice(arguments: &[Value]) -> Result<Value, String> {
    let [value, bounds @ ..] = arguments else { return Err("missing argument".to_owned()) };
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
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
