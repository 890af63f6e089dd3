//! Progress for programs: a line of JSON a message, as BuildKit's clients write it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use buildkit_api::Timestamp;
use buildkit_api::control::StatusResponse;
use serde_json::{Map, Value, json};

pub fn line(status: &StatusResponse) -> String {
    let mut out = Map::new();
    let mut list = |name: &str, values: Vec<Value>| {
        if !values.is_empty() {
            out.insert(name.to_owned(), Value::from(values));
        }
    };
    let vertex = |vertex: &buildkit_api::control::Vertex| {
        let mut out = Map::new();
        out.insert("digest".to_owned(), json!(vertex.digest));
        put(&mut out, "inputs", (!vertex.inputs.is_empty()).then(|| json!(vertex.inputs)));
        put(&mut out, "name", text(&vertex.name));
        put(&mut out, "started", time(vertex.started));
        put(&mut out, "completed", time(vertex.completed));
        put(&mut out, "cached", vertex.cached.then(|| json!(true)));
        put(&mut out, "error", text(&vertex.error));
        Value::from(out)
    };
    let part = |part: &buildkit_api::control::VertexStatus| {
        let mut out = Map::new();
        out.insert("id".to_owned(), json!(part.id));
        put(&mut out, "vertex", text(&part.vertex));
        put(&mut out, "name", text(&part.name));
        put(&mut out, "total", (part.total != 0).then(|| json!(part.total)));
        out.insert("current".to_owned(), json!(part.current));
        put(&mut out, "timestamp", time(part.timestamp));
        put(&mut out, "started", time(part.started));
        put(&mut out, "completed", time(part.completed));
        Value::from(out)
    };
    let log = |log: &buildkit_api::control::VertexLog| {
        let mut out = Map::new();
        put(&mut out, "vertex", text(&log.vertex));
        put(&mut out, "stream", (log.stream != 0).then(|| json!(log.stream)));
        out.insert("data".to_owned(), json!(STANDARD.encode(&log.msg)));
        put(&mut out, "timestamp", time(log.timestamp));
        Value::from(out)
    };
    let warning = |warning: &buildkit_api::control::VertexWarning| {
        let details: Vec<String> = warning.detail.iter().map(|detail| STANDARD.encode(detail)).collect();
        let mut out = Map::new();
        put(&mut out, "vertex", text(&warning.vertex));
        put(&mut out, "level", (warning.level != 0).then(|| json!(warning.level)));
        put(&mut out, "short", Some(json!(STANDARD.encode(&warning.short))));
        put(&mut out, "detail", (!details.is_empty()).then(|| json!(details)));
        put(&mut out, "url", text(&warning.url));
        Value::from(out)
    };
    list("vertexes", status.vertexes.iter().map(vertex).collect());
    list("statuses", status.statuses.iter().map(part).collect());
    list("logs", status.logs.iter().map(log).collect());
    list("warnings", status.warnings.iter().map(warning).collect());
    format!("{}\n", Value::from(out))
}

fn put(out: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        out.insert(name.to_owned(), value);
    }
}

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!(text))
}

fn time(time: Option<Timestamp>) -> Option<Value> {
    let time = time?;
    let time = jiff::Timestamp::new(time.seconds, time.nanos).ok()?;
    Some(json!(time.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::trace::tests::{ended, printed};
    use super::*;

    #[test]
    fn a_message_is_a_line() {
        let vertex = json!({
            "digest": "a",
            "name": "a",
            "started": "1970-01-01T00:00:01Z",
            "completed": "1970-01-01T00:00:02.5Z",
            "cached": true,
        });
        let told = line(&ended("a", 1, true, ""));
        assert!(told.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), json!({ "vertexes": [vertex] }));
        assert!(line(&printed("a", 1, b"x\n")).contains("\"data\":\"eAo=\""));
    }
}
