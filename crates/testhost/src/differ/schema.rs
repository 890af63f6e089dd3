//! Answers against the facts of Docker's API reference: statuses, members, types.
//!
//! `reference.json` is made by `reference.py` beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::compare::{ABSENT, Difference, Pair};
use super::play::{Outcome, Part, Transcript};

#[derive(Debug, Deserialize)]
pub struct Reference {
    /// By method and path, names in braces.
    operations: BTreeMap<String, Operation>,
    types: BTreeMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
struct Operation {
    /// By status; none where the answer has no body.
    answers: BTreeMap<String, Option<Shape>>,
    json: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shape {
    is: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    null: bool,
    one_of: Vec<Value>,
    required: Vec<String>,
    members: BTreeMap<String, Shape>,
    items: Option<Box<Shape>>,
    values: Option<Box<Shape>>,
    all: Vec<Shape>,
}

/// Where, what was answered, what the reference says.
type Found = Vec<(String, String, String)>;

impl Reference {
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// What of our answers is not as the reference says.
    pub fn judge(&self, transcript: &Transcript) -> Vec<Difference> {
        let mut differences = Vec::new();
        let speaks = format!("/v{}/", transcript.version);
        for (number, outcome) in transcript.steps.iter().enumerate() {
            // A step that names another version is for the comparison of engines.
            let Some((_, path)) = &outcome.request else { continue };
            if !path.starts_with(&speaks) {
                continue;
            }
            let mut found = Vec::new();
            self.outcome(outcome, &mut found);
            differences.extend(found.into_iter().map(|(at, ours, theirs)| Difference {
                pair: Pair::Reference,
                case: transcript.case.clone(),
                number: number + 1,
                step: outcome.step.clone(),
                at,
                ours,
                theirs,
                versions: vec![transcript.version.clone()],
            }));
        }
        differences
    }

    fn outcome(&self, outcome: &Outcome, found: &mut Found) {
        let Some((method, path)) = &outcome.request else { return };
        let status = outcome.parts.iter().find_map(|(name, part)| match part {
            Part::Text(text) if *name == "status" => Some(text.as_str()),
            _ => None,
        });
        let (status, path) = (status.unwrap_or_default(), path.split('?').next().unwrap_or_default());
        // `/v1.51/containers/json`: what stands behind the version is the reference's.
        let path = path.trim_start_matches('/').split_once('/').map(|(_, path)| format!("/{path}")).unwrap_or_default();
        // What is no operation is answered so.
        let Some(operation) = self.operation(method, &path) else { return };
        let Some(shape) = operation.answers.get(status) else {
            let known: Vec<&str> = operation.answers.keys().map(String::as_str).collect();
            return found.push(("status".to_owned(), status.to_owned(), known.join(" or ")));
        };
        let body = outcome.parts.iter().find_map(|(name, part)| (*name == "body").then_some(part));
        match (shape, body) {
            // The answer to HEAD has a head alone.
            _ if method == "HEAD" => {}
            (Some(shape), Some(Part::Json(body))) => {
                // A stream is a line of JSON each, an array where there are several.
                let is_stream = matches!(body, Value::Array(_)) && self.kind(shape) == Some("object");
                match body {
                    Value::Array(lines) if is_stream => {
                        lines.iter().for_each(|line| self.value("body[]", shape, line, found));
                    }
                    body => self.value("body", shape, body, found),
                }
            }
            (Some(_), Some(Part::Text(text))) if operation.json || !status.starts_with('2') => {
                found.push(("body".to_owned(), text.clone(), "JSON".to_owned()));
            }
            _ => {}
        }
    }

    /// Fixed words win over names, and a name may hold slashes.
    fn operation(&self, method: &str, path: &str) -> Option<&Operation> {
        if let Some(operation) = self.operations.get(&format!("{method} {path}")) {
            return Some(operation);
        }
        let fits = |key: &str| {
            let (before, behind) = key.strip_prefix(method)?.trim_start().split_once('{')?;
            let (_, after) = behind.split_once('}')?;
            let name = path.strip_prefix(before)?.strip_suffix(after)?;
            let is_name = !name.is_empty() && (!name.contains('/') || before.starts_with("/images"));
            is_name.then_some(())
        };
        self.operations.iter().find(|(key, _)| fits(key).is_some()).map(|(_, operation)| operation)
    }

    fn kind<'a>(&'a self, shape: &'a Shape) -> Option<&'a str> {
        let named = || self.types.get(shape.is.as_deref()?);
        shape.kind.as_deref().or_else(|| self.kind(named()?)).or((!shape.all.is_empty()).then_some("object"))
    }

