//! What ARG means: given values, defaults before the first FROM, and what a stage declares.

use std::collections::{BTreeMap, BTreeSet};

/// Arguments that need no declaration; they are neither in a cache's key nor in an image's history.
pub const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The time that nothing in an image may pass; a build reads it itself.
pub const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Asks for the build's steps in the image's configuration; a build reads it itself.
pub const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";

/// The arguments of one build.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    /// `--build-arg`; `None` for a name without a value.
    given: BTreeMap<String, Option<String>>,
    /// Of the platforms: known before the first FROM, declared by a stage that wants them.
    predefined: BTreeMap<String, String>,
    /// Declared before the first FROM.
    global: BTreeMap<String, Option<String>>,
    /// Declared in the stage.
    declared: BTreeMap<String, Option<String>>,
    used: BTreeSet<String>,
}

impl Arguments {
    pub fn new(given: BTreeMap<String, Option<String>>, predefined: BTreeMap<String, String>) -> Self {
        Self { given, predefined, ..Self::default() }
    }

    /// `ARG` before the first FROM; the default is expanded already.
    pub fn declare_global(&mut self, name: &str, default: Option<String>) {
        self.used.insert(name.to_owned());
        let value = self.given_value(name).or(default);
        self.global.insert(name.to_owned(), value);
    }

    /// What FROM sees.
    pub fn global_value(&self, name: &str) -> Option<String> {
        self.global.get(name).cloned().unwrap_or_else(|| self.predefined.get(name).cloned())
    }

    /// A new stage has declared nothing.
    pub fn enter_stage(&mut self) {
        self.declared.clear();
    }

    /// `ARG` within a stage; the default is expanded already.
    pub fn declare(&mut self, name: &str, default: Option<String>) {
        self.used.insert(name.to_owned());
        let inherited = || self.global.get(name).cloned().flatten().or_else(|| self.predefined.get(name).cloned());
        let value = self.given_value(name).or(default).or_else(inherited);
        self.declared.insert(name.to_owned(), value);
    }

    /// What an instruction of the stage sees.
    pub fn value(&self, name: &str) -> Option<String> {
        self.declared.get(name).cloned().flatten()
    }

    /// `NAME=value` of all that a RUN of the stage sees, without proxies that nobody declared.
    pub fn of_run(&self) -> Vec<String> {
        let declared = self.declared.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        declared.collect()
    }

    /// Proxies that were given and not declared.
    pub fn proxies(&self) -> Vec<String> {
        let hidden = PROXIES.iter().filter(|name| !self.declared.contains_key(**name));
        hidden.filter_map(|name| Some(format!("{name}={}", self.given_value(name)?))).collect()
    }

    /// What another stage has declared counts as well.
    pub fn add_used(&mut self, other: &Self) {
        self.used.extend(other.used.iter().cloned());
    }

    /// Given and never declared.
    pub fn unused(&self) -> Vec<String> {
        let known = |name: &str| name == EPOCH || name == INLINE_CACHE || PROXIES.contains(&name);
        let is_unused = |name: &&String| !self.used.contains(*name) && !known(name);
        self.given.keys().filter(is_unused).cloned().collect()
    }

    /// A given value, whether it was declared or not.
    pub fn given_value(&self, name: &str) -> Option<String> {
        self.given.get(name).cloned().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Arguments {
        let given = [("A", Some("given")), ("HTTP_PROXY", Some("p")), ("LOST", Some("x"))];
        let given = given.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).into();
        Arguments::new(given, [("TARGETARCH".to_owned(), "amd64".to_owned())].into())
    }

    #[test]
    fn a_stage_sees_what_it_declares() {
        let mut arguments = arguments();
        arguments.declare_global("A", Some("default".to_owned()));
        arguments.declare_global("G", Some("global".to_owned()));
        assert_eq!(arguments.global_value("A").as_deref(), Some("given"));
        assert_eq!(arguments.global_value("TARGETARCH").as_deref(), Some("amd64"));
        arguments.enter_stage();
        assert_eq!(arguments.value("G"), None);
        arguments.declare("G", None);
        arguments.declare("B", Some("b".to_owned()));
        arguments.declare("TARGETARCH", None);
        arguments.declare("N", None);
        assert_eq!(arguments.of_run(), ["B=b", "G=global", "TARGETARCH=amd64"]);
        arguments.enter_stage();
        assert_eq!(arguments.of_run(), Vec::<String>::new());
    }

    #[test]
    fn proxies_need_no_declaration_and_the_unused_are_told() {
        let mut arguments = arguments();
        arguments.declare("A", None);
        assert_eq!(arguments.proxies(), ["HTTP_PROXY=p"]);
        arguments.declare("HTTP_PROXY", None);
        assert_eq!(arguments.proxies(), Vec::<String>::new());
        assert_eq!(arguments.unused(), ["LOST"]);
    }
}
