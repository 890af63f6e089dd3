//! What is done to containers that are there: limits, names, sizes, attaching over a WebSocket, clearing up.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testhost::{Engine, Host};

fn json(engine: &Engine, path: &str) -> Result<Value> {
    let reply = engine.request("GET", path, b"")?;
    ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.body);
    let line = reply.body.lines().next().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("{path}: {}", reply.body))
}

pub fn updated(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = engine.docker_of_docker();
    docker.run(&["run", "-d", "--name", "box", "--memory", "64m", &image, "sleep", "1000"])?;
    assert_eq!(
        docker.run(&["update", "--memory", "32m", "--memory-swap", "64m", "--restart", "on-failure:3", "box"])?,
        "box"
    );
    let format = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(docker.run(&["inspect", "--format", format, "box"])?, "33554432 67108864 on-failure 3");
    let limit = json(&engine, "/containers/box/stats?stream=0&one-shot=1")?["memory_stats"]["limit"].clone();
    assert_eq!(limit, Value::from(32 << 20), "the kernel has it, too");
    let refused = |words: &[&str]| docker.try_run(words).map(|ran| ran.stderr);
    let id = docker.run(&["inspect", "--format", "{{.Id}}", "box"])?;
    let swap = refused(&["update", "--memory", "128m", "box"])?;
    let words = format!(
        "Error response from daemon: Cannot update container {id}: Memory limit should be smaller than already set \
         memoryswap limit, update the memoryswap at the same time"
    );
    assert!(swap.contains(&words), "{swap}");
    assert!(refused(&["update", "--memory", "1m", "box"])?.contains("Minimum memory limit allowed is 6MB"));
    docker.run(&["run", "-d", "--rm", "--name", "gone", &image, "sleep", "1000"])?;
    let auto = refused(&["update", "--restart", "always", "gone"])?;
    assert!(
        auto.contains("Restart policy cannot be updated because AutoRemove is enabled for the container"),
        "{auto}"
    );
    docker.run(&["rename", "box", "chest"])?;
    assert!(refused(&["rename", "chest", "gone"])?.contains("The container name \"/gone\" is already in use"));
    assert!(docker.run(&["top", "chest", "-o", "pid,cmd"])?.ends_with("sleep 1000"));
    assert!(refused(&["top", "chest", "-o", "cmd"])?.contains("Couldn't find PID field in ps output"));
    assert!(refused(&["top", "chest", "-o", "ppid=PID"])?.contains("specifying \"ppid=PID\" is not allowed"));
    docker.run(&["rm", "-f", "chest", "gone"])?;
    Ok(())
}

pub fn pruned(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = engine.docker_of_docker();
    docker.run(&["run", "-d", "--name", "runs", &image, "sleep", "1000"])?;
    docker.run(&["run", "--name", "kept", "--label", "keep", &image, "true"])?;
    let written = "dd if=/dev/zero of=/file bs=1000 count=5";
    docker.run(&["run", "--name", "ended", &image, "sh", "-c", written])?;
    let listed = json(&engine, "/containers/json?all=1&size=1&filters=%7B%22name%22%3A%5B%22ended%22%5D%7D")?;
    assert_eq!(listed[0]["SizeRw"], 5000, "{listed}");
    assert!(listed[0]["SizeRootFs"].as_u64() > Some(1_000_000), "{listed}");
    assert_eq!(listed[0]["Command"], format!("sh -c '{written}'"));
    let inspected = json(&engine, "/containers/ended/json?size=1")?;
    assert_eq!(inspected["SizeRw"], 5000);
    assert_eq!(json(&engine, "/containers/ended/json")?.get("SizeRw"), None);
    let until = docker.try_run(&["container", "prune", "-f", "--filter", "until=soon"])?;
    assert_eq!(until.code, 1);
    let pruned = docker.run(&["container", "prune", "-f", "--filter", "label!=keep"])?;
    assert!(
        pruned.starts_with("Deleted Containers:\n") && pruned.ends_with("Total reclaimed space: 8.192kB"),
        "{pruned}"
    );
    assert_eq!(docker.run(&["ps", "-a", "--format", "{{.Names}}"])?, "kept\nruns");
    // A name that another image has by now gives way to the id.
    docker.run(&["commit", "kept", &image])?;
    let shown = docker.run(&["ps", "--format", "{{.Image}}", "--filter", "name=runs"])?;
    assert!(shown.len() == 12 && shown.bytes().all(|byte| byte.is_ascii_hexdigit()), "{shown}");
    docker.run(&["rm", "-f", "runs", "kept"])?;
    Ok(())
}

pub fn websocket(host: &Host) -> Result<()> {
    let engine = host.engine("e")?;
    let image = engine.import_busybox("busybox")?;
    let docker = engine.docker_of_docker();
    docker.run(&["run", "-di", "--name", "box", &image, "sh", "-c", "read line; echo got $line; echo bad >&2"])?;
    let bare = engine.request("GET", "/containers/box/attach/ws?stream=1&stdout=1", b"")?;
    assert_eq!((bare.status, bare.message().as_str()), (400, "not websocket protocol"));
    let mut socket = UnixStream::connect(engine.socket())?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let request = "GET /containers/box/attach/ws?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: docker\r\n\
                   Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    // RFC 6455, 1.3: the answer to this very key.
    assert!(head.starts_with("http/1.1 101") && head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    // A masked text frame of six bytes; the mask is zeros.
    socket.write_all(&[&[0x81, 0x86, 0, 0, 0, 0][..], b"hello\n"].concat())?;
    let mut output = Vec::new();
    loop {
        let mut header = [0; 2];
        socket.read_exact(&mut header)?;
        let mut payload = vec![0; usize::from(header[1] & 0x7f)];
        socket.read_exact(&mut payload)?;
        match header[0] {
            0x82 => output.extend(payload),
            0x88 => break,
            other => anyhow::bail!("frame {other:#x}"),
        }
    }
    let output = String::from_utf8(output)?;
    assert!(output.contains("got hello\n") && output.contains("bad\n") && output.len() == 14, "{output:?}");
    docker.run(&["rm", "-f", "box"])?;
    Ok(())
}
