//! One definition per flag: the parser, the help, the completion and the manual read the same row.

use crate::text::quote;

/// What a flag takes, and what of it is refused while the line is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Takes a value only as `--flag=false`.
    Bool,
    Text,
    Int,
    Uint,
    Uint16,
    /// `512m`.
    Bytes,
    /// `1.5`, to a billionth.
    Decimal,
    /// Go's `1h2m3.5s`.
    Duration,
    /// `key=value`.
    Filter,
    /// May be given again and again.
    List,
    /// The same, and each may hold several, comma-separated.
    Strings,
    /// `key=value` again and again; the last one of a key counts.
    Map,
    /// The same, and each may hold several, comma-separated.
    Pairs,
    Mount,
    Network,
    Ulimit,
    Gpus,
}

/// Which daemons know a flag or a command: the others' pages leave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemons {
    All,
    Windows,
    Experimental,
    SwarmManager,
}

/// Refuses a value in words of its own.
pub type Check = fn(&str) -> Result<(), String>;

/// A row of a command's flags.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    /// As the help shows it; the value where the kind has one.
    pub default: &'static str,
    pub usage: &'static str,
    /// Works and is not shown: an old spelling.
    pub hidden: bool,
    /// What is said when it is used: what to do instead. Empty for a flag that is as good as ever.
    pub deprecated: &'static str,
    /// A variable of the environment whose value is the default where it is set.
    pub variable: &'static str,
    /// Which daemons know it.
    pub daemon: Daemons,
    /// The flag whose value this one sets.
    pub target: &'static str,
    /// A rule beyond the kind's own.
    pub check: Option<Check>,
}

/// In the place of a short name.
pub const NONE: char = '\0';

/// A row.
pub const fn flag(long: &'static str, short: char, kind: Kind, default: &'static str, usage: &'static str) -> Flag {
    let short = if short == NONE { None } else { Some(short) };
    Flag {
        long,
        short,
        kind,
        default,
        usage,
        hidden: false,
        deprecated: "",
        variable: "",
        daemon: Daemons::All,
        target: long,
        check: None,
    }
}

impl Flag {
    /// An old spelling of `target`.
    pub const fn alias_of(mut self, target: &'static str) -> Self {
        self.hidden = true;
        self.target = target;
        self
    }

    /// Works, is not shown, and using it is answered with what to do instead.
    pub const fn deprecated(mut self, instead: &'static str) -> Self {
        self.hidden = true;
        self.deprecated = instead;
        self
    }

    /// Works and is not shown.
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Has its default from the environment, if there is one.
    pub const fn or_variable(mut self, variable: &'static str) -> Self {
        self.variable = variable;
        self
    }

    /// The value where none is typed; the environment's stays for the whole run.
    pub fn default_value(&self) -> &'static str {
        match self.variable {
            "" => self.default,
            variable => std::env::var(variable).map_or(self.default, |value| value.leak()),
        }
    }

    /// Shown only for these daemons.
    pub const fn only(mut self, daemon: Daemons) -> Self {
        self.daemon = daemon;
        self
    }

    pub const fn checked(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Whether it may be given again and again.
    pub fn is_repeatable(&self) -> bool {
        matches!(
            self.kind,
            Kind::List
                | Kind::Strings
                | Kind::Map
                | Kind::Pairs
                | Kind::Filter
                | Kind::Mount
                | Kind::Network
                | Kind::Ulimit
                | Kind::Gpus
        )
    }

    /// The word behind the flag in the help; a boolean has none.
    pub fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Bool => "",
            Kind::Text => "string",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Uint16 => "uint16",
            Kind::Bytes => "bytes",
            Kind::Decimal => "decimal",
            Kind::Duration => "duration",
            Kind::Filter => "filter",
            Kind::List => "list",
            Kind::Strings => "strings",
            Kind::Map => "map",
            Kind::Pairs => "stringToString",
            Kind::Mount => "mount",
            Kind::Network => "network",
            Kind::Ulimit => "ulimit",
            Kind::Gpus => "gpu-request",
        }
    }

    /// `-m, --memory`, as errors name it.
    pub fn shown_name(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }

    /// Refuses a value with the words that Go's parsers use.
    pub fn check_value(&self, value: &str) -> Result<(), String> {
        let syntax = |parser: &str| format!("strconv.{parser}: parsing {}: invalid syntax", quote(value));
        match self.kind {
            Kind::Bool => parse_bool(value).map(drop).ok_or_else(|| syntax("ParseBool"))?,
            Kind::Int => value.parse::<i64>().map(drop).map_err(|error| number("ParseInt", value, &error))?,
            Kind::Uint => value.parse::<u64>().map(drop).map_err(|error| number("ParseUint", value, &error))?,
            Kind::Uint16 => value.parse::<u16>().map(drop).map_err(|error| number("ParseUint", value, &error))?,
            Kind::Bytes if value == "-1" && self.long == "memory-swap" => {}
            Kind::Bytes => {
                crate::text::size::parse_bytes(value).ok_or_else(|| format!("invalid size: '{value}'"))?;
            }
            Kind::Decimal => crate::text::size::parse_nano_cpus(value).map(drop)?,
            Kind::Duration => {
                crate::text::duration::read_duration(value)?;
            }
            Kind::Pairs => {
                if let Some(pair) = value.split(',').find(|pair| !pair.contains('=')) {
                    return Err(format!("{pair} must be formatted as key=value"));
                }
            }
            Kind::Filter if !value.is_empty() && !value.contains('=') => {
                return Err("bad format of filter (expected name=value)".to_owned());
            }
            Kind::Ulimit => crate::container::devices::parse_ulimit(value).map(drop)?,
            Kind::Mount => crate::container::mounts::parse_mount(value).map(drop)?,
            Kind::Network => crate::container::attachments::parse_network(value).map(drop)?,
            Kind::Gpus => crate::container::devices::parse_gpus(value).map(drop)?,
            _ => {}
        }
        self.check.map_or(Ok(()), |check| check(value))
    }
}

/// Why Go's parser would not take a number.
fn number(parser: &str, value: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let reason = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{parser}: parsing {}: {reason}", quote(value))
}

/// What Go's `strconv.ParseBool` takes for a truth value.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
