//! Reads a command line the way Docker's client does.
//!
//! `--flag=value`, `--flag value`, `-f value`, `-fvalue`, combined booleans (`-it`), `--` ends the flags, and where the
//! rest is another program's line (`run`, `exec`) the first positional ends them too.

use std::collections::BTreeMap;

use super::flag::{Flag, Kind, parse_bool};
use crate::text::quote;

/// Said of `-h` where it is not a flag of the command.
const SHORT_HELP: &str = "Flag shorthand -h has been deprecated, use --help\n";

/// What was typed for a command.
#[derive(Debug, Default, Clone)]
pub struct Matches {
    values: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
    /// Positional arguments.
    pub args: Vec<String>,
    /// `--help`, or an `-h` that means nothing else.
    pub wants_help: bool,
    /// What is said of old spellings that were used, a line each.
    pub notices: String,
}

/// Whether flags may stand behind positional arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Interspersed,
    FlagsFirst,
}

/// What the line stopped at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("unknown flag: --{0}")]
    UnknownLong(String),
    #[error("unknown shorthand flag: {0:?} in -{1}")]
    UnknownShort(char, String),
    #[error("flag needs an argument: --{0}")]
    LongNeedsArgument(String),
    #[error("flag needs an argument: {0:?} in -{1}")]
    ShortNeedsArgument(char, String),
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("invalid argument {} for {flag:?} flag: {reason}", quote(.value))]
    Invalid { value: String, flag: String, reason: String },
}

/// Reads arguments behind the command's words.
pub fn parse(flags: &[&'static [Flag]], order: Order, words: &[String]) -> Result<Matches, ParseError> {
    let mut reader = Reader { flags, matches: Matches::with_defaults(flags) };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            reader.matches.args.extend(rest.cloned());
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            reader.long(word, long, &mut rest)?;
        } else if word.len() > 1 && word.starts_with('-') {
            reader.shorts(&word[1..], &mut rest)?;
        } else {
            reader.matches.args.push(word.clone());
            if order == Order::FlagsFirst {
                reader.matches.args.extend(rest.cloned());
                break;
            }
        }
    }
    Ok(reader.matches)
}

struct Reader<'a> {
    flags: &'a [&'static [Flag]],
    matches: Matches,
}

impl Reader<'_> {
    fn find(&self, wanted: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.flags.iter().flat_map(|group| group.iter()).find(|flag| wanted(flag))
    }

    fn long<'a>(
        &mut self,
        word: &str,
        long: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), ParseError> {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(ParseError::Syntax(word.to_owned()));
        }
        if name == "help" {
            let value = value.as_deref().unwrap_or("true");
            self.matches.wants_help = parse_bool(value).ok_or_else(|| ParseError::Invalid {
                value: value.to_owned(),
                flag: "--help".to_owned(),
                reason: format!("strconv.ParseBool: parsing {}: invalid syntax", quote(value)),
            })?;
            return Ok(());
        }
        let Some(flag) = self.find(|flag| flag.long == name) else {
            return Err(ParseError::UnknownLong(name.to_owned()));
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind == Kind::Bool => "true".to_owned(),
            None => rest.next().cloned().ok_or_else(|| ParseError::LongNeedsArgument(name.to_owned()))?,
        };
        self.set(flag, value)
    }

    fn shorts<'a>(&mut self, cluster: &str, rest: &mut impl Iterator<Item = &'a String>) -> Result<(), ParseError> {
        let mut tail = cluster;
        while let Some(short) = tail.chars().next() {
            let behind = &tail[short.len_utf8()..];
            let Some(flag) = self.find(|flag| flag.short == Some(short)) else {
                if short != 'h' {
                    return Err(ParseError::UnknownShort(short, tail.to_owned()));
                }
                self.matches.wants_help = true;
                self.matches.notices.push_str(SHORT_HELP);
                tail = behind;
                continue;
            };
            if let Some(value) = behind.strip_prefix('=') {
                return self.set(flag, value.to_owned());
            }
            if flag.kind == Kind::Bool {
                self.set(flag, "true".to_owned())?;
                tail = behind;
                continue;
            }
            let value = if behind.is_empty() {
                rest.next().cloned().ok_or_else(|| ParseError::ShortNeedsArgument(short, tail.to_owned()))?
            } else {
                behind.to_owned()
            };
            return self.set(flag, value);
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, value: String) -> Result<(), ParseError> {
        flag.check_value(&value).map_err(|reason| ParseError::Invalid {
            value: value.clone(),
            flag: flag.shown_name(),
            reason,
        })?;
        if !flag.deprecated.is_empty() {
            let notice = format!("Flag --{} has been deprecated, {}\n", flag.long, flag.deprecated);
            self.matches.notices.push_str(&notice);
        }
        let values = self.matches.values.entry(flag.target).or_default();
        match flag.kind {
            Kind::Strings | Kind::Pairs => values.extend(value.split(',').map(str::to_owned)),
            Kind::List | Kind::Map | Kind::Filter | Kind::Mount | Kind::Network | Kind::Ulimit | Kind::Gpus => {
                values.push(value);
            }
            _ => *values = vec![value],
        }
        Ok(())
    }
}

