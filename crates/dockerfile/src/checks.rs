//! Build checks (docs.docker.com/reference/build-checks): what is legal and yet probably not meant.

use std::collections::BTreeSet;

use crate::expand::Expander;
use crate::instruction::{CommandLine, Instruction, Statement};
use crate::lines::Lines;
use crate::names::closest;
use crate::stages::{Dockerfile, Stage};

/// A check by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub name: &'static str,
    pub description: &'static str,
}

/// Something that a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static Rule,
    pub message: String,
    pub lines: Lines,
}

impl Finding {
    /// Where the check is explained.
    pub fn url(&self) -> String {
        let letters: Vec<char> = self.rule.name.chars().collect();
        let mut name = String::new();
        for (at, c) in letters.iter().enumerate() {
            let is_lower = |at: usize| letters.get(at).is_some_and(char::is_ascii_lowercase);
            // A word begins behind a small letter, or with the last of several capitals.
            if at > 0 && c.is_ascii_uppercase() && (is_lower(at - 1) || is_lower(at + 1)) {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{name}/")
    }
}

macro_rules! rules {
    ($($constant:ident $name:literal $description:literal,)*) => {
        $(static $constant: Rule = Rule { name: $name, description: $description };)*
        /// Every check.
        pub static RULES: &[&Rule] = &[$(&$constant),*];
    };
}

rules! {
    STAGE_NAME_CASING "StageNameCasing" "Stage names should be lowercase",
    FROM_AS_CASING "FromAsCasing" "The 'as' keyword should match the case of the 'from' keyword",
    NO_EMPTY_CONTINUATION "NoEmptyContinuation" "Empty continuation lines will become errors in a future release",
    CONSISTENT_CASING "ConsistentInstructionCasing"
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    DUPLICATE_STAGE "DuplicateStageName" "Stage names should be unique",
    RESERVED_STAGE "ReservedStageName" "Reserved words should not be used as stage names",
    JSON_ARGS "JSONArgsRecommended"
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    MAINTAINER "MaintainerDeprecated"
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    UNDEFINED_ARG_IN_FROM "UndefinedArgInFrom" "FROM command must use declared ARGs",
    WORKDIR_RELATIVE "WorkdirRelativePath"
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
    UNDEFINED_VAR "UndefinedVar" "Variables should be defined before their use",
    MULTIPLE "MultipleInstructionsDisallowed"
        "Multiple instructions of the same type should not be used in the same stage",
    LEGACY_PAIR "LegacyKeyValueFormat" "Legacy key/value format with whitespace separator should not be used",
    REDUNDANT_PLATFORM "RedundantTargetPlatform"
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    SECRETS "SecretsUsedInArgOrEnv" "Sensitive data should not be used in the ARG or ENV commands",
    EMPTY_BASE "InvalidDefaultArgInFrom"
        "Default value for global ARG results in an empty or invalid base image name",
    CONSTANT_PLATFORM "FromPlatformFlagConstDisallowed" "FROM --platform flag should not use a constant value",
}

/// Arguments that are there without being declared, before the first FROM or anywhere.
const PLATFORM_ARGUMENTS: [&str; 8] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
];
const SECRET_WORDS: [&str; 9] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret"];

/// Everything that was found, by line, without what the file's `check` directive skips.
pub fn check(file: &Dockerfile) -> Vec<Finding> {
    let mut findings = Findings { found: Vec::new() };
    for lines in &file.empty_continuations {
        findings.add(&NO_EMPTY_CONTINUATION, *lines, "Empty continuation line");
    }
    casing(file, &mut findings);
    stage_names(file, &mut findings);
    for stage in &file.stages {
        bases(file, stage, &mut findings);
        within(file, stage, &mut findings);
    }
    let mut found = findings.found;
    let skipped = skipped(file.directives.check.as_deref().unwrap_or_default());
    found.retain(|finding| !skipped.iter().any(|name| name == "all" || *name == finding.rule.name));
    found.sort_by_key(|finding| finding.lines.first);
    found
}

/// `skip=A,B;error=true`.
fn skipped(directive: &str) -> Vec<String> {
    let parts = directive.split(';').filter_map(|part| part.trim().strip_prefix("skip="));
    parts.flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()).collect()
}

struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, rule: &'static Rule, lines: Lines, message: impl Into<String>) {
        self.found.push(Finding { rule, message: message.into(), lines });
    }
}

fn casing(file: &Dockerfile, findings: &mut Findings) {
    let of_stage = |stage: &Stage| (stage.keyword.clone(), stage.lines);
    let of_statement = |statement: &Statement| (statement.keyword.clone(), statement.lines);
    let mut keywords: Vec<(String, Lines)> = file.arguments.iter().map(of_statement).collect();
    for stage in &file.stages {
        keywords.push(of_stage(stage));
        keywords.extend(stage.statements.iter().map(of_statement));
        if let Some(keyword) = &stage.as_keyword
            && is_upper(keyword) != is_upper(&stage.keyword)
        {
            let message = format!("'{keyword}' and '{}' keywords' casing do not match", stage.keyword);
            findings.add(&FROM_AS_CASING, stage.lines, message);
        }
    }
    let upper = keywords.iter().filter(|(keyword, _)| is_upper(keyword)).count();
    let lower = keywords.iter().filter(|(keyword, _)| is_lower(keyword)).count();
    let (wanted, fits): (_, fn(&str) -> bool) =
        if upper >= lower { ("uppercase", is_upper) } else { ("lowercase", is_lower) };
    for (keyword, lines) in keywords.iter().filter(|(keyword, _)| !fits(keyword)) {
        let message = format!("Command '{keyword}' should match the case of the command majority ({wanted})");
        findings.add(&CONSISTENT_CASING, *lines, message);
    }
}

fn is_upper(word: &str) -> bool {
    word.chars().all(|c| !c.is_ascii_lowercase())
}

fn is_lower(word: &str) -> bool {
    word.chars().all(|c| !c.is_ascii_uppercase())
}

fn stage_names(file: &Dockerfile, findings: &mut Findings) {
    let mut known = BTreeSet::new();
    for stage in &file.stages {
        let Some(name) = &stage.name else { continue };
        if !is_lower(name) {
            findings.add(&STAGE_NAME_CASING, stage.lines, format!("Stage name '{name}' should be lowercase"));
        }
        if matches!(name.as_str(), "scratch" | "context") {
            let message = format!("Stage name should not use the same name as reserved stage {name:?}");
            findings.add(&RESERVED_STAGE, stage.lines, message);
        }
        if !known.insert(name.to_lowercase()) {
            let message = format!("Duplicate stage name {name:?}, stage names should be unique");
            findings.add(&DUPLICATE_STAGE, stage.lines, message);
        }
    }
}

fn bases(file: &Dockerfile, stage: &Stage, findings: &mut Findings) {
    let declared: Vec<(&str, Option<&str>)> = arguments(&file.arguments).collect();
    let names: Vec<&str> = declared.iter().map(|(name, _)| *name).chain(PLATFORM_ARGUMENTS).collect();
    let value = |name: &str| match declared.iter().find(|(own, _)| *own == name) {
        Some((_, default)) => default.map(str::to_owned),
        None => PLATFORM_ARGUMENTS.contains(&name).then(|| "linux/amd64".to_owned()),
    };
    for text in std::iter::once(&stage.base).chain(&stage.platform) {
        for name in used(file, text).iter().filter(|name| !names.contains(&name.as_str())) {
            let message = format!("FROM argument '{name}' is not declared{}", meant(name, &names));
            findings.add(&UNDEFINED_ARG_IN_FROM, stage.lines, message);
        }
    }
    let expanded = Expander::new(file.directives.escape, &value).word(&stage.base).unwrap_or_default();
    if expanded.is_empty() || expanded.ends_with(':') || expanded.contains("::") || expanded.contains("//") {
        for name in used(file, &stage.base).iter().filter(|name| names.contains(&name.as_str())) {
            let message = format!("Default value for ARG ${name} results in empty or invalid base image name");
            findings.add(&EMPTY_BASE, stage.lines, message);
        }
    }
    match stage.platform.as_deref() {
        Some(platform @ ("$TARGETPLATFORM" | "${TARGETPLATFORM}")) => {
            let message = format!(
                "Setting platform to predefined {platform} in FROM is redundant as this is the default behavior"
            );
            findings.add(&REDUNDANT_PLATFORM, stage.lines, message);
        }
        Some(platform) if !platform.contains('$') => {
            let message = format!("FROM --platform flag should not use constant value {platform:?}");
            findings.add(&CONSTANT_PLATFORM, stage.lines, message);
        }
        _ => {}
    }
}

