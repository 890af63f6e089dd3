//! What a driver knows of a container: attributes that the options ask for, and the tag.

use std::collections::BTreeMap;

use go_template::{Mode, Template, Value};
use logs::Timestamp;
use regex_lite::Regex;

use crate::Error;
use crate::messages::wrong;

/// Options by name, as `--log-opt` gives them.
pub type Options = BTreeMap<String, String>;

/// Docker's tag where the user gives none.
pub(crate) const DEFAULT_TAG: &str = "{{.ID}}";
/// Characters of a short id.
const SHORT: usize = 12;

/// A container as its log driver sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    pub options: Options,
    pub container_id: String,
    /// Without the slash.
    pub name: String,
    pub entrypoint: String,
    pub args: Vec<String>,
    /// With its algorithm.
    pub image_id: String,
    /// As the user gave it.
    pub image_name: String,
    pub created: Timestamp,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub labels: BTreeMap<String, String>,
}

impl Info {
    /// An option that is given and not empty.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Labels and environment that the options name, by what `rename` makes of their names.
    pub(crate) fn attributes(&self, rename: impl Fn(&str) -> String) -> Result<BTreeMap<String, String>, Error> {
        let mut attributes = BTreeMap::new();
        let env: BTreeMap<&str, &str> = self.env.iter().filter_map(|pair| pair.split_once('=')).collect();
        let labels = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        for (list, pattern, values) in [("labels", "labels-regex", labels), ("env", "env-regex", env)] {
            for name in self.option(list).into_iter().flat_map(|names| names.split(',')) {
                if let Some(value) = values.get(name) {
                    attributes.insert(rename(name), (*value).to_owned());
                }
            }
            if let Some(pattern) = self.option(pattern) {
                let pattern = Regex::new(pattern).map_err(|error| bad_pattern(pattern, &error))?;
                let found = values.iter().filter(|(name, _)| pattern.is_match(name));
                attributes.extend(found.map(|(name, value)| (rename(name), (*value).to_owned())));
            }
        }
        Ok(attributes)
    }

    /// The tag that the options or else `default` describe.
    pub(crate) fn tag(&self, default: &str) -> Result<String, Error> {
        let template = self.option("tag").unwrap_or(default);
        let named = |error: go_template::TemplateError| {
            let text = error.to_string().replacen("template: :", "template: log-tag:", 1);
            wrong(text.replacen("executing \"\"", "executing \"log-tag\"", 1))
        };
        Template::parse(template).and_then(|template| template.render(&self.value(), Mode::Object)).map_err(named)
    }

    pub(crate) fn short_id(&self) -> &str {
        short(&self.container_id)
    }

    pub(crate) fn command(&self) -> String {
        [&self.entrypoint].into_iter().chain(&self.args).map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Fields and methods of Docker's structure.
    fn value(&self) -> Value {
        let list = |list: &[String]| Value::List(list.iter().map(Value::text).collect());
        let map = |map: &BTreeMap<String, String>| {
            Value::Map(map.iter().map(|(name, value)| (name.clone(), Value::text(value))).collect())
        };
        let texts = [
            ("ContainerID", self.container_id.clone()),
            ("ContainerName", format!("/{}", self.name)),
            ("ContainerEntrypoint", self.entrypoint.clone()),
            ("ContainerImageID", self.image_id.clone()),
            ("ContainerImageName", self.image_name.clone()),
            ("ContainerCreated", self.created.to_string()),
            ("DaemonName", "docker".to_owned()),
            ("ID", self.short_id().to_owned()),
            ("FullID", self.container_id.clone()),
            ("Name", self.name.clone()),
            ("Command", self.command()),
            ("ImageID", short(&self.image_id).to_owned()),
            ("ImageFullID", self.image_id.clone()),
            ("ImageName", self.image_name.clone()),
            ("Hostname", host_name()),
        ];
        let mut members: Vec<(String, Value)> =
            texts.into_iter().map(|(name, text)| (name.to_owned(), Value::text(text))).collect();
        members.push(("Config".to_owned(), map(&self.options)));
        members.push(("ContainerArgs".to_owned(), list(&self.args)));
        members.push(("ContainerEnv".to_owned(), list(&self.env)));
        members.push(("ContainerLabels".to_owned(), map(&self.labels)));
        Value::structure(members)
    }
}

fn bad_pattern(pattern: &str, error: &regex_lite::Error) -> Error {
    wrong(format!("error parsing regexp: {error}: `{pattern}`"))
}

fn short(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..SHORT).unwrap_or(digits)
}

/// This host's name, as receivers know it.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn info(options: &[(&str, &str)]) -> Info {
        Info {
            options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            container_id: "0123456789abcdef".repeat(4),
            name: "web".into(),
            entrypoint: "/bin/sh".into(),
            args: vec!["-c".into(), "true".into()],
            image_id: format!("sha256:{}", "fedcba9876543210".repeat(4)),
            image_name: "busybox:1".into(),
            created: Timestamp { seconds: 1_700_000_000, nanos: 0 },
            env: vec!["A=1".into(), "B_ONE=x=y".into(), "NOVALUE".into()],
            labels: [("com.example.a".to_owned(), "la".to_owned()), ("b".to_owned(), "lb".to_owned())].into(),
        }
    }

    #[test]
    fn attributes_are_named_by_list_and_by_pattern() {
        let asked = info(&[("labels", "b,none"), ("labels-regex", "^com\\."), ("env", "A"), ("env-regex", "^B_")]);
        let attributes = asked.attributes(|name| format!("_{name}")).unwrap();
        let wanted = [("_A", "1"), ("_B_ONE", "x=y"), ("_b", "lb"), ("_com.example.a", "la")];
        assert_eq!(attributes.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), wanted);
        let error = info(&[("env-regex", "(")]).attributes(str::to_owned).unwrap_err().to_string();
        assert!(error.starts_with("error parsing regexp: ") && error.ends_with(": `(`"), "{error}");
    }

    #[test]
    fn tags_are_templates_over_dockers_fields() {
        let tag = |template: &str| info(&[("tag", template)]).tag(DEFAULT_TAG).map_err(|error| error.to_string());
        assert_eq!(info(&[]).tag(DEFAULT_TAG).unwrap(), "0123456789ab");
        assert_eq!(tag("plain").unwrap(), "plain");
        assert_eq!(tag("{{.ImageName}}/{{.Name}}/{{.ID}}").unwrap(), "busybox:1/web/0123456789ab");
        assert_eq!(tag("{{.ImageID}} {{upper .Name}} {{.Command}}").unwrap(), "fedcba987654 WEB /bin/sh -c true");
        assert_eq!(tag("{{index .ContainerLabels \"b\"}}{{.DaemonName}}").unwrap(), "lbdocker");
        assert!(tag("{{.Nope}}").unwrap_err().starts_with("template: log-tag:1:"));
        assert!(tag("{{").unwrap_err().starts_with("template: log-tag:1: "));
    }
}