    fn value(&self, at: &str, shape: &Shape, value: &Value, found: &mut Found) {
        let mut parts = Vec::new();
        self.flatten(shape, &mut parts);
        if value.is_null() {
            if !parts.iter().any(|part| part.null) && parts.iter().any(|part| part.kind.is_some()) {
                found.push((at.to_owned(), "null".to_owned(), "not null".to_owned()));
            }
            return;
        }
        for part in &parts {
            // What was masked is no longer of its type.
            let masked = value.as_str().is_some_and(|text| text.starts_with('<'));
            if let Some(kind) = part.kind.as_deref().filter(|kind| !is_of(value, kind) && !masked) {
                return found.push((at.to_owned(), value.to_string(), kind.to_owned()));
            }
            if !part.one_of.is_empty() && !part.one_of.contains(value) {
                let choices: Vec<String> = part.one_of.iter().map(ToString::to_string).collect();
                found.push((at.to_owned(), value.to_string(), choices.join(" or ")));
            }
        }
        match value {
            Value::Array(items) => {
                for shape in parts.iter().filter_map(|part| part.items.as_deref()) {
                    items.iter().for_each(|item| self.value(&format!("{at}[]"), shape, item, found));
                }
            }
            Value::Object(members) => self.members(at, &parts, members, found),
            _ => {}
        }
    }

    fn members(&self, at: &str, parts: &[&Shape], members: &serde_json::Map<String, Value>, found: &mut Found) {
        for name in parts.iter().flat_map(|part| &part.required).filter(|name| !members.contains_key(*name)) {
            found.push((format!("{at}.{name}"), ABSENT.to_owned(), "required".to_owned()));
        }
        let is_open = parts.iter().all(|part| part.members.is_empty());
        for (name, value) in members {
            let named = parts.iter().find_map(|part| part.members.get(name));
            let other = parts.iter().find_map(|part| part.values.as_deref());
            match named.or(other) {
                Some(shape) if named.is_some() => self.value(&format!("{at}.{name}"), shape, value, found),
                Some(shape) => self.value(&format!("{at}.*"), shape, value, found),
                None if is_open => {}
                None => found.push((format!("{at}.{name}"), value.to_string(), ABSENT.to_owned())),
            }
        }
    }

    /// Named types and combinations as their parts.
    fn flatten<'a>(&'a self, shape: &'a Shape, parts: &mut Vec<&'a Shape>) {
        parts.push(shape);
        if let Some(named) = shape.is.as_deref().and_then(|name| self.types.get(name)) {
            self.flatten(named, parts);
        }
        shape.all.iter().for_each(|part| self.flatten(part, parts));
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const REFERENCE: &str = r#"{
        "operations": {"GET /things/{id}/json": {"json": true, "answers": {"200": {"is": "Thing"}, "404": {"is": "Error"}}}},
        "types": {
            "Thing": {"type": "object", "required": ["Id"], "members": {
                "Id": {"type": "string"}, "Size": {"type": "integer"}, "State": {"type": "string", "one_of": ["on", "off"]},
                "List": {"type": "array", "items": {"type": "string"}}, "May": {"type": "string", "null": true},
                "Map": {"type": "object", "values": {"type": "integer"}}}},
            "Error": {"type": "object", "required": ["message"], "members": {"message": {"type": "string"}}}}}"#;

    fn judge(status: &str, body: Value) -> Vec<String> {
        let reference: Reference = serde_json::from_str(REFERENCE).unwrap();
        let outcome = Outcome {
            step: String::new(),
            request: Some(("GET".into(), "/v1.51/things/a/json?x=y".into())),
            parts: vec![("status", Part::Text(status.into())), ("body", Part::Json(body))],
        };
        let mut found = Vec::new();
        reference.outcome(&outcome, &mut found);
        found.into_iter().map(|(at, ours, theirs)| format!("{at}: {ours} | {theirs}")).collect()
    }

    #[test]
    fn an_answer_as_the_reference_says_has_no_difference() {
        let thing = json!({"Id": "a", "Size": 1, "State": "on", "List": ["b"], "May": null, "Map": {"c": 1}});
        assert_eq!(judge("200", thing), [""; 0]);
        assert_eq!(judge("404", json!({"message": "No such thing"})), [""; 0]);
    }

    #[test]
    fn every_deviation_is_named() {
        assert_eq!(judge("500", json!({"message": "x"})), ["status: 500 | 200 or 404"]);
        let thing = json!({"Size": "big", "State": "blue", "List": [1], "Map": {"c": null}, "New": 1});
        let expected = [
            "body.Id: (absent) | required",
            "body.List[]: 1 | string",
            "body.Map.*: null | not null",
            "body.New: 1 | (absent)",
            "body.Size: \"big\" | integer",
            "body.State: \"blue\" | \"on\" or \"off\"",
        ];
        let mut found = judge("200", thing);
        found.sort();
        assert_eq!(found, expected);
    }
}
