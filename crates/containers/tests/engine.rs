//! The service on real programs: docker-containerd, its shim, docker-runc, busybox. As root, in namespaces of its own.
//!
//! The programs are those that were built last beside this test; where one is missing every test is skipped, and says so.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use container_core::{Config, ExecConfig, HostConfig, ImageDefaults, ReadOnly};
use containerd_api::services::snapshots::v1 as snapshots;
use containers::{
    Acquired, AttachRequest, ContainerEvent, CreateRequest, EventSink, ExecStart, Image, ImageCommit, ImageSource,
    LiveSandbox, LogsRequest, Neighbours, Parting, PortError, RemoveOptions, Sandbox, SandboxRequest, Sandboxes,
    Service, Settings, StopOptions, Volume, VolumeRequest, VolumeSource, WaitCondition,
};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(30);
const PROGRAMS: [&str; 3] = ["docker-containerd", "docker-containerd-shim", "docker-runc"];
const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 10] = ["sh", "echo", "cat", "sleep", "id", "hostname", "true", "kill", "ls", "stty"];

fn main() {
    let arguments = Arguments::from_args();
    let missing = missing();
    if missing.is_none() && !arguments.list {
        enter_namespaces();
    }
    let test = |name: &'static str, run: fn(&World)| {
        let skipped = missing.is_some();
        Trial::test(name, move || {
            let world = World::new().map_err(Failed::from)?;
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&world)));
            // Also after a failure: a test leaves no process behind.
            let left = world.leave_nothing();
            match result {
                Ok(()) => left,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
        .with_ignored_flag(skipped)
    };
    if let Some(reason) = &missing {
        eprintln!("skipped: {reason}");
    }
    let trials = vec![
        test("what_a_container_prints_reaches_who_attached_and_the_log_and_its_code_who_waits", prints),
        test("what_a_client_types_reaches_the_process_and_its_end_ends_it", types),
        test("a_program_that_is_not_there_is_127_in_dockers_words", not_found),
        test("an_exec_runs_beside_with_its_own_code_and_user", execs),
        test("a_dead_containerd_costs_no_container_and_ends_are_reported_after_it", containerd_dies),
        test("a_dead_daemon_costs_no_container_and_ends_are_reported_by_the_next", daemon_dies),
        test("a_killed_shim_is_exit_137", shim_dies),
        test("a_stop_ends_what_ignores_sigterm", stops),
        test("many_containers_start_at_once", many),
        test("a_terminal_is_one_raw_stream_and_takes_a_size", terminal),
        test("binds_volumes_and_tmpfs_are_there_and_an_anonymous_volume_goes_with_its_container", mounts),
        test("a_followed_log_ends_with_the_container_and_misses_nothing", follows),
        test("a_paused_container_prints_nothing_and_goes_on_when_thawed", pauses),
        test("no_line_is_lost_while_containerd_dies_again_and_again", containerd_dies_often),
        test("a_policy_restarts_what_fails_and_gives_up_in_time", restarts),
        test("starts_under_a_dying_containerd_end_well_or_with_a_clear_error", starts_meanwhile),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// Folder of the programs: two above `deps/engine-…`.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().and_then(Path::parent).unwrap_or(Path::new("/")).join(name)
}

fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let there = |path: &Path| path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
    let programs = PROGRAMS.iter().map(|name| program(name)).chain([PathBuf::from(BUSYBOX)]);
    let mut absent = programs.filter(|path| !there(path));
    absent.next().map(|path| format!("{} is not built", path.display()))
}

/// Before any thread: mounts and network are this test's own.
fn enter_namespaces() {
    sys::process::unshare(0x0002_0000 | 0x4000_0000).expect("mount and network namespace");
    let (recursive, private) = (0x4000, 1 << 18);
    sys::mount::mount(None, c"/", None, recursive | private, None).expect("private mounts");
}

