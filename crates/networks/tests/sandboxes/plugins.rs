//! Networks and addresses of plugins: a plugin of the test's own, with a bridge that is not ours.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use libtest_mimic::Failed;
use networks::{CreateNetwork, Plugins};
use serde_json::{Value, json};

use crate::host::{Host, address, id, netns, reach, request, serve};

/// What the plugin keeps, and what it was asked.
#[derive(Default)]
struct Plugin {
    calls: Vec<String>,
    addresses: BTreeSet<u8>,
    endpoints: BTreeSet<String>,
    /// Methods that it refuses.
    refuses: Vec<&'static str>,
    /// The name of the link that it answers, if not the right one.
    lies: Option<String>,
    /// What it is told of ports, call by call.
    ports: Vec<Value>,
    has_no_gateway: bool,
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).status().expect("ip runs");
    assert!(done.success(), "ip {words}");
}

impl Plugin {
    fn answer(&mut self, method: &str, body: &Value) -> Value {
        self.calls.push(method.to_owned());
        if self.refuses.contains(&method) {
            return json!({ "Err": "not today" });
        }
        let endpoint = body["EndpointID"].as_str().unwrap_or_default().get(..6).unwrap_or_default().to_owned();
        match method {
            "Plugin.Activate" => json!({ "Implements": ["NetworkDriver", "IpamDriver"] }),
            "NetworkDriver.GetCapabilities" => json!({ "Scope": "local" }),
            "NetworkDriver.CreateNetwork" if body["IPv4Data"][0]["AddressSpace"] == "null" => {
                assert_eq!(body["IPv4Data"][0]["Pool"], "0.0.0.0/0");
                json!({})
            }
            "NetworkDriver.CreateNetwork" => {
                assert_eq!(body["IPv4Data"][0]["Pool"], "10.90.0.0/24");
                assert_eq!(body["Options"]["com.docker.network.generic"]["colour"], "green");
                json!({})
            }
            "NetworkDriver.CreateEndpoint" => {
                let own = body["Interface"]["Address"].as_str().unwrap_or_default();
                assert!(own.is_empty() || own.ends_with("/24"), "{own}");
                let given = if own.is_empty() { json!({ "Address": "10.90.0.77/24" }) } else { json!({}) };
                ip(&format!("link add pa{endpoint} type veth peer name pb{endpoint}"));
                ip(&format!("link set pa{endpoint} master plug0 up"));
                self.endpoints.insert(endpoint);
                json!({ "Interface": given })
            }
            "NetworkDriver.Join" => json!({
                "InterfaceName": {
                    "SrcName": self.lies.clone().unwrap_or_else(|| format!("pb{endpoint}")), "DstPrefix": "net",
                },
                "Gateway": if self.has_no_gateway { "" } else { "10.90.0.1" },
                "StaticRoutes": [{ "Destination": "10.91.0.0/16", "RouteType": 1, "NextHop": "" }],
            }),
            "NetworkDriver.ProgramExternalConnectivity" => {
                self.ports.push(body["Options"]["com.docker.network.portmap"].clone());
                json!({})
            }
            "NetworkDriver.DeleteEndpoint" => {
                self.endpoints.remove(&endpoint);
                json!({})
            }
            "IpamDriver.GetDefaultAddressSpaces" => json!({ "LocalDefaultAddressSpace": "here" }),
            "IpamDriver.RequestPool" => json!({ "PoolID": "p1", "Pool": "10.90.0.0/24", "Data": {} }),
            "IpamDriver.RequestAddress" => {
                let free = (1..255).find(|last| !self.addresses.contains(last)).expect("an address");
                self.addresses.insert(free);
                json!({ "Address": format!("10.90.0.{free}/24"), "Data": {} })
            }
            "IpamDriver.ReleaseAddress" => {
                let text = body["Address"].as_str().unwrap_or_default();
                let last = text.rsplit('.').next().and_then(|last| last.parse().ok()).expect("an address");
                assert!(self.addresses.remove(&last), "{text} was not given");
                json!({})
            }
            _ => json!({}),
        }
    }
}

/// One request of HTTP, answered and closed.
fn exchange(mut stream: UnixStream, plugin: &Mutex<Plugin>) -> Option<()> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let (head, body) = loop {
        let count = stream.read(&mut chunk).ok()?;
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break (head.to_owned(), body.to_owned());
            }
        }
        if count == 0 {
            return None;
        }
    };
    let method = head.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let asked = serde_json::from_str(&body).unwrap_or(Value::Null);
    let answer = plugin.lock().ok()?.answer(&method, &asked).to_string();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len()).ok()
}

