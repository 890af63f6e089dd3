//! What clients of older API versions ask for a whole container, and what they are told of it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testhost::{Engine, Host};

const MAC: &str = "02:42:ac:11:00:77";
const SYSCTL: &str = "/proc/sys/net/ipv4/conf/eth0/log_martians";

pub fn endpoint_settings(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = &engine.docker;
    for minor in [24, 43, 47] {
        let name = format!("c{minor}");
        let body = json!({
            "Image": image, "Cmd": ["sleep", "1000"], "MacAddress": MAC,
            "HostConfig": {"Sysctls": {"net.ipv4.conf.eth0.log_martians": "1"}},
        });
        let made = engine.request(
            "POST",
            &format!("/v1.{minor}/containers/create?name={name}"),
            body.to_string().as_bytes(),
        )?;
        ensure!(made.status == 201, "{}", made.message());
        let warnings = serde_json::from_str::<Value>(&made.body)?["Warnings"].to_string();
        ensure!(warnings.contains("Migrated sysctl"), "{warnings}");
        ensure!(warnings.contains("MacAddress field is now deprecated") == (minor >= 44), "{warnings}");
        docker.run(&["start", &name])?;
        ensure!(docker.run(&["exec", &name, "cat", SYSCTL])? == "1");
        ensure!(docker.run(&["exec", &name, "cat", "/sys/class/net/eth0/address"])? == MAC);
        // What was asked for is told in every version, running or not.
        ensure!(own_mac(&engine, &name, minor)? == MAC && own_mac(&engine, &name, 51)? == MAC);
        docker.run(&["stop", "-t", "0", &name])?;
        ensure!(own_mac(&engine, &name, minor)? == MAC);
        docker.run(&["rm", &name])?;
    }
    docker.run(&["run", "-d", "--name", "free", &image, "sleep", "1000"])?;
    ensure!(own_mac(&engine, "free", 43)?.is_empty(), "nobody asked for an address");
    docker.run(&["rm", "-f", "free"])?;
    Ok(())
}

fn own_mac(engine: &Engine<'_>, name: &str, minor: u16) -> Result<String> {
    let told = engine.request("GET", &format!("/v1.{minor}/containers/{name}/json"), b"")?;
    let told: Value = serde_json::from_str(&told.body).context("an inspection")?;
    Ok(told["Config"]["MacAddress"].as_str().unwrap_or_default().to_owned())
}
