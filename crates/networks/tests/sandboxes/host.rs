//! A host of the test's own: the namespaces that this process entered, a second machine on a link, and a docker-netd.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use metadata::{Database, Options};
use netlink::{Batch, PeerPlace, Prefix, Route, Veth, namespace};
use networks::{Config, EndpointRequest, Event, Networks, Publish, Sandbox, SandboxMode, SandboxRequest};

pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a packet that has to be dropped may be waited for.
const SILENCE: Duration = Duration::from_millis(400);

pub struct Host {
    pub folder: tempfile::TempDir,
    pub runtime: tokio::runtime::Runtime,
    pub networks: Networks,
    pub events: Arc<Mutex<Vec<Event>>>,
}

impl Host {
    pub fn new() -> Result<Self, Failed> {
        Self::on(Self::prepare()?)
    }

    /// Links, the outside and resolv.conf; no daemon yet.
    pub fn prepare() -> Result<tempfile::TempDir, Failed> {
        let folder = tempfile::tempdir()?;
        let route = Route::open()?;
        let mut batch = Batch::new();
        batch.set_up(1);
        route.perform(&batch)?;
        std::fs::write(folder.path().join("resolv.conf"), "nameserver 127.0.0.53\n")?;
        rustix::mount::mount_bind(folder.path().join("resolv.conf"), "/etc/resolv.conf")?;
        make_outside(&route, &folder.path().join("outside"))?;
        Ok(folder)
    }

    /// A daemon on roots that another one left.
    pub fn on(folder: tempfile::TempDir) -> Result<Self, Failed> {
        Self::on_with(folder, |_| {})
    }

    /// With settings of the daemon's flags.
    pub fn on_with(folder: tempfile::TempDir, adjust: impl FnOnce(&mut Config)) -> Result<Self, Failed> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let events = Arc::new(Mutex::new(Vec::new()));
        let networks = open_with(folder.path(), &events, adjust)?;
        Ok(Self { folder, runtime, networks, events })
    }

    pub fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    pub fn acquire(&self, request: SandboxRequest) -> Result<Sandbox, networks::Error> {
        self.runtime.block_on(self.networks.acquire(request))
    }

    pub fn release(&self, id: &str) -> Result<(), networks::Error> {
        self.runtime.block_on(self.networks.release(id))
    }

    pub fn netd_pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.folder.path().join("netd.pid")).ok()?.parse().ok()
    }

    pub fn end_netd(&self) {
        end_netd(self.folder.path());
    }

    pub fn ruleset(&self) -> Result<String, Failed> {
        let output = std::process::Command::new("nft").args(["list", "ruleset"]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Names of all links of the host but loopback.
    pub fn links(&self) -> Result<Vec<String>, Failed> {
        let mut names: Vec<String> = Route::open()?.links()?.into_iter().map(|link| link.name).collect();
        names.retain(|name| name != "lo");
        names.sort();
        Ok(names)
    }
}

/// Ends the process that the pid file of this test's own folder names, and waits until it is gone.
pub fn end_netd(folder: &Path) {
    let Ok(text) = std::fs::read_to_string(folder.join("netd.pid")) else { return };
    let Some(pid) = text.parse().ok().and_then(rustix::process::Pid::from_raw) else { return };
    if let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
        let mut ended = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut ended, None);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end_netd();
        let _ = rustix::mount::unmount("/etc/resolv.conf", rustix::mount::UnmountFlags::DETACH);
        for entry in std::fs::read_dir(self.folder.path().join("netns")).into_iter().flatten().flatten() {
            let _ = namespace::remove(&entry.path());
        }
        let _ = namespace::remove(&self.outside());
    }
}

pub fn open(folder: &Path, events: &Arc<Mutex<Vec<Event>>>) -> Result<Networks, Failed> {
    open_with(folder, events, |_| {})
}

/// With settings of the daemon's flags.
pub fn open_with(
    folder: &Path,
    events: &Arc<Mutex<Vec<Event>>>,
    adjust: impl FnOnce(&mut Config),
) -> Result<Networks, Failed> {
    let database = Database::open(&folder.join("longshore.db"), &Options::default())?;
    let mut config = Config::new(folder.to_path_buf(), Some("0123abcd".to_owned()));
    config.netd_program = Some(std::env::current_exe()?);
    adjust(&mut config);
    let events = Arc::clone(events);
    let sink = move |event| events.lock().expect("no test panics with the lock").push(event);
    Ok(Networks::open(config, database, Arc::new(sink))?)
}

