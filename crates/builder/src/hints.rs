//! What a mistake may have been meant as: a line behind what failed, as compilers have it.

use std::collections::BTreeSet;

use dockerfile::{CommandLine, Dockerfile, Excluding, Instruction, Run, Source, Stage, Statement, Transfer, closest};

use crate::error::BuildError;
use crate::messages;
use crate::paths::{base_name, join};
use crate::request::IgnoreFile;
use crate::state::Build;
use crate::tree::Tree;

/// Exit codes of a shell (POSIX sh, 2.8.2) and of a program that was killed.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
const KILLED: i32 = 128 + 9;
/// Stages that are listed.
const MOST_STAGES: usize = 10;

/// For what a FROM has failed by.
pub(crate) fn of_base(build: &Build<'_>, place: usize, error: BuildError) -> BuildError {
    let stage = &build.file.stages[place];
    let hint = undeclared(build.file, stage).or_else(|| match &error {
        BuildError::Port(_) => other_stage(build.file, place, &stage.base),
        _ => None,
    });
    error.hinting(hint)
}

/// For what an instruction of a stage has failed by.
pub(crate) fn of_step(build: &Build<'_>, place: usize, statement: &Statement, error: BuildError) -> BuildError {
    let hint = match (&statement.instruction, &error) {
        (Instruction::Copy(transfer) | Instruction::Add(transfer), BuildError::NotInContext { path, .. }) => {
            missing(&build.context, build.request.ignore.as_ref(), path).or_else(|| of_absolute(transfer))
        }
        (Instruction::Copy(Transfer { from: Some(from), .. }), BuildError::Port(_)) => {
            other_stage(build.file, place, from)
        }
        (Instruction::Run(run), error) => of_run(build, place, run, error),
        _ => None,
    };
    error.hinting(hint.or_else(|| mistyped(build.file, statement)))
}

/// For a target that there is not.
pub(crate) fn of_target(file: &Dockerfile, name: &str) -> BuildError {
    let names: Vec<&str> = file.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    let hint = match closest(name, &names) {
        Some(near) => format!("did you mean {near}?"),
        None if names.is_empty() => "no stage has a name: FROM image AS name gives it one".to_owned(),
        None => format!("the stages are {}", names[..names.len().min(MOST_STAGES)].join(", ")),
    };
    messages::no_target(name).hinting(Some(hint))
}

/// For a Dockerfile that is not in its context.
pub(crate) fn of_dockerfile(context: &Tree, ignore: Option<&IgnoreFile>, name: &str) -> BuildError {
    messages::missing_dockerfile(name).hinting(missing(context, ignore, name))
}

/// Variables of a FROM that nobody declares.
fn undeclared(file: &Dockerfile, stage: &Stage) -> Option<String> {
    let findings = dockerfile::check(file);
    let finding =
        findings.into_iter().find(|found| found.rule.name == "UndefinedArgInFrom" && found.lines == stage.lines)?;
    let args = file.stages.iter().flat_map(|stage| &stage.statements).filter_map(|statement| {
        let Instruction::Arg(args) = &statement.instruction else { return None };
        args.iter().find(|arg| uses(&stage.base, &arg.name)).map(|arg| (&arg.name, statement.lines.first))
    });
    let within = args.map(|(name, line)| format!(": ARG {name} on line {line} belongs to its stage")).next();
    Some(format!(
        "{}{}; FROM knows what ARG declares before the first FROM",
        finding.message,
        within.unwrap_or_default()
    ))
}

