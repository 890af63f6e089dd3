//! A volume plugin as others write them: JSON over HTTP on a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plugin_client::Plugins;
use serde_json::{Value, json};
use volume::PluginDriver;

pub struct FakePlugin {
    folder: PathBuf,
    name: String,
    stopped: Arc<AtomicBool>,
}

type Volumes = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

impl FakePlugin {
    pub fn start(folder: &Path, name: &str) -> Self {
        let sockets = folder.join("plugins");
        fs::create_dir_all(&sockets).expect("folder");
        let listener = UnixListener::bind(sockets.join(format!("{name}.sock"))).expect("bind");
        let stopped = Arc::new(AtomicBool::new(false));
        let plugin = Self { folder: folder.to_owned(), name: name.to_owned(), stopped: Arc::clone(&stopped) };
        let (files, volumes) = (folder.join("files"), Volumes::default());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                serve(&stream, &files, &volumes);
            }
        });
        plugin
    }

    /// Nobody listens any more; the socket stays, as after a crash.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.folder.join("plugins").join(format!("{}.sock", self.name)));
    }

    pub fn plugins(&self) -> Plugins {
        Plugins { sockets: self.folder.join("plugins"), specs: Vec::new(), patience: Duration::from_millis(200) }
    }

    pub async fn driver(&self) -> PluginDriver {
        PluginDriver::activate(self.plugins().find(&self.name).expect("find")).await.expect("activate")
    }
}

fn serve(stream: &UnixStream, files: &Path, volumes: &Volumes) {
    let mut reader = BufReader::new(stream);
    let (mut method, mut length, mut line) = (String::new(), 0, String::new());
    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
        if let Some(path) = line.strip_prefix("POST /") {
            path.split(' ').next().unwrap_or_default().clone_into(&mut method);
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let question: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = answer(&method, &question, files, volumes);
    // Half of the plugins out there tell errors by status, the others by member.
    let status = if answer["Err"].is_string() && method == "VolumeDriver.Get" { "500 Internal" } else { "200 OK" };
    let text = answer.to_string();
    let _ = write!(&*stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
}

fn answer(method: &str, question: &Value, files: &Path, volumes: &Volumes) -> Value {
    let (name, id) = (question["Name"].as_str().unwrap_or_default(), question["ID"].as_str().unwrap_or_default());
    let folder = files.join(name);
    let mut volumes = volumes.lock().expect("no panic holds it");
    let told = |name: &str| json!({"Name": name, "Mountpoint": files.join(name), "Status": {"kind": "fake"}});
    let none = || json!({"Err": format!("no volume {name:?} here")});
    match method {
        "Plugin.Activate" => json!({"Implements": ["VolumeDriver"]}),
        "VolumeDriver.Capabilities" => json!({"Capabilities": {"Scope": "global"}}),
        "VolumeDriver.List" => json!({"Volumes": volumes.keys().map(|name| told(name)).collect::<Vec<_>>()}),
        "VolumeDriver.Create" if volumes.contains_key(name) => json!({"Err": "it is there already"}),
        "VolumeDriver.Create" => {
            fs::create_dir_all(folder).expect("folder");
            volumes.insert(name.to_owned(), BTreeSet::new());
            json!({})
        }
        _ if !volumes.contains_key(name) => none(),
        "VolumeDriver.Get" => json!({"Volume": told(name)}),
        "VolumeDriver.Remove" if !volumes[name].is_empty() => json!({"Err": "somebody has it"}),
        "VolumeDriver.Remove" => {
            fs::remove_dir_all(folder).expect("remove");
            volumes.remove(name);
            json!({})
        }
        "VolumeDriver.Mount" => {
            volumes.get_mut(name).expect("there").insert(id.to_owned());
            json!({"Mountpoint": folder})
        }
        "VolumeDriver.Unmount" => match volumes.get_mut(name).expect("there").remove(id) {
            true => json!({"Err": ""}),
            false => json!({"Err": format!("{id} has nothing mounted")}),
        },
        _ => json!({"Err": "what?"}),
    }
}
