//! Writing limits.

use crate::{CgroupError, Group};
use runtime_core::cgroup_values::{self, Occasion, Write};
use runtime_core::spec_resources::Resources;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

impl Group {
    /// Sets the limits, devices apart.
    pub fn apply(&self, resources: &Resources, occasion: Occasion) -> Result<(), CgroupError> {
        let writes = if self.is_v2() { cgroup_values::v2(resources)? } else { cgroup_values::v1(resources, occasion)? };
        let mut later: Vec<&Write> = Vec::new();
        for write in &writes {
            match self.write(write) {
                Ok(()) => {}
                // memory and memory+swap limit each other: which can be set first depends on what is set.
                Err(_) if write.controller == "memory" && later.is_empty() => later.push(write),
                Err(error) => return Err(error),
            }
        }
        later.into_iter().try_for_each(|write| self.write(write))
    }

    fn write(&self, write: &Write) -> Result<(), CgroupError> {
        let folder = if self.is_v2() { self.v2.as_deref() } else { self.member(write.controller) };
        let Some(folder) = folder else {
            return if write.optional { Ok(()) } else { Err(CgroupError::MissingController(write.controller.into())) };
        };
        let mut answer = Ok(());
        // A file has another name on another scheduler: the first that exists is used.
        for name in write.file.split('|') {
            let path = folder.join(name);
            answer = write_file(&path, &write.value);
            match &answer {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => break,
            }
        }
        match answer {
            Ok(()) => Ok(()),
            Err(_) if write.optional => Ok(()),
            Err(source) => Err(failed(folder, write, source)),
        }
    }
}

fn failed(folder: &Path, write: &Write, source: io::Error) -> CgroupError {
    let file = write.file.split('|').next().unwrap_or(&write.file);
    CgroupError::Write { path: folder.join(file), value: write.value.clone(), source }
}

/// One write(2), never creating: on a kernel without the file the answer is ENOENT, not a stray file.
pub(crate) fn write_file(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

pub(crate) fn write_checked(path: PathBuf, value: &str) -> Result<(), CgroupError> {
    write_file(&path, value).map_err(|source| CgroupError::Write { path, value: value.into(), source })
}
