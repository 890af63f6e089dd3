//! What a template sees: JSON, with Go's difference between structures and maps.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Number, Value as Json};

/// A method with an argument, like `.Label "name"`.
pub type Method = Rc<dyn Fn(&[Value]) -> Result<Value, String>>;

/// A value.
#[derive(Clone)]
pub enum Value {
    Nil,
    /// A list that was never set: prints as an empty one and is `null` in JSON.
    NilList,
    /// A map that was never set.
    NilMap,
    /// What a map answers for a key it lacks.
    Missing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    /// Members in their order; an unknown one is an error.
    Struct(Rc<Vec<(String, Value)>>),
    Method(Method),
    /// A member that Go would leave out of the JSON; its value when it is asked for.
    LeftOut(Rc<Value>),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn structure(members: Vec<(String, Value)>) -> Self {
        Self::Struct(Rc::new(members))
    }

    /// From JSON; an object below a name that `is_map` accepts is a map, any other a structure.
    pub fn from_json(json: &Json, is_map: &dyn Fn(&str) -> bool) -> Self {
        Self::convert(json, "", is_map)
    }

    fn convert(json: &Json, name: &str, is_map: &dyn Fn(&str) -> bool) -> Self {
        match json {
            Json::Null => Self::Nil,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(int) => Self::Int(int),
                None => number.as_f64().map_or(Self::Nil, Self::Float),
            },
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(items) => Self::List(items.iter().map(|item| Self::convert(item, "", is_map)).collect()),
            Json::Object(members) if is_map(name) => {
                // What is in a map is no map again, whatever its key.
                let pairs = members.iter().map(|(key, value)| (key.clone(), Self::convert(value, "", is_map)));
                Self::Map(pairs.collect())
            }
            Json::Object(members) => {
                let pairs = members.iter().map(|(key, value)| (key.clone(), Self::convert(value, key, is_map)));
                Self::structure(pairs.collect())
            }
        }
    }

    /// Back to JSON, as the function `json` prints it; a method is left out.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Nil | Self::NilList | Self::NilMap | Self::Missing | Self::Method(_) | Self::LeftOut(_) => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Float(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Self::Text(text) => Json::String(text.clone()),
            Self::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Self::Map(pairs) => Json::Object(pairs.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()),
            Self::Struct(members) => {
                let shown = members.iter().filter(|(_, value)| !matches!(value, Self::Method(_) | Self::LeftOut(_)));
                Json::Object(shown.map(|(key, value)| (key.clone(), value.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// Go's idea of truth: not the zero value.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil | Self::NilList | Self::NilMap | Self::Missing => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(pairs) => !pairs.is_empty(),
            Self::Struct(_) | Self::Method(_) => true,
            Self::LeftOut(value) => value.is_true(),
        }
    }

    /// The kind, as errors name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nil | Self::Missing => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) | Self::NilList => "[]interface {}",
            Self::Map(_) | Self::NilMap => "map[string]interface {}",
            Self::Struct(_) => "struct",
            Self::Method(_) => "func",
            Self::LeftOut(value) => value.kind(),
        }
    }
}

/// Go's `%v`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &mut dyn Iterator<Item = String>| {
            let parts: Vec<String> = parts.collect();
            f.write_str(&parts.join(" "))
        };
        match self {
            Self::Nil => f.write_str("<nil>"),
            Self::NilList => f.write_str("[]"),
            Self::NilMap => f.write_str("map[]"),
            Self::Missing => f.write_str("<no value>"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => f.write_str(&go_float(*value)),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => {
                f.write_str("[")?;
                joined(f, &mut items.iter().map(Self::to_string))?;
                f.write_str("]")
            }
            Self::Map(pairs) => {
                f.write_str("map[")?;
                joined(f, &mut pairs.iter().map(|(key, value)| format!("{key}:{value}")))?;
                f.write_str("]")
            }
            Self::Struct(members) => {
                f.write_str("{")?;
                joined(f, &mut members.iter().map(|(_, value)| value.to_string()))?;
                f.write_str("}")
            }
            Self::Method(_) => f.write_str("<func>"),
            Self::LeftOut(value) => value.fmt(f),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_json())
    }
}

/// The shortest text of a float; an exponent from 1e21 up and below 1e-4, as Go's `%v` has it.
fn go_float(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}
