//! The built shim, driven over its socket as containerd does it: with runc as the runtime, and with our own inside it.
//!
//! Needs root, runc and a static busybox; where one is missing the tests are listed as ignored.

mod inside;

use containerd_api::runc::v1::{Options, ProcessDetails};
use containerd_api::services::events::ttrpc::v1::ForwardRequest;
use containerd_api::task::v2 as task;
use containerd_api::{Any, any, cgroups, method};
use libtest_mimic::{Arguments, Failed, Trial};
use logs::{ReadOptions, Reader};
use prost::Message;
use serde_json::json;
use std::cell::Cell;
use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use ttrpc::client::BlockingClient;
use ttrpc::{Code, Error, Status};

const PATIENCE: Duration = Duration::from_secs(30);
const PROGRAM_PATH: &str = env!("CARGO_BIN_EXE_docker-containerd-shim");
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
    let tests: [(&str, fn()); 15] = [
        ("an_exit_and_all_output_are_kept_until_delete", exit_and_output_are_kept),
        ("a_wait_is_answered_over_a_second_connection", wait_over_a_second_connection),
        ("a_client_that_attached_before_start_gets_everything", attach_before_start),
        ("an_exec_has_its_own_input_output_and_exit", exec),
        ("a_command_that_is_not_there_fails_with_the_runtimes_words", missing_command),
        ("delete_cleans_up_after_a_killed_shim", killed_shim),
        ("stats_are_those_of_the_containers_cgroups", stats),
        ("a_kill_for_want_of_memory_is_told_before_the_end", out_of_memory),
        ("limits_are_updated_and_bad_ones_refused", update),
        ("a_paused_container_resumes_and_dies_by_a_kill", pause),
        ("processes_are_listed_with_their_execs", pids),
        ("output_goes_into_a_file_or_to_a_binary", other_outputs),
        ("the_shim_enters_the_cgroup_of_its_options", shim_cgroup),
        ("what_is_not_built_is_refused", refused),
        ("a_start_that_fails_leaves_no_shim_behind", failed_start),
    ];
    let only_outside: [(&str, fn()); 1] = [("work_that_a_delete_overtakes_is_answered", overtaken)];
    let only_inside: [(&str, fn()); 3] = [
        ("a_container_gets_no_descriptor_of_the_shims", inside::no_descriptor_of_the_shims),
        ("the_shim_cannot_be_overwritten_through_proc", inside::not_overwritten),
        ("a_fork_server_leaves_shims_behind_that_outlive_it", inside::fork_server),
    ];
    let both = tests.into_iter().flat_map(|test| [(test, false), (test, true)]);
    let both = both.chain(only_outside.map(|test| (test, false))).chain(only_inside.map(|test| (test, true)));
    let trials = both.map(|((name, test), inside)| {
        let run = move || -> Result<(), Failed> {
            INSIDE.set(inside);
            test();
            Ok(())
        };
        let name = if inside { format!("inside::{name}") } else { name.to_owned() };
        Trial::test(name, run).with_ignored_flag(!able)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

thread_local! {
    /// Whether the shim performs our own runtime, which it does where nobody can overwrite it.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The shim's program on a read-only mount of its own, as docker-containerd executes it.
fn protected_program() -> &'static OwnedFd {
    static PROGRAM: OnceLock<OwnedFd> = OnceLock::new();
    PROGRAM.get_or_init(|| sys::mount::readonly_clone(&CString::new(PROGRAM_PATH).expect("path")).expect("a mount"))
}

/// The runtime of the options.
fn runtime() -> PathBuf {
    if INSIDE.get() { Path::new(PROGRAM_PATH).with_file_name("docker-runc") } else { runc().expect("runc") }
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
        Self::start_as(args, |_| {}, |_| {})
    }

    /// `configure` changes the bundle's configuration, `prepare` the command of the shim's start.
    fn start_as(
        args: &[&str],
        configure: impl FnOnce(&mut serde_json::Value),
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let name = folder.path().file_name().expect("name").to_string_lossy().replace('.', "");
        let id = format!("shimtest{name}");
        let bundle = folder.path().join("state/ns").join(&id);
        make_bundle(&bundle, args);
        let config = bundle.join("config.json");
        let mut spec = serde_json::from_slice(&fs::read(&config).expect("config")).expect("JSON");
        configure(&mut spec);
        fs::write(config, spec.to_string()).expect("config");
        let mut command = shim(&bundle, &id);
        prepare(&mut command);
        let output = command.arg("start").output().expect("shim start");
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
        let stdout = format!("pump://{at}/a.sock?log={at}/c-json.log{stdin}");
        self.create_with(task::CreateTaskRequest { stdout, ..Default::default() }, Options::default())
    }

    fn create_with(
        &mut self,
        request: task::CreateTaskRequest,
        options: Options,
    ) -> Result<task::CreateTaskResponse, Status> {
        let root = format!("{}/runc", self.folder.path().display());
        let options = Options { binary_name: runtime().display().to_string(), root, ..options };
        let request = task::CreateTaskRequest {
            id: self.id.clone(),
            bundle: self.bundle().display().to_string(),
            options: Some(any::pack(&options)),
            ..request
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
    let mut command = if INSIDE.get() {
        Command::new(format!("/proc/self/fd/{}", protected_program().as_raw_fd()))
    } else {
        Command::new(PROGRAM_PATH)
    };
    command.arg0(PROGRAM_PATH);
    command.current_dir(bundle).args(["-namespace", "ns", "-id", id, "-address", "/nonexistent"]);
    command.env_remove("TTRPC_ADDRESS").env_remove("MAX_SHIM_VERSION").stdin(Stdio::null());
    command
}

fn make_bundle(bundle: &Path, args: &[&str]) {
    let bin = bundle.join("rootfs/bin");
    fs::create_dir_all(&bin).expect("bundle");
    fs::create_dir(bundle.join("rootfs/proc")).expect("proc");
    fs::create_dir(bundle.join("rootfs/dev")).expect("dev");
    fs::copy(BUSYBOX, bin.join("busybox")).expect("busybox");
    for name in ["sh", "cat", "sleep", "seq", "head"] {
        symlink("busybox", bin.join(name)).expect("link");
    }
    let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({ "type": kind }));
    let spec = json!({
        "ociVersion": "1.0.2",
        "process": process(args),
        "root": { "path": "rootfs" },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": namespaces, "cgroupsPath": format!("/{}", bundle.file_name().expect("id").display()) },
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

fn ended(mut shim: Shim) {
    shim.kill();
    shim.wait("");
    shim.delete("").expect("delete");
    shim.finish();
}

fn stats() {
    let mut shim = Shim::start("head -c 4000000 /dev/zero > /dev/null; sleep 1000");
    assert_eq!(
        shim.call::<task::StatsResponse>(method::task::STATS, &stats_of("x")).expect_err("none").code,
        Code::NotFound
    );
    shim.create("").expect("create");
    shim.start_task("").expect("start");
    let request = stats_of(&shim.id.clone());
    let answer: task::StatsResponse = shim.call(method::task::STATS, &request).expect("stats");
    let found = answer.stats.expect("an answer");
    if found.type_url == "io.containerd.cgroups.v1.Metrics" {
        let metrics: cgroups::v1::Metrics = any::unpack(&found).expect("metrics");
        assert!(metrics.cpu.expect("cpu").usage.expect("usage").total > 0);
        let memory = metrics.memory.expect("memory");
        assert!(memory.usage.expect("usage").usage > 0 && memory.hierarchical_memory_limit > 0);
        assert!(metrics.pids.expect("pids").current >= 1);
    } else {
        let metrics: cgroups::v2::Metrics = any::unpack(&found).expect("metrics");
        assert!(metrics.cpu.expect("cpu").usage_usec > 0 && metrics.memory.expect("memory").usage > 0);
    }
    ended(shim);
}

fn stats_of(id: &str) -> task::StatsRequest {
    task::StatsRequest { id: id.to_owned() }
}

/// Takes events as containerd does; answers their topics until one has come.
fn topics_until(
    listener: std::os::unix::net::UnixListener,
    last: &'static str,
) -> std::thread::JoinHandle<Vec<String>> {
    use ttrpc::server::{Connection, Flow};
    std::thread::spawn(move || {
        let mut topics = Vec::new();
        let (socket, _) = listener.accept().expect("the shim connects");
        let mut connection = Connection::new(socket).expect("connection");
        while topics.last().map(String::as_str) != Some(last) {
            let mut calls = Vec::new();
            assert_eq!(connection.receive(&mut calls), Flow::Open);
            for call in calls {
                let request = ForwardRequest::decode(call.request.payload.as_slice()).expect("event");
                topics.push(request.envelope.expect("envelope").topic);
                assert_eq!(connection.respond(call.stream, Ok(Vec::new())), Flow::Open);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        topics
    })
}

fn out_of_memory() {
    let events = tempfile::tempdir().expect("tempdir");
    let socket = events.path().join("events");
    let topics = topics_until(std::os::unix::net::UnixListener::bind(&socket).expect("bind"), "/tasks/delete");
    let hungry = "x=a; while true; do x=$x$x$x$x; done";
    let limited = |spec: &mut serde_json::Value| {
        spec["linux"]["resources"] = json!({ "memory": { "limit": 8 << 20, "swap": 8 << 20 } });
    };
    let mut shim = Shim::start_as(&["/bin/sh", "-c", hungry], limited, |command| {
        command.env("TTRPC_ADDRESS", &socket);
    });
    shim.create("").expect("create");
    shim.start_task("").expect("start");
    assert_eq!(shim.wait(""), 137);
    shim.delete("").expect("delete");
    let topics = topics.join().expect("events");
    assert_eq!(topics.first().map(String::as_str), Some("/tasks/create"), "{topics:?}");
    let place = |wanted: &str| topics.iter().position(|topic| topic == wanted);
    assert!(place("/tasks/oom").expect("told") < place("/tasks/exit").expect("told"), "{topics:?}");
    shim.finish();
}

fn update() {
    let mut shim = Shim::start("sleep 1000");
    shim.create("").expect("create");
    shim.start_task("").expect("start");
    let request = |shim: &Shim, resources: serde_json::Value| task::UpdateTaskRequest {
        id: shim.id.clone(),
        resources: Some(any::pack_json(any::RESOURCES, resources.to_string().into_bytes())),
        ..Default::default()
    };
    let wanted = request(&shim, json!({ "pids": { "limit": 77 } }));
    shim.call::<task::PidsResponse>(method::task::UPDATE, &wanted).expect("update");
    let stats = stats_of(&shim.id.clone());
    let found = shim.call::<task::StatsResponse>(method::task::STATS, &stats).expect("stats").stats.expect("stats");
    let limit = match any::unpack::<cgroups::v1::Metrics>(&found) {
        Ok(metrics) => metrics.pids.expect("pids").limit,
        Err(_) => any::unpack::<cgroups::v2::Metrics>(&found).expect("metrics").pids.expect("pids").limit,
    };
    assert_eq!(limit, 77);
    let bad = request(&shim, json!({ "cpu": { "cpus": "9999" } }));
    let error = shim.call::<task::PidsResponse>(method::task::UPDATE, &bad).expect_err("no such processor");
    assert!(error.message.starts_with("OCI runtime update failed: "), "{}", error.message);
    ended(shim);
}

fn pause() {
    let mut shim = Shim::start("sleep 1000");
    shim.create("").expect("create");
    let request = task::PauseRequest { id: shim.id.clone() };
    assert!(shim.call::<task::PidsResponse>(method::task::PAUSE, &request).is_err(), "it does not run yet");
    shim.start_task("").expect("start");
    shim.call::<task::PidsResponse>(method::task::PAUSE, &request).expect("pause");
    let state = task::StateRequest { id: shim.id.clone(), ..Default::default() };
    let found: task::StateResponse = shim.call(method::task::STATE, &state).expect("state");
    assert_eq!(found.status(), containerd_api::v1::types::Status::Paused);
    let resume = task::ResumeRequest { id: shim.id.clone() };
    shim.call::<task::PidsResponse>(method::task::RESUME, &resume).expect("resume");
    assert!(shim.call::<task::PidsResponse>(method::task::RESUME, &resume).is_err(), "it runs");
    shim.call::<task::PidsResponse>(method::task::PAUSE, &request).expect("pause");
    ended(shim);
}

fn pids() {
    let mut shim = Shim::start("sleep 1000");
    shim.create("").expect("create");
    let init = shim.start_task("").expect("start").pid;
    let spec = process(&["/bin/sleep", "1000"]).to_string().into_bytes();
    let request = task::ExecProcessRequest {
        id: shim.id.clone(),
        exec_id: "second".into(),
        spec: Some(Any { type_url: any::PROCESS.into(), value: spec }),
        ..Default::default()
    };
    shim.call::<task::PidsResponse>(method::task::EXEC, &request).expect("exec");
    let exec = shim.start_task("second").expect("start").pid;
    let request = task::PidsRequest { id: shim.id.clone() };
    let found = shim.call::<task::PidsResponse>(method::task::PIDS, &request).expect("pids").processes;
    let info = |pid: u32| found.iter().find(|process| process.pid == pid).expect("listed").info.clone();
    assert_eq!(info(init), None);
    let details: ProcessDetails = any::unpack(&info(exec).expect("an exec")).expect("details");
    assert_eq!((details.exec_id.as_str(), found.len()), ("second", 2));
    ended(shim);
}

/// The shim is there before its address is written.
fn failed_start() {
    let folder = tempfile::tempdir().expect("tempdir");
    let id = format!("shimtestfailed{}{}", std::process::id(), INSIDE.get());
    let bundle = folder.path().join("state/ns").join(&id);
    make_bundle(&bundle, &["true"]);
    fs::create_dir(bundle.join("address")).expect("a folder in the place of the file");
    let output = shim(&bundle, &id).arg("start").output().expect("start");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("cannot write the address"), "{said}");
    let is_left = || {
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let mut lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines.any(|line| line.split(|byte| *byte == 0).any(|word| word == id.as_bytes()))
    };
    let deadline = std::time::Instant::now() + PATIENCE;
    while is_left() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!is_left());
}

/// A runtime that lists the processes of a container until that is deleted.
fn overtaken() {
    let mut shim = Shim::start("sleep 1000");
    let (asked, go_on) = (shim.folder.path().join("asked"), shim.folder.path().join("go-on"));
    let slow = shim.folder.path().join("slow-runtime");
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' ps '*) touch {}; while [ ! -e {} ]; do sleep 0.01; done;; esac\nexec {} \"$@\"\n",
        asked.display(),
        go_on.display(),
        runtime().display(),
    );
    fs::write(&slow, script).expect("script");
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).expect("mode");
    let root = format!("{}/runc", shim.folder.path().display());
    let options = Options { binary_name: slow.display().to_string(), root, ..Options::default() };
    let request = task::CreateTaskRequest {
        id: shim.id.clone(),
        bundle: shim.bundle().display().to_string(),
        options: Some(any::pack(&options)),
        ..Default::default()
    };
    shim.call::<task::CreateTaskResponse>(method::task::CREATE, &request).expect("create");
    shim.start_task("").expect("start");
    let (address, pids) = (shim.address(), task::PidsRequest { id: shim.id.clone() });
    let asking = std::thread::spawn(move || {
        call::<task::PidsResponse>(&mut connect(&address), method::task::PIDS, &pids).expect_err("deleted meanwhile")
    });
    while !asked.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    shim.kill();
    assert_eq!(shim.wait(""), 137);
    shim.delete("").expect("delete");
    fs::write(&go_on, "").expect("go on");
    assert_eq!(asking.join().expect("asking").code, Code::NotFound);
    shim.finish();
}

fn other_outputs() {
    let mut shim = Shim::start("seq 2000; echo err >&2");
    let file = shim.folder.path().join("deep/output");
    let uri = format!("file://{}", file.display());
    let request = task::CreateTaskRequest { stdout: uri.clone(), stderr: uri, ..Default::default() };
    shim.create_with(request, Options::default()).expect("create");
    shim.start_task("").expect("start");
    assert_eq!(shim.wait(""), 0);
    let text = fs::read_to_string(&file).expect("output");
    assert!(text.contains("\n2000\n") && text.contains("err\n"), "{} bytes", text.len());
    shim.delete("").expect("delete");
    shim.finish();

    let folder = tempfile::tempdir().expect("tempdir");
    let mut shim = Shim::start("echo out; echo err >&2");
    let logger = folder.path().join("logger");
    let begin =
        "#!/bin/sh\n{ echo \"$CONTAINER_NAMESPACE $* \"; grep SigBlk /proc/self/status; } > \"$2\"\nexec 5>&-\n";
    let script = format!("{begin}{{ cat <&3; cat <&4; }} >> \"$2\"\n");
    fs::write(&logger, script).expect("script");
    fs::set_permissions(&logger, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    let target = folder.path().join("logged");
    let uri = format!("binary://{}?to={}", logger.display(), target.display());
    let request = task::CreateTaskRequest { stdout: uri.clone(), stderr: uri, ..Default::default() };
    shim.create_with(request, Options::default()).expect("create");
    shim.start_task("").expect("start");
    assert_eq!(shim.wait(""), 0);
    shim.delete("").expect("delete");
    shim.finish();
    // What the shim blocks for itself is not blocked there.
    let wanted = format!("ns to {} \nSigBlk:\t0000000000000000\nout\nerr\n", target.display());
    let deadline = std::time::Instant::now() + PATIENCE;
    while fs::read_to_string(&target).unwrap_or_default() != wanted {
        assert!(std::time::Instant::now() < deadline, "{:?}", fs::read_to_string(&target));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn shim_cgroup() {
    let name = format!("/shim-test-{}", std::process::id());
    let layout = cgroup::Layout::detect().expect("cgroups");
    let group = cgroup::Group::plan(&layout, &name, "").expect("a path");
    group.create().expect("folders");
    let folder = tempfile::tempdir().expect("tempdir");
    let input = folder.path().join("options");
    let options = Options { shim_cgroup: name.clone(), ..Options::default() };
    fs::write(&input, any::pack(&options).encode_to_vec()).expect("options");
    let mut shim = Shim::start_as(
        &["/bin/sleep", "1000"],
        |_| {},
        |command| {
            command.stdin(fs::File::open(&input).expect("options"));
        },
    );
    let request = task::ConnectRequest { id: shim.id.clone() };
    let pid = shim.call::<task::ConnectResponse>(method::task::CONNECT, &request).expect("connect").shim_pid;
    assert_eq!(group.pids().expect("list"), [pid as i32]);
    shim.finish();
    group.remove().expect("remove");

    let bundle = folder.path().join("state/ns/none");
    make_bundle(&bundle, &["/bin/true"]);
    let mut command = self::shim(&bundle, "none");
    command.stdin(fs::File::open(&input).expect("options"));
    let output = command.arg("start").output().expect("shim start");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("failed to join shim to cgroup"), "{text}");
}

fn refused() {
    let mut shim = Shim::start("sleep 1000");
    let options = Options { task_api_address: "unix:///x".into(), ..Options::default() };
    let error = shim.create_with(task::CreateTaskRequest::default(), options).expect_err("not built");
    assert_eq!(error.code, Code::Unimplemented);
    let request = task::CreateTaskRequest { checkpoint: "/x".into(), ..Default::default() };
    assert_eq!(shim.create_with(request, Options::default()).expect_err("not built").code, Code::Unimplemented);
    let options = Options { systemd_cgroup: true, ..Options::default() };
    assert!(shim.create_with(task::CreateTaskRequest::default(), options).is_err(), "the runtime is told");
    shim.create("").expect("create");
    let request = task::CheckpointTaskRequest { id: shim.id.clone(), ..Default::default() };
    let error = shim.call::<task::PidsResponse>(method::task::CHECKPOINT, &request).expect_err("not built");
    assert_eq!(error.code, Code::Unimplemented);
    ended(shim);
}
