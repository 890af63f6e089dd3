//! The service against a containerd in this process: what starts, ends, restarts, is removed, and what a new daemon finds.

mod fake;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use container_core::{Config, EndpointRequest, HostConfig, ImageDefaults, ReadOnly, RestartPolicy};
use containers::{
    Acquired, AttachRequest, ContainerEvent, CreateRequest, EventSink, Image, ImageCommit, ImageSource, ListRequest,
    LiveSandbox, Neighbours, Parting, PortError, RemoveOptions, Sandbox, SandboxRequest, Sandboxes, Service, Settings,
    StopOptions, Volume, VolumeRequest, VolumeSource, WaitCondition,
};
use errors::{ErrorKind, Kind};
use fake::Fake;
use tokio::io::AsyncReadExt;

/// Long enough for any machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Neighbourhood {
    events: Mutex<Vec<ContainerEvent>>,
    sandboxes: Mutex<Vec<String>>,
}

#[async_trait]
impl ImageSource for Neighbourhood {
    async fn resolve(&self, name: &str) -> Result<Image, PortError> {
        if name != "busybox" {
            let message = format!("No such image: {name}:latest");
            return Err(PortError { kind: ErrorKind::NotFound, message });
        }
        let defaults = ImageDefaults { cmd: Some(vec!["sh".into()]), ..ImageDefaults::default() };
        Ok(Image { id: "sha256:1".into(), name: name.into(), defaults, chain_id: "chain".into(), os: "linux".into() })
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
    async fn acquire(&self, request: SandboxRequest) -> Result<Acquired, PortError> {
        self.sandboxes.lock().unwrap().push(request.container_id);
        Ok(Sandbox { hosts: "127.0.0.1 localhost\n".into(), ..Sandbox::default() }.into())
    }
    async fn release(&self, container_id: &str) -> Result<(), PortError> {
        self.sandboxes.lock().unwrap().retain(|id| id != container_id);
        Ok(())
    }
    async fn restore(&self, live: &[LiveSandbox]) -> Result<(), PortError> {
        *self.sandboxes.lock().unwrap() = live.iter().map(|sandbox| sandbox.container_id.clone()).collect();
        Ok(())
    }
    async fn current(&self, _: &str) -> Option<Sandbox> {
        None
    }
    async fn rename(&self, _: &str, _: &str) -> Result<(), PortError> {
        Ok(())
    }
    async fn check(&self, _: &EndpointRequest) -> Result<(), PortError> {
        Ok(())
    }
    async fn connect(&self, _: &str, endpoint: EndpointRequest) -> Result<Sandbox, PortError> {
        let joined = containers::Endpoint {
            network_id: format!("id-{}", endpoint.network),
            network_name: endpoint.network,
            ..containers::Endpoint::default()
        };
        let hosts = "127.0.0.1 localhost\n10.0.0.9\tweb\n".into();
        Ok(Sandbox { hosts, endpoints: vec![joined], ..Sandbox::default() })
    }
    async fn disconnect(&self, _: &str, _: &str) -> Result<Sandbox, PortError> {
        Ok(Sandbox { hosts: "127.0.0.1 localhost\n".into(), ..Sandbox::default() })
    }
}

#[async_trait]
impl VolumeSource for Neighbourhood {
    fn driver_of(&self, _: &str) -> Option<String> {
        None
    }
    fn refer(&self, _: &str, _: &str) {}
    async fn acquire(&self, _: VolumeRequest) -> Result<Volume, PortError> {
        Ok(Volume { driver: "local".into(), mountpoint: "/nonexistent".into() })
    }
    async fn release(&self, _: &str, _: &str, _: Parting) -> Result<(), PortError> {
        Ok(())
    }
    async fn mount(&self, _: &str, _: &str) -> Result<PathBuf, PortError> {
        Ok("/nonexistent".into())
    }
    async fn unmount(&self, _: &str, _: &str) -> Result<(), PortError> {
        Ok(())
    }
    async fn restore(&self, _: &[(String, String)]) {}
}

impl EventSink for Neighbourhood {
    fn publish(&self, event: ContainerEvent) {
        self.events.lock().unwrap().push(event);
    }
}

struct World {
    folder: tempfile::TempDir,
    fake: Fake,
    neighbours: Arc<Neighbourhood>,
    _server: tokio::task::JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rootfs = folder.path().join("rootfs");
        std::fs::create_dir_all(rootfs.join("etc")).unwrap();
        let fake = Fake::new(&rootfs);
        let server = fake.serve(&folder.path().join("c.sock"));
        Self { folder, fake, neighbours: Arc::default(), _server: server }
    }

