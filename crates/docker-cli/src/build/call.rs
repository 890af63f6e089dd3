//! `--call`: what a Dockerfile offers, told without building anything.

use std::fmt::Write as _;

use dockerfile::{Dockerfile, Instruction, MountKind, Stage};

use super::context::Source;
use super::mistake;
use crate::command::Matches;
use crate::context::print;
use crate::failure::Failure;
use crate::text::table::align;

const DEFAULT: &str = "default";

/// Performs another call than to build; `None`: it is to build.
pub fn perform(flags: &Matches, source: &Source) -> Result<Option<u8>, Failure> {
    let call = if flags.is_set("check") { "check" } else { flags.text("call") };
    let call = call.strip_prefix("type=").unwrap_or(call);
    match call {
        "" | "build" => return Ok(None),
        "check" | "lint" => return mistake::check(source).map(Some),
        "targets" | "outline" => {}
        other => {
            return Err(Failure::Text(format!("ERROR: unsupported call {other:?}: build, check, outline or targets")));
        }
    }
    let missing = || Failure::Text(format!("--call={call} needs a Dockerfile that this client can read"));
    let text = source.dockerfile_text().ok_or_else(missing)?;
    let file = Dockerfile::parse(&text.bytes).map_err(|error| Failure::Text(error.to_string()))?;
    let told = match call {
        "targets" => targets(&file, &text.bytes),
        _ => outline(&file, flags.text("target"))?,
    };
    print(&told)?;
    Ok(Some(0))
}

/// Stages with names, and the last one.
fn targets(file: &Dockerfile, text: &[u8]) -> String {
    let mut rows = "TARGET\tDESCRIPTION\n".to_owned();
    let last = file.stages.len().saturating_sub(1);
    for (place, stage) in file.stages.iter().enumerate() {
        let name = match (&stage.name, place == last) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => format!("{DEFAULT} (default)"),
            (None, false) => continue,
        };
        let _ = writeln!(rows, "{name}\t{}", description(stage, text));
    }
    align(&rows)
}

/// The comment right above a stage that begins with its name: `# release is what is shipped`.
fn description(stage: &Stage, text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let above = usize::try_from(stage.lines.first).unwrap_or(0).checked_sub(2);
    let line = above.and_then(|above| text.lines().nth(above)).unwrap_or_default();
    let comment = line.trim().strip_prefix('#').unwrap_or_default().trim();
    let name = stage.name.as_deref().unwrap_or(DEFAULT);
    comment
        .strip_prefix(name)
        .filter(|rest| rest.starts_with(' '))
        .map(|rest| rest.trim().to_owned())
        .unwrap_or_default()
}

/// What a target takes: arguments, secrets, agents.
fn outline(file: &Dockerfile, target: &str) -> Result<String, Failure> {
    let place = match target {
        "" => Some(file.stages.len().saturating_sub(1)),
        name => file.stage(name).or_else(|| name.parse().ok().filter(|place| *place < file.stages.len())),
    };
    let place = place.ok_or_else(|| Failure::Text(format!("ERROR: target stage {target:?} could not be found")))?;
    let stages = behind(file, place);
    let name = file.stages[place].name.as_deref().unwrap_or(DEFAULT);
    let mut out = align(&format!("TARGET:\t{name}\n"));
    let statements = || stages.iter().flat_map(|place| &file.stages[*place].statements);
    let mut arguments = String::new();
    for statement in file.arguments.iter().chain(statements()) {
        let Instruction::Arg(args) = &statement.instruction else { continue };
        for arg in args {
            let row = format!("{}\t{}\n", arg.name, arg.default.as_deref().unwrap_or_default());
            if !arguments.contains(&row) {
                arguments.push_str(&row);
            }
        }
    }
    let (mut secrets, mut agents) = (String::new(), String::new());
    for statement in statements() {
        let Instruction::Run(run) = &statement.instruction else { continue };
        for mount in &run.mounts {
            let (rows, name) = match mount.kind {
                MountKind::Secret => (&mut secrets, mount.id.as_str()),
                MountKind::Ssh => (&mut agents, if mount.id.is_empty() { DEFAULT } else { mount.id.as_str() }),
                _ => continue,
            };
            let name = if name.is_empty() { mount.target.rsplit('/').next().unwrap_or_default() } else { name };
            let row = format!("{name}\t{}\n", if mount.required { "true" } else { "" });
            if !rows.contains(&row) {
                rows.push_str(&row);
            }
        }
    }
    for (title, rows) in [("BUILD ARG\tVALUE", arguments), ("SECRET\tREQUIRED", secrets), ("SSH\tREQUIRED", agents)] {
        if !rows.is_empty() {
            out.push('\n');
            out.push_str(&align(&format!("{title}\n{rows}")));
        }
    }
    Ok(out)
}

/// The stages that one lies on or reads files of, itself among them, in the file's order.
fn behind(file: &Dockerfile, place: usize) -> Vec<usize> {
    let (mut found, mut open) = (vec![place], vec![place]);
    while let Some(place) = open.pop() {
        let stage = &file.stages[place];
        let of_statements = stage.statements.iter().flat_map(|statement| statement.instruction.sources());
        let names = std::iter::once(stage.base.as_str()).chain(of_statements);
        let others = names.filter_map(|name| file.stage(name)).filter(|other| *other < place);
        for other in others.collect::<Vec<_>>() {
            if !found.contains(&other) {
                found.push(other);
                open.push(other);
            }
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "ARG VERSION=1\nFROM a AS unused\nARG NOT=told\n# tools makes the tools\nFROM a AS tools\nARG FLAVOUR\n\
                        RUN --mount=type=secret,id=key,required --mount=type=ssh x\nFROM a AS seen\nARG MOUNTED\n\
                        FROM a\nCOPY --from=tools /x /x\nRUN --mount=from=seen,target=/m x\n";

    #[test]
    fn targets_have_their_comments() {
        let file = Dockerfile::parse(FILE.as_bytes()).unwrap();
        let told = targets(&file, FILE.as_bytes());
        let rows: Vec<Vec<&str>> = told.lines().map(|line| line.splitn(2, "  ").map(str::trim).collect()).collect();
        assert_eq!(rows[1][0], "unused");
        assert_eq!(rows[2], ["tools", "makes the tools"]);
        assert_eq!((rows[3][0], rows[4][0]), ("seen", "default (default)"));
    }

    #[test]
    fn an_outline_has_what_the_target_needs_and_no_more() {
        let file = Dockerfile::parse(FILE.as_bytes()).unwrap();
        let told = outline(&file, "").unwrap();
        for word in ["default", "VERSION", "FLAVOUR", "MOUNTED", "key", "SECRET", "SSH"] {
            assert!(told.contains(word), "{word}: {told}");
        }
        assert!(!told.contains("NOT"), "{told}");
        assert!(outline(&file, "nobody").is_err());
    }
}
