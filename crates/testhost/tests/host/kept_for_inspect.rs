//! Members of a container's configuration that Docker for Linux only keeps: they are there when one asks.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testhost::{Engine, Host};

pub fn members(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let body = json!({
        "Image": image,
        "Cmd": ["true"],
        "ArgsEscaped": true,
        "OnBuild": ["RUN true"],
        "Healthcheck": {"Test": ["HTTP", "/"]},
        "HostConfig": {
            "ContainerIDFile": "/no/such/file",
            "CpuCount": 2,
            "Mounts": [{"Type": "tmpfs", "Target": "/asked"}],
            "Tmpfs": {"/told": ""},
        },
    });
    let made = answer(&engine, "POST", "/v1.51/containers/create?name=kept", &body)?;
    assert_eq!(made["Warnings"], json!([]));
    let shown = answer(&engine, "GET", "/v1.51/containers/kept/json", &Value::Null)?;
    assert_eq!((&shown["Config"]["ArgsEscaped"], &shown["Config"]["OnBuild"]), (&json!(true), &json!(["RUN true"])));
    let host_config = &shown["HostConfig"];
    assert_eq!((&host_config["ContainerIDFile"], &host_config["CpuCount"]), (&json!("/no/such/file"), &json!(2)));
    // A probe that nobody knows is none.
    engine.docker.run(&["start", "-a", "kept"])?;
    assert_eq!(shown["Config"]["Healthcheck"]["Test"], json!(["HTTP", "/"]));
    // Of memory that is mounted only what was asked for as a mount is one.
    let places: Vec<&Value> =
        shown["Mounts"].as_array().into_iter().flatten().map(|mount| &mount["Destination"]).collect();
    assert_eq!(places, [&json!("/asked")]);
    engine.docker.run(&["rm", "kept"])?;
    Ok(())
}

fn answer(engine: &Engine, method: &str, path: &str, body: &Value) -> Result<Value> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
    let reply = engine.request(method, path, &body)?;
    ensure!(reply.status < 300, "{path}: {} {}", reply.status, reply.message());
    serde_json::from_str(&reply.body).with_context(|| reply.body.clone())
}
