//! The daemon's options: one table gives the flag, its `daemon.json` key and its help.
//!
//! A flag and the same key in the file are an error, as in Docker: nobody should have to guess which one won.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

const DEFAULT_CONFIG_FILE: &str = "/etc/docker/daemon.json";

/// What the table's value is on the command line.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Switch,
    Text,
    Number,
    /// May be given again and again.
    List,
    /// `key=value`, may be given again and again.
    Pairs,
}

struct Opt {
    flag: &'static str,
    short: Option<char>,
    /// Empty: command line only.
    key: &'static str,
    kind: Kind,
    help: &'static str,
}

const fn opt(flag: &'static str, short: Option<char>, key: &'static str, kind: Kind, help: &'static str) -> Opt {
    Opt { flag, short, key, kind, help }
}

#[rustfmt::skip]
const OPTIONS: &[Opt] = &[
    opt("bip", None, "bip", Kind::Text, "Address and prefix of the default bridge"),
    opt("bridge", Some('b'), "bridge", Kind::Text, "Attach containers to this bridge; \"none\" for no default network"),
    opt("cgroup-parent", None, "cgroup-parent", Kind::Text, "Parent cgroup of all containers"),
    opt("config-file", None, "", Kind::Text, "Daemon configuration file (default \"/etc/docker/daemon.json\")"),
    opt("containerd", None, "containerd", Kind::Text, "Address of a containerd that is running already"),
    opt("data-root", None, "data-root", Kind::Text, "Root of what must survive a reboot (default \"/var/lib/docker\")"),
    opt("debug", Some('D'), "debug", Kind::Switch, "Log at level debug"),
    opt("dns", None, "dns", Kind::List, "DNS server of containers"),
    opt("dns-opt", None, "dns-opts", Kind::List, "DNS option of containers"),
    opt("dns-search", None, "dns-search", Kind::List, "DNS search domain of containers"),
    opt("exec-root", None, "exec-root", Kind::Text, "Root of what may be gone after a reboot (default \"/var/run/docker\")"),
    opt("group", Some('G'), "group", Kind::Text, "Group of the Unix socket (default \"docker\")"),
    opt("host", Some('H'), "hosts", Kind::List, "Sockets to serve on"),
    opt("insecure-registry", None, "insecure-registries", Kind::List, "Registry that may be spoken to without TLS"),
    opt("label", None, "labels", Kind::List, "key=value label of the daemon"),
    opt("log-driver", None, "log-driver", Kind::Text, "Default log driver of containers (default \"json-file\")"),
    opt("log-level", Some('l'), "log-level", Kind::Text, "debug, info, warn, error or fatal (default \"info\")"),
    opt("log-opt", None, "log-opts", Kind::Pairs, "Default log driver options of containers"),
    opt("mtu", None, "mtu", Kind::Number, "MTU of the default network"),
    opt("pidfile", Some('p'), "pidfile", Kind::Text, "File for the daemon's process id (default \"/var/run/docker.pid\")"),
    opt("shutdown-timeout", None, "shutdown-timeout", Kind::Number, "Seconds to wait for requests on the way down"),
];

/// What the daemon was told, flags and file together. Unset means Docker's default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    pub bip: Option<String>,
    pub bridge: Option<String>,
    pub cgroup_parent: Option<String>,
    pub containerd: Option<PathBuf>,
    pub data_root: Option<PathBuf>,
    pub debug: bool,
    pub dns: Vec<String>,
    pub dns_opts: Vec<String>,
    pub dns_search: Vec<String>,
    pub exec_root: Option<PathBuf>,
    pub group: Option<String>,
    pub hosts: Vec<String>,
    pub insecure_registries: Vec<String>,
    pub labels: Vec<String>,
    pub log_driver: Option<String>,
    pub log_level: Option<String>,
    pub log_opts: std::collections::BTreeMap<String, String>,
    pub mtu: Option<u32>,
    pub pidfile: Option<PathBuf>,
    pub shutdown_timeout: Option<u32>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    Serve(Box<Config>),
    Help,
    Version,
}

/// From the words behind the program's name, and the configuration file that they (or the default) name.
pub fn read(words: &[String]) -> Result<Asked> {
    let Some(mut flags) = parse(words)? else {
        let wants_version = words.iter().any(|w| w == "--version" || w == "-v");
        return Ok(if wants_version { Asked::Version } else { Asked::Help });
    };
    let named = flags.remove("config-file").and_then(|value| value.as_str().map(PathBuf::from));
    let file = read_file(named.as_deref())?;
    let merged = merge(flags, file)?;
    Ok(Asked::Serve(Box::new(serde_json::from_value(Value::Object(merged)).context("unable to configure the daemon")?)))
}

/// `None` when help or the version is asked for.
fn parse(words: &[String]) -> Result<Option<Map<String, Value>>> {
    let mut flags = Map::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if matches!(name, "--help" | "-h" | "--version" | "-v") {
            return Ok(None);
        }
        let option = find(name)?;
        let value = match (option.kind, inline) {
            (_, Some(value)) => value,
            (Kind::Switch, None) => "true".to_owned(),
            (_, None) => rest.next().cloned().with_context(|| format!("flag needs an argument: {name}"))?,
        };
        set(&mut flags, option, value)?;
    }
    Ok(Some(flags))
}