impl Matches {
    fn with_defaults(flags: &[&'static [Flag]]) -> Self {
        let rows = flags.iter().flat_map(|group| group.iter());
        let defaults = rows.map(|flag| (flag.long, flag.default_value())).filter(|(_, default)| !default.is_empty());
        Self { defaults: defaults.collect(), ..Self::default() }
    }

    /// Whether the flag was typed.
    pub fn given(&self, long: &str) -> bool {
        self.values.contains_key(long)
    }

    /// The value, the default, or nothing.
    pub fn text(&self, long: &str) -> &str {
        let typed = self.values.get(long).and_then(|values| values.last()).map(String::as_str);
        typed.or_else(|| self.defaults.get(long).copied()).unwrap_or_default()
    }

    pub fn is_set(&self, long: &str) -> bool {
        parse_bool(self.text(long)).unwrap_or(false)
    }

    /// The number; checked when the line was read.
    pub fn int(&self, long: &str) -> i64 {
        self.text(long).parse().unwrap_or(0)
    }

    /// All values, in the order typed.
    pub fn list(&self, long: &str) -> &[String] {
        self.values.get(long).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn arg(&self, index: usize) -> &str {
        self.args.get(index).map(String::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::flag::{NONE, flag};
    use super::*;

    const FLAGS: &[Flag] = &[
        flag("interactive", 'i', Kind::Bool, "", ""),
        flag("tty", 't', Kind::Bool, "", ""),
        flag("sig-proxy", NONE, Kind::Bool, "true", ""),
        flag("env", 'e', Kind::List, "", ""),
        flag("network", NONE, Kind::List, "", ""),
        flag("net", NONE, Kind::List, "", "").alias_of("network"),
        flag("memory", 'm', Kind::Bytes, "", ""),
        flag("last", 'n', Kind::Int, "-1", ""),
        flag("subnet", NONE, Kind::Strings, "", ""),
    ];

    fn read(order: Order, line: &str) -> Result<Matches, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&[FLAGS], order, &words).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_joined_separate_or_behind_an_equals_sign() {
        let m = read(Order::Interspersed, "-it -eA=1 -e B --env=C --sig-proxy=false -n5 x --net a --network b -- -y")
            .unwrap();
        assert!(m.is_set("interactive") && m.is_set("tty") && !m.is_set("sig-proxy"));
        assert_eq!(m.list("env"), ["A=1", "B", "C"]);
        assert_eq!(m.list("network"), ["a", "b"]);
        assert_eq!(m.int("last"), 5);
        assert_eq!(m.args, ["x", "-y"]);
        let m = read(Order::Interspersed, "--subnet 10.0.0.0/8,fd00::/8 --subnet 11.0.0.0/8").unwrap();
        assert_eq!(m.list("subnet").len(), 3);
    }

    #[test]
    fn the_line_of_another_program_is_left_alone() {
        let m = read(Order::FlagsFirst, "-i image -e --nothing -- x").unwrap();
        assert_eq!(m.args, ["image", "-e", "--nothing", "--", "x"]);
        assert!(!m.given("env"));
    }

    #[test]
    fn defaults_stand_until_a_value_is_typed() {
        let m = read(Order::Interspersed, "").unwrap();
        assert!(m.is_set("sig-proxy"));
        assert_eq!(m.int("last"), -1);
        assert!(!m.given("last"));
    }

    #[test]
    fn help_is_a_flag_like_others_and_its_short_form_is_old() {
        let m = read(Order::Interspersed, "--help -n5 x").unwrap();
        assert!(m.wants_help && m.notices.is_empty() && m.int("last") == 5);
        let m = read(Order::Interspersed, "-th").unwrap();
        assert!(m.wants_help && m.is_set("tty"));
        assert_eq!(m.notices, SHORT_HELP);
        assert_eq!(read(Order::Interspersed, "--help --foo").unwrap_err(), "unknown flag: --foo");
    }

    #[test]
    fn a_wrong_line_gets_dockers_words() {
        let cases = [
            ("--foo", "unknown flag: --foo"),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("-itx", "unknown shorthand flag: 'x' in -x"),
            ("--env", "flag needs an argument: --env"),
            ("-ie", "flag needs an argument: 'e' in -e"),
            ("---x", "bad flag syntax: ---x"),
            ("-m abc", "invalid argument \"abc\" for \"-m, --memory\" flag: invalid size: 'abc'"),
            ("-nx", "invalid argument \"x\" for \"-n, --last\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"),
            (
                "--tty=maybe",
                "invalid argument \"maybe\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
        ];
        for (line, words) in cases {
            assert_eq!(read(Order::Interspersed, line).unwrap_err(), words, "{line}");
        }
    }
}
