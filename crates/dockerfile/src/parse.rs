//! One instruction's text into its typed form.

use go_text::duration::read_duration;

use crate::error::ParseError;
use crate::flags::{self, FlagError, Flags};
use crate::heredoc;
use crate::instruction::{
    Arg, CommandLine, Healthcheck, Instruction, NetworkMode, Pair, Run, SecurityMode, Source, Statement, Transfer,
};
use crate::lines::{Lines, Node, is_blank};
use crate::mount::Mount;
use crate::names::closest;
use crate::words;

/// Every keyword.
pub(crate) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The shortest interval of a probe that Docker takes: a millisecond.
const SHORTEST_PROBE: i64 = 1_000_000;

const PAIR_FORM: &str = "name=value";
const BLANKS_FORM: &str = "a value with blanks is quoted: name=\"two words\"";
const SHELL_FORM: &str = "SHELL [\"/bin/sh\", \"-c\"]";
const TRANSFER_FORM: &str = "sources first, the destination last: COPY file folder/";

/// An instruction in the making: what all parsers below look at.
struct Text<'a> {
    name: &'static str,
    flags: Vec<String>,
    rest: &'a str,
    node: &'a Node,
    escape: u8,
}

/// Any instruction but FROM.
pub(crate) fn statement(node: &Node, escape: u8) -> Result<Statement, ParseError> {
    let upper = node.keyword.to_ascii_uppercase();
    let Some(name) = KEYWORDS.into_iter().find(|known| *known == upper && *known != "FROM") else {
        let message = format!("unknown instruction: {}", node.keyword);
        return Err(ParseError::new(node.lines, message).hinting(closest(&upper, &KEYWORDS)));
    };
    let (flags, rest) = flags::take(&node.rest, escape);
    let text = Text { name, flags, rest, node, escape };
    let instruction = instruction(&text)?;
    Ok(Statement { instruction, original: node.original.clone(), keyword: node.keyword.clone(), lines: node.lines })
}

fn instruction(text: &Text<'_>) -> Result<Instruction, ParseError> {
    Ok(match text.name {
        "ADD" => Instruction::Add(add(text)?),
        "ARG" => Instruction::Arg(args(text)?),
        "CMD" => Instruction::Cmd(text.bare()?.command()?),
        "COPY" => Instruction::Copy(copy(text)?),
        "ENTRYPOINT" => Instruction::Entrypoint(text.bare()?.command()?),
        "ENV" => Instruction::Env(pairs(text)?),
        "EXPOSE" => Instruction::Expose(text.bare()?.at_least_one_word()?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(text)?),
        "LABEL" => Instruction::Label(pairs(text)?),
        "MAINTAINER" => Instruction::Maintainer(text.bare()?.exactly_one()?),
        "ONBUILD" => Instruction::OnBuild(on_build(text)?),
        "RUN" => Instruction::Run(run(text)?),
        "SHELL" => Instruction::Shell(shell(text)?),
        "STOPSIGNAL" => Instruction::StopSignal(text.bare()?.exactly_one()?),
        "USER" => Instruction::User(text.bare()?.exactly_one()?),
        "VOLUME" => Instruction::Volume(volumes(text)?),
        _ => Instruction::WorkDir(text.bare()?.exactly_one()?),
    })
}

impl Text<'_> {
    fn fail(&self, message: impl Into<String>) -> ParseError {
        ParseError::new(self.node.lines, message)
    }

    fn flag(&self, error: FlagError) -> ParseError {
        self.fail(error.message).hinting(error.hint.as_deref())
    }

    fn flags(&self, known: &[&str], repeated: &[&str]) -> Result<Flags, ParseError> {
        Flags::parse(&self.flags, known, repeated).map_err(|error| self.flag(error))
    }

    /// Without flags.
    fn bare(&self) -> Result<&Self, ParseError> {
        self.flags(&[], &[]).map(|_| self)
    }

    fn needs_one(&self) -> ParseError {
        self.fail(format!("{} requires at least one argument", self.name))
    }

    fn exactly_one(&self) -> Result<String, ParseError> {
        match self.rest.trim() {
            "" => Err(self.fail(format!("{} requires exactly one argument", self.name))),
            text => Ok(text.to_owned()),
        }
    }

    fn at_least_one_word(&self) -> Result<Vec<String>, ParseError> {
        let words: Vec<String> = self.rest.split(is_blank).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if words.is_empty() { Err(self.needs_one()) } else { Ok(words) }
    }

    fn command(&self) -> Result<CommandLine, ParseError> {
        Ok(match self.json_array(self.rest)? {
            Some(words) => CommandLine::Exec(words),
            None => CommandLine::Shell(self.rest.to_owned()),
        })
    }

    fn json_array(&self, text: &str) -> Result<Option<Vec<String>>, ParseError> {
        let wrong = |_| {
            ParseError::new(self.node.lines, "when using JSON array syntax, arrays must be comprised of strings only")
        };
        words::json_array(text).map_err(wrong)
    }
}

