//! The built shim, driven over its socket as containerd does it, with runc as the runtime.
//!
//! Needs root, runc and a static busybox; where one is missing the tests are listed as ignored.

use containerd_api::runc::v1::Options;
use containerd_api::task::v2 as task;
use containerd_api::{Any, any, method};
use libtest_mimic::{Arguments, Failed, Trial};
use logs::{ReadOptions, Reader};
use prost::Message;
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use ttrpc::client::BlockingClient;
use ttrpc::{Code, Error, Status};

const PATIENCE: Duration = Duration::from_secs(30);
const BUSYBOX: &str = "/bin/busybox";

fn main() {
    let arguments = Arguments::from_args();
    let able = nix::unistd::geteuid().is_root() && Path::new(BUSYBOX).exists() && runc().is_some();
    if able {
        // Before any thread: what the runtime mounts is seen by nobody else and goes with this process.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let flags = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).expect("private mounts");
    }
    let tests: [(&str, fn()); 6] = [
        ("an_exit_and_all_output_are_kept_until_delete", exit_and_output_are_kept),
        ("a_wait_is_answered_over_a_second_connection", wait_over_a_second_connection),
        ("a_client_that_attached_before_start_gets_everything", attach_before_start),
        ("an_exec_has_its_own_input_output_and_exit", exec),
        ("a_command_that_is_not_there_fails_with_the_runtimes_words", missing_command),
        ("delete_cleans_up_after_a_killed_shim", killed_shim),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        let run = move || -> Result<(), Failed> {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(!able)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn runc() -> Option<PathBuf> {
    ["/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
}

struct Shim {
    folder: tempfile::TempDir,
    id: String,
    client: BlockingClient,
}

impl Shim {
    fn start(script: &str) -> Self {
        Self::start_args(&["/bin/sh", "-c", script])
    }

    fn start_args(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let name = folder.path().file_name().expect("name").to_string_lossy().replace('.', "");
        let id = format!("shimtest{name}");
        let bundle = folder.path().join("state/ns").join(&id);
        make_bundle(&bundle, args);
        let output = shim(&bundle, &id).arg("start").output().expect("shim start");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let address = String::from_utf8(output.stdout).expect("address");
        assert_eq!(fs::read_to_string(bundle.join("address")).expect("address file"), address);
        let client = connect(&address);
        Self { folder, id, client }
    }

    fn bundle(&self) -> PathBuf {
        self.folder.path().join("state/ns").join(&self.id)
    }

    fn address(&self) -> String {
        fs::read_to_string(self.bundle().join("address")).expect("address")
    }

    fn call<A: Message + Default>(&mut self, name: &str, request: &impl Message) -> Result<A, Status> {
        call(&mut self.client, name, request)
    }

    fn create(&mut self, stdin: &str) -> Result<task::CreateTaskResponse, Status> {
        let at = self.folder.path().display();
        let options = Options {
            binary_name: runc().expect("runc").display().to_string(),
            root: format!("{at}/runc"),
            ..Options::default()
        };
        let request = task::CreateTaskRequest {
            id: self.id.clone(),
            bundle: self.bundle().display().to_string(),
            stdout: format!("pump://{at}/a.sock?log={at}/c-json.log{stdin}"),
            options: Some(any::pack(&options)),
            ..Default::default()
        };
        self.call(method::task::CREATE, &request)
    }

    fn start_task(&mut self, exec_id: &str) -> Result<task::StartResponse, Status> {
        let request = task::StartRequest { id: self.id.clone(), exec_id: exec_id.into() };
        self.call(method::task::START, &request)
    }

    fn wait(&mut self, exec_id: &str) -> u32 {
        let request = task::WaitRequest { id: self.id.clone(), exec_id: exec_id.into() };
        self.call::<task::WaitResponse>(method::task::WAIT, &request).expect("wait").exit_status
    }

    fn kill(&mut self) {
        let request = task::KillRequest { id: self.id.clone(), signal: 9, ..Default::default() };
        self.call::<task::DeleteResponse>(method::task::KILL, &request).expect("kill");
    }

    fn delete(&mut self, exec_id: &str) -> Result<task::DeleteResponse, Status> {
        let request = task::DeleteRequest { id: self.id.clone(), exec_id: exec_id.into() };
        self.call(method::task::DELETE, &request)
    }

    /// Shuts the shim down and waits until its socket is gone.
    fn finish(mut self) {
        let socket = PathBuf::from(self.address().strip_prefix("unix://").expect("unix"));
        let request = task::ShutdownRequest { id: self.id.clone(), now: false };
        self.call::<task::PidsResponse>(method::task::SHUTDOWN, &request).expect("shutdown");
        // The end of the connection is the end of the process.
        let after = self.client.call(method::TASK_V2, method::task::CONNECT, Vec::new(), &[], PATIENCE);
        assert!(after.is_err());
        assert!(!socket.exists());
    }

    fn log(&self) -> String {
        let mut reader = Reader::open(&self.folder.path().join("c-json.log"), ReadOptions::default()).expect("log");
        let mut text = Vec::new();
        while let Some(entry) = reader.next_entry().expect("entry") {
            text.extend(entry.bytes);
        }
        String::from_utf8(text).expect("utf8")
    }
}

fn connect(address: &str) -> BlockingClient {
    BlockingClient::connect(Path::new(address.strip_prefix("unix://").expect("unix"))).expect("connect")
}

fn call<A: Message + Default>(client: &mut BlockingClient, name: &str, request: &impl Message) -> Result<A, Status> {
    match client.call(method::TASK_V2, name, request.encode_to_vec(), &[], PATIENCE) {
        Ok(payload) => Ok(A::decode(payload.as_slice()).expect("answer")),
        Err(Error::Status(status)) => Err(status),
        Err(error) => panic!("{name}: {error}"),
    }
}

fn shim(bundle: &Path, id: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_docker-containerd-shim"));
    command.current_dir(bundle).args(["-namespace", "ns", "-id", id, "-address", "/nonexistent"]);
    command.env_remove("TTRPC_ADDRESS").env_remove("MAX_SHIM_VERSION").stdin(Stdio::null());
    command
}

fn make_bundle(bundle: &Path, args: &[&str]) {
    let bin = bundle.join("rootfs/bin");
    fs::create_dir_all(&bin).expect("bundle");
    fs::create_dir(bundle.join("rootfs/proc")).expect("proc");
    fs::copy(BUSYBOX, bin.join("busybox")).expect("busybox");
    for name in ["sh", "cat", "sleep", "seq"] {
        symlink("busybox", bin.join(name)).expect("link");
    }
    let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({ "type": kind }));
    let spec = json!({
        "ociVersion": "1.0.2",
        "process": process(args),
        "root": { "path": "rootfs" },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": namespaces },
    });
    fs::write(bundle.join("config.json"), spec.to_string()).expect("config");
}

fn process(args: &[&str]) -> serde_json::Value {
    json!({ "user": { "uid": 0, "gid": 0 }, "args": args, "env": ["PATH=/bin"], "cwd": "/" })
}

fn attach(path: &Path, request: &str) -> UnixStream {
    let mut client = UnixStream::connect(path).expect("attach");
    client.set_read_timeout(Some(PATIENCE)).expect("timeout");
    client.write_all(format!("{request}\n").as_bytes()).expect("request");
    let mut answer = [0; 12];
    client.read_exact(&mut answer).expect("answer");
    assert_eq!(&answer, b"{\"ok\":true}\n");
    client
}

fn exit_and_output_are_kept() {
    let mut shim = Shim::start("seq 20000; echo err >&2; exit 7");
    assert!(shim.create("").expect("create").pid > 0);
    shim.start_task("").expect("start");
    assert_eq!(shim.wait(""), 7);
    let mut wanted: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    wanted.push_str("err\n");
    // The two outputs are two pipes, so that their order is not one.
    let log = shim.log();
    assert_eq!((log.len(), log.replace("err\n", "")), (wanted.len(), wanted.replace("err\n", "")));
    let error = shim.start_task("").expect_err("stopped");
    assert_eq!(error.message, "cannot start a stopped process");
    assert_eq!(shim.wait(""), 7, "asked again");
    assert_eq!(shim.delete("").expect("delete").exit_status, 7);
    assert_eq!(shim.delete("").expect_err("gone").code, Code::NotFound);
    shim.finish();
}

fn wait_over_a_second_connection() {
    let mut shim = Shim::start("sleep 1000");
    shim.create("").expect("create");
    shim.start_task("").expect("start");
    // The daemon goes away with a wait open, as if it had been killed.
    let request = task::WaitRequest { id: shim.id.clone(), ..Default::default() };
    let mut first = connect(&shim.address());
    let short = Duration::from_millis(20);
    let given_up = first.call(method::TASK_V2, method::task::WAIT, request.encode_to_vec(), &[], short);
    assert!(matches!(given_up, Err(Error::TimedOut)));
    drop(first);
    assert_eq!(shim.delete("").expect_err("running").message, "cannot delete a running process");
    let address = shim.address();
    let waiting = std::thread::spawn(move || {
        call::<task::WaitResponse>(&mut connect(&address), method::task::WAIT, &request).expect("wait").exit_status
    });
    shim.kill();
    assert_eq!(waiting.join().expect("waiting"), 137);
    assert_eq!(shim.wait(""), 137);
    shim.delete("").expect("delete");
    shim.finish();
}

fn attach_before_start() {
    let mut shim = Shim::start("cat; echo end");
    shim.create("&stdin=once").expect("create");
    let socket = shim.folder.path().join("a.sock");
    let mut client = attach(&socket, "{\"stdin\":true,\"stdout\":true}");
    client.write_all(b"early\n").expect("write");
    client.shutdown(std::net::Shutdown::Write).expect("shutdown");
    shim.start_task("").expect("start");
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).expect("the socket ends with the output");
    let text: Vec<u8> = [&b"\x01\0\0\0\0\0\0\x06early\n"[..], b"\x01\0\0\0\0\0\0\x04end\n"].concat();
    assert!(seen == text || seen == b"\x01\0\0\0\0\0\0\x0aearly\nend\n", "{seen:?}");
    assert_eq!(shim.wait(""), 0);
    assert!(!socket.exists());
    shim.delete("").expect("delete");
    shim.finish();
}

fn exec() {
    let mut shim = Shim::start("sleep 1000");
    shim.create("").expect("create");
    shim.start_task("").expect("start");
    let socket = shim.folder.path().join("exec.sock");
    let spec = process(&["/bin/sh", "-c", "cat >&2; exit 5"]).to_string().into_bytes();
    let request = task::ExecProcessRequest {
        id: shim.id.clone(),
        exec_id: "one".into(),
        stdout: format!("pump://{}?stdin=once", socket.display()),
        spec: Some(Any { type_url: any::PROCESS.into(), value: spec }),
        ..Default::default()
    };
    shim.call::<task::PidsResponse>(method::task::EXEC, &request).expect("exec");
    let again = shim.call::<task::PidsResponse>(method::task::EXEC, &request).expect_err("again");
    assert_eq!(again.code, Code::AlreadyExists);
    let mut client = attach(&socket, "{\"stdin\":true,\"stdout\":true,\"stderr\":true}");
    shim.start_task("one").expect("start");
    client.write_all(b"through").expect("write");
    client.shutdown(std::net::Shutdown::Write).expect("shutdown");
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).expect("read");
    assert_eq!(seen, b"\x02\0\0\0\0\0\0\x07through");
    assert_eq!(shim.wait("one"), 5);
    assert_eq!(shim.delete("one").expect("delete").exit_status, 5);
    shim.kill();
    assert_eq!(shim.wait(""), 137);
    shim.delete("").expect("delete");
    shim.finish();
}

fn missing_command() {
    let mut shim = Shim::start_args(&["/bin/nothere"]);
    let status = shim.create("").expect_err("not there");
    assert_eq!(status.code, Code::Unknown);
    let text =
        "OCI runtime create failed: runc create failed: unable to start container process: exec: \"/bin/nothere\"";
    assert!(status.message.starts_with(text), "{}", status.message);
    assert!(!shim.folder.path().join("a.sock").exists());
    shim.finish();
}

fn killed_shim() {
    let mut shim = Shim::start("sleep 1000");
    let init = shim.create("").expect("create").pid;
    shim.start_task("").expect("start");
    let request = task::ConnectRequest { id: shim.id.clone() };
    let pid = shim.call::<task::ConnectResponse>(method::task::CONNECT, &request).expect("connect").shim_pid;
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill");
    let output = self::shim(&shim.bundle(), &shim.id).arg("delete").output().expect("shim delete");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let exit = task::DeleteResponse::decode(output.stdout.as_slice()).expect("exit");
    assert_eq!((exit.exit_status, exit.pid), (137, init));
    assert!(fs::read_dir(shim.folder.path().join("state/s")).expect("sockets").next().is_none());
    let state = Command::new(runc().expect("runc"))
        .arg("--root")
        .arg(shim.folder.path().join("runc/ns"))
        .args(["state", &shim.id])
        .output()
        .expect("runc state");
    assert!(!state.status.success(), "the runtime has forgotten it");
}