    /// A daemon on this world's folders, as after a start.
    async fn daemon(&self) -> Service {
        let service = self.opened().await;
        service.recover().await.unwrap();
        service
    }

    async fn opened(&self) -> Service {
        let root = self.folder.path();
        let settings = Settings {
            data_root: root.join("data"),
            exec_root: root.join("exec"),
            socket_root: root.join("s"),
            namespace: "moby".into(),
            cgroup_parent: "/docker-test".into(),
            runc_path: "/nonexistent/docker-runc".into(),
            init_path: None,
            shim: None,
            log_defaults: container_core::LogConfig::default(),
            defaults: containers::Defaults::default(),
        };
        let database = open_database(&root.join("longshore.db"));
        let client = containerd_client::Client::new(&root.join("c.sock"), "moby").unwrap();
        let neighbours = Neighbours {
            images: Arc::clone(&self.neighbours) as _,
            sandboxes: Arc::clone(&self.neighbours) as _,
            volumes: Arc::clone(&self.neighbours) as _,
            events: Arc::clone(&self.neighbours) as _,
        };
        Service::open(settings, database, client, neighbours).await.unwrap()
    }

    fn actions(&self) -> Vec<String> {
        self.neighbours.events.lock().unwrap().iter().map(|event| event.action.clone()).collect()
    }
}