fn pairs(text: &Text<'_>) -> Result<Vec<Pair>, ParseError> {
    text.bare()?;
    let words = words::split(text.rest, text.escape);
    let Some(first) = words.first() else { return Err(text.needs_one()) };
    let blank = || text.fail(format!("{} names can not be blank", text.name));
    if !first.contains('=') {
        let (key, value) = text.rest.split_once(is_blank).unwrap_or((text.rest, ""));
        let value = value.trim_start_matches(is_blank);
        if value.is_empty() {
            return Err(text.fail(format!("{} must have two arguments", text.name)).of_form(PAIR_FORM));
        }
        return Ok(vec![Pair { key: key.to_owned(), value: value.to_owned(), legacy: true }]);
    }
    let mut pairs = Vec::new();
    for word in &words {
        let Some((key, value)) = word.split_once('=') else {
            let message = format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value");
            return Err(text.fail(message).of_form(BLANKS_FORM));
        };
        if key.is_empty() {
            return Err(blank());
        }
        pairs.push(Pair { key: key.to_owned(), value: value.to_owned(), legacy: false });
    }
    Ok(pairs)
}

fn args(text: &Text<'_>) -> Result<Vec<Arg>, ParseError> {
    text.bare()?;
    let words = words::split(text.rest, text.escape);
    if words.is_empty() {
        return Err(text.needs_one());
    }
    let arg = |word: &String| {
        let (name, default) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        match name.is_empty() {
            true => Err(text.fail("ARG names can not be blank")),
            false => Ok(Arg { name: name.to_owned(), default }),
        }
    };
    words.iter().map(arg).collect()
}

fn run(text: &Text<'_>) -> Result<Run, ParseError> {
    let flags = text.flags(&["mount", "network", "security"], &["mount"])?;
    let fail = |error| text.flag(error);
    let mounts = flags.all("mount").map_err(fail)?;
    let mounts: Result<Vec<Mount>, _> = mounts.iter().map(|mount| Mount::parse(mount)).collect();
    let network = match flags.text("network").map_err(fail)? {
        None | Some("default") => NetworkMode::Default,
        Some("none") => NetworkMode::None,
        Some("host") => NetworkMode::Host,
        Some(other) => return Err(text.fail(format!("invalid network mode {other:?}"))),
    };
    let security = match flags.text("security").map_err(fail)? {
        None | Some("sandbox") => SecurityMode::Sandbox,
        Some("insecure") => SecurityMode::Insecure,
        Some(other) => return Err(text.fail(format!("security {other:?} is not valid"))),
    };
    let command = text.command()?;
    if matches!(&command, CommandLine::Exec(_)) && !text.node.heredocs.is_empty() {
        return Err(text.fail("cannot use heredocs with RUN in exec form"));
    }
    Ok(Run { command, heredocs: text.node.heredocs.clone(), mounts: mounts.map_err(fail)?, network, security })
}

fn copy(text: &Text<'_>) -> Result<Transfer, ParseError> {
    let known = ["from", "chown", "chmod", "link", "parents", "exclude"];
    let flags = text.flags(&known, &["exclude"])?;
    let mut transfer = transfer(text, &flags)?;
    let fail = |error| text.flag(error);
    transfer.from = flags.text("from").map_err(fail)?.map(str::to_owned);
    transfer.parents = flags.truth("parents").map_err(fail)?.unwrap_or(false);
    Ok(transfer)
}

fn add(text: &Text<'_>) -> Result<Transfer, ParseError> {
    let known = ["chown", "chmod", "link", "exclude", "keep-git-dir", "checksum", "unpack"];
    let flags = text.flags(&known, &["exclude"])?;
    let mut transfer = transfer(text, &flags)?;
    let fail = |error| text.flag(error);
    transfer.keep_git_dir = flags.truth("keep-git-dir").map_err(fail)?.unwrap_or(false);
    transfer.checksum = flags.text("checksum").map_err(fail)?.unwrap_or_default().to_owned();
    transfer.unpack = flags.truth("unpack").map_err(fail)?;
    Ok(transfer)
}

fn transfer(text: &Text<'_>, flags: &Flags) -> Result<Transfer, ParseError> {
    let fail = |error| text.flag(error);
    let mut words = match text.json_array(text.rest)? {
        Some(words) => words,
        None => text.rest.split(is_blank).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
    };
    let destination = match words.len() {
        0 => return Err(text.needs_one()),
        1 => {
            let message = format!(
                "{} requires at least two arguments, but only one was provided. Destination could not be determined",
                text.name
            );
            return Err(text.fail(message).of_form(TRANSFER_FORM));
        }
        _ => words.pop().unwrap_or_default(),
    };
    if heredoc::parse(&destination).is_some() {
        return Err(text.fail(format!("{} cannot accept a heredoc as a destination", text.name)));
    }
    let mut documents = text.node.heredocs.iter();
    let source = |word: String| match heredoc::parse(&word) {
        Some(_) => documents.next().map(|document| Source::Inline(document.clone())).unwrap_or(Source::Path(word)),
        None => Source::Path(word),
    };
    Ok(Transfer {
        sources: words.into_iter().map(source).collect(),
        destination,
        chown: flags.text("chown").map_err(fail)?.unwrap_or_default().to_owned(),
        chmod: flags.text("chmod").map_err(fail)?.unwrap_or_default().to_owned(),
        link: flags.truth("link").map_err(fail)?.unwrap_or(false),
        exclude: flags.all("exclude").map_err(fail)?,
        ..Transfer::default()
    })
}