#[derive(Default)]
struct Neighbourhood {
    events: Mutex<Vec<ContainerEvent>>,
    /// Volume and container.
    users: Mutex<BTreeSet<(String, String)>>,
    /// Volume and id.
    mounted: Mutex<BTreeSet<(String, String)>>,
}

#[async_trait]
impl ImageSource for Neighbourhood {
    async fn resolve(&self, name: &str) -> Result<Image, PortError> {
        let defaults = ImageDefaults { cmd: Some(vec!["sh".into()]), ..ImageDefaults::default() };
        Ok(Image { id: "sha256:1".into(), name: name.into(), defaults, chain_id: "busybox".into(), os: "linux".into() })
    }
    async fn id_of(&self, name: &str) -> Result<String, PortError> {
        self.resolve(name).await.map(|image| image.id)
    }
    async fn commit(&self, mut commit: ImageCommit) -> Result<String, PortError> {
        while commit.layer.next().await.is_some() {}
        Ok("sha256:2".into())
    }
}

#[async_trait]
impl Sandboxes for Neighbourhood {
    async fn acquire(&self, _: SandboxRequest) -> Result<Acquired, PortError> {
        Ok(Sandbox { hosts: "127.0.0.1 localhost\n".into(), ..Sandbox::default() }.into())
    }
    async fn release(&self, _: &str) -> Result<(), PortError> {
        Ok(())
    }
    async fn restore(&self, _: &[LiveSandbox]) -> Result<(), PortError> {
        Ok(())
    }
    async fn current(&self, _: &str) -> Option<Sandbox> {
        None
    }
    async fn rename(&self, _: &str, _: &str) -> Result<(), PortError> {
        Ok(())
    }
    async fn check(&self, _: &container_core::EndpointRequest) -> Result<(), PortError> {
        Ok(())
    }
    async fn connect(&self, _: &str, _: container_core::EndpointRequest) -> Result<Sandbox, PortError> {
        Ok(Sandbox::default())
    }
    async fn disconnect(&self, _: &str, _: &str) -> Result<Sandbox, PortError> {
        Ok(Sandbox::default())
    }
}

/// Volumes that are folders and nothing else.
struct Folders {
    root: PathBuf,
    neighbours: Arc<Neighbourhood>,
}

#[async_trait]
impl VolumeSource for Folders {
    fn driver_of(&self, _: &str) -> Option<String> {
        None
    }
    fn refer(&self, name: &str, container: &str) {
        self.neighbours.users.lock().expect("users").insert((name.to_owned(), container.to_owned()));
    }
    async fn acquire(&self, request: VolumeRequest) -> Result<Volume, PortError> {
        self.refer(&request.name, &request.container);
        let folder = self.root.join(&request.name).join("_data");
        std::fs::create_dir_all(&folder).expect("volume");
        Ok(Volume { driver: "local".into(), mountpoint: folder.to_string_lossy().into_owned() })
    }
    async fn release(&self, name: &str, container: &str, parting: Parting) -> Result<(), PortError> {
        let mut users = self.neighbours.users.lock().expect("users");
        users.remove(&(name.to_owned(), container.to_owned()));
        if parting != Parting::Keep && !users.iter().any(|(used, _)| used == name) {
            let _ = std::fs::remove_dir_all(self.root.join(name));
        }
        Ok(())
    }
    async fn mount(&self, name: &str, id: &str) -> Result<PathBuf, PortError> {
        self.neighbours.mounted.lock().expect("mounted").insert((name.to_owned(), id.to_owned()));
        Ok(self.root.join(name).join("_data"))
    }
    async fn unmount(&self, name: &str, id: &str) -> Result<(), PortError> {
        self.neighbours.mounted.lock().expect("mounted").remove(&(name.to_owned(), id.to_owned()));
        Ok(())
    }
    async fn restore(&self, live: &[(String, String)]) {
        *self.neighbours.mounted.lock().expect("mounted") = live.iter().cloned().collect();
    }
}

impl EventSink for Neighbourhood {
    fn publish(&self, event: ContainerEvent) {
        self.events.lock().expect("events").push(event);
    }
}

