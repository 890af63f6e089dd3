//! Bodies as JSON, and what is wrong with them in the words of Go's encoding/json.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::status::Failure;

/// One value and nothing behind it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::bad_request("invalid JSON: got EOF while reading request body"));
    }
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<T>();
    let value = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) => return Err(Failure::bad_request(format!("invalid JSON: {}", in_go(&error, bytes)))),
        None => return Err(Failure::bad_request("invalid JSON: got EOF while reading request body")),
    };
    if bytes[values.byte_offset()..].iter().any(|byte| !byte.is_ascii_whitespace()) {
        return Err(Failure::bad_request("unexpected content after JSON"));
    }
    Ok(value)
}

fn in_go(error: &serde_json::Error, bytes: &[u8]) -> String {
    let text = error.to_string();
    match error.classify() {
        Category::Eof => "unexpected EOF".to_owned(),
        Category::Syntax => syntax(&text, error, bytes),
        Category::Data => data(&text),
        Category::Io => text,
    }
}

fn syntax(text: &str, error: &serde_json::Error, bytes: &[u8]) -> String {
    let place = match text.split(" at line").next().unwrap_or_default() {
        "expected value" => "looking for beginning of value",
        "key must be a string" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "expected ident" => "in literal",
        "trailing comma" => "looking for beginning of value",
        _ => return text.to_owned(),
    };
    match offset(error, bytes).and_then(|at| bytes.get(at)) {
        Some(byte) if byte.is_ascii_graphic() => format!("invalid character '{}' {place}", char::from(*byte)),
        Some(byte) => format!("invalid character '{}' {place}", byte.escape_ascii()),
        None => text.to_owned(),
    }
}

fn offset(error: &serde_json::Error, bytes: &[u8]) -> Option<usize> {
    let line =
        bytes.split_inclusive(|byte| *byte == b'\n').take(error.line().checked_sub(1)?).map(<[u8]>::len).sum::<usize>();
    Some(line + error.column().checked_sub(1)?)
}

/// ``invalid type: integer `1`, expected a string`` is `json: cannot unmarshal number into Go value of type string`.
fn data(text: &str) -> String {
    let parts = text.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "));
    let Some((found, expected)) = parts else { return format!("json: {text}") };
    let found = match found.split([' ', '`']).next().unwrap_or_default() {
        "integer" | "floating" => "number",
        "boolean" => "bool",
        "sequence" => "array",
        "map" => "object",
        other => other,
    };
    let expected = expected.split(" at line").next().unwrap_or_default();
    let expected = match expected {
        "a string" | "string" => "string",
        "a boolean" => "bool",
        "i64" | "u64" => "int64",
        "a sequence" => "[]string",
        "a map" => "map[string]string",
        other => other,
    };
    format!("json: cannot unmarshal {found} into Go value of type {expected}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine_api::container::CreateRequest;

    use super::*;

    fn refused(text: &str) -> String {
        decode::<CreateRequest>(text.as_bytes()).unwrap_err().message
    }

    #[test]
    fn what_is_no_json_is_told_as_go_tells_it() {
        for (text, message) in [
            ("", "invalid JSON: got EOF while reading request body"),
            (" \n", "invalid JSON: got EOF while reading request body"),
            ("{", "invalid JSON: unexpected EOF"),
            ("nonsense", "invalid JSON: invalid character 'o' in literal"),
            ("<xml>", "invalid JSON: invalid character '<' looking for beginning of value"),
            ("{1: 2}", "invalid JSON: invalid character '1' looking for beginning of object key string"),
            ("{\n\"a\" 1}", "invalid JSON: invalid character '1' after object key"),
            (r#"{"Image": "a" "Cmd": 1}"#, "invalid JSON: invalid character '\"' after object key:value pair"),
            ("{} {}", "unexpected content after JSON"),
            ("{}x", "unexpected content after JSON"),
        ] {
            assert!(refused(text).starts_with(message), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn wrong_types_are_named() {
        for (text, message) in [
            (r#"{"Image": 1}"#, "invalid JSON: json: cannot unmarshal number into Go value of type string"),
            (r#"{"Tty": "yes"}"#, "invalid JSON: json: cannot unmarshal string into Go value of type bool"),
            (r#"{"Env": "A=1"}"#, "invalid JSON: json: cannot unmarshal string into Go value of type []string"),
            (r#"{"Labels": []}"#, "invalid JSON: json: cannot unmarshal array into Go value of type map[string]string"),
        ] {
            assert_eq!(refused(text), message);
        }
    }

    #[test]
    fn unknown_members_do_not_matter_and_neither_does_space() {
        assert_eq!(decode::<CreateRequest>(br#"{"Image": "a", "Colour": "red"} "#).unwrap().config.image, "a");
        assert_eq!(decode::<BTreeMap<String, i64>>(b" {\"a\":1}\n\n").unwrap()["a"], 1);
    }
}
