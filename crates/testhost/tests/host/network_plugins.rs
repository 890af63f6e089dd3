//! Networks and addresses of a plugin, and daemons that are killed while they talk to it: what the plugin keeps is what the
//! next daemon shows, but for what was asked for and never heard (`networks/src/remote_ipam.rs`).

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testhost::{Docker, Engine, Host, wait_until};

use crate::plugin_socket;

const ROUNDS: u64 = 16;
const BRIDGE: &str = "plug0";
/// Before each answer: so long a daemon may be killed that waits for it.
const PAUSE: Duration = Duration::from_millis(3);

/// A plugin with a bridge of its own, which makes the links and gives the addresses.
#[derive(Clone, Default)]
struct Plugin(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    pools: usize,
    networks: BTreeSet<String>,
    endpoints: BTreeSet<String>,
    /// The last bytes of 10.90.0.0/24.
    addresses: BTreeSet<u8>,
}

impl Plugin {
    fn start(host: &Host) -> Result<Self> {
        plugin_socket::make_folder(host)?;
        host.command("ip", &["link", "add", BRIDGE, "type", "bridge"])?;
        host.command("ip", &["link", "set", BRIDGE, "up"])?;
        let plugin = Self::default();
        let served = plugin.clone();
        plugin_socket::serve("fake", move |method, question| {
            thread::sleep(PAUSE);
            served.state().answer(method, question)
        })?;
        Ok(plugin)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic holds it")
    }
}

impl State {
    fn answer(&mut self, method: &str, question: &Value) -> Value {
        let text = |key: &str| question[key].as_str().unwrap_or_default().to_owned();
        let endpoint = text("EndpointID");
        let link = endpoint.get(..8).unwrap_or_default();
        match method {
            "Plugin.Activate" => json!({"Implements": ["NetworkDriver", "IpamDriver"]}),
            "NetworkDriver.GetCapabilities" => json!({"Scope": "local"}),
            "NetworkDriver.CreateNetwork" => done(self.networks.insert(text("NetworkID"))),
            "NetworkDriver.DeleteNetwork" => done(self.networks.remove(&text("NetworkID"))),
            "NetworkDriver.CreateEndpoint" => {
                ip(&format!("link add pa{link} type veth peer name pb{link}"));
                ip(&format!("link set pa{link} master {BRIDGE} up"));
                self.endpoints.insert(endpoint);
                json!({"Interface": {}})
            }
            "NetworkDriver.Join" => json!({
                "InterfaceName": {"SrcName": format!("pb{link}"), "DstPrefix": "net"}, "Gateway": "10.90.0.1",
            }),
            "NetworkDriver.DeleteEndpoint" => {
                // Gone with the namespace that its other end was in.
                ip(&format!("link del pa{link}"));
                done(self.endpoints.remove(&endpoint))
            }
            "IpamDriver.GetDefaultAddressSpaces" => json!({"LocalDefaultAddressSpace": "here"}),
            "IpamDriver.RequestPool" => {
                self.pools += 1;
                json!({"PoolID": "p", "Pool": "10.90.0.0/24", "Data": {}})
            }
            "IpamDriver.ReleasePool" => {
                self.pools = self.pools.saturating_sub(1);
                if self.pools == 0 {
                    self.addresses.clear();
                }
                json!({})
            }
            "IpamDriver.RequestAddress" => match (1..255).find(|last| self.addresses.insert(*last)) {
                Some(last) => json!({"Address": format!("10.90.0.{last}/24"), "Data": {}}),
                None => json!({"Err": "no more addresses"}),
            },
            "IpamDriver.ReleaseAddress" => {
                let last = text("Address").rsplit('.').next().and_then(|last| last.parse().ok());
                done(last.is_some_and(|last| self.addresses.remove(&last)))
            }
            _ => json!({}),
        }
    }
}

fn done(is_done: bool) -> Value {
    if is_done { json!({}) } else { json!({"Err": "that is not as you say"}) }
}

fn ip(words: &str) {
    let ran = Command::new("ip").args(words.split(' ')).status();
    assert!(ran.is_ok(), "ip does not run");
}

const FAR: [&str; 7] = ["network", "create", "-d", "fake", "--ipam-driver", "fake", "far"];

/// Of connects and disconnects. Every third time docker-netd is killed with it.
pub fn killed_in_changes(host: &Host) -> Result<()> {
    let plugin = Plugin::start(host)?;
    let links_before = links(host)?;
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    docker.run(&FAR)?;
    docker.run(&["network", "create", "front"])?;
    docker.run(&["run", "-d", "--name", "peer", "--network", "far", &image, "sleep", "1000"])?;
    docker.run(&["run", "-d", "--name", "web", "--network", "front", &image, "sleep", "1000"])?;
    let mut unheard = 0;
    for round in 0..ROUNDS {
        let was_joined = is_joined(docker)?;
        let words: &[&str] = match was_joined {
            true => &["network", "disconnect", "far", "web"],
            false => &["network", "connect", "--gw-priority", "1", "far", "web"],
        };
        let mut changing = docker.start(words)?;
        changing.write_and_close(b"")?;
        // The moments of a change, one after the other: nothing is waited for.
        thread::sleep(Duration::from_millis(round * 37 % 151));
        engine.kill_dockerd()?;
        if round % 3 == 0 {
            testhost::kill_process(engine.netd_pid()?)?;
        }
        let told = changing.wait()?;
        engine.start_again()?;
        let kept = agree(host, &engine, &plugin)
            .with_context(|| format!("round {round}: {words:?} ended with {} {}", told.code, told.stderr.trim()))?;
        if told.code == 0 {
            ensure!(is_joined(docker)? != was_joined, "round {round}: what was acknowledged is lost");
        }
        // An address that the plugin gave to a daemon that died before it heard of it, and no other.
        let may_be_unheard = !was_joined && told.code != 0;
        ensure!(kept <= unheard + usize::from(may_be_unheard), "round {round}: {kept} addresses too many");
        unheard = kept;
    }
    docker.run(&["rm", "-f", "web", "peer"])?;
    docker.run(&["network", "rm", "front", "far"])?;
    let state = plugin.state();
    ensure!(state.endpoints.is_empty() && state.networks.is_empty() && state.pools == 0 && state.addresses.is_empty());
    drop(state);
    wait_until("every link but the default bridge's is gone", || (links(host).ok()? <= links_before + 1).then_some(()))
}