struct World {
    folder: tempfile::TempDir,
    containerd: Mutex<Option<Child>>,
    neighbours: Arc<Neighbourhood>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("ls").tempdir_in("/tmp").map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let world = Self { folder, containerd: Mutex::default(), neighbours: Arc::default(), runtime };
        world.start_containerd();
        world.run(world.make_image());
        Ok(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
    }

    fn start_containerd(&self) {
        let log = std::fs::File::options().append(true).create(true).open(self.path("containerd.log")).expect("log");
        let child = Command::new(program("docker-containerd"))
            .arg("--root")
            .arg(self.path("c"))
            .arg("--state")
            .arg(self.path("r"))
            .arg("--address")
            .arg(self.path("c.sock"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("docker-containerd");
        *self.containerd.lock().expect("child") = Some(child);
        let client = self.client();
        self.run(client.wait_until_ready(PATIENCE)).expect("containerd answers");
    }

    fn kill_containerd(&self) {
        if let Some(mut child) = self.containerd.lock().expect("child").take() {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
    }

    fn client(&self) -> containerd_client::Client {
        let _runtime = self.runtime.enter();
        containerd_client::Client::new(&self.path("c.sock"), "moby").expect("client")
    }

    /// A committed snapshot with busybox in it.
    async fn make_image(&self) {
        let client = containerd_client::Client::new(&self.path("c.sock"), "moby").expect("client");
        let mut service = client.snapshots();
        let gc_root = [("containerd.io/gc.root".to_owned(), "1".to_owned())];
        let prepare = snapshots::PrepareSnapshotRequest {
            snapshotter: "overlayfs".into(),
            key: "making".into(),
            labels: gc_root.clone().into(),
            ..Default::default()
        };
        let mounts = service.prepare(prepare).await.expect("prepare").into_inner().mounts;
        let root = PathBuf::from(&mounts[0].source);
        for folder in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
            std::fs::create_dir_all(root.join(folder)).expect("folder");
        }
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).expect("busybox");
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("link");
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:7:8::/:/bin/sh\n").expect("passwd");
        std::fs::write(root.join("etc/group"), "root:x:0:\napp:x:8:\nwheel:x:10:app\n").expect("group");
        let commit = snapshots::CommitSnapshotRequest {
            snapshotter: "overlayfs".into(),
            name: "busybox".into(),
            key: "making".into(),
            labels: gc_root.into(),
            ..Default::default()
        };
        service.commit(commit).await.expect("commit");
    }

    async fn daemon(&self) -> Service {
        let settings = Settings {
            data_root: self.path("data"),
            exec_root: self.path("exec"),
            socket_root: self.path("s"),
            namespace: "moby".into(),
            cgroup_parent: format!("/docker-{}", self.folder.path().file_name().expect("name").to_string_lossy()),
            runc_path: program("docker-runc"),
            init_path: None,
            shim: None,
            log_defaults: container_core::LogConfig::default(),
            defaults: containers::Defaults::default(),
        };
        let deadline = Instant::now() + PATIENCE;
        let database = loop {
            match metadata::Database::open(&self.path("longshore.db"), &metadata::Options::default()) {
                // The writer of the daemon before lets go in a moment.
                Err(metadata::Error::Locked { .. }) if Instant::now() < deadline => tokio::task::yield_now().await,
                opened => break opened.expect("database"),
            }
        };
        let client = containerd_client::Client::new(&self.path("c.sock"), "moby").expect("client");
        let neighbours = Neighbours {
            images: Arc::clone(&self.neighbours) as _,
            sandboxes: Arc::clone(&self.neighbours) as _,
            volumes: Arc::new(Folders { root: self.path("data/volumes"), neighbours: Arc::clone(&self.neighbours) }),
            events: Arc::clone(&self.neighbours) as _,
        };
        let service = Service::open(settings, database, client, neighbours).await.expect("open");
        service.recover().await.expect("recover");
        service
    }

    /// No shim, no mount, no cgroup of this world may stay.
    fn leave_nothing(&self) -> Result<(), Failed> {
        if self.containerd.lock().expect("child").is_none() {
            self.start_containerd();
        }
        let service = self.run(self.daemon());
        self.run(async {
            let all = containers::ListRequest { all: true, ..Default::default() };
            for container in service.containers.list(&all).await.expect("list") {
                let options = RemoveOptions { force: true, volumes: true };
                service.containers.remove(&container.id, options).await.expect("remove");
            }
            service.shutdown().await;
        });
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let own = self.folder.path().to_string_lossy().into_owned();
        let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&own)).collect();
        let shims = wait_for_shims(self.folder.path());
        self.kill_containerd();
        remove_cgroups(self.folder.path());
        if left.is_empty() && shims.is_empty() {
            return Ok(());
        }
        Err(format!("mounts stay: {left:#?}, shims stay: {shims:?}").into())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill_containerd();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("containerd.log")).unwrap_or_default();
            eprintln!("docker-containerd said:\n{log}");
        }
    }
}