fn arguments(statements: &[Statement]) -> impl Iterator<Item = (&str, Option<&str>)> {
    statements.iter().flat_map(|statement| match &statement.instruction {
        Instruction::Arg(args) => args.iter().map(|arg| (arg.name.as_str(), arg.default.as_deref())).collect(),
        _ => Vec::new(),
    })
}

fn meant(name: &str, names: &[&str]) -> String {
    closest(name, names).map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

/// Names of variables that a text uses without saying what stands in where they are not set.
fn used(file: &Dockerfile, text: &str) -> Vec<String> {
    let names = std::cell::RefCell::new(Vec::new());
    let lookup = |name: &str| {
        names.borrow_mut().push(name.to_owned());
        Some("x".to_owned())
    };
    // What cannot be expanded fails the build, which is not for a check to say.
    let _ = Expander::new(file.directives.escape, &lookup).word(text);
    let mut names = names.into_inner();
    names.retain(|name| {
        let defaulted = |operator: &str| text.contains(&format!("${{{name}{operator}"));
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && ![":-", "-", ":+", "+", ":?", "?"].into_iter().any(defaulted)
    });
    names.dedup();
    names
}

fn within(file: &Dockerfile, stage: &Stage, findings: &mut Findings) {
    let mut defined: BTreeSet<String> = PLATFORM_ARGUMENTS.iter().map(|name| (*name).to_owned()).collect();
    defined.insert("PATH".to_owned());
    // What the base image defines is not known here: variables are checked only over nothing.
    let knows_environment = stage.base == "scratch";
    let (mut absolute, mut seen) = (false, BTreeSet::new());
    for statement in stage.statements.iter().rev() {
        let name = statement.instruction.name();
        if matches!(name, "CMD" | "ENTRYPOINT" | "HEALTHCHECK") && !seen.insert(name) {
            let message = format!(
                "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
            );
            findings.add(&MULTIPLE, statement.lines, message);
        }
    }
    let has_shell = stage.statements.iter().any(|s| matches!(s.instruction, Instruction::Shell(_)));
    for statement in &stage.statements {
        let lines = statement.lines;
        variables(file, statement, &defined, knows_environment, findings);
        match &statement.instruction {
            Instruction::Maintainer(_) => {
                findings.add(&MAINTAINER, lines, "Maintainer instruction is deprecated in favor of using label");
            }
            Instruction::Cmd(CommandLine::Shell(text)) | Instruction::Entrypoint(CommandLine::Shell(text))
                if !text.is_empty() && !has_shell =>
            {
                let name = statement.instruction.name();
                let message = format!(
                    "JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
                );
                findings.add(&JSON_ARGS, lines, message);
            }
            Instruction::WorkDir(path) => {
                let relative = !path.starts_with(['/', '$']);
                if relative && !absolute {
                    let message =
                        format!("Relative workdir {path:?} can have unexpected results if the base image changes");
                    findings.add(&WORKDIR_RELATIVE, lines, message);
                }
                absolute |= !relative;
            }
            Instruction::Env(pairs) | Instruction::Label(pairs) => {
                let name = statement.instruction.name();
                if pairs.iter().any(|pair| pair.legacy) {
                    let message =
                        format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
                    findings.add(&LEGACY_PAIR, lines, message);
                }
                if name == "ENV" {
                    for pair in pairs {
                        secret(&pair.key, name, lines, findings);
                        defined.insert(pair.key.clone());
                    }
                }
            }
            Instruction::Arg(args) => {
                for arg in args {
                    secret(&arg.name, "ARG", lines, findings);
                    defined.insert(arg.name.clone());
                }
            }
            _ => {}
        }
    }
}

fn secret(name: &str, instruction: &str, lines: Lines, findings: &mut Findings) {
    let lower = name.to_lowercase();
    let mut words = lower.split('_');
    if words.clone().any(|word| word == "public") {
        return;
    }
    if words.any(|word| SECRET_WORDS.contains(&word) || word == "token") {
        let message = format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})");
        findings.add(&SECRETS, lines, message);
    }
}

