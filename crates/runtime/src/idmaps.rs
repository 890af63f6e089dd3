//! Writing a user namespace's maps (user_namespaces(7), newuidmap(1)).

use crate::RuntimeError;
use runtime_core::spec::IdMapping;
use std::fs;
use std::process::Command;
use sys::process;

/// What stands in /proc/PID/uid_map.
pub fn text(maps: &[IdMapping]) -> String {
    maps.iter().map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size)).collect()
}

/// Who is not root may map its own id only; more are mapped by programs that know which are its to give (subuid(5)).
pub fn write(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> Result<(), RuntimeError> {
    if process::uid() == 0 {
        write_file(pid, "uid_map", &text(uids))?;
        return write_file(pid, "gid_map", &text(gids));
    }
    match uids {
        [map] if map.size == 1 && map.host_id == process::uid() => write_file(pid, "uid_map", &text(uids))?,
        _ => run("newuidmap", pid, uids)?,
    }
    match gids {
        [map] if map.size == 1 && map.host_id == process::gid() => {
            // Without CAP_SETGID a gid map needs setgroups denied.
            write_file(pid, "setgroups", "deny")?;
            write_file(pid, "gid_map", &text(gids))
        }
        _ => run("newgidmap", pid, gids),
    }
}

/// Whether setgroups(2) is denied to a process.
pub fn denies_setgroups(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/setgroups")).is_ok_and(|text| text.trim() == "deny")
}

fn write_file(pid: i32, name: &str, value: &str) -> Result<(), RuntimeError> {
    let path = format!("/proc/{pid}/{name}");
    fs::write(&path, value).map_err(RuntimeError::file(format!("cannot write {path}")))
}

fn run(program: &'static str, pid: i32, maps: &[IdMapping]) -> Result<(), RuntimeError> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for map in maps {
        command.args([map.container_id.to_string(), map.host_id.to_string(), map.size.to_string()]);
    }
    let output =
        command.output().map_err(RuntimeError::file(format!("run {program}, which maps more than the own id")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(RuntimeError::Start(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_have_a_line_each() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert_eq!(text(&[map(0, 100_000, 10), map(10, 5, 1)]), "0 100000 10\n10 5 1\n");
    }
}