/// Shims of this folder that are still there after a while.
fn wait_for_shims(folder: &Path) -> Vec<u32> {
    let own = folder.to_string_lossy().into_owned();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let processes = std::fs::read_dir("/proc").expect("proc").flatten();
        let shims: Vec<u32> = processes
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &u32| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line);
                // What shims are copied from stays as long as its docker-containerd.
                line.contains("docker-containerd-shim") && line.contains(&own) && !line.contains("\0fork-server\0")
            })
            .collect();
        if shims.is_empty() || Instant::now() > deadline {
            return shims;
        }
        std::thread::yield_now();
    }
}

/// The parent that our containers' cgroups had, in every hierarchy.
fn remove_cgroups(folder: &Path) {
    let name = format!("docker-{}", folder.file_name().expect("name").to_string_lossy());
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let _ = std::fs::remove_dir(hierarchy.path().join(&name));
    }
    let _ = std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(&name));
}

async fn create(service: &Service, name: &str, command: &[&str], change: impl FnOnce(&mut CreateRequest)) -> String {
    let cmd = Some(command.iter().map(|word| (*word).to_owned()).collect());
    let config = Config { image: "busybox".into(), cmd, ..Config::default() };
    let host_config = HostConfig { network_mode: "host".into(), ..HostConfig::default() };
    let mut request = CreateRequest {
        name: Some(name.into()),
        config,
        host_config,
        endpoints: Vec::new(),
        read_only: ReadOnly::Default,
    };
    change(&mut request);
    service.containers.create(request).await.expect("create").id
}

const OUTPUT: AttachRequest = AttachRequest { stdin: false, stdout: true, stderr: true };

async fn read_all(stream: &mut tokio::net::UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("read");
    bytes
}

/// Docker's frames, by stream.
fn frames(bytes: &[u8]) -> (String, String) {
    let (mut out, mut err, mut rest) = (Vec::new(), Vec::new(), bytes);
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if header[0] == 2 { &mut err } else { &mut out }.extend_from_slice(&after[..length]);
        rest = &after[length..];
    }
    (String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
}

async fn log_of(service: &Service, name: &str) -> String {
    let request = LogsRequest { stdout: true, stderr: true, ..LogsRequest::default() };
    let mut logs = service.streams.logs(name, request).await.expect("logs");
    let mut text = String::new();
    while let Some(entry) = logs.next().await.expect("entry") {
        text.push_str(&String::from_utf8(entry.bytes).expect("text"));
    }
    text
}

