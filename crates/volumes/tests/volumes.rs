//! The service on a folder and a database of its own. As root, since volumes belong to it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use errors::{ErrorKind, Kind};
use metadata::Database;
use plugin_client::Plugins;
use volumes::{ANONYMOUS, Config, CreateVolume, Event, Lifetime, PruneRequest, Volumes};

struct World {
    folder: tempfile::TempDir,
    events: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder"), events: Arc::default() }
    }

    fn database(&self) -> Database {
        Database::open(&self.folder.path().join("db"), &metadata::Options::default()).expect("database")
    }

    async fn open(&self, database: &Database) -> Volumes {
        let nowhere = self.folder.path().join("plugins");
        let plugins = Plugins { sockets: nowhere, specs: Vec::new(), patience: std::time::Duration::ZERO };
        let events = Arc::clone(&self.events);
        let sink = move |event: Event| {
            events.lock().expect("events").push(format!("{} {} {:?}", event.action, event.volume, event.attributes));
        };
        let config = Config { root: self.root(), owner: (0, 0), plugins };
        Volumes::open(config, database.clone(), Arc::new(sink)).await.expect("open")
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("volumes")
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.events.lock().expect("events"))
    }
}

fn named(name: &str) -> CreateVolume {
    CreateVolume { name: name.to_owned(), ..CreateVolume::default() }
}

fn words<T: std::fmt::Debug>(result: Result<T, volumes::Error>) -> (ErrorKind, String) {
    let error = result.expect_err("refused");
    (error.kind(), errors::chain(&error))
}

async fn names(volumes: &Volumes) -> Vec<String> {
    volumes.list().await.expect("list").volumes.into_iter().map(|volume| volume.name).collect()
}

#[tokio::test]
async fn a_volume_is_made_once_and_survives_the_daemon() {
    let world = World::new();
    let database = world.database();
    let volumes = world.open(&database).await;
    let labels = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    let made = volumes.create(CreateVolume { labels: Some(labels.clone()), ..named("data") }).await.expect("create");
    assert_eq!((made.driver.as_str(), made.scope, &made.labels), ("local", "local", &Some(labels.clone())));
    fs::write(Path::new(&made.mountpoint).join("file"), "x").expect("write");
    let again = volumes.create(CreateVolume { driver: "local".to_owned(), ..named("data") }).await.expect("again");
    assert_eq!(again.labels, Some(labels));
    assert_eq!(world.told(), ["create data {\"driver\": \"local\"}"]);
    drop(volumes);
    let volumes = world.open(&database).await;
    assert_eq!(volumes.inspect("data").await.expect("inspect"), made);
    assert!(Path::new(&made.mountpoint).join("file").exists());
    volumes.remove("data").await.expect("remove");
    assert_eq!(world.told(), ["destroy data {\"driver\": \"local\"}"]);
    assert!(!world.root().join("data").exists() && names(&volumes).await.is_empty());
}

#[tokio::test]
async fn what_is_wrong_is_told_in_dockers_words_and_leaves_nothing() {
    let world = World::new();
    let volumes = world.open(&world.database()).await;
    let missing = (ErrorKind::NotFound, "get nobody: no such volume".to_owned());
    assert_eq!(words(volumes.inspect("nobody").await), missing);
    assert_eq!(words(volumes.remove("nobody").await), missing);
    volumes.remove_by_force("nobody").await.expect("force");
    let words_of = async |request| words(volumes.create(request).await);
    let (kind, text) = words_of(named("a/b")).await;
    assert_eq!(kind, ErrorKind::InvalidArgument);
    assert!(text.starts_with("create a/b: \"a/b\" includes invalid characters for a local volume name"), "{text}");
    let options = BTreeMap::from([("foo".to_owned(), "x".to_owned())]);
    let (_, text) = words_of(CreateVolume { options: Some(options), ..named("data") }).await;
    assert_eq!(text, "create data: invalid option: \"foo\"");
    let (kind, text) = words_of(CreateVolume { driver: "nonsense".to_owned(), ..named("data") }).await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(text, "create data: error looking up volume plugin nonsense: plugin \"nonsense\" not found");
    assert!(names(&volumes).await.is_empty() && world.told().is_empty());
}

