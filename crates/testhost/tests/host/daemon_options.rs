//! Options of the daemon that must be seen in its containers and networks.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use testhost::{Host, wait_until};

/// A profile that allows everything but new folders.
const NO_FOLDERS: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;

pub fn seccomp_profile(host: &Host) -> Result<()> {
    let profile = host.path("profile.json");
    fs::write(&profile, NO_FOLDERS)?;
    let path = profile.display().to_string();
    let engine = host.engine_with("e", &["--seccomp-profile", &path])?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    let options = docker.run(&["info", "-f", "{{.SecurityOptions}}"])?;
    ensure!(options.contains(&format!("name=seccomp,profile={path}")), "{options}");
    let warnings = docker.run(&["info", "-f", "{{.Warnings}}"])?;
    ensure!(warnings.contains("WARNING: daemon is not using the default seccomp profile"), "{warnings}");
    let make = |options: &[&str]| {
        let words = [&["run", "--rm"], options, &[&image, "mkdir", "/made"]].concat();
        docker.try_run(&words).map(|ran| (ran.code, ran.stderr))
    };
    let (code, stderr) = make(&[])?;
    ensure!(code == 1 && stderr.contains("Operation not permitted"), "{code} {stderr}");
    // What a container asks for itself goes before, and a privileged one has none.
    for options in
        [["--security-opt", "seccomp=unconfined"].as_slice(), &["--security-opt", "seccomp=builtin"], &["--privileged"]]
    {
        assert_eq!(make(options)?, (0, String::new()), "{options:?}");
    }
    let refused = |profile: &str| -> Result<String> {
        let mut command = Command::new(host.programs().join("dockerd"));
        command.args(["--data-root", &host.path("o").display().to_string(), "--seccomp-profile", profile]);
        command.args(["--exec-root", &host.path("or").display().to_string()]);
        command.args(["--pidfile", &host.path("op").display().to_string()]);
        command.args(["-H", &format!("unix://{}", host.path("o.sock").display())]);
        let output = command.output()?;
        ensure!(!output.status.success());
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let missing = refused("/no/profile.json")?;
    ensure!(missing.contains("failed to start daemon: opening seccomp profile (/no/profile.json) failed"), "{missing}");
    let none = host.engine_with("u", &["--seccomp-profile", "unconfined"])?;
    let image = none.import_busybox("busybox")?;
    let status = none.docker.run(&["run", "--rm", &image, "grep", "Seccomp:", "/proc/self/status"])?;
    assert_eq!(status.split_whitespace().collect::<Vec<_>>(), ["Seccomp:", "0"]);
    // Words that are no profile are told by the first container that has it.
    fs::write(&profile, "{")?;
    let broken = host.engine_with("b", &["--seccomp-profile", &path])?;
    let image = broken.import_busybox("busybox")?;
    let ran = broken.docker.try_run(&["run", "--rm", &image, "true"])?;
    ensure!(ran.code == 125 && ran.stderr.contains("Decoding seccomp profile failed: "), "{}", ran.stderr);
    Ok(())
}

/// A container's real-time share needs one of the groups above it.
pub fn realtime(host: &Host) -> Result<()> {
    let plain = host.engine("p")?;
    let image = plain.import_busybox("busybox")?;
    let run = ["run", "--rm", "--cpu-rt-runtime", "2000", &image, "cat", "/sys/fs/cgroup/cpu/cpu.rt_runtime_us"];
    let refused = plain.docker.try_run(&run)?;
    ensure!(refused.code == 125 && refused.stderr.contains("cpu.rt_runtime_us"), "{}", refused.stderr);
    let engine = host.engine_with("e", &["--cpu-rt-runtime", "4000"])?;
    engine.import_busybox("busybox")?;
    assert_eq!(engine.docker.run(&run)?, "2000");
    Ok(())
}

pub fn default_bridge(host: &Host) -> Result<()> {
    let file = host.path("daemon.json");
    let json = r#"{
        "bip": "10.231.0.1/16", "fixed-cidr": "10.231.7.0/24", "default-gateway": "10.231.0.9", "mtu": 1400,
        "ipv6": true, "bip6": "fd00:231::1/64", "ip": "127.0.0.1",
        "default-address-pools": [{"base": "10.232.0.0/16", "size": 24}],
        "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1234"}}
    }"#;
    fs::write(&file, json)?;
    let engine = host.engine_with("e", &["--config-file", &file.display().to_string()])?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    docker.run(&["run", "-d", "--name", "on", "-p", "8080:80", &image, "sleep", "1000"])?;
    let inside = |words: &[&str]| docker.run(&[&["exec", "on"], words].concat());
    let addresses = inside(&["ip", "addr", "show", "eth0"])?;
    ensure!(addresses.contains("inet 10.231.7.") && addresses.contains("/16 "), "{addresses}");
    ensure!(addresses.contains("inet6 fd00:231::") && addresses.contains("mtu 1400"), "{addresses}");
    let routes = inside(&["ip", "route"])?;
    ensure!(routes.contains("default via 10.231.0.9 "), "{routes}");
    let bridge = host.command("ip", &["-oneline", "address"])?;
    ensure!(bridge.contains("10.231.0.1/16") && bridge.contains("fd00:231::1/64"), "{bridge}");
    assert_eq!(docker.run(&["port", "on", "80"])?, "127.0.0.1:8080");
    wait_until("a neighbour", || inside(&["ping", "-c", "1", "-W", "1", "10.231.0.1"]).ok())?;
    docker.run(&["network", "create", "made"])?;
    let made = docker.run(&["run", "--rm", "--network", "made", &image, "ip", "addr", "show", "eth0"])?;
    ensure!(made.contains("mtu 1234") && made.contains("inet 10.232."), "{made}");
    docker.run(&["rm", "-f", "on"])?;
    docker.run(&["network", "rm", "made"])?;
    Ok(())
}