fn prints(world: &World) {
    world.run(async {
        let service = world.daemon().await;
        create(&service, "web", &["sh", "-c", "hostname; echo oops >&2; exit 3"], |request| {
            request.config.hostname = "box".into();
        })
        .await;
        let attached = service.streams.attach("web", OUTPUT).expect("attach");
        let waiting = service.lifecycle.wait("web", WaitCondition::NextExit).expect("wait");
        service.lifecycle.start("web").await.expect("start");
        let mut stream = attached.stream().await.expect("stream").expect("there");
        assert_eq!(frames(&read_all(&mut stream).await), ("box\n".to_owned(), "oops\n".to_owned()));
        assert_eq!(waiting.done().await.code, 3);
        let log = log_of(&service, "web").await;
        assert!(log.contains("box\n") && log.contains("oops\n"), "{log}");
        service.lifecycle.start("web").await.expect("start again");
        let waiting = service.lifecycle.wait("web", WaitCondition::NotRunning).expect("wait");
        assert_eq!(waiting.done().await.code, 3);
        service.shutdown().await;
    });
}

fn types(world: &World) {
    world.run(async {
        let service = world.daemon().await;
        create(&service, "cat", &["cat"], |request| {
            request.config.open_stdin = true;
            request.config.stdin_once = true;
        })
        .await;
        let attached = service.streams.attach("cat", AttachRequest { stdin: true, ..OUTPUT }).expect("attach");
        let waiting = service.lifecycle.wait("cat", WaitCondition::NextExit).expect("wait");
        service.lifecycle.start("cat").await.expect("start");
        let mut stream = attached.stream().await.expect("stream").expect("there");
        stream.write_all(b"typed\n").await.expect("write");
        stream.shutdown().await.expect("half-close");
        assert_eq!(frames(&read_all(&mut stream).await).0, "typed\n");
        assert_eq!(waiting.done().await.code, 0);
        service.shutdown().await;
    });
}

fn not_found(world: &World) {
    world.run(async {
        let service = world.daemon().await;
        create(&service, "web", &["nope"], |_| {}).await;
        let error = service.lifecycle.start("web").await.expect_err("refused").to_string();
        assert!(error.starts_with("failed to create task for container: "), "{error}");
        assert!(error.contains("executable file not found in $PATH"), "{error}");
        assert_eq!(service.containers.inspect("web").await.expect("inspect").state.exit_code(), 127);
        service.shutdown().await;
    });
}

fn execs(world: &World) {
    world.run(async {
        let service = world.daemon().await;
        create(&service, "web", &["sleep", "1000"], |_| {}).await;
        service.lifecycle.start("web").await.expect("start");
        let command = |words: &[&str], user: &str| ExecConfig {
            cmd: words.iter().map(|word| (*word).to_owned()).collect(),
            attach_stdout: true,
            attach_stderr: true,
            user: user.to_owned(),
            ..ExecConfig::default()
        };
        let exec = service.execs.create("web", command(&["sh", "-c", "id; exit 5"], "app")).expect("exec");
        let mut stream = service.execs.start(&exec, ExecStart::default()).await.expect("start").expect("stream");
        let printed = frames(&read_all(&mut stream).await).0;
        assert_eq!(printed, "uid=7(app) gid=8(app) groups=8(app),10(wheel)\n");
        assert_eq!(service.execs.settle(&exec).await.expect("settle").exit_code, Some(5));
        let exec = service.execs.create("web", command(&["nope"], "")).expect("exec");
        let error = service.execs.start(&exec, ExecStart::default()).await.expect_err("refused").to_string();
        assert!(error.contains("executable file not found in $PATH"), "{error}");
        assert_eq!(service.execs.inspect(&exec).expect("inspect").exit_code, Some(127));
        service.shutdown().await;
    });
}

