//! Freezing and thawing (cgroup-v1/freezer-subsystem.rst; cgroup-v2.rst, cgroup.freeze).

use crate::limits::write_checked;
use crate::{CgroupError, Group};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frozen {
    Yes,
    No,
}

impl Group {
    pub fn set_frozen(&self, frozen: Frozen) -> Result<(), CgroupError> {
        match self.member("freezer") {
            Some(folder) => freeze_v1(folder, frozen),
            None => match &self.v2 {
                Some(folder) => freeze_v2(folder, frozen),
                None => Err(CgroupError::MissingController("freezer".into())),
            },
        }
    }

    pub fn frozen(&self) -> Frozen {
        let text = match (self.member("freezer"), &self.v2) {
            (Some(folder), _) => fs::read_to_string(folder.join("freezer.state")),
            (None, Some(folder)) => fs::read_to_string(folder.join("cgroup.events")),
            (None, None) => return Frozen::No,
        };
        let is_frozen = text.is_ok_and(|text| text.trim() == "FROZEN" || text.lines().any(|line| line == "frozen 1"));
        if is_frozen { Frozen::Yes } else { Frozen::No }
    }
}

fn freeze_v1(folder: &Path, frozen: Frozen) -> Result<(), CgroupError> {
    let file = folder.join("freezer.state");
    let word = if frozen == Frozen::Yes { "FROZEN" } else { "THAWED" };
    let deadline = Instant::now() + FREEZE_TIMEOUT;
    loop {
        // While it is FREEZING new tasks may escape: writing again catches them.
        write_checked(file.clone(), word)?;
        let state = fs::read_to_string(&file).map_err(CgroupError::read(&file))?;
        if state.trim() == word {
            return Ok(());
        }
        if Instant::now() > deadline {
            let _ = write_checked(file, "THAWED");
            return Err(CgroupError::Freeze);
        }
        std::thread::sleep(PAUSE);
    }
}

fn freeze_v2(folder: &Path, frozen: Frozen) -> Result<(), CgroupError> {
    let (value, line) = if frozen == Frozen::Yes { ("1", "frozen 1") } else { ("0", "frozen 0") };
    write_checked(folder.join("cgroup.freeze"), value)?;
    let events = folder.join("cgroup.events");
    let deadline = Instant::now() + FREEZE_TIMEOUT;
    loop {
        let text = fs::read_to_string(&events).map_err(CgroupError::read(&events))?;
        if text.lines().any(|found| found == line) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let _ = write_checked(folder.join("cgroup.freeze"), "0");
            return Err(CgroupError::Freeze);
        }
        std::thread::sleep(PAUSE);
    }
}
