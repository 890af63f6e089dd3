//! `checkpoint` and `restore`: from parsed flags to an operation.

use crate::arguments::Parsed;
use crate::commands::{create_request, number, path, run_mode};
use runtime::criu::checkpoint::{self, CheckpointRequest};
use runtime::criu::restore::{self, RestoreRequest};
use runtime::criu::{CgroupsMode, Settings};
use runtime::{Notes, Root, RuntimeError};

pub fn run_checkpoint(root: &Root, parsed: &Parsed, notes: &mut Notes) -> Result<(), RuntimeError> {
    let id = parsed.positionals.first().map_or("", String::as_str);
    let request = CheckpointRequest {
        settings: settings(parsed)?,
        parent_path: path(parsed, "parent-path"),
        leave_running: parsed.is_set("leave-running"),
        tcp_skip_in_flight: parsed.is_set("tcp-skip-in-flight"),
        link_remap: parsed.is_set("link-remap"),
        pre_dump: parsed.is_set("pre-dump"),
        page_server: parsed.value("page-server").map(str::to_string),
        status_fd: number::<i32>(parsed, "status-fd")?.filter(|fd| *fd >= 0),
    };
    checkpoint::checkpoint(root, id, &request, notes)
}

/// The exit code for the caller.
pub fn run_restore(root: &Root, global: &Parsed, parsed: &Parsed, notes: &mut Notes) -> Result<i32, RuntimeError> {
    let request = RestoreRequest {
        settings: settings(parsed)?,
        lsm_profile: parsed.value("lsm-profile").map(str::to_string),
        lsm_mount_context: parsed.value("lsm-mount-context").map(str::to_string),
    };
    restore::restore(root, &create_request(global, parsed)?, &request, run_mode(parsed), notes)
}

fn settings(parsed: &Parsed) -> Result<Settings, RuntimeError> {
    Ok(Settings {
        image_path: path(parsed, "image-path"),
        work_path: path(parsed, "work-path"),
        tcp_established: parsed.is_set("tcp-established"),
        external_unix_sockets: parsed.is_set("ext-unix-sk"),
        shell_job: parsed.is_set("shell-job"),
        file_locks: parsed.is_set("file-locks"),
        auto_dedup: parsed.is_set("auto-dedup"),
        lazy_pages: parsed.is_set("lazy-pages"),
        cgroups: CgroupsMode::parse(parsed.value("manage-cgroups-mode").unwrap_or(""))?,
        empty_namespaces: parsed.list("empty-ns"),
    })
}
