//! Restricting devices: v1's lists, v2's program.

use crate::limits::write_checked;
use crate::{CgroupError, Group};
use runtime_core::device_rules::{self, Rule};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use sys::bpf;

impl Group {
    pub fn restrict_devices(&self, rules: &[Rule]) -> Result<(), CgroupError> {
        if self.is_v2() {
            return if device_rules::allows_all(rules) { Ok(()) } else { self.attach_program(rules) };
        }
        let folder = self.member("devices").ok_or_else(|| CgroupError::MissingController("devices".into()))?;
        if device_rules::allows_all(rules) {
            return write_checked(folder.join("devices.allow"), "a");
        }
        let mut deny = RuleFile::open(folder.join("devices.deny"))?;
        let mut allow = RuleFile::open(folder.join("devices.allow"))?;
        deny.write("a")?;
        // Everything is denied already: a denial matters only behind an allowance.
        for rule in rules.iter().skip_while(|rule| !rule.allow) {
            let file = if rule.allow { &mut allow } else { &mut deny };
            file.write(&rule.v1_text())?;
        }
        Ok(())
    }

    fn attach_program(&self, rules: &[Rule]) -> Result<(), CgroupError> {
        let Some(path) = &self.v2 else { return Ok(()) };
        let failed = |source: std::io::Error| CgroupError::Devices { path: path.clone(), source };
        let program: Vec<bpf::Instruction> = device_rules::v2_program(rules)
            .into_iter()
            .map(|i| bpf::Instruction {
                code: i.code,
                registers: i.registers,
                offset: i.offset,
                immediate: i.immediate,
            })
            .collect();
        let folder = File::open(path).map_err(failed)?;
        let program = bpf::load_device_program(&program).map_err(|errno| failed(errno.into()))?;
        let answer = bpf::attach_device_program(folder.as_raw_fd(), program);
        sys::file::close(program);
        answer.map_err(|errno| failed(errno.into()))
    }

    /// The folder of v2, opened for a clone straight into it.
    pub fn open_v2(&self) -> Result<Option<OwnedFd>, CgroupError> {
        self.v2.as_ref().map(|path| File::open(path).map(OwnedFd::from).map_err(CgroupError::read(path))).transpose()
    }
}

/// A file of rules; each write(2) is one rule.
struct RuleFile {
    path: PathBuf,
    file: File,
}

impl RuleFile {
    fn open(path: PathBuf) -> Result<Self, CgroupError> {
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(CgroupError::Write { path, value: String::new(), source }),
        }
    }

    fn write(&mut self, rule: &str) -> Result<(), CgroupError> {
        let failed = |source| CgroupError::Write { path: self.path.clone(), value: rule.into(), source };
        self.file.write_all(rule.as_bytes()).map_err(failed)
    }
}
