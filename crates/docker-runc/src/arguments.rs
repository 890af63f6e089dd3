//! Flags as Go programs of this family take them: `--flag value`, `--flag=value`, one dash or two, `--flag=false`.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Switch,
    Value,
    /// A value that may be given several times.
    List,
}

#[derive(Debug)]
pub struct Flag {
    pub name: &'static str,
    pub short: &'static str,
    pub kind: Kind,
    pub usage: &'static str,
}

/// What the first argument that is no flag means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positionals {
    /// All that follows belongs to it (a command of the container's).
    EndFlags,
    /// Flags may follow.
    BetweenFlags,
}

#[derive(Debug, Default)]
pub struct Parsed {
    values: BTreeMap<&'static str, Vec<String>>,
    pub positionals: Vec<String>,
}

impl Parsed {
    pub fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value != "false")
    }

    /// The last value that was given.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(|values| values.last()).map(String::as_str)
    }

    pub fn list(&self, name: &str) -> Vec<String> {
        self.values.get(name).cloned().unwrap_or_default()
    }
}

pub fn parse(flags: &'static [Flag], args: &[String], positionals: Positionals) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            parsed.positionals.extend(args.by_ref().cloned());
            break;
        }
        if !arg.starts_with('-') || arg == "-" {
            parsed.positionals.push(arg.clone());
            if positionals == Positionals::EndFlags {
                parsed.positionals.extend(args.by_ref().cloned());
            }
            continue;
        }
        let body = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).unwrap_or(arg);
        let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value.to_string())));
        let known = flags.iter().find(|flag| flag.name == name || !flag.short.is_empty() && flag.short == name);
        let flag = known.ok_or_else(|| format!("flag provided but not defined: -{name}"))?;
        let value = match (flag.kind, value) {
            (Kind::Switch, None) => "true".to_string(),
            (Kind::Switch, Some(value)) => switch(name, &value)?,
            (_, Some(value)) => value,
            (_, None) => args.next().cloned().ok_or_else(|| format!("flag needs an argument: -{name}"))?,
        };
        parsed.values.entry(flag.name).or_default().push(value);
    }
    Ok(parsed)
}

fn switch(name: &str, value: &str) -> Result<String, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".into()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".into()),
        other => Err(format!("invalid boolean value {other:?} for -{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag { name: "bundle", short: "b", kind: Kind::Value, usage: "" },
        Flag { name: "detach", short: "d", kind: Kind::Switch, usage: "" },
        Flag { name: "env", short: "e", kind: Kind::List, usage: "" },
    ];

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn flags_come_in_all_of_gos_spellings() {
        let args = strings(&["-bundle", "/a", "--detach=false", "--env=A=1", "-e", "B=2", "id", "-d"]);
        let parsed = parse(FLAGS, &args, Positionals::BetweenFlags).expect("valid");
        assert_eq!(parsed.value("bundle"), Some("/a"));
        assert!(parsed.is_set("detach"), "the last one counts");
        assert_eq!(parsed.list("env"), ["A=1", "B=2"]);
        assert_eq!(parsed.positionals, ["id"]);
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let parsed = parse(FLAGS, &strings(&["-d", "id", "ls", "-b"]), Positionals::EndFlags).expect("valid");
        assert_eq!(parsed.positionals, ["id", "ls", "-b"]);
    }

    #[test]
    fn unknown_flags_and_missing_values_are_errors() {
        let error = |args: &[&str]| parse(FLAGS, &strings(args), Positionals::EndFlags).expect_err("invalid");
        assert_eq!(error(&["--nope"]), "flag provided but not defined: -nope");
        assert_eq!(error(&["--bundle"]), "flag needs an argument: -bundle");
        assert_eq!(error(&["--detach=maybe"]), "invalid boolean value \"maybe\" for -detach");
    }
}