fn find(name: &str) -> Result<&'static Opt> {
    let found = match (name.strip_prefix("--"), name.strip_prefix('-')) {
        (Some(long), _) => OPTIONS.iter().find(|o| o.flag == long),
        (None, Some(short)) => {
            OPTIONS.iter().find(|o| o.short.is_some_and(|s| short.len() == 1 && short.starts_with(s)))
        }
        (None, None) => bail!("\"dockerd\" accepts no arguments"),
    };
    found.with_context(|| format!("unknown flag: {name}"))
}

fn set(flags: &mut Map<String, Value>, option: &Opt, value: String) -> Result<()> {
    let key = if option.key.is_empty() { option.flag } else { option.key };
    let invalid = || format!("invalid argument \"{value}\" for \"--{}\" flag", option.flag);
    match option.kind {
        Kind::Text => drop(flags.insert(key.to_owned(), Value::from(value))),
        Kind::Number => drop(flags.insert(key.to_owned(), Value::from(value.parse::<u32>().with_context(invalid)?))),
        Kind::Switch => drop(flags.insert(key.to_owned(), Value::from(value.parse::<bool>().with_context(invalid)?))),
        Kind::List => {
            if let Value::Array(list) = flags.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
                list.push(Value::from(value));
            }
        }
        Kind::Pairs => {
            let (name, text) = value.split_once('=').with_context(invalid)?;
            if let Value::Object(pairs) = flags.entry(key).or_insert_with(|| Value::Object(Map::new())) {
                pairs.insert(name.to_owned(), Value::from(text));
            }
        }
    }
    Ok(())
}

/// A file that was named must be there; the default one may be missing.
fn read_file(named: Option<&Path>) -> Result<Map<String, Value>> {
    let path = named.unwrap_or(Path::new(DEFAULT_CONFIG_FILE));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(Map::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("unable to read the configuration file {}", path.display()));
        }
    };
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(&text).with_context(|| format!("unable to configure the daemon with file {}", path.display()))
}

fn merge(mut flags: Map<String, Value>, file: Map<String, Value>) -> Result<Map<String, Value>> {
    let unknown: Vec<&str> =
        file.keys().map(String::as_str).filter(|key| !OPTIONS.iter().any(|o| o.key == *key)).collect();
    if !unknown.is_empty() {
        bail!("the following directives don't match any configuration option: {}", unknown.join(", "));
    }
    let twice: Vec<String> = file
        .iter()
        .filter_map(|(key, value)| flags.get(key).map(|flag| format!("{key}: (from flag: {flag}, from file: {value})")))
        .collect();
    if !twice.is_empty() {
        bail!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            twice.join(", ")
        );
    }
    flags.extend(file);
    Ok(flags)
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from("Usage:\tdockerd [OPTIONS]\n\nA self-sufficient runtime for containers.\n\nOptions:\n");
    for option in OPTIONS {
        let short = option.short.map(|c| format!("-{c}, ")).unwrap_or_else(|| "    ".to_owned());
        let value = match option.kind {
            Kind::Switch => "",
            Kind::Text => " string",
            Kind::Number => " int",
            Kind::List => " list",
            Kind::Pairs => " map",
        };
        text.push_str(&format!("  {short}--{:<28} {}\n", format!("{}{value}", option.flag), option.help));
    }
    text.push_str("  -v, --version                      Print version information and quit\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn file(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn flags_and_file_together_make_the_configuration() {
        let flags = parse(&words("-H unix:///a.sock --host=tcp://127.0.0.1:1 -D --mtu 1400 --log-opt max-size=1m"))
            .unwrap()
            .unwrap();
        let merged = merge(flags, file(r#"{"data-root": "/d", "dns": ["1.1.1.1"]}"#)).unwrap();
        let config: Config = serde_json::from_value(Value::Object(merged)).unwrap();
        assert_eq!(config.hosts, ["unix:///a.sock", "tcp://127.0.0.1:1"]);
        assert!(config.debug);
        assert_eq!((config.mtu, config.data_root.as_deref()), (Some(1400), Some(Path::new("/d"))));
        assert_eq!(config.log_opts["max-size"], "1m");
    }

    #[test]
    fn a_directive_in_both_places_is_refused() {
        let flags = parse(&words("--debug=false")).unwrap().unwrap();
        let error = merge(flags, file(r#"{"debug": true}"#)).unwrap_err().to_string();
        assert!(error.ends_with("configuration file: debug: (from flag: false, from file: true)"), "{error}");
    }

    #[test]
    fn unknown_words_are_named() {
        assert_eq!(parse(&words("--colour red")).unwrap_err().to_string(), "unknown flag: --colour");
        assert_eq!(parse(&words("--mtu")).unwrap_err().to_string(), "flag needs an argument: --mtu");
        let error = merge(Map::new(), file(r#"{"colour": 1}"#)).unwrap_err().to_string();
        assert_eq!(error, "the following directives don't match any configuration option: colour");
    }
}