/// The last daemon's writer thread may need a moment to let go of the file.
fn open_database(path: &Path) -> metadata::Database {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match metadata::Database::open(path, &metadata::Options::default()) {
            Err(metadata::Error::Locked { .. }) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn request(name: &str, host_config: HostConfig) -> CreateRequest {
    let config = Config { image: "busybox".into(), ..Config::default() };
    CreateRequest { name: Some(name.into()), config, host_config, endpoints: Vec::new(), read_only: ReadOnly::Default }
}

async fn created(service: &Service, name: &str, host_config: HostConfig) -> String {
    service.containers.create(request(name, host_config)).await.unwrap().id
}

async fn state(service: &Service, name: &str) -> &'static str {
    service.containers.inspect(name).await.unwrap().state.word()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test]
async fn a_container_lives_from_create_to_removal_and_leaves_nothing() {
    let world = World::new();
    let service = world.daemon().await;
    let id = created(&service, "web", HostConfig::default()).await;
    let waiting = service.lifecycle.wait("web", WaitCondition::NextExit).unwrap();
    service.lifecycle.start("web").await.unwrap();
    assert_eq!(state(&service, "web").await, "running");
    assert_eq!(service.lifecycle.start("web").await.unwrap_err().kind(), ErrorKind::NotModified);
    world.fake.end(&id, 3);
    assert_eq!(within(waiting.done()).await.code, 3);
    let view = service.containers.inspect(&id[..12]).await.unwrap();
    assert_eq!((view.state.word(), view.state.exit_code()), ("exited", 3));
    assert_eq!(view.state.finished(), Some(container_core::Timestamp::from_parts(2_000_000_000, 5)));
    service.containers.remove("web", RemoveOptions::default()).await.unwrap();
    assert_eq!(service.containers.inspect("web").await.unwrap_err().to_string(), "No such container: web");
    let state = world.fake.state.lock().unwrap();
    assert!(state.snapshots.is_empty() && state.containers.is_empty() && state.tasks.is_empty());
    assert!(world.neighbours.sandboxes.lock().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(world.folder.path().join("data/containers")).unwrap().count(), 0);
    assert_eq!(world.actions(), ["create", "start", "die", "destroy"]);
}

#[tokio::test]
async fn a_client_that_attached_before_the_start_is_connected_before_the_process_runs() {
    let world = World::new();
    let service = world.daemon().await;
    created(&service, "web", HostConfig::default()).await;
    let request = AttachRequest { stdin: false, stdout: true, stderr: true };
    let attached = service.streams.attach("web", request).unwrap();
    service.lifecycle.start("web").await.unwrap();
    let mut stream = within(attached.stream()).await.unwrap().unwrap();
    let mut printed = String::new();
    stream.read_to_string(&mut printed).await.unwrap();
    assert_eq!(printed, "printed");
    let later = service.streams.attach("web", request).unwrap();
    assert!(within(later.stream()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_start_that_the_runtime_refuses_leaves_code_and_words_and_lets_clients_go() {
    let world = World::new();
    let service = world.daemon().await;
    created(&service, "web", HostConfig::default()).await;
    let attached = service.streams.attach("web", AttachRequest::default()).unwrap();
    let text = "OCI runtime create failed: exec: \"nope\": executable file not found in $PATH: unknown";
    world.fake.state.lock().unwrap().refuse_start = Some(text.into());
    let error = service.lifecycle.start("web").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("executable file not found in $PATH"), "{error}");
    let view = service.containers.inspect("web").await.unwrap();
    assert_eq!((view.state.word(), view.state.exit_code()), ("created", 127));
    // The pump was there before the refusal: the stream ends instead of hanging.
    assert!(within(attached.stream()).await.is_ok());
    assert!(world.fake.state.lock().unwrap().tasks.is_empty());
    assert!(world.neighbours.sandboxes.lock().unwrap().is_empty());
    service.lifecycle.start("web").await.unwrap();
    assert_eq!(state(&service, "web").await, "running");
}

#[tokio::test]
async fn names_and_images_are_refused_in_dockers_words() {
    let world = World::new();
    let service = world.daemon().await;
    let id = created(&service, "web", HostConfig::default()).await;
    let error = service.containers.create(request("web", HostConfig::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&format!("already in use by container \"{id}\"")), "{error}");
    let mut strange = request("other", HostConfig::default());
    strange.config.image = "nope".into();
    let error = service.containers.create(strange).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotFound, "No such image: nope:latest"));
    // What failed holds no name.
    created(&service, "other", HostConfig::default()).await;
    service.containers.rename("other", "third").await.unwrap();
    created(&service, "other", HostConfig::default()).await;
    assert_eq!(service.containers.list(&ListRequest { all: true, ..ListRequest::default() }).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_container_leaves_and_joins_networks() {
    let world = World::new();
    let service = world.daemon().await;
    created(&service, "web", HostConfig { network_mode: "front".into(), ..HostConfig::default() }).await;
    let wanted = |network: &str| EndpointRequest { network: network.into(), ..EndpointRequest::default() };
    let networks = async || {
        let view = service.containers.inspect("web").await.unwrap();
        view.endpoints_wanted.into_iter().map(|endpoint| endpoint.network).collect::<Vec<_>>()
    };
    service.containers.connect("web", wanted("back")).await.unwrap();
    service.containers.disconnect("web", "front").await.unwrap();
    assert_eq!(networks().await, ["back"]);
    let error = service.containers.disconnect("web", "front").await.unwrap_err();
    assert!(error.to_string().ends_with("is not connected to the network front"), "{error}");
    let aliases = vec!["web".to_owned()];
    service.containers.connect("web", EndpointRequest { aliases, ..wanted("front") }).await.unwrap();
    // The mode's own is the first again.
    assert_eq!(networks().await, ["front", "back"]);
    service.lifecycle.start("web").await.unwrap();
    // While it runs they are plugged in and out, its files follow, and the id of the network is remembered.
    service.containers.connect("web", wanted("other")).await.unwrap();
    assert_eq!(networks().await, ["front", "back", "other"]);
    let view = service.containers.inspect("web").await.unwrap();
    assert_eq!(view.endpoints_wanted[2].network_id, "id-other");
    let hosts = view.files.hosts;
    assert!(std::fs::read_to_string(&hosts).unwrap().ends_with("10.0.0.9\tweb\n"));
    service.containers.disconnect("web", "other").await.unwrap();
    assert_eq!(networks().await, ["front", "back"]);
    assert_eq!(std::fs::read_to_string(&hosts).unwrap(), "127.0.0.1 localhost\n");
    created(&service, "shut", HostConfig { network_mode: "none".into(), ..HostConfig::default() }).await;
    let error = service.containers.connect("shut", wanted("front")).await.unwrap_err();
    assert!(error.to_string().contains("private (none) mode"), "{error}");
}

#[tokio::test]
async fn a_stop_sends_the_signal_and_then_sigkill() {
    let world = World::new();
    let service = world.daemon().await;
    created(&service, "web", HostConfig { restart_policy: RestartPolicy::Always, ..HostConfig::default() }).await;
    world.fake.state.lock().unwrap().deadly = vec![9];
    service.lifecycle.start("web").await.unwrap();
    let error = service.containers.remove("web", RemoveOptions::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot remove container \"/web\": container is running: stop the container before removing or force remove"
    );
    let options = StopOptions { timeout_s: Some(0), ..StopOptions::default() };
    within(service.lifecycle.stop("web", options.clone())).await.unwrap();
    assert_eq!(world.fake.state.lock().unwrap().signals, [15, 9]);
    assert_eq!(state(&service, "web").await, "exited");
    assert_eq!(service.lifecycle.stop("web", options).await.unwrap_err().kind(), ErrorKind::NotModified);
    assert_eq!(service.lifecycle.kill("web", None).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn an_end_that_no_event_told_is_found_by_the_stop() {
    let world = World::new();
    let service = world.daemon().await;
    created(&service, "web", HostConfig::default()).await;
    service.lifecycle.start("web").await.unwrap();
    world.fake.state.lock().unwrap().silent = true;
    let options = StopOptions { timeout_s: Some(0), ..StopOptions::default() };
    within(service.lifecycle.stop("web", options)).await.unwrap();
    assert_eq!(service.containers.inspect("web").await.unwrap().state.exit_code(), 143);
}

#[tokio::test]
async fn rm_removes_the_container_at_its_end_and_tells_who_waits() {
    let world = World::new();
    let service = world.daemon().await;
    let id = created(&service, "web", HostConfig { auto_remove: true, ..HostConfig::default() }).await;
    let waiting = service.lifecycle.wait("web", WaitCondition::Removed).unwrap();
    service.lifecycle.start("web").await.unwrap();
    world.fake.end(&id, 5);
    assert_eq!(within(waiting.done()).await.code, 5);
    assert!(service.containers.resolve("web").is_err());
    assert!(world.fake.state.lock().unwrap().snapshots.is_empty());
}

#[tokio::test]
async fn a_policy_brings_a_container_back_until_a_user_stops_it() {
    let world = World::new();
    let service = world.daemon().await;
    let id =
        created(&service, "web", HostConfig { restart_policy: RestartPolicy::Always, ..HostConfig::default() }).await;
    service.lifecycle.start("web").await.unwrap();
    world.fake.end(&id, 1);
    within(world.fake.until(|state| state.tasks.is_empty())).await;
    within(world.fake.until(|state| !state.tasks.is_empty())).await;
    within(service.lifecycle.stop("web", StopOptions::default())).await.unwrap();
    let view = service.containers.inspect("web").await.unwrap();
    assert_eq!((view.state.word(), view.restart_count), ("exited", 1));
}

#[tokio::test]
async fn a_new_daemon_finds_what_runs_and_reports_what_ended_meanwhile() {
    let world = World::new();
    let service = world.daemon().await;
    let runs = created(&service, "runs", HostConfig::default()).await;
    let ends = created(&service, "ends", HostConfig::default()).await;
    let gone = created(&service, "gone", HostConfig::default()).await;
    let temporary = created(&service, "temporary", HostConfig { auto_remove: true, ..HostConfig::default() }).await;
    for name in ["runs", "ends", "gone", "temporary"] {
        service.lifecycle.start(name).await.unwrap();
    }
    service.shutdown().await;
    drop(service);
    world.fake.end(&ends, 42);
    world.fake.end(&temporary, 0);
    {
        let mut state = world.fake.state.lock().unwrap();
        state.tasks.remove(&gone);
        let stray = state.tasks[&runs].clone();
        state.tasks.insert("stray".into(), stray);
        state.snapshots.insert("stray".into(), String::new());
    }
    let service = world.opened().await;
    let recovered = service.recover().await.unwrap();
    assert_eq!((recovered.running, recovered.ended), (1, 3));
    let code = async |name: &str| service.containers.inspect(name).await.unwrap().state.exit_code();
    assert_eq!(state(&service, "runs").await, "running");
    assert_eq!((code("ends").await, code("gone").await), (42, 137));
    assert!(service.containers.resolve("temporary").is_err());
    assert_eq!(*world.neighbours.sandboxes.lock().unwrap(), std::slice::from_ref(&runs));
    assert_eq!(world.fake.state.lock().unwrap().tasks.keys().collect::<Vec<_>>(), [&runs]);
    assert!(!world.fake.state.lock().unwrap().snapshots.contains_key("stray"));
    world.fake.end(&runs, 1);
    let waiting = service.lifecycle.wait("runs", WaitCondition::NotRunning).unwrap();
    assert_eq!(within(waiting.done()).await.code, 1);
}

#[tokio::test]
async fn when_the_event_stream_breaks_the_daemon_subscribes_again_and_compares() {
    let world = World::new();
    let service = world.daemon().await;
    let id = created(&service, "web", HostConfig::default()).await;
    service.lifecycle.start("web").await.unwrap();
    let waiting = service.lifecycle.wait("web", WaitCondition::NextExit).unwrap();
    world.fake.state.lock().unwrap().silent = true;
    world.fake.end(&id, 9);
    world.fake.cut();
    assert_eq!(within(waiting.done()).await.code, 9);
}

#[tokio::test]
async fn a_paused_container_is_thawed_for_its_stop() {
    let world = World::new();
    let service = world.daemon().await;
    created(&service, "web", HostConfig::default()).await;
    service.lifecycle.start("web").await.unwrap();
    service.lifecycle.pause("web").await.unwrap();
    assert!(service.lifecycle.pause("web").await.unwrap_err().to_string().ends_with(" is already paused"));
    assert!(service.streams.attach("web", AttachRequest::default()).is_err());
    within(service.lifecycle.stop("web", StopOptions::default())).await.unwrap();
    assert_eq!(state(&service, "web").await, "exited");
    assert!(service.lifecycle.unpause("web").await.unwrap_err().to_string().ends_with(" is not paused"));
}

/// What a daemon leaves that dies between storing an exit and telling of it.
#[tokio::test]
async fn an_exit_that_was_stored_and_not_told_is_told_once_by_the_next_daemon() {
    const STORED: metadata::Table<serde_json::Value> = metadata::Table::new("containers");
    let world = World::new();
    let service = world.daemon().await;
    let id = created(&service, "web", HostConfig::default()).await;
    service.lifecycle.start("web").await.unwrap();
    world.fake.end(&id, 3);
    within(service.lifecycle.wait("web", WaitCondition::NotRunning).unwrap().done()).await;
    // At its gate: the end is dealt with when this is refused.
    assert_eq!(service.lifecycle.stop("web", StopOptions::default()).await.unwrap_err().kind(), ErrorKind::NotModified);
    service.shutdown().await;
    drop(service);
    let database = open_database(&world.folder.path().join("longshore.db"));
    let mut record = database.view(|tx| STORED.get(tx, &id)).unwrap().unwrap();
    assert_eq!(record["untold"], serde_json::Value::Null, "it was told, and that is stored");
    record["untold"] = serde_json::json!({"code": 3, "ran_s": 7});
    let key = id.clone();
    database.write(metadata::Durability::Synced, move |tx| STORED.put(tx, &key, &record)).await.unwrap();
    drop(database);
    for expected in [1, 0] {
        world.neighbours.events.lock().unwrap().clear();
        let service = world.daemon().await;
        let told = world.neighbours.events.lock().unwrap().clone();
        let died: Vec<_> = told.iter().filter(|event| event.action == "die").collect();
        assert_eq!(died.len(), expected);
        if let Some(event) = died.first() {
            assert_eq!((event.attributes["exitCode"].as_str(), event.attributes["execDuration"].as_str()), ("3", "7"));
        }
        service.shutdown().await;
    }
}
