//! Restricting devices: v1's lists, v2's program.

use crate::limits::write_checked;
use crate::{CgroupError, Group};
use runtime_core::device_rules::{self, Rule};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
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
        write_checked(folder.join("devices.deny"), "a")?;
        for rule in rules {
            // Everything is denied already: a denial matters only behind an allowance.
            let file = if rule.allow { "devices.allow" } else { "devices.deny" };
            write_checked(folder.join(file), &rule.v1_text())?;
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
