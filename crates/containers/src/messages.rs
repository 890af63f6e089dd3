//! What users of Docker know word by word. Every refusal of this service is made here.

use errors::{ErrorKind, Kind};

use crate::error::Error;

fn refuse(kind: ErrorKind, message: String) -> Error {
    Error::Refused { kind, message }
}

pub fn no_such_container(reference: &str) -> Error {
    refuse(ErrorKind::NotFound, format!("No such container: {reference}"))
}

pub fn no_reference(reference: &str) -> Error {
    refuse(ErrorKind::InvalidArgument, format!("invalid name or ID supplied: {reference:?}"))
}

pub fn ambiguous(reference: &str) -> Error {
    refuse(ErrorKind::InvalidArgument, format!("multiple IDs found with provided prefix: {reference}"))
}

pub fn name_in_use(name: &str, id: &str) -> Error {
    refuse(
        ErrorKind::Conflict,
        format!(
            "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or \
             rename) that container to be able to reuse that name."
        ),
    )
}

pub fn no_free_name() -> Error {
    refuse(ErrorKind::Internal, "could not generate a container name that is free".to_owned())
}

pub fn empty_names() -> Error {
    refuse(ErrorKind::InvalidArgument, "Neither old nor new names may be empty".to_owned())
}

/// `why`: taken, or no name.
pub fn cannot_rename(why: &Error) -> Error {
    refuse(why.kind(), format!("Error when allocating new name: {}", errors::chain(why)))
}

pub fn same_name() -> Error {
    refuse(ErrorKind::InvalidArgument, "Renaming a container with the same name as its current name".to_owned())
}

pub fn not_connected(id: &str, network: &str) -> Error {
    refuse(ErrorKind::PermissionDenied, format!("container {id} is not connected to the network {network}"))
}

pub fn bad_endpoint(network: &str, kind: ErrorKind, why: &str) -> Error {
    refuse(kind, format!("invalid config for network {network}: {why}"))
}

/// The namespaces of a container that is not there.
pub fn bad_mode(why: &Error) -> Error {
    refuse(ErrorKind::InvalidArgument, errors::chain(why))
}

/// `-w` with the path of what is no folder.
pub fn working_dir_is_file(path: &str) -> Error {
    refuse(ErrorKind::Internal, format!("Cannot mkdir: {path} is not a directory"))
}

pub fn connect_to_host() -> Error {
    let message = "cannot connect container to host network - container must be created in host network mode";
    refuse(ErrorKind::InvalidArgument, message.to_owned())
}

pub fn disconnect_from_host() -> Error {
    let message = "cannot disconnect container from host network - container was created in host network mode";
    refuse(ErrorKind::InvalidArgument, message.to_owned())
}

pub fn shared_network() -> Error {
    let message =
        "container sharing network namespace with another container or host cannot be connected to any other network";
    refuse(ErrorKind::InvalidArgument, message.to_owned())
}

pub fn no_network() -> Error {
    let message = "container cannot be connected to multiple networks with one of the networks in private (none) mode";
    refuse(ErrorKind::InvalidArgument, message.to_owned())
}

pub fn not_running(id: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("container {id} is not running"))
}

pub fn cannot_kill(reference: &str, why: &Error) -> Error {
    refuse(why.kind(), format!("cannot kill container: {reference}: {}", errors::chain(why)))
}

pub fn cannot_restart(reference: &str, why: &Error) -> Error {
    refuse(ErrorKind::Internal, format!("Cannot restart container {reference}: {}", errors::chain(why)))
}

pub fn already_running(id: &str) -> Error {
    refuse(ErrorKind::NotModified, format!("container {id} is already running"))
}

pub fn already_stopped(id: &str) -> Error {
    refuse(ErrorKind::NotModified, format!("container {id} is already stopped"))
}

pub fn start_paused() -> Error {
    refuse(ErrorKind::Conflict, "cannot start a paused container, try unpause instead".to_owned())
}

pub fn start_removed() -> Error {
    refuse(ErrorKind::Conflict, "container is marked for removal and cannot be started".to_owned())
}

pub fn attach_paused(reference: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("container {reference} is paused, unpause the container before attach"))
}

pub fn attach_restarting(reference: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("container {reference} is restarting, wait until the container is running"))
}

pub fn exec_paused(reference: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("Container {reference} is paused, unpause the container before exec"))
}

