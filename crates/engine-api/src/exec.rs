//! Processes that are started in a running container.

use crate::wire::empty;

wire! {
    /// Body of `POST /containers/x/exec`.
    #[serde(rename = "ExecCreateRequest")]
    pub struct CreateRequest {
        user: String = "User",
        privileged: bool = "Privileged",
        tty: bool = "Tty",
        /// Height, then width.
        console_size: Option<[u32; 2]> = "ConsoleSize" | "empty",
        attach_stdin: bool = "AttachStdin",
        attach_stderr: bool = "AttachStderr",
        attach_stdout: bool = "AttachStdout",
        detach_keys: String = "DetachKeys",
        env: Option<Vec<String>> = "Env",
        working_dir: String = "WorkingDir",
        cmd: Option<Vec<String>> = "Cmd",
        detach: bool = "Detach",
    }

    /// Body of `POST /exec/x/start`.
    #[serde(rename = "ExecStartRequest")]
    pub struct StartRequest {
        detach: bool = "Detach",
        tty: bool = "Tty",
        console_size: Option<[u32; 2]> = "ConsoleSize" | "empty",
    }

    /// Answer to `GET /exec/x/json`.
    pub struct Inspect {
        id: String = "ID",
        running: bool = "Running",
        exit_code: Option<i64> = "ExitCode",
        process_config: ProcessConfig = "ProcessConfig",
        open_stdin: bool = "OpenStdin",
        open_stderr: bool = "OpenStderr",
        open_stdout: bool = "OpenStdout",
        can_remove: bool = "CanRemove",
        container_id: String = "ContainerID",
        detach_keys: String = "DetachKeys",
        pid: i64 = "Pid",
    }

    /// What runs.
    pub struct ProcessConfig {
        tty: bool = "tty",
        entrypoint: String = "entrypoint",
        arguments: Vec<String> = "arguments",
        privileged: Option<bool> = "privileged" | "empty",
        user: String = "user" | "empty",
    }
}
