//! Which namespaces are made, which are joined (runtime-spec config-linux.md, namespaces; namespaces(7)).

use crate::SpecError;
use crate::spec::Namespace;

pub const CLONE_NEWTIME: i32 = 0x80;
pub const CLONE_NEWNS: i32 = 0x0002_0000;
pub const CLONE_NEWCGROUP: i32 = 0x0200_0000;
pub const CLONE_NEWUTS: i32 = 0x0400_0000;
pub const CLONE_NEWIPC: i32 = 0x0800_0000;
pub const CLONE_NEWUSER: i32 = 0x1000_0000;
pub const CLONE_NEWPID: i32 = 0x2000_0000;
pub const CLONE_NEWNET: i32 = 0x4000_0000;

/// The namespaces of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// CLONE_NEW* of those to be made.
    pub new: i32,
    /// Those to be joined, in order, pid apart.
    pub join: Vec<(i32, String)>,
    pub join_pid: Option<String>,
}

/// Namespaces that the clone itself does not make: the cgroup namespace's root is the cgroup at its making, and clocks are
/// shifted before anyone is in theirs.
const MADE_LATER: i32 = CLONE_NEWCGROUP | CLONE_NEWTIME;

impl Namespaces {
    pub fn parse(list: &[Namespace]) -> Result<Self, SpecError> {
        let mut found = Self::default();
        let mut seen = 0;
        for namespace in list {
            let kind = flag(&namespace.kind)?;
            if seen & kind != 0 {
                return Err(SpecError::Invalid(format!("duplicated namespace {}", namespace.kind)));
            }
            seen |= kind;
            match (kind, namespace.path.as_str()) {
                (kind, "") => found.new |= kind,
                (CLONE_NEWPID, path) => found.join_pid = Some(checked(path)?),
                (kind, path) => found.join.push((kind, checked(path)?)),
            }
        }
        Ok(found)
    }

    /// What a clone makes at once.
    pub fn cloned(&self) -> i32 {
        self.new & !MADE_LATER
    }

    /// Whether what is joined must be joined before a user namespace is made, or what is made must belong to a user
    /// namespace that is joined: then a first child joins, and a second one, cloned by it, is the container's.
    pub fn needs_two_clones(&self) -> bool {
        self.joins(CLONE_NEWUSER) || self.is_new(CLONE_NEWUSER) && !self.join.is_empty()
    }

    pub fn joins(&self, kind: i32) -> bool {
        self.join.iter().any(|(joined, _)| *joined == kind)
    }

    /// Made or joined: not the host's.
    pub fn own(&self, kind: i32) -> bool {
        self.all() & kind != 0
    }

    pub fn is_new(&self, kind: i32) -> bool {
        self.new & kind != 0
    }

    /// All kinds in which the container differs from the host: what an exec joins.
    pub fn all(&self) -> i32 {
        let pid = if self.join_pid.is_some() { CLONE_NEWPID } else { 0 };
        self.join.iter().fold(self.new | pid, |all, (kind, _)| all | kind)
    }
}

fn checked(path: &str) -> Result<String, SpecError> {
    if path.starts_with('/') {
        return Ok(path.to_string());
    }
    Err(SpecError::Invalid(format!("namespace path {path:?} is not absolute")))
}

fn flag(kind: &str) -> Result<i32, SpecError> {
    Ok(match kind {
        "mount" => CLONE_NEWNS,
        "pid" => CLONE_NEWPID,
        "network" => CLONE_NEWNET,
        "ipc" => CLONE_NEWIPC,
        "uts" => CLONE_NEWUTS,
        "user" => CLONE_NEWUSER,
        "cgroup" => CLONE_NEWCGROUP,
        "time" => CLONE_NEWTIME,
        other => return Err(SpecError::Invalid(format!("namespace type {other:?} is unknown"))),
    })
}

/// The name of /proc/PID/ns for a flag.
pub fn file_name(kind: i32) -> &'static str {
    match kind {
        CLONE_NEWNS => "mnt",
        CLONE_NEWPID => "pid",
        CLONE_NEWNET => "net",
        CLONE_NEWIPC => "ipc",
        CLONE_NEWUTS => "uts",
        CLONE_NEWUSER => "user",
        CLONE_NEWCGROUP => "cgroup",
        _ => "time",
    }
}

/// All names of a set of flags, joined by commas.
pub fn names(kinds: i32) -> String {
    const ALL: [i32; 8] = [
        CLONE_NEWUSER,
        CLONE_NEWCGROUP,
        CLONE_NEWIPC,
        CLONE_NEWUTS,
        CLONE_NEWNET,
        CLONE_NEWPID,
        CLONE_NEWNS,
        CLONE_NEWTIME,
    ];
    ALL.iter().filter(|kind| kinds & **kind != 0).map(|kind| file_name(*kind)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(kind: &str, path: &str) -> Namespace {
        Namespace { kind: kind.into(), path: path.into() }
    }

    #[test]
    fn a_namespace_named_twice_is_refused() {
        let error = Namespaces::parse(&[namespace("pid", ""), namespace("pid", "/proc/1/ns/pid")]);
        assert_eq!(error.expect_err("twice").to_string(), "duplicated namespace pid");
    }

    #[test]
    fn joined_and_new_ones_are_told_apart() {
        let found =
            Namespaces::parse(&[namespace("mount", ""), namespace("network", "/run/netns/a"), namespace("pid", "/p")])
                .expect("valid");
        assert_eq!(found.new, CLONE_NEWNS);
        assert_eq!(found.join, [(CLONE_NEWNET, "/run/netns/a".to_string())]);
        assert_eq!(found.join_pid.as_deref(), Some("/p"));
        assert_eq!(found.all(), CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID);
        assert!(!found.needs_two_clones());
    }

    #[test]
    fn what_is_joined_stands_outside_of_a_new_user_namespace() {
        let parse = |list: &[Namespace]| Namespaces::parse(list).expect("valid");
        let new_user = namespace("user", "");
        assert!(parse(&[new_user.clone(), namespace("network", "/run/netns/a")]).needs_two_clones());
        assert!(!parse(&[new_user, namespace("network", "")]).needs_two_clones());
        assert!(parse(&[namespace("user", "/u"), namespace("network", "")]).needs_two_clones());
        assert_eq!(
            parse(&[namespace("time", ""), namespace("cgroup", ""), namespace("uts", "")]).cloned(),
            CLONE_NEWUTS
        );
    }
}
