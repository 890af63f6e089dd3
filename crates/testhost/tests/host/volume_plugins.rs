//! Volumes of a plugin: whatever Docker asks of one, within bounds, and over the daemon's death.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testhost::Host;

use crate::{clients, plugin_socket};

/// A plugin with folders of its own; it remembers what it was asked.
#[derive(Clone)]
struct Plugin {
    files: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    volumes: BTreeMap<String, BTreeSet<String>>,
    asked: Vec<String>,
}

impl Plugin {
    fn start(name: &str, files: PathBuf) -> Result<Self> {
        let plugin = Self { files, state: Arc::default() };
        let served = plugin.clone();
        plugin_socket::serve(name, move |method, question| served.answer(method, question))?;
        Ok(plugin)
    }

    fn answer(&self, method: &str, question: &Value) -> Value {
        let (name, id) = (question["Name"].as_str().unwrap_or_default(), question["ID"].as_str().unwrap_or_default());
        let folder = self.files.join(name);
        let mut state = self.state.lock().expect("no panic holds it");
        state.asked.push(format!("{} {name} {}", method.trim_start_matches("VolumeDriver."), question["Opts"]));
        let told = |name: &str| json!({"Name": name, "Mountpoint": self.files.join(name), "Status": {"kind": "fake"}});
        match method {
            "Plugin.Activate" => json!({"Implements": ["VolumeDriver"]}),
            "VolumeDriver.Capabilities" => json!({"Capabilities": {"Scope": "global"}}),
            "VolumeDriver.List" => json!({"Volumes": state.volumes.keys().map(|name| told(name)).collect::<Vec<_>>()}),
            "VolumeDriver.Create" if question["Opts"]["fail"].is_string() => json!({"Err": "no room for it"}),
            "VolumeDriver.Create" => {
                fs::create_dir_all(folder).expect("folder");
                state.volumes.entry(name.to_owned()).or_default();
                json!({})
            }
            _ if !state.volumes.contains_key(name) => json!({"Err": "no such volume here"}),
            "VolumeDriver.Get" => json!({"Volume": told(name)}),
            "VolumeDriver.Remove" => {
                state.volumes.remove(name);
                json!({})
            }
            "VolumeDriver.Mount" => {
                state.volumes.entry(name.to_owned()).or_default().insert(id.to_owned());
                json!({"Mountpoint": folder})
            }
            "VolumeDriver.Unmount" => match state.volumes.entry(name.to_owned()).or_default().remove(id) {
                true => json!({}),
                false => json!({"Err": "this id has nothing mounted"}),
            },
            _ => json!({"Err": "what?"}),
        }
    }

    fn users(&self, name: &str) -> usize {
        self.state.lock().expect("no panic holds it").volumes.get(name).map_or(0, BTreeSet::len)
    }

    fn was_asked(&self, wanted: &str) -> bool {
        self.state.lock().expect("no panic holds it").asked.iter().any(|asked| asked == wanted)
    }
}

pub fn plugins(host: &Host) -> Result<()> {
    plugin_socket::make_folder(host)?;
    let plugin = Plugin::start("fake", host.path("files"))?;
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    for docker in clients(&engine) {
        docker.run(&["volume", "create", "-d", "fake", "--opt", "color=red", "--label", "a=b", "far"])?;
        ensure!(plugin.was_asked("Create far {\"color\":\"red\"}"));
        let format = "{{.Driver}} {{.Scope}} {{.Mountpoint}} {{.Labels}} {{.Options}} {{.Status}}";
        let shown = docker.run(&["volume", "inspect", "-f", format, "far"])?;
        let place = host.path("files").join("far");
        let expected = format!("fake global {} map[a:b] map[color:red] map[kind:fake]", place.display());
        ensure!(shown == expected, "{shown}");
        let conflict = docker.try_run(&["volume", "create", "-d", "local", "far"])?.stderr;
        ensure!(conflict.contains("create far: driver 'fake' already has volume 'far'"), "{conflict}");
        let refused = docker.try_run(&["volume", "create", "-d", "fake", "--opt", "fail=1", "never"])?.stderr;
        ensure!(refused.contains("create never: no room for it"), "{refused}");
        ensure!(docker.run(&["volume", "ls", "--format", "{{.Driver}} {{.Name}}"])? == "fake far");
        ensure!(docker.run(&["info", "-f", "{{.Plugins.Volume}}"])? == "[local fake]");

        // Who names the volume need not name its driver.
        docker.run(&["run", "-d", "--name", "user", "-v", "far:/f", &image, "sleep", "1000"])?;
        docker.run(&["exec", "user", "sh", "-c", "echo text > /f/file"])?;
        ensure!(fs::read_to_string(place.join("file"))? == "text\n" && plugin.users("far") == 1);
        let mount = docker.run(&["inspect", "-f", "{{range .Mounts}}{{.Driver}} {{.Source}}{{end}}", "user"])?;
        ensure!(mount == format!("fake {}", place.display()), "{mount}");
        engine.kill_dockerd()?;
        engine.start_again()?;
        docker.run(&["stop", "-t", "0", "user"])?;
        ensure!(plugin.users("far") == 0, "the id from before the daemon's death is known");
        ensure!(docker.run(&["start", "user"])? == "user" && plugin.users("far") == 1);
        docker.run(&["rm", "-f", "user"])?;
        ensure!(plugin.users("far") == 0);
        docker.run(&["volume", "rm", "far"])?;
        ensure!(plugin.was_asked("Remove far null"));

        // Volumes that the plugin has from elsewhere.
        plugin.answer("VolumeDriver.Create", &json!({"Name": "theirs"}));
        ensure!(docker.run(&["volume", "ls", "-q"])? == "theirs");
        docker.run(&["run", "--rm", "-v", "theirs:/t", &image, "touch", "/t/touched"])?;
        ensure!(host.path("files").join("theirs/touched").exists());
        docker.run(&["volume", "rm", "theirs"])?;
        ensure!(docker.run(&["volume", "ls", "-q"])?.is_empty());
    }
    unreachable_plugin(&engine)
}

/// A plugin that is gone keeps its volumes in the list, and force forgets them.
fn unreachable_plugin(engine: &testhost::Engine) -> Result<()> {
    let docker = &engine.docker;
    docker.run(&["volume", "create", "-d", "fake", "lost"])?;
    plugin_socket::remove("fake")?;
    engine.kill_dockerd()?;
    engine.start_again()?;
    ensure!(docker.run(&["volume", "ls", "-q"])? == "lost");
    let refused = docker.try_run(&["volume", "rm", "lost"])?.stderr;
    ensure!(refused.contains("error looking up volume plugin fake: plugin \"fake\" not found"), "{refused}");
    ensure!(docker.run(&["volume", "rm", "-f", "lost"])? == "lost");
    ensure!(docker.run(&["volume", "ls", "-q"])?.is_empty());
    Ok(())
}
