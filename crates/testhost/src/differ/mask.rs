//! What no two runs have in common, made equal: ids, times, roots, hardware addresses.

use anyhow::Result;
use regex_lite::{Captures, Regex};
use serde_json::Value;

use super::play::Part;

/// Members whose numbers are times, process ids and what an engine happens to hold open.
const NUMBERS: [&str; 7] = ["Created", "time", "timeNano", "Pid", "NEventsListener", "NFd", "NGoroutines"];
/// Members that are sizes of layers and what is made of them.
const SIZES: [&str; 7] = ["Size", "SharedSize", "VirtualSize", "SizeRootFs", "SizeRw", "LayersSize", "SpaceReclaimed"];
/// The time that is none.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub struct Mask {
    /// Paths and what is shown for them, the longest first.
    roots: Vec<(String, &'static str)>,
    rules: Vec<(Regex, &'static str)>,
    time: Regex,
}

impl Mask {
    pub fn new(mut roots: Vec<(String, &'static str)>) -> Result<Self> {
        roots.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let rules = [
            (r"\b[0-9a-f]{64}\b", "<id>"),
            (r"sha256:[0-9a-f]{12}\b", "sha256:<short id>"),
            (r"\b[0-9a-f]{32}\b", "<half id>"),
            (r"\b[0-9a-f]{12}\b", "<short id>"),
            (r"\b[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}(\.[0-9]+)? [-+][0-9]{4} [A-Z]{3,4}\b", "<time>"),
            (r"\b(Less than a second|About a minute|[0-9]+ (second|minute)s?) ago", "<some time> ago"),
            (r"\bUp (Less than a second|About a minute|[0-9]+ (second|minute)s?)", "Up <some time>"),
            (r"\b(br|docker)-[0-9a-f]{8}\b", "<bridge>"),
            (r"/snapshots/[0-9]+/", "/snapshots/<number>/"),
            (r"\b[0-9]+: eth0@if[0-9]+:", "<number>: eth0@if<number>:"),
            (r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +[0-9]+ [0-9]{2}:[0-9]{2}\b", "<time>"),
            (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} +[0-9]+ [0-9:]{8} [0-9]{4}\b", "<time>"),
            (r"%2Ftmp%2Flsh-[A-Za-z0-9]+%2F[a-z]+\.sock", "<socket>"),
            (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<mac>"),
            (r"\b1[789][0-9]{8}(\.[0-9]+)?\b", "<seconds>"),
        ];
        let rules = rules.into_iter().map(|(rule, shown)| Ok((Regex::new(rule)?, shown))).collect::<Result<_>>()?;
        let time = r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2})";
        Ok(Self { roots, rules, time: Regex::new(time)? })
    }

    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (root, shown) in &self.roots {
            text = text.replace(root, shown);
        }
        let time = |found: &Captures<'_>| if &found[0] == NEVER { NEVER } else { "<time>" }.to_owned();
        text = self.time.replace_all(&text, time).into_owned();
        for (rule, shown) in &self.rules {
            text = rule.replace_all(&text, *shown).into_owned();
        }
        squeeze(&text)
    }

    pub fn json(&self, value: Value) -> Value {
        self.member("", value)
    }

    fn member(&self, key: &str, value: Value) -> Value {
        match value {
            Value::String(text) if NUMBERS.contains(&key) && text.parse::<i64>().is_ok() => "<number>".into(),
            Value::String(text) => self.text(&text).into(),
            Value::Number(number) if NUMBERS.contains(&key) && number.as_i64() != Some(0) => "<number>".into(),
            Value::Array(items) => items.into_iter().map(|item| self.member(key, item)).collect(),
            Value::Object(members) => {
                // How long it ran: only newer engines tell.
                let shown = members.into_iter().filter(|(key, _)| key != "execDuration");
                shown.map(|(key, value)| (self.text(&key), self.member(&key, value))).collect()
            }
            other => other,
        }
    }
}

/// Sizes for a comparison of two engines: ours counts blocks on disk, as Docker's containerd image store does, and Docker's
/// graph drivers add up the lengths of files. What has no size is told by both.
pub struct Sizes(Regex);

impl Sizes {
    pub fn new() -> Result<Self> {
        Ok(Self(Regex::new(r"(?m)\b([1-9][0-9.]*|0\.[0-9]+)(B|kB|MB|GB)\b|^[0-9]{6,}$")?))
    }

    pub fn hide(&self, part: &Part) -> Part {
        match part {
            Part::Text(text) => Part::Text(self.text(text)),
            Part::Json(json) => Part::Json(self.member("", json)),
        }
    }

    fn text(&self, text: &str) -> String {
        squeeze(&self.0.replace_all(text, "<size>"))
    }

    fn member(&self, key: &str, value: &Value) -> Value {
        let is_size = SIZES.contains(&key);
        match value {
            Value::String(text) if is_size => self.text(text).into(),
            Value::Number(number) if is_size && number.as_i64().is_some_and(|size| size > 0) => "<size>".into(),
            Value::Array(items) => items.iter().map(|item| self.member(key, item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(key, value)| (key.clone(), self.member(key, value))).collect()
            }
            other => other.clone(),
        }
    }
}

/// Columns are as wide as what stands in them, which was of another length before it was masked.
fn squeeze(text: &str) -> String {
    if !text.contains("<some time>") && !text.contains("<size>") {
        return text.to_owned();
    }
    let mut squeezed = String::new();
    let mut blanks = 0;
    for character in text.chars() {
        blanks = if character == ' ' { blanks + 1 } else { 0 };
        if blanks <= 3 {
            squeezed.push(character);
        }
    }
    squeezed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_from_run_to_run_is_masked_and_the_rest_stays() {
        let mask = Mask::new(vec![("/tmp/x/data".into(), "<data root>"), ("/tmp/x".into(), "<scratch>")]).unwrap();
        let id = "0123456789abcdef".repeat(4);
        let text = format!("sha256:{id} {} /tmp/x/data/y Up 3 seconds      2026-01-02T03:04:05.6Z {NEVER}", &id[..12]);
        let masked = "sha256:<id> <short id> <data root>/y Up <some time>   <time> 0001-01-01T00:00:00Z";
        assert_eq!(mask.text(&text), masked);
        let masked = mask.json(json!({"Pid": 12, "Size": 12, "Created": 0, id.clone(): [id]}));
        assert_eq!(masked, json!({"Pid": "<number>", "Size": 12, "Created": 0, "<id>": ["<id>"]}));
    }

    #[test]
    fn sizes_are_hidden_where_there_are_any() {
        let sizes = Sizes::new().unwrap();
        let Part::Json(json) = sizes.hide(&Part::Json(json!({"Size": 5, "SizeRw": 0, "Memory": 5}))) else { panic!() };
        assert_eq!(json, json!({"Size": "<size>", "SizeRw": 0, "Memory": 5}));
        let Part::Text(text) = sizes.hide(&Part::Text("0B (virtual 1.98MB)      x 12 kB".into())) else { panic!() };
        assert_eq!(text, "0B (virtual <size>)   x 12 kB");
    }
}
