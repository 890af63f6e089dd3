//! What holds where the shim performs our own runtime: the container gets nothing of the shim's, and nobody overwrites it.

use super::*;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

fn descriptors(pid: u32) -> Vec<(i32, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").flatten();
    let link = |path: PathBuf| fs::read_link(path).map(|link| link.display().to_string()).unwrap_or_default();
    let number = |name: std::ffi::OsString| name.to_string_lossy().parse().expect("a number");
    let mut all: Vec<_> = entries.map(|entry| (number(entry.file_name()), link(entry.path()))).collect();
    all.sort();
    all
}

/// The program is executed a moment after it was let through.
fn wait_for_program(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    while numbers(pid) != [0, 1, 2] && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(numbers(pid), [0, 1, 2]);
}

fn numbers(pid: u32) -> Vec<i32> {
    descriptors(pid).into_iter().map(|(number, _)| number).collect()
}

/// CVE-2024-21626 and its kin, and what the shim serves with.
pub fn no_descriptor_of_the_shims() {
    let mut shim = Shim::start("exec sleep 1000");
    let pid = shim.create("").expect("create").pid;
    // The waiting process has a procfs, the gate and the end of a pair whose other end is gone.
    let waiting = descriptors(pid);
    let foreign = ["eventpoll", "signalfd", "memfd", "docker-containerd-shim"];
    assert!(!waiting.iter().any(|(_, link)| foreign.iter().any(|name| link.contains(name))), "{waiting:?}");
    let sockets = waiting.iter().filter(|(_, link)| link.starts_with("socket:")).count();
    assert!(waiting.len() <= 6 && sockets <= 1, "{waiting:?}");
    shim.start_task("").expect("start");
    wait_for_program(pid);
    let request = task::ExecProcessRequest {
        id: shim.id.clone(),
        exec_id: "e".into(),
        stdout: format!("pump://{}/e.sock", shim.folder.path().display()),
        spec: Some(Any { value: process(&["/bin/sleep", "1000"]).to_string().into_bytes(), ..Any::default() }),
        ..Default::default()
    };
    shim.call::<task::DeleteResponse>(method::task::EXEC, &request).expect("exec");
    let exec = shim.start_task("e").expect("start").pid;
    assert_eq!(numbers(exec), [0, 1, 2]);
    shim.kill();
    shim.wait("");
    shim.delete("").expect("delete");
    shim.finish();
}

/// CVE-2019-5736. As the attack does: keep the program's file, wait for its end, open it for writing.
pub fn not_overwritten() {
    // A copy, which no other test has running.
    let folder = tempfile::tempdir().expect("tempdir");
    let copy = folder.path().join("shim");
    fs::copy(PROGRAM_PATH, &copy).expect("copy");
    let program =
        sys::mount::readonly_clone(&CString::new(copy.as_os_str().as_bytes()).expect("path")).expect("a mount");
    let mut shim = Shim::start_as(
        &["/bin/sleep", "1000"],
        |_| {},
        |command| {
            let mut other = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
            other.arg0(PROGRAM_PATH).args(command.get_args()).stdin(Stdio::null());
            other.current_dir(command.get_current_dir().expect("the bundle"));
            *command = other;
        },
    );
    drop(program);
    let pid = shim.create("").expect("create").pid;
    let own = shim.call::<task::ConnectResponse>(method::task::CONNECT, &task::ConnectRequest::default());
    let handles = [pid, own.expect("connect").shim_pid].map(|pid| {
        let exe = format!("/proc/{pid}/exe");
        OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).open(exe).expect("the program")
    });
    shim.delete("").expect("delete");
    shim.finish();
    for handle in handles {
        let again = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        assert_eq!(again.err().and_then(|error| error.raw_os_error()), Some(nix::libc::EROFS));
    }
    assert!(OpenOptions::new().write(true).open(&copy).is_ok(), "the file itself is not busy any more");
}

/// Shims without a program for each outlive whoever made them, and are seen as shims.
pub fn fork_server() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (mut ours, theirs) = UnixStream::pair().expect("pair");
    ours.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut command = Command::new(format!("/proc/self/fd/{}", protected_program().as_raw_fd()));
    command.arg0(PROGRAM_PATH).args(["-namespace", "-", "-id", &".".repeat(80), "-address", "/nonexistent"]);
    command.arg("fork-server").current_dir("/").stdin(OwnedFd::from(theirs));
    let mut server = command.spawn().expect("a fork server");
    drop(command);
    let mut answers = BufReader::new(ours.try_clone().expect("clone"));
    let mut start = |id: &str| -> String {
        let bundle = folder.path().join("state/ns").join(id);
        if !bundle.exists() {
            make_bundle(&bundle, &["/bin/sleep", "1000"]);
        }
        let line = json!({ "namespace": "ns", "id": id, "bundle": bundle, "options": [] });
        ours.write_all(format!("{line}\n").as_bytes()).expect("ask");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("answer");
        answer
    };
    assert!(start("../x").contains("cannot be a part of a path"));
    let suffix = std::process::id();
    let ids = [format!("shimtestone{suffix}"), format!("shimtesttwo{suffix}")];
    let address = |answer: &str| -> String {
        serde_json::from_str::<serde_json::Value>(answer).expect("JSON")["address"]
            .as_str()
            .expect("address")
            .to_owned()
    };
    let addresses = [address(&start(&ids[0])), address(&start(&ids[1]))];
    assert_eq!(address(&start(&ids[0])), addresses[0], "one that lives is not made again");
    assert_ne!(addresses[0], addresses[1]);
    drop((ours, answers));
    assert!(server.wait().expect("wait").success());
    for (id, address) in ids.iter().zip(&addresses) {
        let mut client = connect(address);
        let bundle = folder.path().join("state/ns").join(id);
        let root = folder.path().join("runc").display().to_string();
        let options = Options { binary_name: runtime().display().to_string(), root, ..Options::default() };
        let create = task::CreateTaskRequest {
            id: id.clone(),
            bundle: bundle.display().to_string(),
            options: Some(any::pack(&options)),
            ..Default::default()
        };
        let pid = call::<task::CreateTaskResponse>(&mut client, method::task::CREATE, &create).expect("create").pid;
        let start = task::StartRequest { id: id.clone(), ..Default::default() };
        call::<task::StartResponse>(&mut client, method::task::START, &start).expect("start");
        wait_for_program(pid);
        let shim: task::ConnectResponse =
            call(&mut client, method::task::CONNECT, &task::ConnectRequest::default()).expect("connect");
        let line = fs::read(format!("/proc/{}/cmdline", shim.shim_pid)).expect("cmdline");
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        assert_eq!(words[..5], [PROGRAM_PATH, "-namespace", "ns", "-id", id].map(str::as_bytes));
        let kill = task::KillRequest { id: id.clone(), signal: 9, ..Default::default() };
        call::<task::DeleteResponse>(&mut client, method::task::KILL, &kill).expect("kill");
        let wait = task::WaitRequest { id: id.clone(), ..Default::default() };
        assert_eq!(call::<task::WaitResponse>(&mut client, method::task::WAIT, &wait).expect("wait").exit_status, 137);
        let delete = task::DeleteRequest { id: id.clone(), ..Default::default() };
        call::<task::DeleteResponse>(&mut client, method::task::DELETE, &delete).expect("delete");
        let shutdown = task::ShutdownRequest { id: id.clone(), now: false };
        call::<task::PidsResponse>(&mut client, method::task::SHUTDOWN, &shutdown).expect("shutdown");
    }
}