fn is_joined(docker: &Docker) -> Result<bool> {
    let format = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
    Ok(docker.run(&["inspect", "-f", format, "web"])?.contains("far"))
}

fn links(host: &Host) -> Result<usize> {
    Ok(host.command("ip", &["-oneline", "link"])?.lines().count())
}

/// Every view of whether the container is on the plugin's network; how many addresses the plugin keeps for nobody.
fn agree(host: &Host, engine: &Engine, plugin: &Plugin) -> Result<usize> {
    let docker = &engine.docker;
    let is_joined = is_joined(docker)?;
    let format = "{{range .Containers}}{{.EndpointID}} {{.IPv4Address}}\n{{end}}";
    let listed = docker.run(&["network", "inspect", "-f", format, "far"])?;
    let listed: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once(' ')).collect();
    ensure!(listed.len() == 1 + usize::from(is_joined), "joined: {is_joined}, listed: {listed:?}");
    let inside = docker.run(&["exec", "web", "ip", "-4", "-oneline", "address"])?;
    ensure!(inside.contains("net0") == is_joined, "joined: {is_joined}, inside: {inside}");
    let found = docker.try_run(&["exec", "peer", "nslookup", "-type=a", "web"])?;
    ensure!((found.code == 0) == is_joined, "joined: {is_joined}, found: {}", found.stdout);
    if is_joined {
        docker.run(&["exec", "web", "ping", "-c", "1", "-W", "5", "peer"])?;
    }
    let state = plugin.state();
    let endpoints: BTreeSet<String> = listed.iter().map(|(id, _)| (*id).to_owned()).collect();
    ensure!(state.endpoints == endpoints, "the plugin has {:?}, the daemon {endpoints:?}", state.endpoints);
    let last = |address: &str| address.split('/').next()?.rsplit('.').next()?.parse::<u8>().ok();
    let used: BTreeSet<u8> = listed.iter().filter_map(|(_, address)| last(address)).chain([1]).collect();
    ensure!(state.addresses.is_superset(&used), "the plugin has {:?} of {used:?}", state.addresses);
    let ends = host.command("ip", &["-oneline", "link"])?.lines().filter(|line| line.contains(": pa")).count();
    ensure!(ends == endpoints.len(), "{ends} links of the plugin's for {} endpoints", endpoints.len());
    Ok(state.addresses.len() - used.len())
}

/// Of networks, made and removed, of the plugin and of our own.
pub fn killed_in_creations(host: &Host) -> Result<()> {
    let plugin = Plugin::start(host)?;
    let engine = host.engine("e")?;
    let docker = &engine.docker;
    for (create, step_ms) in [(&FAR[..], 3), (&["network", "create", "far"], 1)] {
        let mut unheard = plugin.state().pools;
        for round in 0..ROUNDS {
            let was_there = is_there(docker)?;
            let words = if was_there { &["network", "rm", "far"][..] } else { create };
            let mut changing = docker.start(words)?;
            changing.write_and_close(b"")?;
            thread::sleep(Duration::from_millis(round * step_ms * 7 % 71));
            engine.kill_dockerd()?;
            let told = changing.wait()?;
            engine.start_again()?;
            let is_there = is_there(docker)?;
            ensure!(told.code != 0 || is_there != was_there, "round {round}: {words:?} was acknowledged and is lost");
            let is_the_plugins = is_there && docker.run(&["network", "inspect", "-f", "{{.Driver}}", "far"])? == "fake";
            let kept = plugin.state().networks.len();
            ensure!(kept == usize::from(is_the_plugins), "round {round}: {words:?}: the plugin has {kept} networks");
            let pools = plugin.state().pools - usize::from(is_the_plugins);
            let may_be_unheard = !was_there && told.code != 0;
            ensure!(pools <= unheard + usize::from(may_be_unheard), "round {round}: {words:?}: {pools} pools too many");
            unheard = pools;
            let bridges = bridges_of_networks(host)?;
            let is_ours = is_there && !is_the_plugins;
            ensure!(bridges == usize::from(is_ours), "round {round}: {words:?}: {bridges} bridges");
        }
        if is_there(docker)? {
            docker.run(&["network", "rm", "far"])?;
        }
    }
    Ok(())
}

/// Named after the ids of networks; the default one's name is shorter.
fn bridges_of_networks(host: &Host) -> Result<usize> {
    let links = host.command("ip", &["-oneline", "link", "show", "type", "bridge"])?;
    let names = links.lines().filter_map(|line| line.split(": ").nth(1));
    Ok(names.filter(|name| name.starts_with("br-") && name.len() == "br-".len() + 12).count())
}

fn is_there(docker: &Docker) -> Result<bool> {
    Ok(docker.run(&["network", "ls", "--format", "{{.Name}}"])?.lines().any(|name| name == "far"))
}
