//! Writing limits.

use crate::{CgroupError, Group};
use runtime_core::cgroup_values::{self, Occasion, Version, Write};
use runtime_core::spec_resources::Resources;
use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

impl Group {
    /// Sets the limits, devices apart. Answers what was asked for and cannot be done by any kernel, for the log.
    pub fn apply(&self, resources: &Resources, occasion: Occasion) -> Result<Vec<String>, CgroupError> {
        let (writes, version) = if self.is_v2() {
            let resources = self.completed(resources, occasion)?;
            (cgroup_values::v2(&resources)?, Version::V2)
        } else {
            (cgroup_values::v1(resources, occasion)?, Version::V1)
        };
        let mut later: Vec<&Write> = Vec::new();
        for write in &writes {
            match self.write(write) {
                Ok(()) => {}
                // Pairs limit each other, memory and memory+swap, period and quota: which can be set first depends on
                // what is set.
                Err(_) if matches!(write.controller, "memory" | "cpu") && later.is_empty() => later.push(write),
                Err(error) => return Err(error),
            }
        }
        later.into_iter().try_for_each(|write| self.write(write))?;
        Ok(cgroup_values::ignored(resources, version))
    }

    /// Which version has the controllers.
    pub fn version(&self) -> Version {
        if self.is_v2() { Version::V2 } else { Version::V1 }
    }

    /// An update of v2 with what it does not say and needs; refused if it would have the killer come at once.
    fn completed<'a>(&self, resources: &'a Resources, occasion: Occasion) -> Result<Cow<'a, Resources>, CgroupError> {
        let (Some(folder), Occasion::Update) = (&self.v2, occasion) else { return Ok(Cow::Borrowed(resources)) };
        let number = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<i64>().ok();
        let memory = &resources.memory;
        if memory.check_before_update == Some(true)
            && let Some(usage) = number("memory.current")
        {
            for (what, limit) in [("memory+swap", memory.swap), ("memory", memory.limit)] {
                if let Some(limit) = limit.filter(|limit| *limit > 0 && *limit <= usage) {
                    return Err(CgroupError::BelowUsage { what, limit, usage });
                }
            }
        }
        if memory.limit.is_none() && memory.swap.is_some_and(|swap| swap > 0) {
            let mut resources = resources.clone();
            resources.memory.limit = number("memory.max");
            return Ok(Cow::Owned(resources));
        }
        Ok(Cow::Borrowed(resources))
    }

    fn write(&self, write: &Write) -> Result<(), CgroupError> {
        let folder = if self.is_v2() { self.v2.as_deref() } else { self.member(write.controller) };
        let Some(folder) = folder else {
            return if write.optional { Ok(()) } else { Err(CgroupError::MissingController(write.controller.into())) };
        };
        let path = folder.join(&write.file);
        let value = match write.keeps_first_word {
            true => format!("{} {}", first_word(&path)?, write.value),
            false => write.value.clone(),
        };
        let mut written = (path, value);
        let mut answer = write_file(&written.0, &written.1);
        if let (Err(error), Some((file, value))) = (&answer, &write.otherwise)
            && error.kind() == io::ErrorKind::NotFound
        {
            written = (folder.join(file), value.clone());
            answer = write_file(&written.0, &written.1);
        }
        match answer {
            Ok(()) if write.file == "cpu.shares" => check_shares(&written.0, &written.1),
            Ok(()) => Ok(()),
            Err(error) if write.optional && error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) if source.raw_os_error() == Some(libc::EBUSY) && write.file == "memory.limit_in_bytes" => {
                let number = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default().trim().to_string();
                Err(CgroupError::MemoryInUse {
                    limit: written.1,
                    usage: number("memory.usage_in_bytes"),
                    peak: number("memory.max_usage_in_bytes"),
                    source,
                })
            }
            Err(source) => Err(CgroupError::Write { path: written.0, value: written.1, source }),
        }
    }
}

fn first_word(path: &Path) -> Result<String, CgroupError> {
    let text = fs::read_to_string(path).map_err(CgroupError::read(path))?;
    Ok(text.split_whitespace().next().unwrap_or("max").to_string())
}

/// v1's kernel takes any number of shares and sets the nearest that it has.
fn check_shares(path: &Path, wanted: &str) -> Result<(), CgroupError> {
    let text = fs::read_to_string(path).map_err(CgroupError::read(path))?;
    match (wanted.parse::<u64>(), text.trim().parse::<u64>()) {
        (Ok(wanted), Ok(set)) if wanted > set => Err(CgroupError::Shares { bound: "maximum", set }),
        (Ok(wanted), Ok(set)) if wanted < set => Err(CgroupError::Shares { bound: "minimum", set }),
        _ => Ok(()),
    }
}

/// One write(2), never creating: on a kernel without the file the answer is ENOENT, not a stray file.
pub(crate) fn write_file(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

pub(crate) fn write_checked(path: PathBuf, value: &str) -> Result<(), CgroupError> {
    write_file(&path, value).map_err(|source| CgroupError::Write { path, value: value.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2_folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let group = Group { v1: Vec::new(), v2: Some(folder.path().into()) };
        (folder, group)
    }

    #[test]
    fn a_period_alone_keeps_the_quota() {
        let (folder, group) = v2_folder(&[("cpu.max", "5000 100000\n")]);
        let mut resources = Resources::default();
        resources.cpu.period = Some(50_000);
        group.apply(&resources, Occasion::Update).expect("written");
        // A real file of cgroupfs takes a write as a whole; here what it wrote stands at the start.
        let text = fs::read_to_string(folder.path().join("cpu.max")).expect("read");
        assert!(text.starts_with("5000 50000"), "{text}");
    }

    #[test]
    fn what_a_kernel_has_under_another_name_is_written_there() {
        let (folder, group) = v2_folder(&[("io.weight", "")]);
        let mut resources = Resources::default();
        resources.block_io.weight = Some(1000);
        group.apply(&resources, Occasion::Create).expect("written");
        assert_eq!(fs::read_to_string(folder.path().join("io.weight")).expect("read"), "10000");
        fs::remove_file(folder.path().join("io.weight")).expect("remove");
        assert!(group.apply(&resources, Occasion::Create).is_err(), "neither file is there");
    }

    #[test]
    fn an_update_below_the_usage_is_refused_where_that_was_asked_for() {
        let (_folder, group) = v2_folder(&[("memory.current", "1000\n"), ("memory.max", "max\n")]);
        let mut resources = Resources::default();
        resources.memory.limit = Some(500);
        group.apply(&resources, Occasion::Update).expect("not asked for");
        resources.memory.check_before_update = Some(true);
        let error = group.apply(&resources, Occasion::Update).expect_err("below");
        assert_eq!(error.to_string(), "rejecting memory limit 500 <= usage 1000");
    }

    #[test]
    fn swap_can_be_changed_alone() {
        let (folder, group) = v2_folder(&[("memory.max", "1000\n"), ("memory.swap.max", "")]);
        let mut resources = Resources::default();
        resources.memory.swap = Some(1500);
        group.apply(&resources, Occasion::Update).expect("written");
        assert_eq!(fs::read_to_string(folder.path().join("memory.swap.max")).expect("read"), "500");
    }
}
