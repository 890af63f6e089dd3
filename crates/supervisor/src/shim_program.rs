//! Running a shim's program: `start`, which leaves the shim behind and answers its address, and `delete`, which cleans up
//! after a shim that died. The command line and the environment are those of containerd's `core/runtime/v2` README.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use containerd_api::prost::Message;
use containerd_api::{Any, task};
use errors::ErrorKind;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::bundle::Bundle;
use crate::error::{Error, Result};

/// How long `start` may take.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);
/// How long `delete` may take.
const DELETE_LIMIT: Duration = Duration::from_secs(10);
/// The most that is read of what a shim's program prints.
const MAX_OUTPUT_BYTES: u64 = 64 * 1024;
/// The newest version of the shim protocol that we speak.
const MAX_SHIM_VERSION: u32 = 3;
const TTRPC: &str = "ttrpc";

/// How shims reach us.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Our gRPC socket.
    pub address: String,
    /// Our ttrpc socket, for events.
    pub ttrpc_address: String,
    /// Our own program, which shims run as `… publish`.
    pub executable: PathBuf,
    pub debug: bool,
}

/// What a started shim says about itself, as containerd's `bootstrap.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    pub version: u32,
    /// As it stands in the file `address`: `unix:///path`.
    pub address: String,
    pub protocol: String,
}

impl Bootstrap {
    /// A shim that answered a plain address.
    pub fn version_2(address: &str) -> Self {
        Self { version: 2, address: address.to_owned(), protocol: TTRPC.to_owned() }
    }
}

/// Starts the shim of a bundle. `options` go to its standard input.
pub async fn start(program: &Path, bundle: &Bundle, daemon: &Daemon, options: Option<&Any>) -> Result<Bootstrap> {
    let input = options.map(Message::encode_to_vec).unwrap_or_default();
    let output = run(command(program, bundle, daemon, "start", false), input, START_LIMIT).await?;
    if !output.success {
        let mut words = output.stdout;
        words.extend_from_slice(&output.stderr);
        return Err(failed("start", &words, &output.status));
    }
    parse_bootstrap(&output.stdout)
}

/// Cleans up after a dead shim; answers how its task ended.
pub async fn delete(program: &Path, bundle: &Bundle, daemon: &Daemon) -> Result<task::v2::DeleteResponse> {
    let output = run(command(program, bundle, daemon, "delete", true), Vec::new(), DELETE_LIMIT).await?;
    if !output.success {
        return Err(failed("delete", &output.stderr, &output.status));
    }
    task::v2::DeleteResponse::decode(output.stdout.as_slice())
        .map_err(|source| Error::Stored { what: "cannot decode the answer of the shim's delete".to_owned(), source })
}

fn command(program: &Path, bundle: &Bundle, daemon: &Daemon, action: &str, name_bundle: bool) -> Command {
    let mut command = Command::new(program);
    command.arg("-namespace").arg(&bundle.namespace).arg("-address").arg(&daemon.address);
    command.arg("-publish-binary").arg(&daemon.executable).arg("-id").arg(&bundle.id);
    if name_bundle {
        command.arg("-bundle").arg(&bundle.path);
    }
    if daemon.debug {
        command.arg("-debug");
    }
    command.arg(action);
    command.env("TTRPC_ADDRESS", &daemon.ttrpc_address).env("GRPC_ADDRESS", &daemon.address);
    command.env("NAMESPACE", &bundle.namespace).env("MAX_SHIM_VERSION", "2").env("GOMAXPROCS", "2");
    command.current_dir(&bundle.path).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Output {
    success: bool,
    status: String,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

async fn run(mut command: Command, input: Vec<u8>, limit: Duration) -> Result<Output> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    if input.is_empty() {
        command.stdin(Stdio::null());
    }
    let mut child = command.spawn().map_err(Error::io(format!("cannot start the shim {program:?}")))?;
    let work = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A shim that reads no options closes the pipe: not our trouble.
            let _ = stdin.write_all(&input).await;
        }
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let read_out = async {
            if let Some(pipe) = out {
                let _ = pipe.take(MAX_OUTPUT_BYTES).read_to_end(&mut stdout).await;
            }
        };
        let read_err = async {
            if let Some(pipe) = err {
                let _ = pipe.take(MAX_OUTPUT_BYTES).read_to_end(&mut stderr).await;
            }
        };
        tokio::join!(read_out, read_err);
        let status = child.wait().await.map_err(Error::io("cannot wait for the shim's program"))?;
        Ok(Output { success: status.success(), status: status.to_string(), stdout, stderr })
    };
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Unavailable(format!("the shim {program:?} did not end within {} s", limit.as_secs()))),
    }
}

fn failed(action: &str, words: &[u8], status: &str) -> Error {
    let words = String::from_utf8_lossy(words);
    let words = words.trim();
    let message = if words.is_empty() { format!("shim {action}: {status}") } else { format!("{words}: {status}") };
    Error::Shim { kind: ErrorKind::Internal, message }
}

/// Reads a plain address (containerd 1.6) or the JSON of 1.7 and later.
fn parse_bootstrap(output: &[u8]) -> Result<Bootstrap> {
    let refused = |message: String| Error::Shim { kind: ErrorKind::Internal, message };
    let text = std::str::from_utf8(output).map_err(|_| refused("the shim's start answered no text".to_owned()))?.trim();
    let bootstrap: Bootstrap = if text.starts_with('{') {
        serde_json::from_str(text)
            .map_err(|error| refused(format!("the shim's start answered broken JSON: {error}")))?
    } else {
        Bootstrap::version_2(text)
    };
    if bootstrap.protocol != TTRPC {
        return Err(refused(format!("the shim speaks {:?}, only ttrpc is supported", bootstrap.protocol)));
    }
    if bootstrap.address.is_empty() || bootstrap.address.contains(['\n', '\0']) {
        return Err(refused(format!("the shim's start answered no address: {text:?}")));
    }
    if !(2..=MAX_SHIM_VERSION).contains(&bootstrap.version) {
        return Err(refused(format!("unsupported shim version ({})", bootstrap.version)));
    }
    Ok(bootstrap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_answer_are_read() {
        let plain = parse_bootstrap(b"unix:///run/s/abc\n").expect("plain");
        assert_eq!(plain, Bootstrap::version_2("unix:///run/s/abc"));
        let json = br#"{"version":3,"address":"unix:///run/s/abc","protocol":"ttrpc"}"#;
        assert_eq!(parse_bootstrap(json).expect("json").version, 3);
    }

    #[test]
    fn other_answers_are_refused() {
        for bad in [
            &b""[..],
            b"{",
            b"\xff",
            b"one\ntwo",
            br#"{"version":9,"address":"unix:///x","protocol":"ttrpc"}"#,
            br#"{"version":2,"address":"unix:///x","protocol":"grpc"}"#,
            br#"{"version":2,"address":"","protocol":"ttrpc"}"#,
        ] {
            assert!(parse_bootstrap(bad).is_err(), "{:?} was taken", String::from_utf8_lossy(bad));
        }
    }
}