fn containerd_dies(world: &World) {
    let service = world.run(world.daemon());
    world.run(async {
        create(&service, "lives", &["sleep", "1000"], |_| {}).await;
        create(&service, "ends", &["sh", "-c", "read x; exit 9"], |request| request.config.open_stdin = true).await;
        service.lifecycle.start("lives").await.expect("start");
        service.lifecycle.start("ends").await.expect("start");
    });
    let waiting = service.lifecycle.wait("ends", WaitCondition::NextExit).expect("wait");
    world.kill_containerd();
    world.run(async {
        let attached = service.streams.attach("ends", AttachRequest { stdin: true, ..OUTPUT }).expect("attach");
        let mut stream = attached.stream().await.expect("stream").expect("there");
        stream.write_all(b"now\n").await.expect("write");
        read_all(&mut stream).await;
    });
    world.start_containerd();
    world.run(async {
        assert_eq!(waiting.done().await.code, 9);
        assert_eq!(service.containers.inspect("lives").await.expect("inspect").state.word(), "running");
        service.shutdown().await;
    });
}

fn daemon_dies(world: &World) {
    let pid = world.run(async {
        let service = world.daemon().await;
        create(&service, "lives", &["sleep", "1000"], |_| {}).await;
        create(&service, "ends", &["sh", "-c", "exec sleep 1000"], |_| {}).await;
        service.lifecycle.start("lives").await.expect("start");
        service.lifecycle.start("ends").await.expect("start");
        let pid = service.containers.inspect("ends").await.expect("inspect").state.pid();
        service.shutdown().await;
        pid
    });
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("pid")).expect("pid");
    let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("pidfd");
    rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL).expect("kill");
    let service = world.run(world.daemon());
    world.run(async {
        let waiting = service.lifecycle.wait("ends", WaitCondition::NotRunning).expect("wait");
        assert_eq!(waiting.done().await.code, 137);
        assert_eq!(service.containers.inspect("lives").await.expect("inspect").state.word(), "running");
        service.shutdown().await;
    });
}

fn shim_dies(world: &World) {
    world.run(async {
        let service = world.daemon().await;
        create(&service, "web", &["sleep", "1000"], |_| {}).await;
        service.lifecycle.start("web").await.expect("start");
        let waiting = service.lifecycle.wait("web", WaitCondition::NextExit).expect("wait");
        let pid = service.containers.inspect("web").await.expect("inspect").state.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("parent").trim();
        let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).expect("name");
        assert!(name.starts_with("docker-containe"), "the shim is the parent, not {name}");
        let parent = rustix::process::Pid::from_raw(parent.parse().expect("pid")).expect("pid");
        rustix::process::kill_process(parent, rustix::process::Signal::KILL).expect("kill");
        assert_eq!(waiting.done().await.code, 137);
        service.shutdown().await;
    });
}

fn stops(world: &World) {
    world.run(async {
        let service = world.daemon().await;
        create(&service, "web", &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], |_| {}).await;
        let attached = service.streams.attach("web", OUTPUT).expect("attach");
        service.lifecycle.start("web").await.expect("start");
        let mut stream = attached.stream().await.expect("stream").expect("there");
        let mut first = [0; 14];
        stream.read_exact(&mut first).await.expect("ready");
        let options = StopOptions { timeout_s: Some(1), ..StopOptions::default() };
        service.lifecycle.stop("web", options).await.expect("stop");
        assert_eq!(service.containers.inspect("web").await.expect("inspect").state.exit_code(), 137);
        service.shutdown().await;
    });
}

fn many(world: &World) {
    world.run(async {
        let service = Arc::new(world.daemon().await);
        let mut starts = tokio::task::JoinSet::new();
        for number in 0..20 {
            let service = Arc::clone(&service);
            starts.spawn(async move {
                let name = format!("many{number}");
                create(&service, &name, &["true"], |request| request.host_config.auto_remove = true).await;
                let waiting = service.lifecycle.wait(&name, WaitCondition::Removed).expect("wait");
                service.lifecycle.start(&name).await.expect("start");
                waiting.done().await
            });
        }
        while let Some(result) = starts.join_next().await {
            assert_eq!(result.expect("run").code, 0);
        }
        assert!(
            service
                .containers
                .list(&containers::ListRequest { all: true, ..Default::default() })
                .await
                .expect("list")
                .is_empty()
        );
        service.shutdown().await;
    });
}