fn host_with_plugin() -> Result<(Host, Arc<Mutex<Plugin>>), Failed> {
    let folder = Host::prepare()?;
    let sockets = folder.path().join("plugins");
    std::fs::create_dir(&sockets)?;
    let listener = UnixListener::bind(sockets.join("fake.sock"))?;
    let plugin = Arc::new(Mutex::new(Plugin::default()));
    let state = Arc::clone(&plugin);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            exchange(stream, &state);
        }
    });
    let specs = Vec::new();
    let plugins = Plugins { sockets, specs, patience: std::time::Duration::from_millis(10) };
    let host = Host::on_with(folder, |config| config.plugins = plugins)?;
    ip("link add plug0 type bridge");
    ip("link set plug0 up");
    Ok((host, plugin))
}

fn wanted() -> CreateNetwork {
    CreateNetwork {
        name: "far".into(),
        driver: "fake".into(),
        ipam_driver: "fake".into(),
        options: [("colour".into(), "green".into())].into(),
        ..CreateNetwork::default()
    }
}

pub fn life() -> Result<(), Failed> {
    let (host, plugin) = host_with_plugin()?;
    host.runtime.block_on(host.networks.create(wanted()))?;
    let one = host.acquire(request("a1", "one", &["far"]))?;
    let two = host.acquire(request("a2", "two", &["far"]))?;
    assert_eq!((address(&one).to_string().as_str(), one.endpoints[0].link.as_str()), ("10.90.0.2", "net0"));
    serve(netns(&one), 80)?;
    assert_eq!(reach(Some(netns(&two)), (address(&one), 80))?.as_deref(), Some("10.90.0.3"));
    let routes = crate::host::inside(netns(&one), || netlink::Route::open().and_then(|route| route.routes()))??;
    assert!(routes.iter().any(|route| route.destination.is_some_and(|to| to.to_string() == "10.91.0.0/16")));
    assert!(routes.iter().any(|route| route.gateway == Some([10, 90, 0, 1].into())));
    // Out and in again while it runs; what was given back is given again.
    host.runtime.block_on(host.networks.disconnect(&id("a2"), "far"))?;
    let back = networks::EndpointRequest { network: "far".into(), ..Default::default() };
    let two = host.runtime.block_on(host.networks.connect(&id("a2"), back))?;
    assert_eq!(address(&two).to_string(), "10.90.0.3");
    assert_eq!(reach(Some(netns(&two)), (address(&one), 80))?.as_deref(), Some("10.90.0.3"));
    host.release(&id("a1"))?;
    host.release(&id("a2"))?;
    host.runtime.block_on(host.networks.remove("far"))?;
    let plugin = plugin.lock().map_err(|_| "poisoned")?;
    assert!(plugin.addresses.is_empty() && plugin.endpoints.is_empty());
    assert_eq!(plugin.calls.last().map(String::as_str), Some("IpamDriver.ReleasePool"));
    assert!(plugin.calls.contains(&"NetworkDriver.DeleteNetwork".to_owned()));
    Ok(())
}

/// Whatever a plugin refuses or makes up, nothing stays behind.
pub fn refusals() -> Result<(), Failed> {
    let (host, plugin) = host_with_plugin()?;
    let create = || host.runtime.block_on(host.networks.create(wanted())).map_err(|error| errors::chain(&error));
    let set = |refuses: Vec<&'static str>, lies: Option<&str>| {
        let mut plugin = plugin.lock().expect("the plugin");
        (plugin.refuses, plugin.lies) = (refuses, lies.map(str::to_owned));
    };
    let is_clean = || {
        let plugin = plugin.lock().expect("the plugin");
        (plugin.addresses.len(), plugin.endpoints.len())
    };
    for method in [
        "NetworkDriver.GetCapabilities",
        "IpamDriver.RequestPool",
        "IpamDriver.RequestAddress",
        "NetworkDriver.CreateNetwork",
    ] {
        set(vec![method], None);
        assert_eq!(create().expect_err("refused"), format!("{method}: not today"));
        assert_eq!(is_clean(), (0, 0), "{method}");
    }
    set(Vec::new(), None);
    create()?;
    let gateway_only = (1, 0);
    for method in ["IpamDriver.RequestAddress", "NetworkDriver.CreateEndpoint", "NetworkDriver.Join"] {
        set(vec![method], None);
        let error = host.acquire(request("a1", "one", &["far"])).expect_err("refused");
        assert_eq!(errors::chain(&error), format!("{method}: not today"));
        assert_eq!(is_clean(), gateway_only, "{method}");
    }
    for link in ["../etc", "lo lo", "", "no-such-link"] {
        set(Vec::new(), Some(link));
        assert!(host.acquire(request("a1", "one", &["far"])).is_err(), "{link}");
        assert_eq!(is_clean(), gateway_only, "{link}");
    }
    assert!(host.networks.sandbox(&id("a1")).is_none());
    set(Vec::new(), None);
    host.acquire(request("a1", "one", &["far"]))?;
    Ok(())
}

