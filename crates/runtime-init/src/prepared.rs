//! A plan made ready for the child: arrays for execve(2), the filter as the kernel reads it, the table of descriptors.

use runtime_core::plan::{Plan, Slot, Step};
use sys::process::StringArray;
use sys::seccomp::Instruction;

/// The table of descriptors; -1 is an empty slot.
#[derive(Debug, Clone)]
pub struct Fds([i32; Slot::COUNT]);

impl Default for Fds {
    fn default() -> Self {
        Self([-1; Slot::COUNT])
    }
}

impl Fds {
    pub fn get(&self, slot: Slot) -> i32 {
        self.0.get(slot.0).copied().unwrap_or(-1)
    }

    /// The descriptor, which is the caller's to close from now on.
    pub fn take(&mut self, slot: Slot) -> i32 {
        self.0.get_mut(slot.0).map_or(-1, |fd| std::mem::replace(fd, -1))
    }

    pub fn set(&mut self, slot: Slot, fd: i32) {
        if let Some(place) = self.0.get_mut(slot.0) {
            *place = fd;
        }
    }
}

/// A hook's arguments and environment as execve(2) takes them.
#[derive(Debug)]
pub(crate) struct HookArrays {
    pub args: StringArray,
    pub env: StringArray,
}

/// Room for `HOME=` and a path out of the container's /etc/passwd.
pub(crate) const HOME_ROOM: usize = 512;

#[derive(Debug)]
pub struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) fds: Fds,
    pub(crate) parent_end: i32,
    pub(crate) args: StringArray,
    pub(crate) env: StringArray,
    pub(crate) env_without_home: bool,
    pub(crate) filter: Vec<Instruction>,
    pub(crate) hooks: Vec<Vec<HookArrays>>,
}

impl Prepared {
    /// `parent_end`: the parent's end of the socket pair, of which the child must not keep a copy.
    pub fn new(mut plan: Plan, fds: Fds, parent_end: i32) -> Self {
        let filter = plan
            .seccomp
            .drain(..)
            .map(|i| Instruction { code: i.code, jump_true: i.jump_true, jump_false: i.jump_false, operand: i.operand })
            .collect();
        let hooks = plan
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::RunHooks { hooks, .. } => Some(hooks),
                _ => None,
            })
            .map(|hooks| {
                hooks
                    .iter()
                    .map(|hook| HookArrays {
                        args: StringArray::new(hook.args.clone()),
                        env: StringArray::new(hook.env.clone()),
                    })
                    .collect()
            })
            .collect();
        let args = StringArray::new(plan.args.clone());
        let env = std::mem::take(&mut plan.env);
        let env_without_home = plan.steps.iter().any(|step| matches!(step, Step::FindHome { .. }));
        // The child writes the user's folder over the last string once it is in the container.
        let env =
            if env_without_home { StringArray::with_room(env, b"HOME=/", HOME_ROOM) } else { StringArray::new(env) };
        Self { plan, fds, parent_end, args, env, env_without_home, filter, hooks }
    }

    /// The plan again, without what only the child needs.
    pub fn into_plan(self) -> Plan {
        self.plan
    }

    pub(crate) fn clone_flags(&self) -> i32 {
        self.plan.clone_flags
    }
}
