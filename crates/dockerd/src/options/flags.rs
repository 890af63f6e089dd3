//! The command line, as pflag reads it.

use serde_json::{Map, Value, json};

use super::OptionsError;
use super::table::{Kind, OPTIONS, Opt, Support};

/// What the command line says, by key of the file (by flag where there is no key).
#[derive(Debug, Default)]
pub struct Flags {
    pub values: Map<String, Value>,
    pub wants: Wants,
    /// Lines for stderr: options that Docker no longer has.
    pub notes: Vec<String>,
}

/// What the program shall do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    #[default]
    Serve,
    Help,
    Version,
}

/// Reads the words behind the program's name.
pub fn parse(words: &[String]) -> Result<Flags, OptionsError> {
    let mut flags = Flags::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if let Some(long) = word.strip_prefix("--") {
            if long.is_empty() {
                // What follows is no option, and dockerd takes nothing else.
                return rest.next().map_or(Ok(flags), |_| Err(OptionsError::Argument));
            }
            long_flag(long, &mut rest, &mut flags)?;
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            short_flags(letters, &mut rest, &mut flags)?;
        } else {
            return Err(OptionsError::Argument);
        }
    }
    Ok(flags)
}

fn long_flag(word: &str, rest: &mut std::slice::Iter<String>, flags: &mut Flags) -> Result<(), OptionsError> {
    let (name, inline) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    match name {
        "help" => return Ok(flags.wants = Wants::Help),
        "version" => {
            flags.wants = if flags.wants == Wants::Help { Wants::Help } else { Wants::Version };
            return Ok(());
        }
        _ => {}
    }
    let option = OPTIONS.iter().find(|option| option.flag == name);
    let option = option.ok_or_else(|| OptionsError::UnknownFlag(format!("--{name}")))?;
    let value = match (inline, option.kind) {
        (Some(value), _) => value.to_owned(),
        (None, Kind::Switch) => "true".to_owned(),
        (None, _) => rest.next().cloned().ok_or_else(|| OptionsError::NeedsValue(format!("--{name}")))?,
    };
    set(flags, option, &value)
}

/// `-D`, `-H value`, `-Hvalue`, `-H=value`, `-Dl debug`.
fn short_flags(letters: &str, rest: &mut std::slice::Iter<String>, flags: &mut Flags) -> Result<(), OptionsError> {
    let mut letters = letters;
    while let Some(letter) = letters.chars().next() {
        let behind = &letters[letter.len_utf8()..];
        match letter {
            'h' => return Ok(flags.wants = Wants::Help),
            'v' => {
                flags.wants = Wants::Version;
                letters = behind;
                continue;
            }
            _ => {}
        }
        let option = OPTIONS.iter().find(|option| option.short == Some(letter));
        let option = option.ok_or_else(|| OptionsError::UnknownShort { letter, word: letters.to_owned() })?;
        if let Some(value) = behind.strip_prefix('=') {
            return set(flags, option, value);
        }
        if option.kind == Kind::Switch {
            set(flags, option, "true")?;
            letters = behind;
            continue;
        }
        if !behind.is_empty() {
            return set(flags, option, behind);
        }
        let needs = || OptionsError::NeedsValue(format!("'{letter}' in -{letters}"));
        return set(flags, option, rest.next().ok_or_else(needs)?);
    }
    Ok(())
}

fn set(flags: &mut Flags, option: &Opt, text: &str) -> Result<(), OptionsError> {
    if let Support::Gone(why) = option.support {
        flags.notes.push(format!("Flag --{} has been deprecated, {why}", option.flag));
    }
    let key = if option.key.is_empty() { option.flag } else { option.key };
    let value = value(option, text)?;
    match flags.values.get_mut(key) {
        Some(Value::Array(list)) if option.kind == Kind::List || option.kind == Kind::Pools => {
            list.extend(value.as_array().cloned().unwrap_or_default());
        }
        Some(Value::Object(old)) => merge(old, value),
        _ => drop(flags.values.insert(key.to_owned(), value)),
    }
    Ok(())
}

fn merge(old: &mut Map<String, Value>, new: Value) {
    let Value::Object(new) = new else { return };
    for (key, value) in new {
        match (old.get_mut(&key), value) {
            (Some(Value::Object(inner)), value @ Value::Object(_)) => merge(inner, value),
            (_, value) => drop(old.insert(key, value)),
        }
    }
}

fn value(option: &Opt, text: &str) -> Result<Value, OptionsError> {
    let invalid = |why: &str| OptionsError::Invalid {
        value: text.to_owned(),
        flag: match option.short {
            Some(letter) => format!("-{letter}, --{}", option.flag),
            None => format!("--{}", option.flag),
        },
        why: why.to_owned(),
    };
    Ok(match option.kind {
        Kind::Text => json!(text),
        Kind::Switch => json!(
            truth(text).ok_or_else(|| { invalid(&format!("strconv.ParseBool: parsing {text:?}: invalid syntax")) })?
        ),
        Kind::Int => json!(
            text.parse::<i64>()
                .map_err(|_| { invalid(&format!("strconv.ParseInt: parsing {text:?}: invalid syntax")) })?
        ),
        Kind::Ip => {
            let _: std::net::IpAddr = text.parse().map_err(|_| invalid(&format!("failed to parse IP: {text:?}")))?;
            json!(text)
        }
        Kind::Bytes => {
            json!(go_text::size::parse_bytes(text).ok_or_else(|| invalid(&format!("invalid size: '{text}'")))?)
        }
        Kind::List => json!([text]),
        Kind::Map => {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            json!({ key: value })
        }
        Kind::Features => {
            let (name, value) = text.split_once('=').unwrap_or((text, "true"));
            let on = truth(value).ok_or_else(|| invalid(&format!("invalid boolean value: {value}")))?;
            json!({ name: on })
        }
        Kind::MapMap => {
            let (driver, pair) = text.split_once('=').ok_or_else(|| invalid("invalid key value pair format"))?;
            let (key, value) = pair.split_once('=').ok_or_else(|| invalid("invalid key value pair format"))?;
            json!({ driver: { key: value } })
        }
        Kind::Runtimes => {
            let parts = text.split_once('=').map(|(name, path)| (name.trim().to_lowercase(), path.trim()));
            let parts = parts.filter(|(name, path)| !name.is_empty() && !path.is_empty());
            let (name, path) = parts.ok_or_else(|| invalid(&format!("invalid runtime argument: {text}")))?;
            if name == "runc" {
                return Err(invalid("runtime name 'runc' is reserved"));
            }
            json!({ name: { "path": path } })
        }
        Kind::Ulimits => ulimit(text).ok_or_else(|| invalid(&format!("invalid ulimit argument: {text}")))?,
        Kind::Pools => json!([pool(text).map_err(|why| invalid(&why))?]),
    })
}

/// The words of strconv.ParseBool.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn ulimit(text: &str) -> Option<Value> {
    let (name, limits) = text.split_once('=')?;
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (soft.parse::<i64>().ok()?, hard.parse::<i64>().ok()?),
        None => (limits.parse().ok()?, limits.parse().ok()?),
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        return None;
    }
    Some(json!({ name: { "Name": name, "Soft": soft, "Hard": hard } }))
}

fn pool(text: &str) -> Result<Value, String> {
    let (mut base, mut size) = (None, None);
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
        match key.trim().to_lowercase().as_str() {
            "base" => base = Some(value.to_owned()),
            "size" => size = Some(value.parse::<u8>().map_err(|_| format!("invalid size value: {value:?}"))?),
            key => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    Ok(json!({ "base": base.unwrap_or_default(), "size": size.unwrap_or_default() }))
}