fn terminal(world: &World) {
    world.run(async {
        let service = world.daemon().await;
        create(&service, "tty", &["sh", "-c", "read x; stty size; echo err >&2"], |request| {
            request.config.tty = true;
            request.config.open_stdin = true;
        })
        .await;
        let attached = service.streams.attach("tty", AttachRequest { stdin: true, ..OUTPUT }).expect("attach");
        assert!(attached.tty);
        service.lifecycle.start("tty").await.expect("start");
        let mut stream = attached.stream().await.expect("stream").expect("there");
        service.lifecycle.resize("tty", containers::TtySize { width: 91, height: 23 }).await.expect("resize");
        stream.write_all(b"go\n").await.expect("write");
        let printed = String::from_utf8(read_all(&mut stream).await).expect("text");
        assert_eq!(printed, "go\r\n23 91\r\nerr\r\n");
        service.shutdown().await;
    });
}

fn mounts(world: &World) {
    let host = world.path("host");
    std::fs::create_dir(&host).expect("folder");
    world.run(async {
        let service = world.daemon().await;
        let script = "echo from-inside > /bind/file; cat /etc/group-copy/passwd | wc -l 2>/dev/null; \
                      echo no > /ro/file; echo $?; touch /t/x && echo tmpfs; ls /etc | wc -l";
        let id = create(&service, "web", &["sh", "-c", script], |request| {
            request.host_config.binds = vec![format!("{}:/bind", host.display()), format!("{}:/ro:ro", host.display())];
            request.host_config.tmpfs.insert("/t".into(), "size=1m".into());
            request.config.volumes.insert("/etc".into());
        })
        .await;
        let volumes = || std::fs::read_dir(world.path("data/volumes")).map_or(0, Iterator::count);
        assert_eq!(volumes(), 1);
        let view = service.containers.inspect(&id).await.expect("inspect");
        let volume = view.mounts.iter().find(|mount| mount.destination == "/etc").expect("volume");
        assert!(Path::new(&volume.source).join("passwd").exists(), "the image's files are in the volume");
        let attached = service.streams.attach("web", OUTPUT).expect("attach");
        service.lifecycle.start("web").await.expect("start");
        let mut stream = attached.stream().await.expect("stream").expect("there");
        let (out, err) = frames(&read_all(&mut stream).await);
        assert!(out.contains("1\ntmpfs\n"), "{out} {err}");
        assert!(err.contains("Read-only file system"), "{err}");
        assert_eq!(std::fs::read_to_string(host.join("file")).expect("file"), "from-inside\n");
        let options = RemoveOptions { volumes: true, force: true };
        service.containers.remove("web", options).await.expect("remove");
        assert_eq!(volumes(), 0);
        service.shutdown().await;
    });
}

fn follows(world: &World) {
    world.run(async {
        let service = world.daemon().await;
        let script = "i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done";
        create(&service, "web", &["sh", "-c", script], |_| {}).await;
        service.lifecycle.start("web").await.expect("start");
        let request = LogsRequest { stdout: true, stderr: true, follow: true, ..LogsRequest::default() };
        let mut logs = service.streams.logs("web", request).await.expect("logs");
        for number in 0..2000 {
            let entry = logs.next().await.expect("entry").expect("not ended");
            assert_eq!(entry.bytes, format!("{number}\n").into_bytes());
        }
        assert!(logs.next().await.expect("end").is_none());
        service.shutdown().await;
    });
}

