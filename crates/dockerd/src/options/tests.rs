use super::config::AddressPool;
use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The command line with this file.
fn with_file(line: &str, json: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daemon.json");
    std::fs::write(&path, json).unwrap();
    let mut line = words(line);
    line.push(format!("--config-file={}", path.display()));
    match read(&line) {
        Ok(Asked::Serve(options)) => Ok(options.config),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string().replace(&path.display().to_string(), "FILE")),
    }
}

const WITH_FILE: &str = "unable to configure the Docker daemon with file FILE: ";

#[test]
fn flags_and_file_together_make_the_configuration() {
    let line = "-H unix:///a.sock --host=tcp://127.0.0.1:1 -D --mtu 1400 --log-opt max-size=1m --log-opt max-file=2 \
                --default-ulimit nofile=1024:2048 --default-shm-size 1g --feature a --feature=b=false \
                --default-address-pool base=10.0.0.0/8,size=24 --add-runtime crun=/usr/bin/crun";
    let file = r#"{"data-root": "/d", "dns": ["1.1.1.1"], "runtimes": {"other": {"path": "/o", "runtimeArgs": ["-x"]}},
        "host-gateway-ip": "10.0.0.1", "proxies": {"no-proxy": "a"}, "builder": {"gc": {"enabled": true}}}"#;
    let config = with_file(line, file).unwrap();
    let hosts: Vec<String> = config.listen_on.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["tcp://127.0.0.1:1", "unix:///a.sock"]);
    assert!(config.debug() && config.live_restore());
    assert_eq!((config.mtu, config.data_root.as_deref()), (Some(1400), Some(Path::new("/d"))));
    assert_eq!((config.log_opts["max-size"].as_str(), config.log_opts["max-file"].as_str()), ("1m", "2"));
    assert_eq!((config.default_ulimits["nofile"].soft, config.default_ulimits["nofile"].hard), (1024, 2048));
    assert_eq!(config.default_shm_size, Some(1 << 30));
    assert_eq!((config.features["a"], config.features["b"]), (true, false));
    assert_eq!(config.default_address_pools, [AddressPool { base: "10.0.0.0/8".into(), size: 24 }]);
    assert_eq!(config.runtimes.keys().collect::<Vec<_>>(), ["crun", "other"]);
    assert_eq!(config.host_gateway_ips.len(), 1);
    assert_eq!(config.no_proxy.as_deref(), Some("a"));
}

#[test]
fn shorthands_join_and_take_values_in_every_way() {
    for line in ["-Dl warn", "-D -lwarn", "-l=warn -D", "--debug --log-level=warn"] {
        let config = with_file(line, "").unwrap();
        assert_eq!((config.debug(), config.log_level.as_deref()), (true, Some("warn")), "{line}");
    }
}

#[test]
fn mistakes_on_the_command_line_get_docker_s_words() {
    for (line, error) in [
        ("--colour red", "unknown flag: --colour\nSee 'dockerd --help'."),
        ("-x", "unknown shorthand flag: 'x' in -x\nSee 'dockerd --help'."),
        ("--mtu", "flag needs an argument: --mtu\nSee 'dockerd --help'."),
        ("-l", "flag needs an argument: 'l' in -l\nSee 'dockerd --help'."),
        (
            "--mtu many",
            "invalid argument \"many\" for \"--mtu\" flag: strconv.ParseInt: parsing \"many\": invalid syntax\nSee 'dockerd --help'.",
        ),
        (
            "--debug=perhaps",
            "invalid argument \"perhaps\" for \"-D, --debug\" flag: strconv.ParseBool: parsing \"perhaps\": invalid syntax\nSee 'dockerd --help'.",
        ),
    ] {
        assert_eq!(read(&words(line)).unwrap_err().to_string(), error);
    }
    assert!(read(&words("run")).unwrap_err().to_string().starts_with("\"dockerd\" accepts no arguments."));
}