fn variables(
    file: &Dockerfile,
    statement: &Statement,
    defined: &BTreeSet<String>,
    knows_environment: bool,
    findings: &mut Findings,
) {
    let texts: Vec<&String> = match &statement.instruction {
        Instruction::Env(pairs) | Instruction::Label(pairs) => pairs.iter().map(|pair| &pair.value).collect(),
        Instruction::Expose(words) | Instruction::Volume(words) => words.iter().collect(),
        Instruction::User(text) | Instruction::WorkDir(text) | Instruction::StopSignal(text) => vec![text],
        Instruction::Add(transfer) | Instruction::Copy(transfer) => vec![&transfer.destination],
        _ => return,
    };
    let names: Vec<&str> = defined.iter().map(String::as_str).collect();
    for name in texts.iter().flat_map(|text| used(file, text)).filter(|name| !defined.contains(name)) {
        let hint = meant(&name, &names);
        // Over an image a variable may come from it; one that is nearly another was mistyped.
        if knows_environment || !hint.is_empty() {
            findings.add(&UNDEFINED_VAR, statement.lines, format!("Usage of undefined variable '${name}'{hint}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let findings = check(&Dockerfile::parse(text.as_bytes()).unwrap());
        findings.iter().map(|f| format!("{}: {} (line {})", f.rule.name, f.message, f.lines.first)).collect()
    }

    #[test]
    fn every_check_finds_what_it_is_for() {
        for (text, expected) in [
            ("FROM a AS B", "StageNameCasing: Stage name 'B' should be lowercase (line 1)"),
            ("FROM a as b", "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"),
            (
                "FROM a\nrun x",
                "ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase) (line 2)",
            ),
            ("FROM a\nRUN x \\\n\n y", "NoEmptyContinuation: Empty continuation line (line 2)"),
            (
                "FROM a AS b\nFROM a AS b",
                "DuplicateStageName: Duplicate stage name \"b\", stage names should be unique (line 2)",
            ),
            (
                "FROM a AS scratch",
                "ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\" (line 1)",
            ),
            (
                "FROM a\nCMD x",
                "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 2)",
            ),
            (
                "FROM a\nMAINTAINER x",
                "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)",
            ),
            (
                "ARG TAG=1\nFROM a:$TAGS",
                "UndefinedArgInFrom: FROM argument 'TAGS' is not declared (did you mean TAG?) (line 2)",
            ),
            (
                "ARG TAG\nFROM a:$TAG",
                "InvalidDefaultArgInFrom: Default value for ARG $TAG results in empty or invalid base image name (line 2)",
            ),
            (
                "FROM a\nWORKDIR x",
                "WorkdirRelativePath: Relative workdir \"x\" can have unexpected results if the base image changes (line 2)",
            ),
            ("FROM scratch\nLABEL a=$B", "UndefinedVar: Usage of undefined variable '$B' (line 2)"),
            (
                "FROM a\nENV DIRECTORY=/x\nWORKDIR $DIRECTROY",
                "UndefinedVar: Usage of undefined variable '$DIRECTROY' (did you mean DIRECTORY?) (line 3)",
            ),
            (
                "FROM a\nCMD [\"x\"]\nCMD [\"y\"]",
                "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used (line 2)",
            ),
            (
                "FROM a\nENV a b",
                "LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format (line 2)",
            ),
            (
                "FROM --platform=$TARGETPLATFORM a",
                "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior (line 1)",
            ),
            (
                "FROM --platform=linux/amd64 a",
                "FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\" (line 1)",
            ),
            (
                "FROM a\nARG DB_PASSWORD",
                "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"DB_PASSWORD\") (line 2)",
            ),
        ] {
            assert_eq!(found(text), [expected], "{text}");
        }
    }

    #[test]
    fn a_clean_file_has_no_findings_and_a_directive_skips_checks() {
        assert_eq!(found(include_str!("../testdata/atsea.Dockerfile")), Vec::<String>::new());
        assert_eq!(found("# check=skip=StageNameCasing\nFROM a AS B"), Vec::<String>::new());
        assert_eq!(found("# check=skip=all\nFROM a AS B\nCMD x"), Vec::<String>::new());
    }

    #[test]
    fn a_finding_names_its_page() {
        let findings = check(&Dockerfile::parse(b"FROM a\nCMD x").unwrap());
        assert_eq!(findings[0].url(), "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/");
    }
}
