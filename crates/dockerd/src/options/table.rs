//! Every flag of Docker 28's dockerd, its key in `daemon.json` and its help.

/// What an option's value is, and the word for it in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Switch,
    Text,
    Int,
    Ip,
    /// `64m`, in bytes.
    Bytes,
    /// May be given again and again.
    List,
    /// `key=value`, may be given again and again.
    Map,
    /// `key=true` or `key`, may be given again and again.
    Features,
    /// `driver=key=value`.
    MapMap,
    /// `name=path`.
    Runtimes,
    /// `name=soft:hard`.
    Ulimits,
    /// `base=10.0.0.0/8,size=24`.
    Pools,
}

impl Kind {
    /// What the help calls a value.
    pub fn word(self) -> &'static str {
        match self {
            Self::Switch => "",
            Self::Text => "string",
            Self::Int => "int",
            Self::Ip => "ip",
            Self::Bytes => "bytes",
            Self::List => "list",
            Self::Map | Self::Features => "map",
            Self::MapMap => "mapmap",
            Self::Runtimes => "runtime",
            Self::Ulimits => "ulimit",
            Self::Pools => "pool-options",
        }
    }
}

/// How far an option goes here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    Full,
    /// Taken where it asks for what is so anyhow: these values, as they print.
    Only(&'static [&'static str]),
    /// Docker says that it is gone, and in which words.
    Gone(&'static str),
}

pub struct Opt {
    pub flag: &'static str,
    pub short: Option<char>,
    /// Empty: command line only.
    pub key: &'static str,
    pub kind: Kind,
    /// As the help prints it; empty for none.
    pub default: &'static str,
    pub support: Support,
    pub help: &'static str,
}

impl Opt {
    const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    const fn key(mut self, key: &'static str) -> Self {
        self.key = key;
        self
    }

    const fn default(mut self, text: &'static str) -> Self {
        self.default = text;
        self
    }

    const fn only(mut self, values: &'static [&'static str]) -> Self {
        self.support = Support::Only(values);
        self
    }

    const fn gone(mut self, why: &'static str) -> Self {
        self.support = Support::Gone(why);
        self
    }

    /// Docker takes it and does not name it in its help.
    pub fn is_hidden(&self) -> bool {
        matches!(self.support, Support::Gone(_)) || self.flag == "network-diagnostic-port"
    }
}

const fn opt(flag: &'static str, kind: Kind, help: &'static str) -> Opt {
    Opt { flag, short: None, key: flag, kind, default: "", support: Support::Full, help }
}

use Kind::{Bytes, Features, Int, Ip, List, Map, MapMap, Pools, Runtimes, Switch, Text, Ulimits};