#[test]
fn mistakes_in_the_file_get_docker_s_words() {
    for (line, file, error) in [
        (
            "--debug=false --label a=b -H tcp://a:1",
            r#"{"debug": true, "labels": ["c=d"], "hosts": ["fd://"]}"#,
            "the following directives are specified both as a flag and in the configuration file: \
             debug: (from flag: false, from file: true), hosts: (from flag: [tcp://a:1], from file: [fd://]), \
             labels: (from flag: [a=b], from file: [c=d])",
        ),
        (
            "",
            r#"{"colour": 1, "shape": 2}"#,
            "the following directives don't match any configuration option: colour, shape",
        ),
        (
            "",
            r#"{"host-gateway-ip": "1.1.1.1", "host-gateway-ips": []}"#,
            "host-gateway-ip and host-gateway-ips must not both be specified in the config file",
        ),
        ("", "[]", "the file does not hold a JSON object"),
    ] {
        assert_eq!(with_file(line, file).unwrap_err(), format!("{WITH_FILE}{error}"));
    }
    let missing = read(&words("--config-file=/nowhere/daemon.json")).unwrap_err().to_string();
    assert_eq!(
        missing,
        "unable to configure the Docker daemon with file /nowhere/daemon.json: open /nowhere/daemon.json: no such file or directory"
    );
    assert!(with_file("", "{").unwrap_err().starts_with(WITH_FILE));
    assert!(with_file("", r#"{"mtu": "x"}"#).unwrap_err().starts_with(WITH_FILE));
}

#[test]
fn values_are_validated_in_docker_s_words() {
    for (line, error) in [
        ("-l loud", "invalid logging level: loud"),
        ("--log-format xml", "invalid log format: xml"),
        ("--label a", "invalid label 'a': must be in key=value format"),
        ("--label a=1 --label a=2", "conflict labels for a=2 and a=1"),
        ("--mtu -1", "invalid default MTU: -1"),
        ("--max-concurrent-downloads=-1", "invalid max concurrent downloads: -1"),
        (
            "--default-ipc-mode host",
            "IPC mode \"host\" is not supported as default value; use \"shareable\" or \"private\"",
        ),
        ("--default-cgroupns-mode x", "invalid default cgroup namespace (x): use \"host\" or \"private\""),
        ("--exec-opt isolation=x", "invalid exec-opt (isolation=x): option 'isolation' is only supported on windows"),
        ("--exec-opt x", "invalid exec-opt (x): must be formatted 'opt=value'"),
        ("--dns-search -a-", "-a- is not a valid domain"),
        ("-H udp://x", "invalid bind address (udp://x): unsupported proto 'udp'"),
        ("--default-runtime x", "specified default runtime 'x' does not exist"),
        (
            "--registry-mirror mirror.lan:5000",
            "invalid mirror: no scheme specified for \"mirror.lan:5000\": must use either 'https://' or 'http://'",
        ),
        (
            "--registry-mirror ftp://mirror.lan",
            "invalid mirror: unsupported scheme \"ftp\" in \"ftp://mirror.lan\": must use either 'https://' or 'http://'",
        ),
        (
            "--registry-mirror http://mirror.lan/?x",
            "invalid mirror: query or fragment at end of the URI \"http://mirror.lan/?x\"",
        ),
        (
            "--registry-mirror http://me:secret@mirror.lan",
            "invalid mirror: username/password not allowed in URI \"http://me:xxxxx@mirror.lan\"",
        ),
        (
            "--registry-mirror http://mirror.lan/x",
            "option registry-mirror (http://mirror.lan/x) is not supported by this engine: only one without a path is",
        ),
        (
            "--api-cors-header *",
            "DEPRECATED: The \"api-cors-header\" config parameter and the dockerd \"--api-cors-header\" option have been \
             removed; use a reverse proxy if you need CORS headers",
        ),
    ] {
        assert_eq!(with_file(line, "").unwrap_err(), error, "{line}");
    }
}

#[test]
fn what_this_engine_has_not_is_refused_by_name() {
    for (line, error) in [
        ("--rootless", "option rootless (true) is not supported by this engine: only false is"),
        ("--storage-driver btrfs", "option storage-driver (btrfs) is not supported by this engine: only overlay2 is"),
    ] {
        assert_eq!(with_file(line, "").unwrap_err(), error);
    }
    with_file("--iptables --storage-driver overlay2 --max-download-attempts 5 --rootless=false", "").unwrap();
}

#[test]
fn tls_follows_docker_s_rules() {
    for (line, tls, verify) in [
        ("", false, false),
        ("--tls", true, true),
        ("--tls=false", false, false),
        ("--tlsverify", true, true),
        ("--tlsverify=false", true, false),
        ("--tls --tlsverify=false", true, false),
    ] {
        let config = with_file(line, "").unwrap();
        assert_eq!((config.tls(), config.tls_verify()), (tls, verify), "{line}");
    }
}

#[test]
fn a_file_of_windows_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daemon.json");
    let mut bytes = vec![0xFF, 0xFE];
    bytes.extend(r#"{"debug": true}"#.encode_utf16().flat_map(u16::to_le_bytes));
    std::fs::write(&path, bytes).unwrap();
    let Ok(Asked::Serve(options)) = read(&[format!("--config-file={}", path.display())]) else { panic!() };
    assert!(options.config.debug());
}

#[test]
fn the_file_is_read_again_with_the_same_flags() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daemon.json");
    std::fs::write(&path, "{}").unwrap();
    let line = [format!("--config-file={}", path.display()), "--mtu=1400".to_owned()];
    let Ok(Asked::Serve(options)) = read(&line) else { panic!() };
    std::fs::write(&path, r#"{"debug": true}"#).unwrap();
    let (again, keys) = options.read_again().unwrap();
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["debug", "mtu"]);
    assert_eq!((again.debug(), again.mtu), (true, Some(1400)));
    std::fs::write(&path, r#"{"mtu": 1}"#).unwrap();
    assert!(options.read_again().is_err());
}