fn pauses(world: &World) {
    world.run(async {
        let service = world.daemon().await;
        create(&service, "cat", &["cat"], |request| request.config.open_stdin = true).await;
        let attached = service.streams.attach("cat", AttachRequest { stdin: true, ..OUTPUT }).expect("attach");
        service.lifecycle.start("cat").await.expect("start");
        let mut stream = attached.stream().await.expect("stream").expect("there");
        service.lifecycle.pause("cat").await.expect("pause");
        stream.write_all(b"x\n").await.expect("write");
        let mut byte = [0; 1];
        let silence = tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut byte)).await;
        assert!(silence.is_err(), "a frozen process answers nothing");
        service.lifecycle.unpause("cat").await.expect("unpause");
        let mut frame = [0; 10];
        stream.read_exact(&mut frame).await.expect("read");
        assert_eq!(&frame[8..], b"x\n");
        service.lifecycle.pause("cat").await.expect("pause");
        service.lifecycle.kill("cat", None).await.expect("kill");
        assert_eq!(service.containers.inspect("cat").await.expect("inspect").state.exit_code(), 137);
        service.shutdown().await;
    });
}

fn containerd_dies_often(world: &World) {
    let service = world.run(world.daemon());
    let script = "i=0; while [ $i -lt 200000 ]; do echo $i; i=$((i+1)); done";
    world.run(async {
        create(&service, "counts", &["sh", "-c", script], |_| {}).await;
        service.lifecycle.start("counts").await.expect("start");
    });
    let waiting = service.lifecycle.wait("counts", WaitCondition::NotRunning).expect("wait");
    for _ in 0..5 {
        world.kill_containerd();
        world.start_containerd();
    }
    world.run(async {
        assert_eq!(waiting.done().await.code, 0);
        let log = log_of(&service, "counts").await;
        let mut lines = log.lines();
        for number in 0..200_000 {
            assert_eq!(lines.next().and_then(|line| line.parse().ok()), Some(number));
        }
        assert_eq!(lines.next(), None);
        service.shutdown().await;
    });
}

fn restarts(world: &World) {
    world.run(async {
        let service = world.daemon().await;
        create(&service, "web", &["sh", "-c", "exit 4"], |request| {
            request.host_config.restart_policy = container_core::RestartPolicy::OnFailure { maximum: 2 };
        })
        .await;
        service.lifecycle.start("web").await.expect("start");
        let mut dies = 0;
        while dies < 3 {
            let waiting = service.lifecycle.wait("web", WaitCondition::NextExit).expect("wait");
            dies = world.neighbours.events.lock().expect("events").iter().filter(|e| e.action == "die").count();
            if dies < 3 {
                waiting.done().await;
            }
        }
        let view = service.containers.inspect("web").await.expect("inspect");
        assert_eq!((view.state.exit_code(), view.restart_count), (4, 2));
        let waiting = service.lifecycle.wait("web", WaitCondition::NotRunning).expect("wait");
        assert_eq!(waiting.done().await.code, 4);
        service.shutdown().await;
    });
}

fn starts_meanwhile(world: &World) {
    let service = Arc::new(world.run(world.daemon()));
    let mut runs = Vec::new();
    for round in 0..3 {
        for number in 0..4 {
            let service = Arc::clone(&service);
            runs.push(world.runtime.spawn(async move {
                let config = Config { image: "busybox".into(), cmd: Some(vec!["true".into()]), ..Config::default() };
                let host_config =
                    HostConfig { network_mode: "host".into(), auto_remove: true, ..HostConfig::default() };
                let name = Some(format!("run{round}-{number}"));
                let request = CreateRequest {
                    name: name.clone(),
                    config,
                    host_config,
                    endpoints: Vec::new(),
                    read_only: ReadOnly::Default,
                };
                let name = name.expect("name");
                service.containers.create(request).await?;
                let waiting = service.lifecycle.wait(&name, WaitCondition::Removed)?;
                service.lifecycle.start(&name).await?;
                Ok::<_, containers::Error>(waiting.done().await.code)
            }));
        }
        world.kill_containerd();
        world.start_containerd();
    }
    world.run(async {
        for run in runs {
            match run.await.expect("no panic") {
                Ok(code) => assert!(code == 0 || code == 137, "{code}"),
                Err(error) => {
                    let kind = errors::Kind::kind(&error);
                    assert_eq!(kind, errors::ErrorKind::Unavailable, "{}", errors::chain(&error));
                }
            }
        }
        service.shutdown().await;
    });
}