/// A machine at the other end of a link, whose default route is the host.
fn make_outside(route: &Route, path: &Path) -> Result<(), Failed> {
    let inside = namespace::create(path, Route::open)?;
    let file = std::fs::File::open(path)?;
    let mut batch = Batch::new();
    batch.create_bridge("uplink", [2, 0, 0, 0, 0, 1], 1500);
    route.perform(&batch)?;
    let uplink = route.link_by_name("uplink")?.ok_or("no uplink")?.index;
    let mut batch = Batch::new();
    batch.add_address(uplink, Prefix::new(HOST.into(), 24));
    batch.add_address(uplink, Prefix::new(HOST6.into(), 64));
    let peer = PeerPlace { namespace: file.as_fd(), name: "eth0", mac: [2, 0, 0, 0, 0, 2] };
    batch.create_veth(&Veth { name: "outside", master: uplink, mtu: 1500, peer });
    route.perform(&batch)?;
    let eth0 = inside.link_by_name("eth0")?.ok_or("no eth0")?.index;
    let mut batch = Batch::new();
    batch.set_up(1);
    batch.set_up(eth0);
    batch.add_address(eth0, Prefix::new(OUTSIDE.into(), 24));
    batch.add_address(eth0, Prefix::new(OUTSIDE6.into(), 64));
    batch.add_default_route(HOST.into(), eth0);
    batch.add_default_route(HOST6.into(), eth0);
    inside.perform(&batch)?;
    Ok(())
}

pub fn outside_address() -> IpAddr {
    OUTSIDE.into()
}

pub fn outside_address6() -> IpAddr {
    OUTSIDE6.into()
}

/// Names of the links in a namespace that tests give to links.
pub fn namespace_links(path: &Path) -> Result<Vec<String>, Failed> {
    let links = inside(path, || Route::open().and_then(|route| route.links()))??;
    let mut names: Vec<String> = links.into_iter().map(|link| link.name).collect();
    names.retain(|name| name == "lo" || name.starts_with("eth"));
    names.sort();
    Ok(names)
}

/// Sixty-four digits that begin with the given ones.
pub fn id(start: &str) -> String {
    format!("{start:0<64}")
}

pub fn request(start: &str, name: &str, networks: &[&str]) -> SandboxRequest {
    let endpoint = |network: &&str| EndpointRequest { network: (*network).to_owned(), ..EndpointRequest::default() };
    SandboxRequest {
        container_id: id(start),
        name: name.to_owned(),
        hostname: format!("host-{name}"),
        mode: SandboxMode::Networks(networks.iter().map(endpoint).collect()),
        ..SandboxRequest::default()
    }
}

pub fn publish(host: Option<&str>, host_port: &str, container_port: u16) -> Publish {
    Publish {
        container_port,
        protocol: networks::Protocol::Tcp,
        host_address: host.map(|host| host.parse().expect("an address")),
        host_ports: networks::parse_host_port(host_port).expect("a port"),
    }
}

pub fn address(sandbox: &Sandbox) -> IpAddr {
    sandbox.endpoints[0].ipv4.expect("an address").address
}

pub fn inside<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Failed> {
    Ok(namespace::enter(path, || Ok(work()))?)
}

/// The namespace file of a sandbox.
pub fn netns(sandbox: &Sandbox) -> &Path {
    sandbox.netns_path.as_deref().expect("a namespace")
}

/// A server inside a namespace that tells each client its peer's address. It ends with the test's process.
pub fn serve(path: &Path, port: u16) -> Result<(), Failed> {
    let listener = inside(path, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))??;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream);
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream) {
    let peer = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
    // The client may be gone already.
    let _ = stream.write_all(peer.as_bytes());
}

/// Connects and answers what the server said; none where nobody answers.
fn dial(to: SocketAddr, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    (!text.is_empty()).then_some(text)
}

/// From a namespace, or from the host.
pub fn reach(from: Option<&Path>, to: (IpAddr, u16)) -> Result<Option<String>, Failed> {
    let to = SocketAddr::from(to);
    match from {
        Some(path) => inside(path, || dial(to, PATIENCE)),
        None => Ok(dial(to, PATIENCE)),
    }
}

/// Like [`reach`], for what must not get through.
pub fn is_unreachable(from: Option<&Path>, to: (IpAddr, u16)) -> Result<bool, Failed> {
    let to = SocketAddr::from(to);
    match from {
        Some(path) => inside(path, || dial(to, SILENCE).is_none()),
        None => Ok(dial(to, SILENCE).is_none()),
    }
}

/// One DNS question over UDP to the embedded server; the whole answer.
pub fn ask(path: &Path, name: &str, kind: u16) -> Result<Vec<u8>, Failed> {
    ask_within(path, name, kind, PATIENCE)
}

pub fn ask_within(path: &Path, name: &str, kind: u16, patience: Duration) -> Result<Vec<u8>, Failed> {
    let query = question(name, kind);
    inside(path, move || -> std::io::Result<Vec<u8>> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(patience))?;
        socket.connect((Ipv4Addr::new(127, 0, 0, 11), 53))?;
        socket.send(&query)?;
        let mut buffer = vec![0; 4096];
        let length = socket.recv(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    })?
    .map_err(Failed::from)
}

pub fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes
}

/// Code and the last four bytes: the address of a single A record.
pub fn code_and_address(answer: &[u8]) -> (u8, IpAddr) {
    let tail: [u8; 4] = answer[answer.len() - 4..].try_into().expect("four bytes");
    (answer[3] & 0xf, IpAddr::from(tail))
}

/// Waits for a condition, with an end.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), Failed> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return Err(format!("not in time: {what}").into());
        }
        std::thread::yield_now();
    }
    Ok(())
}