pub fn is_restarting(id: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("Container {id} is restarting, wait until the container is running"))
}

pub fn already_paused(id: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("Container {id} is already paused"))
}

/// No conflict for Docker, but a failure of the engine.
pub fn not_paused(id: &str) -> Error {
    refuse(ErrorKind::Internal, format!("Container {id} is not paused"))
}

/// `state` is the container's own word for it.
pub fn cannot_remove(name: &str, state: &str) -> Error {
    let advice = match state {
        "paused" => "container is paused and must be unpaused first",
        "restarting" => "container is restarting: stop the container before removing or force remove",
        _ => "container is running: stop the container before removing or force remove",
    };
    refuse(ErrorKind::Conflict, format!("cannot remove container \"/{name}\": {advice}"))
}

pub fn removal_in_progress(id: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("removal of container {id} is already in progress"))
}

pub fn cannot_stop(id: &str) -> Error {
    refuse(
        ErrorKind::Internal,
        format!("cannot stop container: {id}: tried to kill container, but did not receive an exit event"),
    )
}

pub fn no_such_exec(id: &str) -> Error {
    refuse(ErrorKind::NotFound, format!("No such exec instance: {id}"))
}

pub fn exec_not_started() -> Error {
    refuse(ErrorKind::InvalidArgument, "exec process is not started".to_owned())
}

pub fn exec_is_running(id: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("exec command {id} is already running"))
}

pub fn exec_has_run(id: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("exec command {id} has already run"))
}

pub fn no_exec_command() -> Error {
    refuse(ErrorKind::InvalidArgument, "No exec command specified".to_owned())
}

pub fn logs_not_readable() -> Error {
    refuse(ErrorKind::NotImplemented, "configured logging driver does not support reading".to_owned())
}

pub fn logs_of_removed() -> Error {
    refuse(ErrorKind::Conflict, "can not get logs from container which is dead or marked for removal".to_owned())
}

pub fn bad_log_defaults(why: &str) -> Error {
    refuse(ErrorKind::InvalidArgument, format!("failed to set log opts: {why}"))
}

/// A driver that cannot begin, as Docker tells of it when a container starts.
pub fn logging_failed(why: &str) -> Error {
    let (kind, _, message) =
        start_failure(&format!("failed to create task for container: failed to initialize logging driver: {why}"));
    refuse(kind, message)
}

pub fn unknown_runtime(name: &str) -> Error {
    refuse(ErrorKind::InvalidArgument, format!("unknown or invalid runtime name: {name}"))
}

pub fn runtime_with_foreign_shim(name: &str, shim: &str) -> Error {
    let own = if name == shim { String::new() } else { format!(" ({shim})") };
    let message = format!(
        "runtime {name} has a shim of its own{own}, which cannot keep a container's output for this engine: \
         name the path of a program with runc's command line"
    );
    refuse(ErrorKind::NotImplemented, message)
}

pub fn runtime_option(runtime: &str, key: &str) -> Error {
    refuse(ErrorKind::InvalidArgument, format!("runtime {runtime}: invalid option {key}"))
}

pub fn bind_source_missing(path: &str) -> Error {
    refuse(
        ErrorKind::InvalidArgument,
        format!("invalid mount config for type \"bind\": bind source path does not exist: {path}"),
    )
}

pub fn device_missing(path: &str, why: &str) -> Error {
    refuse(
        ErrorKind::Internal,
        format!("error gathering device information while adding custom device \"{path}\": {why}"),
    )
}

/// In Go's words of the system's.
pub fn no_block_device(path: &str, error: &std::io::Error) -> Error {
    let words = error.to_string().to_lowercase();
    let words = words.split(" (os error").next().unwrap_or_default();
    refuse(ErrorKind::Internal, format!("stat {path}: {words}"))
}

pub fn join_not_running(id: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("cannot join network of a non running container: {id}"))
}

pub fn join_itself() -> Error {
    refuse(ErrorKind::InvalidArgument, "cannot join own network namespace".to_owned())
}

pub fn no_id_map(source: &str) -> Error {
    let message = format!(
        "invalid mount config for type \"bind\": bind-idmap=match-user: the file system of {source} has no id-mapped mounts"
    );
    refuse(ErrorKind::InvalidArgument, message)
}

