//! What Docker's client 28 answered to `docker context inspect --format TEMPLATE` of one context, template by template.
//!
//! `docker_28.jsonl` has a line a template: the template, the output, or the error. A line that is answered otherwise
//! here stands in [`OTHERWISE`] with the reason.

use go_template::{Mode, Template, Value};
use serde_json::json;

/// Templates with another answer, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("{{.}}", "Docker's structure is nested in another way"),
    ("{{$}}", "the same"),
    ("{{print .}}", "the same"),
    ("{{.Metadata}} {{.TLSMaterial}} {{.Storage}}", "a field of the outer structure hides the inner one"),
    ("{{1i}}", "complex numbers are not supported"),
    ("{{1+2i}}", "the same"),
    ("{{truncate \"héllo\" 2}}", "half a character is shown as one that was lost"),
    ("{{define \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}", "templates call each other 100 deep at most"),
    ("{{.Endpoints.docker.nope}}", "the words for a member that a structure lacks, see `matches`"),
];

fn data() -> Value {
    let data = json!({
        "Name": "two",
        "Metadata": {"Description": "two words"},
        "Endpoints": {"docker": {"Host": "tcp://1.2.3.4:2376", "SkipTLSVerify": false}},
        "TLSMaterial": {"docker": ["ca.pem", "cert.pem", "key.pem"]},
        "Storage": {"MetadataPath": "/meta", "TLSPath": "/tls"},
    });
    Value::from_json(&data, &|name| matches!(name, "Endpoints" | "TLSMaterial"))
}

fn fill(template: &str) -> Result<String, String> {
    let template = Template::parse(template).map_err(|error| error.to_string())?;
    template.render(&data(), Mode::Object).map_err(|error| error.to_string())
}

/// The same, but for names of Go's types, which the data does not have.
fn matches(ours: &str, theirs: &str) -> bool {
    if ours == theirs {
        return true;
    }
    // A member that is not there: a structure's error names its type, a map's only the key.
    if let (Some((before, key)), Some((their_before, rest))) =
        (ours.split_once("map has no entry for key "), theirs.split_once("can't evaluate field "))
    {
        return before == their_before && rest.split(' ').next() == Some(key.trim_matches('"'));
    }
    let untyped = |text: &str| {
        text.replace("store.EndpointFiles", "[]interface {}")
            .replace("map[string][]interface {}", "map[string]interface {}")
    };
    untyped(ours) == untyped(theirs)
}

#[test]
fn templates_are_answered_as_dockers_client_answers_them() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("docker_28.jsonl").lines() {
        let (template, output, error): (String, Option<String>, Option<String>) = serde_json::from_str(line).unwrap();
        let theirs = output.map_or_else(|| Err(error.unwrap_or_default()), Ok);
        let ours = fill(&template);
        let same = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (Err(ours), Err(theirs)) => matches(ours, theirs),
            _ => false,
        };
        let excused = OTHERWISE.iter().any(|(known, _)| *known == template);
        if !same && !excused {
            wrong.push(format!("{template}\n  theirs: {theirs:?}\n  ours:   {ours:?}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 250);
}
