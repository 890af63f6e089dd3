//! `delete`: cleans up after a shim that has died, and answers with the exit that nobody saw.

use crate::arguments::Arguments;
use crate::outcome::Outcome;
use crate::runtime::{Runtime, RuntimeOptions};
use crate::work::Work;
use crate::{Error, failed_to, rootfs};
use ::runtime::Notes;
use ::runtime::delete::Force;
use containerd_api::task::v2::DeleteResponse;
use prost::Message;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;

/// 128 + SIGKILL.
const KILLED: u32 = 137;

pub fn delete(arguments: &Arguments) -> Result<(), Error> {
    let bundle = match &arguments.bundle {
        Some(bundle) => bundle.clone(),
        None => std::env::current_dir().map_err(failed_to("find the bundle"))?,
    };
    // The id may be another one's of the same folder, as in containerd.
    let bundle = bundle.parent().map_or(bundle.clone(), |parent| parent.join(&arguments.id));
    let options = RuntimeOptions::load(&bundle).map_err(failed_to("read the runtime's options"))?;
    let runtime = Runtime::new(&options, &arguments.namespace, &bundle, Path::new(&arguments.program));
    if let Err(message) = delete_container(&runtime, &arguments.id) {
        // stdout is the answer, stderr containerd's log.
        eprintln!("{message}");
    }
    rootfs::unmount(&bundle.join("rootfs"));
    remove_socket(&bundle);
    let pid = crate::container::read_pid(&bundle.join("init.pid")).unwrap_or(0);
    let outcome = Outcome::now(KILLED);
    let response = DeleteResponse { pid: pid as u32, exit_status: outcome.status, exited_at: outcome.timestamp() };
    io::stdout().write_all(&response.encode_to_vec()).map_err(failed_to("print the exit"))
}

fn delete_container(runtime: &Runtime, id: &str) -> Result<(), String> {
    if let Some(root) = runtime.own() {
        let deleted = ::runtime::delete::delete(root, id, Force::Yes, &mut Notes::default());
        return deleted.map_err(|error| format!("failed to remove runc container: {}", errors::chain(&error)));
    }
    match runtime.command(id, &Work::Delete { force: true }).stderr(Stdio::inherit()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("failed to remove runc container: {status}")),
        Err(error) => Err(format!("failed to run {}: {error}", runtime.binary().display())),
    }
}

/// The dead shim's socket, if its address is known; a shim that is still alive keeps serving without a name.
fn remove_socket(bundle: &Path) {
    let address = fs::read_to_string(bundle.join("address")).unwrap_or_default();
    if let Some(path) = address.trim().strip_prefix("unix://") {
        // Missing where the shim took leave in order.
        let _ = fs::remove_file(path);
    }
}