pub fn no_subpath(volume: &str, path: &str) -> Error {
    let at = format!("{volume}/{path}");
    refuse(ErrorKind::Internal, format!("cannot access path {at}: lstat {at}: no such file or directory"))
}

pub fn subpath_escapes(volume: &str, path: &str) -> Error {
    let message = format!("path concatenation escapes the base directory, base: {volume}, sub: {path}");
    refuse(ErrorKind::Internal, message)
}

/// Whatever the reason, the engine's own error: nothing is wrong with the request.
pub fn volume_not_mounted(place: &str, why: &str) -> Error {
    refuse(ErrorKind::Internal, format!("error while mounting volume '{place}': {why}"))
}

pub fn no_host_shm() -> Error {
    refuse(ErrorKind::Internal, "/dev/shm is not mounted, but must be for --ipc=host".to_owned())
}

pub fn ipc_not_shareable(id: &str) -> Error {
    let message = format!(
        "failed to join IPC namespace: container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor \
         container)"
    );
    refuse(ErrorKind::InvalidArgument, message)
}

pub fn join_not_running_namespace(namespace: &str, id: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("failed to join {namespace} namespace: container {id} is not running"))
}

pub fn other_users(id: &str) -> Error {
    let message = format!(
        "cannot share namespaces of container {id}, which has the host's users (hint: use --userns=host for both, or for \
         none)"
    );
    refuse(ErrorKind::InvalidArgument, message)
}

pub fn not_shared(path: &str, mount: &str, wanted: &str) -> Error {
    refuse(ErrorKind::Internal, format!("path {path} is mounted on {mount} but it is not {wanted}"))
}

pub fn daemon_root_propagation(root: &str, source: &str, propagation: &str) -> Error {
    let message = format!(
        "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is within the \
         daemon root, daemon root: \"{root}\", bind mount source: \"{source}\", propagation: \"{propagation}\""
    );
    refuse(ErrorKind::InvalidArgument, message)
}

pub fn empty_link() -> Error {
    refuse(ErrorKind::InvalidArgument, "empty string specified for links".to_owned())
}

pub fn default_link() -> Error {
    refuse(ErrorKind::Internal, "Conflict, cannot remove the default link name of the container".to_owned())
}

pub fn bad_link(text: &str) -> Error {
    refuse(ErrorKind::InvalidArgument, format!("bad format for links: {text}"))
}

pub fn no_link_target(name: &str) -> Error {
    refuse(ErrorKind::InvalidArgument, format!("could not get container for {name}: No such container: {name}"))
}

pub fn link_not_running(child: &str, parent: &str, alias: &str) -> Error {
    refuse(ErrorKind::Internal, format!("Cannot link to a non running container: /{child} AS /{parent}/{alias}"))
}

pub fn link_off_the_bridge(child: &str) -> Error {
    refuse(ErrorKind::Internal, format!("Cannot link to /{child}, as it does not belong to the default network"))
}

pub fn conflicting(what: &str) -> Error {
    refuse(ErrorKind::InvalidArgument, format!("conflicting options: {what}"))
}

pub fn volumes_from_missing(reference: &str) -> Error {
    refuse(ErrorKind::InvalidArgument, format!("No such container: {reference}"))
}

pub fn no_such_path(path: &str, container: &str) -> Error {
    refuse(ErrorKind::NotFound, format!("Could not find the file {path} in container {container}"))
}

pub fn not_a_place() -> Error {
    refuse(ErrorKind::InvalidArgument, "extraction point is not a directory".to_owned())
}

pub fn read_only_volume() -> Error {
    refuse(ErrorKind::InvalidArgument, "mounted volume is marked read-only".to_owned())
}

pub fn read_only_rootfs() -> Error {
    refuse(ErrorKind::InvalidArgument, "container rootfs is marked read-only".to_owned())
}

/// `what` is `commit` or `export`, `state` `is Dead` or `is being removed`.
pub fn cannot_use(what: &str, id: &str, state: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("You cannot {what} container {id} which {state}"))
}

pub fn no_layers() -> Error {
    refuse(ErrorKind::NotImplemented, "the container's file system is no overlay whose layers could be read".to_owned())
}

pub fn cannot_update(id: &str, why: &str) -> Error {
    refuse(ErrorKind::Conflict, format!("Cannot update container {id}: {why}"))
}

