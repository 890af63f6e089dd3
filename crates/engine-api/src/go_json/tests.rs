use std::collections::BTreeMap;

use super::*;
use crate::container::{Config, CreateRequest};
use crate::exec;
use crate::host_config::HostConfig;

fn create(text: &str) -> Result<CreateRequest, JsonError> {
    CreateRequest::read(&Document::parse(text.as_bytes())?).map(Option::unwrap_or_default)
}

fn wrong(text: &str) -> String {
    create(text).unwrap_err().to_string()
}

#[test]
fn what_is_no_json_is_told_as_go_tells_it() {
    for (text, message) in [
        ("", "EOF"),
        (" \r\n\t", "EOF"),
        ("{", "unexpected EOF"),
        (r#"{"a": tru"#, "unexpected EOF"),
        (r#"{"a": "x"#, "unexpected EOF"),
        ("-", "unexpected EOF"),
        ("nonsense", "invalid character 'o' in literal null (expecting 'u')"),
        ("trüe", "invalid character 'Ã' in literal true (expecting 'u')"),
        ("<xml>", "invalid character '<' looking for beginning of value"),
        ("\u{a0}", "invalid character 'Â' looking for beginning of value"),
        ("'a'", r"invalid character '\'' looking for beginning of value"),
        ("{1: 2}", "invalid character '1' looking for beginning of object key string"),
        ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("{\n\"a\" 1}", "invalid character '1' after object key"),
        (r#"{"Image": "a" "Cmd": 1}"#, "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[01]", "invalid character '1' after array element"),
        ("[1.]", "invalid character ']' after decimal point in numeric literal"),
        ("[-]", "invalid character ']' in numeric literal"),
        ("[1e]", "invalid character ']' in exponent of numeric literal"),
        ("[\"a\nb\"]", r"invalid character '\n' in string literal"),
        (r#"["\x"]"#, "invalid character 'x' in string escape code"),
        (r#"["\u12x4"]"#, r"invalid character 'x' in \u hexadecimal character escape"),
        ("{} {}", "unexpected content after JSON"),
        ("{}x", "unexpected content after JSON"),
    ] {
        let error = Document::parse(text.as_bytes()).err().unwrap_or(JsonError::Other("none".into()));
        assert_eq!(error.to_string(), message, "{text}");
    }
    // Go's decoder asks only whether another value could begin.
    assert!(Document::parse(b"{} ]").is_ok());
}

#[test]
fn depth_has_a_bound() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Document::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(Document::parse(nested(MAX_DEPTH + 1).as_bytes()).err(), Some(JsonError::Depth));
    assert_eq!(decode::<serde_json::Value>(nested(1000).as_bytes()), Err(JsonError::Depth));
    let skipped = format!(r#"{{"Image": "a", "Unknown": {}}}"#, nested(MAX_DEPTH - 1));
    assert_eq!(create(&skipped).unwrap().config.image, "a");
}

#[test]
fn texts_are_read_with_their_escapes() {
    let read = decode::<Vec<String>>(br#"["\u00e9\n\"\/\\", "\ud83d\ude00", "\ud83d", "\ud83dx\u0041", null]"#);
    assert_eq!(read.unwrap(), ["é\n\"/\\", "😀", "\u{fffd}", "\u{fffd}xA", ""]);
    assert_eq!(decode::<Vec<String>>(b"[\"a\xffb\"]").unwrap(), ["a\u{fffd}b"]);
}

#[test]
fn members_match_whatever_their_case_and_the_last_one_counts() {
    let read = create(r#"{"image": "a", "IMAGE": "b", "tTy": true, "Hostname": "x", "hostname": "y", "Colour": 1}"#);
    let config = read.unwrap().config;
    assert_eq!((config.image.as_str(), config.tty, config.hostname.as_str()), ("b", true, "y"));
    let read = create(r#"{"Image": "a", "hostconfig": {"memory": 1, "\u212a\u0045rnelMemory": 2}}"#).unwrap();
    assert_eq!((read.host_config.memory, read.host_config.kernel_memory), (1, 2));
}

#[test]
fn objects_given_twice_are_one() {
    let text = r#"{"Image": "a", "HostConfig": {"Memory": 1, "ShmSize": 5}, "HostConfig": {"Memory": 2},
        "Labels": {"a": "1"}, "Labels": {"b": "2"}, "Env": ["A=1"], "Env": ["B=2"]}"#;
    let read = create(text).unwrap();
    assert_eq!((read.host_config.memory, read.host_config.shm_size), (2, 5));
    assert_eq!(read.config.labels.unwrap().len(), 2);
    assert_eq!(read.config.env.unwrap(), ["B=2"]);
    let read = create(r#"{"Image": "a", "HostConfig": {"Memory": 1}, "HostConfig": null}"#).unwrap();
    assert_eq!(read.host_config.memory, 0);
}

#[test]
fn null_is_what_was_never_set_and_empty_is_empty() {
    let read =
        create(r#"{"Image": null, "Cmd": null, "Entrypoint": [], "Env": null, "Labels": {}, "HostConfig": null}"#);
    let config = read.unwrap().config;
    assert_eq!((config.cmd, config.entrypoint.map(|words| words.0)), (None, Some(vec![])));
    assert_eq!((config.env, config.labels), (None, Some(BTreeMap::new())));
    assert_eq!(CreateRequest::read(&Document::parse(br#"{"HostConfig": {}, "x": 1}"#).unwrap()), Ok(None));
    assert!(CreateRequest::read(&Document::parse(br#"{"image": ""}"#).unwrap()).unwrap().is_some());
    assert_eq!(decode::<Config>(b"null").unwrap(), Config::default());
}

#[test]
fn wrong_types_are_told_with_go_s_names_and_places() {
    for (text, place, go_type) in [
        (r#"{"Image": 1}"#, "number into Go struct field CreateRequest.Config.Image", "string"),
        (r#"{"image": {}}"#, "object into Go struct field CreateRequest.Config.Image", "string"),
        (r#"{"Tty": "yes"}"#, "string into Go struct field CreateRequest.Config.Tty", "bool"),
        (r#"{"Env": "A=1"}"#, "string into Go struct field CreateRequest.Config.Env", "[]string"),
        (r#"{"Env": ["A", true]}"#, "bool into Go struct field CreateRequest.Config.Env", "string"),
        (r#"{"Labels": []}"#, "array into Go struct field CreateRequest.Config.Labels", "map[string]string"),
        (r#"{"Labels": {"a": 1}}"#, "number into Go struct field CreateRequest.Config.Labels", "string"),
        (r#"{"Cmd": 1}"#, "number into Go struct field CreateRequest.Config.Cmd", "string"),
        (r#"{"Cmd": ["a", 1]}"#, "array into Go struct field CreateRequest.Config.Cmd", "string"),
        (r#"{"StopTimeout": 1.5}"#, "number 1.5 into Go struct field CreateRequest.Config.StopTimeout", "int"),
        (r#"{"ExposedPorts": []}"#, "array into Go struct field CreateRequest.Config.ExposedPorts", "nat.PortSet"),
        (r#"{"HostConfig": []}"#, "array into Go struct field CreateRequest.HostConfig", "container.HostConfig"),
        (r#"{"HostConfig": "x"}"#, "string into Go struct field CreateRequest.HostConfig", "container.HostConfig"),
        (
            r#"{"HostConfig": {"Memory": "1g"}}"#,
            "string into Go struct field HostConfig.HostConfig.Resources.Memory",
            "int64",
        ),
        (
            r#"{"HostConfig": {"PidsLimit": 99999999999999999999}}"#,
            "number 99999999999999999999 into Go struct field HostConfig.HostConfig.Resources.PidsLimit",
            "int64",
        ),
        (
            r#"{"HostConfig": {"RestartPolicy": {"MaximumRetryCount": "3"}}}"#,
            "string into Go struct field RestartPolicy.HostConfig.RestartPolicy.MaximumRetryCount",
            "int",
        ),
        (
            r#"{"HostConfig": {"PortBindings": []}}"#,
            "array into Go struct field HostConfig.HostConfig.PortBindings",
            "nat.PortMap",
        ),
        (
            r#"{"HostConfig": {"PortBindings": {"80/tcp": {}}}}"#,
            "object into Go struct field HostConfig.HostConfig.PortBindings",
            "[]nat.PortBinding",
        ),
        (
            r#"{"HostConfig": {"Mounts": [{"Type": 1}]}}"#,
            "number into Go struct field Mount.HostConfig.Mounts.Type",
            "mount.Type",
        ),
        (
            r#"{"HostConfig": {"Mounts": {}}}"#,
            "object into Go struct field HostConfig.HostConfig.Mounts",
            "[]mount.Mount",
        ),
        (
            r#"{"NetworkingConfig": {"EndpointsConfig": {"a": 1}}}"#,
            "number into Go struct field NetworkingConfig.NetworkingConfig.EndpointsConfig",
            "network.EndpointSettings",
        ),
        ("[]", "array into Go value", "container.CreateRequest"),
        ("7", "number into Go value", "container.CreateRequest"),
    ] {
        assert_eq!(wrong(text), format!("json: cannot unmarshal {place} of type {go_type}"), "{text}");
    }
    let wrong = decode::<exec::CreateRequest>(br#"{"Tty": 1}"#).unwrap_err().to_string();
    assert_eq!(wrong, "json: cannot unmarshal number into Go struct field ExecOptions.Tty of type bool");
}

#[test]
fn arrays_of_a_length_take_what_they_can() {
    for (text, size) in [("[]", [0, 0]), ("[7]", [7, 0]), ("[7,8]", [7, 8]), ("[7,8,9]", [7, 8]), ("null", [0, 0])] {
        let host: HostConfig = decode(format!(r#"{{"ConsoleSize": {text}}}"#).as_bytes()).unwrap();
        assert_eq!(host.console_size, size, "{text}");
    }
    assert!(decode::<HostConfig>(br#"{"ConsoleSize": "7"}"#).is_err());
}
