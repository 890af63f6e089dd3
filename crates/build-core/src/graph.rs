//! Stages as a graph: which of them a target needs.

use std::collections::BTreeSet;

use dockerfile::{Dockerfile, Instruction, Stage};

/// What has to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// By their place in the file, in its order: a stage stands behind those that it needs.
    pub stages: Vec<usize>,
    pub target: usize,
}

/// The stages that `target` needs (the last one without a target). `base` expands a stage's FROM, `from` what COPY and
/// mounts name. `None`: there is no such target.
pub fn needed(file: &Dockerfile, target: Option<&str>, base: &dyn Fn(&Stage) -> String) -> Option<Needed> {
    let target = match target {
        Some(name) => file.stage(name)?,
        None => file.stages.len().checked_sub(1)?,
    };
    let mut found = BTreeSet::new();
    let mut open = vec![target];
    while let Some(at) = open.pop() {
        if found.insert(at) {
            open.extend(inputs(file, at, base));
        }
    }
    Some(Needed { stages: found.into_iter().collect(), target })
}

/// The stages that a stage reads. A stage sees only those before it.
pub fn inputs(file: &Dockerfile, at: usize, base: &dyn Fn(&Stage) -> String) -> Vec<usize> {
    let stage = &file.stages[at];
    let mut names = vec![base(stage)];
    let based_on_number = names[0].parse::<usize>().is_ok();
    for statement in &stage.statements {
        names.extend(statement.instruction.sources().into_iter().map(str::to_owned));
    }
    // Triggers of the stage below are this one's steps.
    let below = file.stage(&names[0]).filter(|found| *found < at && !based_on_number);
    for statement in below.map(|below| &file.stages[below]).into_iter().flat_map(|below| &below.statements) {
        if let Instruction::OnBuild(trigger) = &statement.instruction
            && let Ok(trigger) = dockerfile::parse_trigger(trigger)
        {
            names.extend(trigger.instruction.sources().into_iter().map(str::to_owned));
        }
    }
    let known = names.iter().enumerate().filter(|(place, _)| *place > 0 || !based_on_number);
    known.filter_map(|(_, name)| file.stage(name).filter(|found| *found < at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(text: &str, target: Option<&str>) -> Option<Vec<usize>> {
        let file = Dockerfile::parse(text.as_bytes()).unwrap();
        needed(&file, target, &|stage| stage.base.clone()).map(|needed| needed.stages)
    }

    const FILE: &str = "FROM a AS one\nFROM a AS two\nCOPY --from=one /x /\nFROM two AS three\nFROM a AS unused\n\
                        FROM a\nRUN --mount=from=three,target=/m true";

    #[test]
    fn what_no_target_needs_is_left_out() {
        assert_eq!(stages(FILE, None), Some(vec![0, 1, 2, 4]));
        assert_eq!(stages(FILE, Some("one")), Some(vec![0]));
        assert_eq!(stages(FILE, Some("3")), Some(vec![3]));
        assert_eq!(stages(FILE, Some("nobody")), None);
    }

    #[test]
    fn triggers_read_stages_for_who_lies_on_them() {
        let file = "FROM a AS one\nFROM a AS two\nONBUILD COPY --from=one /x /\nFROM two";
        assert_eq!(stages(file, Some("two")), Some(vec![1]));
        assert_eq!(stages(file, None), Some(vec![0, 1, 2]));
    }

    #[test]
    fn a_stage_that_comes_later_is_an_image_s_name() {
        assert_eq!(stages("FROM b AS a\nFROM a AS b\nCOPY --from=0 / /", None), Some(vec![0, 1]));
        assert_eq!(stages("FROM b AS a\nFROM a AS b", Some("a")), Some(vec![0]));
    }
}