fn shell(text: &Text<'_>) -> Result<Vec<String>, ParseError> {
    text.bare()?;
    match text.json_array(text.rest)? {
        Some(words) if words.is_empty() => Err(text.needs_one()),
        Some(words) => Ok(words),
        None if text.rest.is_empty() => Err(text.needs_one()),
        None => Err(text.fail("SHELL requires the arguments to be in JSON form").of_form(SHELL_FORM)),
    }
}

fn volumes(text: &Text<'_>) -> Result<Vec<String>, ParseError> {
    text.bare()?;
    let volumes = match text.json_array(text.rest)? {
        Some(words) => words,
        None => text.rest.split(is_blank).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
    };
    if volumes.is_empty() {
        return Err(text.needs_one());
    }
    if volumes.iter().any(|volume| volume.trim().is_empty()) {
        return Err(text.fail("VOLUME specified can not be an empty string"));
    }
    Ok(volumes)
}

fn on_build(text: &Text<'_>) -> Result<String, ParseError> {
    // Flags belong to the trigger, whose first word is no flag.
    text.bare()?;
    let keyword = text.rest.split(is_blank).next().unwrap_or_default();
    check_trigger(keyword, text.node.lines)?;
    if keyword.is_empty() {
        return Err(text.needs_one());
    }
    let mut trigger = text.rest.to_owned();
    for document in &text.node.heredocs {
        trigger.push_str(&format!("\n{}{}", document.content, document.name));
    }
    Ok(trigger)
}

pub(crate) fn check_trigger(keyword: &str, lines: Lines) -> Result<(), ParseError> {
    match keyword.to_ascii_uppercase().as_str() {
        "ONBUILD" => Err(ParseError::new(lines, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")),
        name @ ("MAINTAINER" | "FROM") => {
            Err(ParseError::new(lines, format!("{name} isn't allowed as an ONBUILD trigger")))
        }
        _ => Ok(()),
    }
}

fn healthcheck(text: &Text<'_>) -> Result<Healthcheck, ParseError> {
    let flags = text.flags(&["interval", "timeout", "start-period", "start-interval", "retries"], &[])?;
    let (kind, rest) = text.rest.split_once(is_blank).unwrap_or((text.rest, ""));
    let rest = rest.trim_matches(is_blank);
    let mut check = Healthcheck::default();
    match kind.to_ascii_uppercase().as_str() {
        "" => return Err(text.needs_one()),
        "NONE" if !rest.is_empty() => return Err(text.fail("HEALTHCHECK NONE takes no arguments")),
        "NONE" => check.test = vec!["NONE".to_owned()],
        "CMD" if rest.is_empty() => return Err(text.fail("missing command after HEALTHCHECK CMD")),
        "CMD" => {
            check.test = match text.json_array(rest)? {
                Some(words) if words.is_empty() => return Err(text.fail("missing command after HEALTHCHECK CMD")),
                Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
                None => vec!["CMD-SHELL".to_owned(), rest.to_owned()],
            }
        }
        other => return Err(text.fail(format!("unknown type {other:?} in HEALTHCHECK (try CMD)"))),
    }
    for (name, value) in [
        ("interval", &mut check.interval),
        ("timeout", &mut check.timeout),
        ("start-period", &mut check.start_period),
        ("start-interval", &mut check.start_interval),
    ] {
        let Some(given) = flags.text(name).map_err(|error| text.flag(error))?.filter(|given| !given.is_empty()) else {
            continue;
        };
        let time = read_duration(given).map_err(|why| text.fail(why))?;
        if time != 0 && time < SHORTEST_PROBE {
            return Err(text.fail(format!("Interval {name:?} cannot be less than 1ms")));
        }
        *value = time;
    }
    if let Some(given) = flags.text("retries").map_err(|error| text.flag(error))?.filter(|given| !given.is_empty()) {
        let wrong = || text.fail(format!("strconv.ParseInt: parsing {given:?}: invalid syntax"));
        let retries: i32 = given.parse().map_err(|_| wrong())?;
        if retries < 0 {
            return Err(text.fail(format!("--retries cannot be negative ({retries})")));
        }
        check.retries = i64::from(retries);
    }
    Ok(check)
}