#[tokio::test]
async fn what_a_container_has_stays_until_it_lets_go() {
    let world = World::new();
    let database = world.database();
    let volumes = world.open(&database).await;
    let anonymous = volumes.acquire(CreateVolume::default(), "c1", Lifetime::Lasting).await.expect("acquire");
    assert!(anonymous.name.len() == 64 && anonymous.labels.is_some_and(|labels| labels.contains_key(ANONYMOUS)));
    volumes.acquire(named("data"), "c1", Lifetime::Lasting).await.expect("acquire");
    volumes.acquire(named("data"), "c2", Lifetime::Ephemeral).await.expect("acquire");
    let in_use = words(volumes.remove_by_force("data").await);
    assert_eq!(in_use, (ErrorKind::Conflict, "remove data: volume is in use - [c1, c2]".to_owned()));
    drop(volumes);
    let volumes = world.open(&database).await;
    volumes.refer("data", "c1");
    volumes.refer(&anonymous.name, "c1");
    volumes.refer(&anonymous.name, "c2");
    volumes.dispose(&anonymous.name, "c1", Lifetime::Lasting).await.expect("others use it");
    assert!(volumes.inspect(&anonymous.name).await.is_ok());
    volumes.dispose(&anonymous.name, "c2", Lifetime::Lasting).await.expect("dispose");
    assert!(volumes.inspect(&anonymous.name).await.is_err());
    volumes.release("data", "c1");
    volumes.remove("data").await.expect("remove");
}

#[tokio::test]
async fn only_what_was_made_without_a_name_is_pruned_unless_all_is_said() {
    let world = World::new();
    let volumes = world.open(&world.database()).await;
    let labels = BTreeMap::from([("keep".to_owned(), String::new())]);
    let anonymous = volumes.create(CreateVolume::default()).await.expect("create");
    fs::write(Path::new(&anonymous.mountpoint).join("file"), "12345").expect("write");
    volumes.create(named("plain")).await.expect("create");
    volumes.create(CreateVolume { labels: Some(labels), ..named("kept") }).await.expect("create");
    let options = [("type", "tmpfs"), ("device", "tmpfs")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    volumes.create(CreateVolume { options: Some(options.into()), ..named("mount") }).await.expect("create");
    volumes.acquire(named("used"), "c1", Lifetime::Lasting).await.expect("acquire");
    let file = fs::metadata(Path::new(&anonymous.mountpoint).join("file")).expect("file");
    let taken = file.blocks() * 512;
    let sizes = volumes.usage().await.expect("usage");
    let bytes = |name: &str| sizes.iter().find(|usage| usage.volume.name == name).and_then(|usage| usage.bytes);
    assert_eq!((bytes(&anonymous.name), bytes("plain"), bytes("mount")), (Some(taken), Some(0), None));
    world.told();
    let pruned = volumes.prune(&PruneRequest::default()).await.expect("prune");
    assert_eq!((pruned.names, pruned.reclaimed), (vec![anonymous.name.clone()], taken));
    assert_eq!(world.told()[1], format!("prune  {{\"reclaimed\": \"{taken}\"}}"));
    let all = PruneRequest { named: true, labels_absent: vec!["keep".to_owned()], ..PruneRequest::default() };
    assert_eq!(volumes.prune(&all).await.expect("prune").names, ["plain"]);
    assert_eq!(names(&volumes).await, ["kept", "mount", "used"]);
}

#[tokio::test]
async fn volumes_of_docker_and_folders_that_went_missing_are_taken_in() {
    let world = World::new();
    let database = world.database();
    fs::create_dir_all(world.root().join("theirs/_data")).expect("folder");
    fs::write(world.root().join("theirs/_data/file"), "x").expect("write");
    let options = r#"{"MountType":"tmpfs","MountOpts":"","MountDevice":"tmpfs","Quota":{"Size":0}}"#;
    fs::create_dir_all(world.root().join("memory/_data")).expect("folder");
    fs::write(world.root().join("memory/opts.json"), options).expect("write");
    let volumes = world.open(&database).await;
    assert_eq!(names(&volumes).await, ["memory", "theirs"]);
    assert_eq!(volumes.inspect("memory").await.expect("inspect").options.map(|options| options.len()), Some(2));
    volumes.create(named("gone")).await.expect("create");
    fs::remove_dir_all(world.root().join("gone")).expect("by hand");
    assert!(volumes.inspect("gone").await.is_ok());
    assert!(volumes.mount("gone", "id").await.expect("mount").is_dir());
    fs::remove_dir_all(world.root().join("gone")).expect("by hand");
    drop(volumes);
    world.open(&database).await;
    assert!(world.root().join("gone/_data").is_dir());
}