fn uses(text: &str, name: &str) -> bool {
    let bare = format!("${name}");
    let ends = |at: usize| !text[at + bare.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    text.contains(&format!("${{{name}")) || text.match_indices(&bare).any(|(at, _)| ends(at))
}

/// A name that is no image may be a stage's that was mistyped, or that comes later.
fn other_stage(file: &Dockerfile, place: usize, name: &str) -> Option<String> {
    let named = |(at, stage): (usize, &'_ Stage)| (at != place).then(|| stage.name.clone()).flatten();
    let names: Vec<String> = file.stages.iter().enumerate().filter_map(named).collect();
    let near = closest(name, &names.iter().map(String::as_str).collect::<Vec<_>>())?.to_owned();
    let line = file.stage(&near).map_or(0, |at| file.stages[at].lines.first);
    Some(match near.eq_ignore_ascii_case(name) {
        true => format!("the stage {near} comes later, on line {line}"),
        false => format!("did you mean the stage {near}?"),
    })
}

/// Why a path may not be in the context.
fn missing(context: &Tree, ignore: Option<&IgnoreFile>, path: &str) -> Option<String> {
    if let Some(ignore) = ignore
        && let Some(Excluding { pattern, line }) = ignore.rules.excluding(path)
    {
        let line = line.map(|line| format!(" on line {line}")).unwrap_or_default();
        return Some(format!("{} leaves it out by the rule {pattern:?}{line}", ignore.name));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let names: BTreeSet<&str> = context.below(folder).filter_map(|(relative, _)| relative.split('/').next()).collect();
    let near = closest(base_name(path), &names.into_iter().collect::<Vec<_>>())?;
    Some(format!("did you mean {}?", join(folder, near)))
}

fn of_absolute(transfer: &Transfer) -> Option<String> {
    let is_absolute = |source: &Source| matches!(source, Source::Path(path) if path.starts_with('/'));
    let has_one = transfer.sources.iter().any(is_absolute);
    has_one.then(|| "sources are looked for in the build context, not on the machine that builds".to_owned())
}

fn of_run(build: &Build<'_>, place: usize, run: &Run, error: &BuildError) -> Option<String> {
    let is_shell = matches!(run.command, CommandLine::Shell(_));
    match error {
        BuildError::Exit { code: NOT_EXECUTABLE, .. } => {
            Some("126: the program is there and cannot be run: is it executable, and for this platform?".to_owned())
        }
        BuildError::Exit { code: NOT_FOUND, .. } if is_shell => {
            Some("127: the shell found no such program in the image".to_owned())
        }
        BuildError::Exit { code: KILLED, .. } => Some("137: it was killed: was there too little memory?".to_owned()),
        BuildError::Port(error) if is_shell && is_no_program(&error.message) => {
            Some("the image has no such shell: RUN [\"/program\"] needs none, SHELL names another".to_owned())
        }
        BuildError::Port(_) => {
            let named = run.mounts.iter().filter(|mount| !mount.from.is_empty());
            named.map(|mount| &mount.from).find_map(|from| other_stage(build.file, place, from))
        }
        _ => None,
    }
}

fn is_no_program(message: &str) -> bool {
    message.contains("exec") && message.contains("no such file or directory")
}

/// A variable of the instruction that is nearly another.
fn mistyped(file: &Dockerfile, statement: &Statement) -> Option<String> {
    let is_mistyped = |found: &dockerfile::Finding| {
        found.rule.name == "UndefinedVar" && found.lines == statement.lines && found.message.contains("did you mean")
    };
    dockerfile::check(file).into_iter().find(is_mistyped).map(|found| found.message)
}

#[cfg(test)]
mod tests {
    use dockerfile::IgnoreRules;

    use super::*;
    use crate::tree::{Node, NodeKind, Store};

    fn file(text: &str) -> Dockerfile {
        Dockerfile::parse(text.as_bytes()).unwrap()
    }

    fn context(names: &[&str]) -> Tree {
        let node = |name: &&str| {
            let kind = if name.ends_with('/') {
                NodeKind::Directory
            } else {
                NodeKind::File { size: 0, offset: 0, digest: None }
            };
            (name.trim_end_matches('/').to_owned(), Node { kind, ..Node::folder() })
        };
        Tree { nodes: names.iter().map(node).collect(), store: Store::Spool(tempfile::tempfile().unwrap()) }
    }

    #[test]
    fn a_missing_file_is_left_out_by_a_rule_or_mistyped() {
        let context = context(&["package.json", "src/", "src/main.rs"]);
        let rules = IgnoreRules::parse("# secrets\n*.pem\nbuild\n").unwrap();
        let ignore = IgnoreFile { name: ".dockerignore".to_owned(), rules };
        let of = |path| missing(&context, Some(&ignore), path);
        assert_eq!(of("key.pem").unwrap(), ".dockerignore leaves it out by the rule \"*.pem\" on line 2");
        assert_eq!(of("build/out").unwrap(), ".dockerignore leaves it out by the rule \"build\" on line 3");
        assert_eq!(of("packge.json").unwrap(), "did you mean package.json?");
        assert_eq!(of("src/mian.rs").unwrap(), "did you mean src/main.rs?");
        assert_eq!(of("nothing-like-it"), None);
        let error = of_dockerfile(&context, None, "Dokerfile");
        assert_eq!(error.to_string(), "Cannot locate specified Dockerfile: Dokerfile");
    }

    #[test]
    fn a_name_that_is_no_image_may_be_a_stages() {
        let file = file("FROM a AS builder\nFROM b\nCOPY --from=bulider /x /\nFROM c AS last");
        assert_eq!(other_stage(&file, 1, "bulider").unwrap(), "did you mean the stage builder?");
        assert_eq!(other_stage(&file, 1, "last").unwrap(), "the stage last comes later, on line 4");
        assert_eq!(other_stage(&file, 0, "builder"), None);
        assert_eq!(
            of_target(&file, "bilder").to_string(),
            "failed to reach build target bilder in Dockerfile\nhint: did you mean builder?"
        );
        assert!(of_target(&file, "production").to_string().ends_with("\nhint: the stages are builder, last"));
    }

    #[test]
    fn an_argument_of_from_is_declared_before_it() {
        let inside = file("FROM a\nARG VERSION=1\nFROM b:$VERSION");
        assert_eq!(
            undeclared(&inside, &inside.stages[1]).unwrap(),
            "FROM argument 'VERSION' is not declared: ARG VERSION on line 2 belongs to its stage; \
             FROM knows what ARG declares before the first FROM"
        );
        let mistyped = file("ARG VERSION=1\nFROM b:$VERSOIN");
        assert!(undeclared(&mistyped, &mistyped.stages[0]).unwrap().contains("(did you mean VERSION?)"));
        assert!(!uses("b:$VERSIONS", "VERSION") && uses("b:${VERSION:-1}", "VERSION"));
    }
}