/// Published ports are the plugin's to publish, while its network is the way out.
pub fn ports() -> Result<(), Failed> {
    let (host, plugin) = host_with_plugin()?;
    host.runtime.block_on(host.networks.create(wanted()))?;
    host.runtime.block_on(host.networks.create(CreateNetwork { name: "near".into(), ..CreateNetwork::default() }))?;
    let mut web = request("a1", "web", &["far"]);
    web.publish = vec![crate::host::publish(None, "8080", 80)];
    let sandbox = host.acquire(web.clone())?;
    assert!(sandbox.ports.is_empty(), "no port of ours leads there: {:?}", sandbox.ports);
    let told = json!([{ "Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080 }]);
    let ports = |plugin: &Mutex<Plugin>| plugin.lock().expect("the plugin").ports.clone();
    assert_eq!(ports(&plugin), vec![told.clone()]);
    let count =
        |method: &str| plugin.lock().expect("the plugin").calls.iter().filter(|call| call.ends_with(method)).count();
    // A network of ours with the way out has the port, and gives it back.
    let near = networks::EndpointRequest { network: "near".into(), gateway_priority: 1, ..Default::default() };
    let sandbox = host.runtime.block_on(host.networks.connect(&id("a1"), near))?;
    assert_eq!((sandbox.ports[0].host_port, count("RevokeExternalConnectivity")), (8080, 1));
    let sandbox = host.runtime.block_on(host.networks.disconnect(&id("a1"), "near"))?;
    assert!(sandbox.ports.is_empty());
    assert_eq!(ports(&plugin), vec![told.clone(), told]);
    host.release(&id("a1"))?;
    assert_eq!(count("RevokeExternalConnectivity"), 2);

    // What the plugin refuses to publish is not published by silence.
    plugin.lock().map_err(|_| "poisoned")?.refuses = vec!["NetworkDriver.ProgramExternalConnectivity"];
    let refused = host.acquire(web.clone()).expect_err("refused").to_string();
    assert!(refused.contains("failed programming external connectivity on endpoint web"), "{refused}");
    assert!(refused.ends_with("NetworkDriver.ProgramExternalConnectivity: not today"), "{refused}");
    let (refuses, has_no_gateway) = (Vec::new(), true);
    {
        let mut plugin = plugin.lock().map_err(|_| "poisoned")?;
        assert!(plugin.endpoints.is_empty() && plugin.addresses.len() == 1, "{:?}", plugin.endpoints);
        (plugin.refuses, plugin.has_no_gateway) = (refuses, has_no_gateway);
    }
    let nowhere = host.acquire(web).expect_err("no way out").to_string();
    assert!(nowhere.contains("network far has no gateway, so that nothing can be published on it"), "{nowhere}");
    assert!(plugin.lock().map_err(|_| "poisoned")?.endpoints.is_empty());
    Ok(())
}

/// Addresses that nobody manages, but the plugin that makes the endpoints.
pub fn unmanaged_addresses() -> Result<(), Failed> {
    let (host, _plugin) = host_with_plugin()?;
    let create = |driver: &str, options: networks::CreateNetwork| {
        let wanted = CreateNetwork { driver: driver.into(), ipam_driver: "null".into(), ..options };
        host.runtime.block_on(host.networks.create(wanted)).map_err(|error| error.to_string())
    };
    let named = |name: &str| CreateNetwork { name: name.into(), ..CreateNetwork::default() };
    assert_eq!(create("bridge", named("x")).expect_err("no addresses"), "ipv4 pool is empty");
    let pools = vec![networks::Asked { subnet: "10.1.0.0/24".into(), ..networks::Asked::default() }];
    let told = create("fake", CreateNetwork { pools, ..named("x") }).expect_err("a pool");
    assert_eq!(told, "null ipam driver does not handle specific address pool requests");
    create("fake", named("far"))?;
    let one = host.acquire(request("a1", "one", &["far"]))?;
    assert_eq!(address(&one).to_string(), "10.90.0.77");
    assert!(one.hosts.contains("10.90.0.77\thost-one"), "{}", one.hosts);
    let gateway = one.endpoints[0].ipv4.and_then(|address| address.gateway);
    assert_eq!(gateway.map(|gateway| gateway.to_string()).as_deref(), Some("10.90.0.1"));
    host.release(&id("a1"))?;
    host.runtime.block_on(host.networks.remove("far"))?;
    Ok(())
}