pub fn update_failed(id: &str, why: &str) -> Error {
    refuse(ErrorKind::Internal, format!("Cannot update container {id}: {why}"))
}

pub fn prune_running() -> Error {
    refuse(ErrorKind::Conflict, "a prune operation is already running".to_owned())
}

pub fn exec_not_ready() -> Error {
    refuse(ErrorKind::Internal, "timeout waiting for exec session ready".to_owned())
}

pub fn ps_renames(name: &str, title: &str) -> Error {
    refuse(ErrorKind::Internal, format!("specifying \"{name}={title}\" is not allowed"))
}

pub fn unexpected_pid(text: &str) -> Error {
    refuse(ErrorKind::Internal, format!("Unexpected pid '{text}': strconv.Atoi: parsing \"{text}\": invalid syntax"))
}

pub fn no_pid_column() -> Error {
    refuse(ErrorKind::Internal, "Couldn't find PID field in ps output".to_owned())
}

pub fn bad_ps_arguments(why: &str) -> Error {
    refuse(ErrorKind::Internal, format!("ps: {why}"))
}

pub fn foreign_shim() -> Error {
    refuse(
        ErrorKind::NotImplemented,
        "this containerd starts a shim that does not serve the attach socket: name docker-containerd-shim as runtime"
            .to_owned(),
    )
}

/// A runtime's refusal as Docker shows it: with the shim's clause before and the status' name behind, which containerd's
/// own chain of errors adds.
pub fn runtime_refusal(action: &str, what: &str) -> String {
    const SHIM: &str = "failed to create shim task: ";
    let shim = if what.starts_with("OCI runtime create failed") { SHIM } else { "" };
    let unknown = if what.starts_with("OCI runtime") && !what.ends_with(": unknown") { ": unknown" } else { "" };
    format!("{action}: {shim}{what}{unknown}")
}

/// The same for an exec, which Docker shows without the caller's clause.
pub fn exec_refusal(what: &str) -> String {
    let unknown = if what.starts_with("OCI runtime") && !what.ends_with(": unknown") { ": unknown" } else { "" };
    format!("{what}{unknown}")
}

/// What a container's start ends with when the runtime refuses: kind, exit code, text. The codes and the hints are what
/// `docker run` turns into its own exit code.
pub fn start_failure(what: &str) -> (ErrorKind, i32, String) {
    let lower = what.to_ascii_lowercase();
    let command_is_wrong =
        ["executable file not found", "no such file or directory", "failed to run runc create/exec call"];
    match () {
        () if lower.contains("permission denied") => (ErrorKind::InvalidArgument, 126, what.to_owned()),
        // The docker client tells 126 from 125 by these two words.
        () if lower.contains("is a directory") => {
            (ErrorKind::InvalidArgument, 126, format!("{what}: permission denied"))
        }
        () if lower.contains("not a directory") => (
            ErrorKind::InvalidArgument,
            127,
            format!(
                "{what}: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host \
                 path exists and is the expected type"
            ),
        ),
        () if command_is_wrong.iter().any(|text| lower.contains(text)) => {
            (ErrorKind::InvalidArgument, 127, what.to_owned())
        }
        () => (ErrorKind::Internal, 128, what.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_dockers_whichever_containerd_told_it() {
        let docker =
            "failed to create task for container: failed to create shim task: OCI runtime create failed: x: unknown";
        let refusal = |what| runtime_refusal("failed to create task for container", what);
        assert_eq!(refusal("OCI runtime create failed: x"), docker);
        assert_eq!(refusal("failed to create shim task: OCI runtime create failed: x: unknown"), docker);
    }

    #[test]
    fn a_missing_program_is_127_and_one_that_may_not_run_126() {
        let code = |text: &str| (start_failure(text).0, start_failure(text).1);
        assert_eq!(code("exec: \"x\": executable file not found in $PATH: unknown"), (ErrorKind::InvalidArgument, 127));
        assert_eq!(code("exec: \"/etc\": permission denied"), (ErrorKind::InvalidArgument, 126));
        assert_eq!(code("exec: \"/etc\": is a directory"), (ErrorKind::InvalidArgument, 126));
        assert_eq!(code("cannot allocate memory"), (ErrorKind::Internal, 128));
        assert!(start_failure("exec: \"/etc\": is a directory").2.ends_with("permission denied"));
    }
}