/// Sorted by flag, as the help lists them.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("add-runtime", Runtimes, "Register an additional OCI compatible runtime").key("runtimes").default("[]"),
    opt("allow-direct-routing", Switch, "Allow remote access to published ports on container IP addresses"),
    opt("allow-nondistributable-artifacts", List, "Allow push of nondistributable artifacts to registry")
        .gone("Pushing nondistributable artifacts is now enabled by default. "),
    opt("api-cors-header", Text, "Set CORS headers in the Engine API")
        .gone("accessing Docker API through a browser is insecure; use a reverse proxy if you need CORS headers"),
    opt("authorization-plugin", List, "Authorization plugins to load").key("authorization-plugins"),
    opt("bip", Text, "IPv4 address for the default bridge"),
    opt("bip6", Text, "IPv6 address for the default bridge"),
    opt("bridge", Text, "Attach containers to a network bridge").short('b'),
    opt("bridge-accept-fwmark", Text, "In bridge networks, accept packets with this firewall mark/mask"),
    opt("cdi-spec-dir", List, "CDI specification directories to use").key("cdi-spec-dirs"),
    opt("cgroup-parent", Text, "Set parent cgroup for all containers"),
    opt("config-file", Text, "Daemon configuration file").key("").default("\"/etc/docker/daemon.json\""),
    opt("containerd", Text, "containerd grpc address"),
    opt("containerd-namespace", Text, "Containerd namespace to use").default("\"moby\""),
    opt("containerd-plugins-namespace", Text, "Containerd namespace to use for plugins").default("\"plugins.moby\""),
    opt("cpu-rt-period", Int, "Limit the CPU real-time period in microseconds for the parent cgroup for all containers (not supported with cgroups v2)"),
    opt("cpu-rt-runtime", Int, "Limit the CPU real-time runtime in microseconds for the parent cgroup for all containers (not supported with cgroups v2)"),
    opt("cri-containerd", Switch, "start containerd with cri").only(&["false"]),
    opt("data-root", Text, "Root directory of persistent Docker state").default("\"/var/lib/docker\""),
    opt("debug", Switch, "Enable debug mode").short('D'),
    opt("default-address-pool", Pools, "Default address pools for node specific local networks").key("default-address-pools"),
    opt("default-cgroupns-mode", Text, "Default mode for containers cgroup namespace (\"host\" | \"private\")").default("\"private\""),
    opt("default-gateway", Ip, "Default gateway IPv4 address for the default bridge network"),
    opt("default-gateway-v6", Ip, "Default gateway IPv6 address for the default bridge network"),
    opt("default-ipc-mode", Text, "Default mode for containers ipc (\"shareable\" | \"private\")").default("\"private\""),
    opt("default-network-opt", MapMap, "Default network options").key("default-network-opts").default("map[]"),
    opt("default-runtime", Text, "Default OCI runtime for containers").default("\"runc\""),
    opt("default-shm-size", Bytes, "Default shm size for containers").default("64MiB"),
    opt("default-ulimit", Ulimits, "Default ulimits for containers").key("default-ulimits").default("[]"),
    opt("dns", List, "DNS server to use"),
    opt("dns-opt", List, "DNS options to use").key("dns-opts"),
    opt("dns-search", List, "DNS search domains to use"),
    opt("exec-opt", List, "Runtime execution options").key("exec-opts"),
    opt("exec-root", Text, "Root directory for execution state files").default("\"/var/run/docker\""),
    opt("experimental", Switch, "Enable experimental features"),
    opt("feature", Features, "Enable feature in the daemon").key("features"),
    opt("firewall-backend", Text, "Firewall backend to use, iptables or nftables").only(&["", "iptables", "nftables"]),
    opt("fixed-cidr", Text, "IPv4 subnet for the default bridge network"),
    opt("fixed-cidr-v6", Text, "IPv6 subnet for the default bridge network"),
    opt("group", Text, "Group for the unix socket").short('G').default("\"docker\""),
    opt("host", List, "Daemon socket(s) to connect to").short('H').key("hosts"),
    opt("host-gateway-ip", List, "IP addresses that the special 'host-gateway' string in --add-host resolves to. Defaults to the IP addresses of the default bridge").key("host-gateway-ips"),
    opt("http-proxy", Text, "HTTP proxy URL to use for outgoing traffic"),
    opt("https-proxy", Text, "HTTPS proxy URL to use for outgoing traffic"),
    opt("icc", Switch, "Enable inter-container communication for the default bridge network").default("true"),
    opt("image-store-limit", Bytes, "Remove the images unused for longest while images take more space (0 for no limit)").default("0"),
    opt("init", Switch, "Run an init in the container to forward signals and reap processes"),
    opt("init-path", Text, "Path to the docker-init binary"),
    opt("insecure-registry", List, "Enable insecure registry communication").key("insecure-registries"),
    opt("ip", Ip, "Host IP for port publishing from the default bridge network").default("0.0.0.0"),
    opt("ip-forward", Switch, "Enable IP forwarding in system configuration").default("true"),
    opt("ip-forward-no-drop", Switch, "Do not set the filter-FORWARD policy to DROP when enabling IP forwarding"),
    opt("ip-masq", Switch, "Enable IP masquerading for the default bridge network").default("true"),
    opt("ip6tables", Switch, "Enable addition of ip6tables rules").default("true"),
    opt("iptables", Switch, "Enable addition of iptables rules").default("true"),
    opt("ipv6", Switch, "Enable IPv6 networking for the default bridge network"),
    opt("label", List, "Set key=value labels to the daemon").key("labels"),
    opt("live-restore", Switch, "Enable live restore of docker when containers are still running").default("true"),
    opt("log-driver", Text, "Default driver for container logs").default("\"json-file\""),
    opt("log-format", Text, "Set the logging format (\"text\"|\"json\")").default("\"text\""),
    opt("log-level", Text, "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\"|\"fatal\")").short('l').default("\"info\""),
    opt("log-opt", Map, "Default log driver options for containers").key("log-opts").default("map[]"),
    opt("max-concurrent-downloads", Int, "Set the max concurrent downloads").default("3"),
    opt("max-concurrent-uploads", Int, "Set the max concurrent uploads").default("5"),
    opt("max-download-attempts", Int, "Set the max download attempts for each pull").default("5"),
    opt("metrics-addr", Text, "Set default address and port to serve the metrics api on"),
    opt("mtu", Int, "Set the MTU for the default \"bridge\" network").default("1500"),
    opt("network-control-plane-mtu", Int, "Network Control plane MTU").default("1500").only(&["0", "1500"]),
    opt("network-diagnostic-port", Int, "TCP port number of the network diagnostic server").only(&["0"]),
    opt("no-new-privileges", Switch, "Set no-new-privileges by default for new containers"),
    opt("no-proxy", Text, "Comma-separated list of hosts or IP addresses for which the proxy is skipped"),
    opt("node-generic-resource", List, "Advertise user-defined resource").key("node-generic-resources").only(&["[]"]),
    opt("pidfile", Text, "Path to use for daemon PID file").short('p').default("\"/var/run/docker.pid\""),
    opt("raw-logs", Switch, "Full timestamps without ANSI coloring"),
    opt("registry-mirror", List, "Preferred Docker registry mirror").key("registry-mirrors"),
    opt("restart", Switch, "--restart on the daemon has been deprecated in favor of --restart policies on docker run").short('r')
        .gone("Please use a restart policy on docker run"),
    opt("rootless", Switch, "Enable rootless mode; typically used with RootlessKit").only(&["false"]),
    opt("seccomp-profile", Text, "Path to seccomp profile. Set to \"unconfined\" to disable the default seccomp profile").default("\"builtin\""),
    opt("selinux-enabled", Switch, "Enable selinux support").only(&["false"]),
    opt("shutdown-timeout", Int, "Set the default shutdown timeout").default("15"),
    opt("storage-driver", Text, "Storage driver to use").short('s').only(&["", "overlay2", "overlayfs"]),
    opt("storage-opt", List, "Storage driver options").key("storage-opts").only(&["[]"]),
    opt("swarm-default-advertise-addr", Text, "Set default address or interface for swarm advertised address").only(&[""]),
    opt("tls", Switch, "Use TLS; implied by --tlsverify"),
    opt("tlscacert", Text, "Trust certs signed only by this CA").default("\"~/.docker/ca.pem\""),
    opt("tlscert", Text, "Path to TLS certificate file").default("\"~/.docker/cert.pem\""),
    opt("tlskey", Text, "Path to TLS key file").default("\"~/.docker/key.pem\""),
    opt("tlsverify", Switch, "Use TLS and verify the remote"),
    opt("userland-proxy", Switch, "Use userland proxy for loopback traffic").default("true"),
    opt("userland-proxy-path", Text, "Path to the userland proxy binary").only(&[""]),
    opt("userns-remap", Text, "User/Group setting for user namespaces"),
    opt("validate", Switch, "Validate daemon configuration and exit").key(""),
];

/// Keys of the file that no flag has.
pub const FILE_ONLY: [&str; 1] = ["builder"];
/// Docker's old names of keys, and what they are called now.
pub const RENAMED: [(&str, &str); 1] = [("host-gateway-ip", "host-gateway-ips")];
/// A key whose members count as keys of their own.
pub const NESTED: &str = "proxies";
/// Both the command line and the file may have it; their entries are joined.
pub const JOINED: &str = "runtimes";

/// The option of a key of the file.
pub fn by_key(key: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| !option.key.is_empty() && option.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_keys_are_sorted_and_stand_once() {
        let flags: Vec<&str> = OPTIONS.iter().map(|option| option.flag).collect();
        let mut sorted = flags.clone();
        // The help of pflag sorts by bytes, where '-' comes before digits.
        sorted.sort_unstable();
        assert_eq!(flags, sorted);
        sorted.dedup();
        assert_eq!(flags.len(), sorted.len());
        let mut keys: Vec<&str> = OPTIONS.iter().map(|option| option.key).filter(|key| !key.is_empty()).collect();
        keys.sort_unstable();
        let count = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
